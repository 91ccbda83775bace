/*
 * Adapters: how a kind of provider is spoken to.
 *
 * An adapter writes the upstream request, turns one stream event or a whole JSON answer into the
 * caller's form, OpenAI's or, on /v1/messages, Anthropic's (bytes pass unchanged where the dialects match), and taps usage on the way. Which
 * events reach the caller is not its business: it says what each one is.
 *
 * Thread: the loop's; adapters are constant, state is in adapter_stream.
 */
#pragma once

#include "json_builder.h"
#include "openai_body.h"
#include "openai_error.h"
#include "relay_config.h"
#include "usage_tap.h"

#include "http/message.h"
#include "http/sse.h"

typedef struct adapter_job { /* what is asked; views live as long as the request */
    gw_arena *arena;
    relay_endpoint endpoint;
    const openai_body *body;
    const model_route *route;
    const route_target *target; /* of the route */
    unsigned credential; /* of its provider, by number */
    gw_str user_key; /* the user's own, which is sent in its place (user_key.h); "": none */
    const key_policy *policy;
    gw_headers client_headers;
    gw_str query; /* the caller's, raw */
    bool stream;
    int64_t ceiling; /* output tokens a choice that the hold is for; 0 = none was made */
    int64_t hop; /* value of X-Relay-Hop to send */
    gw_str request_id; /* ours: names an answer whose provider gave it none */
    int64_t created_s; /* wall clock, for answers that have no time of their own */
    int64_t prompt_estimate; /* for answers that do not say what the prompt was */
} adapter_job;

#define ADAPTER_HEADERS_MAX 12

/* Memory of a body that was built. It goes with the job's arena, or before: a stream may stay open for minutes. */
typedef struct adapter_text {
    char *bytes; /* NULL once freed */
} adapter_text;
void adapter_text_free(adapter_text *t); /* NULL is fine */

typedef struct adapter_request { /* texts live in the job's arena */
    gw_str target;
    gw_header headers[ADAPTER_HEADERS_MAX];
    size_t header_count;
    const gw_str *body;
    size_t body_parts;
    bool owns_body; /* the body was written anew: no part of it is a view into the caller's */
    adapter_text *text; /* what it is written into, if that may go once the request is sent */
    gw_str upstream_model;
    gw_str ignored_params; /* for x-relay-ignored-params, "" when none */
} adapter_request;

typedef enum answer_event_kind {
    ANSWER_PREAMBLE, /* may be held back until content comes */
    ANSWER_CONTENT,
    ANSWER_USAGE, /* for those who asked for it */
    ANSWER_DONE, /* data: [DONE] */
    ANSWER_COMMENT,
} answer_event_kind;

typedef struct answer_event { /* views live during the call */
    answer_event_kind kind;
    gw_str raw; /* bytes of the event for a caller on HTTP */
    gw_str data; /* its JSON, "" for DONE and comments */
} answer_event;

typedef struct adapter_stream {
    const adapter_job *job;
    usage_tap *tap;
    void (*emit)(void *arg, const answer_event *e);
    void *arg;
    openai_error *failure; /* filled when a call below does not return GW_OK; the owner's */
    bool done; /* [DONE] was emitted */
    bool is_behind; /* another adapter reads what is emitted, and writes the caller's own */
    gw_buf suspect; /* librechat: an event that may be an error in disguise */
    bool ran_in_vain; /* librechat: an agent ran without an answer; nobody says what it cost */
    void *state; /* of a translation, between events; in the arena, NULL before the first */
} adapter_stream;

void adapter_stream_fini(adapter_stream *s);

