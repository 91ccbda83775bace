/*
 * The front of Anthropic's dialect before the adapters of other providers (messages.h): its parts.
 *
 * What only Google has goes there and back in a block of a kind that callers return unread: the signature of a thought is the
 * data of a redacted_thinking block, behind "google:".
 *
 * Thread: the loop's.
 */
#pragma once

#include "adapter_params.h"
#include "chat_request.h"
#include "messages.h"

#define MESSAGES_SIGNATURE_MARK "google:"

/* ---- request ---- */

/* Where the messages of the chat request come from, for errors: an index into the caller's `messages` each. */
typedef struct messages_origins {
    gw_buf indexes; /* of size_t */
} messages_origins;
#define MESSAGES_ORIGIN_SYSTEM SIZE_MAX

/* messages_request.c: writes the caller's request as a chat request. Errors name the caller's members. */
GW_CHECK gw_status messages_write_chat(adapter_params *params, json_builder *body,
                                       messages_origins *origins, gw_error *err);

/* messages_turns.c: adds `messages` to `root`. */
GW_CHECK gw_status messages_write_turns(adapter_params *params, json_builder *body,
                                        yyjson_mut_val *root, messages_origins *origins,
                                        gw_error *err);

/* What messages_turns.c and messages_blocks.c share. */
typedef struct messages_turns {
    adapter_params *params;
    json_builder *body;
    yyjson_mut_doc *doc; /* the builder's */
    yyjson_mut_val *messages;
    messages_origins *origins;
    chat_place at;
    gw_str signature; /* of a thought, for the call that follows; ptr NULL: none */
} messages_turns;

gw_status messages_unsupported(messages_turns *t, gw_error *err, const char *what);
gw_status messages_invalid(messages_turns *t, gw_error *err, const char *what);
/* A text that was put together and goes. */
void messages_set_buf(messages_turns *t, yyjson_mut_val *to, const char *name, const gw_buf *text);
yyjson_mut_val *messages_add_part(messages_turns *t, yyjson_mut_val *parts, const char *type);

/* messages_blocks.c: a block of the user's turn, or of a tool's result, as a part. */
GW_CHECK gw_status messages_add_block(messages_turns *t, yyjson_mut_val *parts, yyjson_val *block,
                                      gw_error *err);
/* The text of a system prompt or of a result: a string, or blocks, of which those without text go to `rest`; NULL: they are
 * refused. */
GW_CHECK gw_status messages_join_text(messages_turns *t, yyjson_val *content, yyjson_mut_val *rest,
                                      gw_buf *out, gw_error *err);

/* ---- answers ---- */

/*
 * Anthropic's stop reason for a finish reason. `has_calls`: of tools that the caller is to run; of a model that was told to call one
 * OpenAI and vLLM say "stop".
 */
const char *messages_stop_of(gw_str finish_reason, bool has_calls);
/* Not LibreChat's, which has run them already. */
bool messages_calls_are_the_callers(const adapter_stream *s);
/* Appends `"usage":{…}`: what the tap was told, else estimates, since the form has no way of not knowing. */
void messages_append_usage(gw_buf *out, const adapter_stream *s);

/*
 * A call's arguments as text. Some servers send them as the object that the text should be of. Freed with free(), may be NULL;
 * *failed is set when out of memory.
 */
char *messages_arguments_of(yyjson_val *function, gw_str *ret, bool *failed);
/* Whether a call's arguments can stand in a message, which has a place for objects only; none are the empty one. */
bool messages_are_arguments(gw_str json);
/* Of the others: what the answer fails with. */
#define MESSAGES_BAD_ARGUMENTS "the provider called a tool with arguments that are no JSON object"

/* messages_answer.c: a chat.completion as a message; *ret lives in the job's arena. */
GW_CHECK gw_status messages_from_completion(adapter_stream *s, gw_str json, gw_str *ret);

/*
 * messages_events.c: chunks as events. One buffer a stream, emitted once a chunk; the first failure sticks and is looked
 * at after the adapter's call. The arguments of the open call are kept until it ends: a stream whose calls have others than a
 * message may have (messages_are_arguments()) fails at its end, as the whole answer does, unless it was cut.
 */
typedef struct messages_events {
    adapter_stream *s; /* the caller's side */
    gw_buf out;
    bool started;
    int block; /* what kind of block is open */
    int64_t blocks; /* begun so far */
    int64_t call; /* index of the open call in its chunks */
    gw_str call_id;
    gw_buf arguments; /* of the open call, so far */
    bool has_calls;
    bool has_bad_arguments; /* a call that has ended */
    const char *stop_reason; /* NULL: not told */
    gw_str stop_sequence; /* ptr NULL: none */
    gw_status rc;
    gw_error err;
} messages_events;

void messages_events_init(messages_events *w, adapter_stream *s);
void messages_events_fini(messages_events *w);
/* emit() of the adapter behind; `arg` is the messages_events. */
void messages_events_take(void *arg, const answer_event *e);
/* The end of an adapter's stream that had no [DONE]. Nothing happens after it had one. */
void messages_events_end(messages_events *w);