typedef struct adapter_ops {
    const char *name;
    /* GW_ERR_UNSUPPORTED_PARAMETER and its like when the provider cannot do what is asked. */
    gw_status (*write_request)(const adapter_job *job, adapter_request *ret, gw_error *err);
    gw_status (*on_event)(adapter_stream *s, const gw_sse_event *e);
    /* The upstream ended its stream by the framing: GW_OK when the answer is whole all the same. */
    gw_status (*on_end)(adapter_stream *s);
    /* A whole JSON answer; *ret is `json` itself or a text in the job's arena. */
    gw_status (*on_answer)(adapter_stream *s, gw_str json, gw_str *ret);
    /* The same as the events of a stream, for providers that answer JSON although a stream was asked for. NULL: that is
     * not taken from them. */
    gw_status (*stream_answer)(adapter_stream *s, gw_str json);
    /* What an answer with an error status means for the caller; never GW_OK. Texts go to the job's arena. */
    void (*map_error)(const adapter_job *job, int status, bool is_json, gw_str body,
                      openai_error *ret);
} adapter_ops;

extern const adapter_ops adapter_openai;
extern const adapter_ops adapter_local;
extern const adapter_ops adapter_librechat;
extern const adapter_ops adapter_anthropic;
extern const adapter_ops adapter_google;

/* For callers who speak OpenAI's dialect. */
const adapter_ops *adapter_of(provider_kind kind);
/* For callers of `endpoint`. */
const adapter_ops *adapter_for(relay_endpoint endpoint, provider_kind kind);

/* ---- what adapters share ---- */

static inline gw_str adapter_credential(const adapter_job *job)
{
    return job->user_key.len > 0 ? job->user_key
                                 : provider_credential(job->target->provider, job->credential);
}

/* Output tokens to ask for: what the hold is for when the caller named none or a higher number; else the
 * caller's own, else the key's, never above the model's. 0: none is known. */
int64_t adapter_ceiling(const adapter_job *job);
/* The same for providers that need one: the route's default when none is known. */
int64_t adapter_ceiling_required(const adapter_job *job);
/* map_error of providers whose errors look like OpenAI's. */
void adapter_map_error(const adapter_job *job, int status, bool is_json, gw_str body,
                       openai_error *ret);
/* A body that was built, as the one part of the request. GW_ERR_NO_MEMORY also when a part of it is missing. */
GW_CHECK gw_status adapter_set_body(const adapter_job *job, json_builder *body,
                                    adapter_request *ret, gw_error *err);
/* Header list of an upstream request: content type, accept, credential, hop, trace context. */
GW_CHECK gw_status adapter_write_headers(const adapter_job *job, adapter_request *ret,
                                         gw_error *err);
/* The same of a question that no caller asked: which models there are for `credential`; "": none is sent. */
GW_CHECK gw_status adapter_write_listing_headers(gw_arena *arena, const provider_config *p,
                                                 gw_str credential,
                                                 gw_header headers[ADAPTER_HEADERS_MAX],
                                                 size_t *ret_count, gw_error *err);
/* Fills s->failure from `err` and returns its code. */
gw_status adapter_fail(adapter_stream *s, const gw_error *err);
/* The same from an error object of the provider. */
gw_status adapter_fail_inband(adapter_stream *s, gw_str json);
/* Where models are asked that can do nothing but chat. */
#define ADAPTER_CHAT_PATHS "/v1/chat/completions and /v1/messages"

/* Fails what had no `choices`: of whoever speaks another dialect. */
GW_CHECK gw_status adapter_check_choices(adapter_stream *s);
/* Fails a whole answer without a choice, too. Chunks may have none: that of the usage, and remarks about the prompt. */
GW_CHECK gw_status adapter_check_answer(adapter_stream *s);
void adapter_emit(adapter_stream *s, answer_event_kind kind, gw_str raw, gw_str data);
void adapter_emit_json(adapter_stream *s, answer_event_kind kind, gw_str json); /* frames it */
void adapter_emit_done(adapter_stream *s, gw_str raw);
/* A chat.completion (as on_answer returned it) as the events of a stream. */
gw_status adapter_stream_from_answer(adapter_stream *s, gw_str json);
/* stream_answer of the adapters that adapter_of() knows. */
gw_status adapter_stream_answer(adapter_stream *s, gw_str json);
