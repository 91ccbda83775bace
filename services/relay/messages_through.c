/*
 * Anthropic's dialect in and out: the body but for its splices, events and answers pass as they are. What is
 * looked at on the way are usage, text and how it ended.
 */
#include "anthropic.h"
#include "chat_request.h"
#include "messages.h"

#include <stdlib.h>

typedef struct tapped {
    anthropic_usage usage;
    bool began, finished; /* message_start came; the stop reason was told */
} tapped;

/* ---- request ---- */

/* Of the query only this goes up: beta clients ask for it, and it carries nothing else. */
static gw_str target_of(const adapter_job *job)
{
    const char *path = endpoint_describe(job->endpoint)->path + strlen("/v1");
    gw_str base = job->target->provider->base_path;
    const char *query = gw_str_eq_c(job->query, "beta=true") ? "?beta=true" : "";

    return gw_arena_printf(job->arena, "%.*s%s%s", GW_STR_ARG(base), path, query);
}

/* A budget that pays for a shorter answer may not pay for the thinking before it: Anthropic would say so, but of a
 * figure that the caller never gave. */
static gw_status check_thinking(const adapter_job *job, int64_t ceiling, gw_error *err)
{
    int64_t thinking;

    if (ceiling >= job->body->needs.max_tokens ||
        !json_count(yyjson_obj_get(job->body->root, "thinking"), "budget_tokens", &thinking) ||
        thinking < ceiling)
        return GW_OK;
    return gw_fail_field(
        err, GW_ERR_BUDGET_EXCEEDED, "thinking.budget_tokens",
        "what is left of the budget pays for %lld tokens of output, which is no more than "
        "'thinking.budget_tokens'",
        (long long)ceiling);
}

static gw_status write_request(const adapter_job *job, adapter_request *ret, gw_error *err)
{
    const route_target *to = job->target;
    bool is_message = job->endpoint == ENDPOINT_MESSAGES;
    int64_t ceiling = is_message ? adapter_ceiling(job) : 0;
    openai_splices splices = {
        .model = to->upstream_model,
        .max_tokens = ceiling == job->body->needs.max_tokens ? 0 : ceiling,
        .endpoint = job->endpoint,
    };
    gw_status rc = is_message ? check_thinking(job, ceiling, err) : GW_OK;

    if (rc != GW_OK)
        return rc;
    ret->upstream_model = to->upstream_model.len > 0 ? to->upstream_model : job->body->model;
    ret->target = target_of(job);
    if (!ret->target.ptr)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the upstream request");
    rc = openai_body_splice(job->arena, job->body, &splices, &ret->body, &ret->body_parts, err);
    return rc == GW_OK ? adapter_write_headers(job, ret, err) : rc;
}

/* ---- what is looked at ---- */

static gw_status fail(adapter_stream *s, gw_status code, const char *what)
{
    gw_error err;

    (void)gw_fail(&err, code, "%s", what);
    return adapter_fail(s, &err);
}

static void tap_usage(adapter_stream *s, tapped *t, yyjson_val *usage)
{
    chat_usage read;

    anthropic_usage_read(&t->usage, usage, s->tap);
    if (anthropic_usage_as_chat(&t->usage, &read))
        chat_usage_report(&read, s->tap);
}

static void tap_member(adapter_stream *s, yyjson_val *object, const char *name)
{
    gw_str text = chat_string(object, name);

    if (text.len > 0)
        usage_tap_text(s->tap, text);
}

/* A block, or a delta of one. */
static void tap_block(adapter_stream *s, yyjson_val *block)
{
    static const char *const texts[] = {"text", "thinking", "partial_json", "name"};
    yyjson_val *input = yyjson_obj_get(block, "input");
    gw_str json;
    bool failed = false;

    for (size_t i = 0; i < GW_ARRAY_LEN(texts); i++)
        tap_member(s, block, texts[i]);
    if (yyjson_obj_size(input) == 0)
        return;
    char *text = chat_json_text(input, &json, &failed);
    usage_tap_text(s->tap, json);
    free(text);
}

/* A text or thinking block opens empty; one of another kind says something by being there. */
static answer_event_kind tap_start(adapter_stream *s, yyjson_val *block)
{
    gw_str type = chat_string(block, "type");
    bool is_empty = (gw_str_eq_c(type, "text") && chat_string(block, "text").len == 0) ||
                    (gw_str_eq_c(type, "thinking") && chat_string(block, "thinking").len == 0);

    tap_block(s, block);
    return is_empty ? ANSWER_PREAMBLE : ANSWER_CONTENT;
}

static void tap_stop_reason(adapter_stream *s, tapped *t, yyjson_val *message)
{
    gw_str reason = chat_string(message, "stop_reason");

    if (reason.len == 0 || t->finished)
        return;
    t->finished = true;
    usage_tap_finish(s->tap, gw_str_of(anthropic_finish_of(reason)));
}

/* ---- events ---- */

static gw_status read_event(adapter_stream *s, tapped *t, yyjson_val *event, answer_event_kind *ret)
{
    gw_str type = chat_string(event, "type");

    *ret = ANSWER_PREAMBLE; /* ping, content_block_stop, and what comes after us */
    if (!yyjson_is_obj(event))
        return fail(s, GW_ERR_UPSTREAM_PROTOCOL,
                    "the provider sent something else than JSON objects");
    if (!t->began && !gw_str_eq_c(type, "message_start") && !gw_str_eq_c(type, "ping"))
        return fail(s, GW_ERR_UPSTREAM_PROTOCOL,
                    "the provider's stream did not begin with a message");
    if (gw_str_eq_c(type, "message_start")) {
        t->began = true;
        anthropic_usage_start(&t->usage, yyjson_obj_get(event, "message"), s->tap);
    } else if (gw_str_eq_c(type, "content_block_start")) {
        *ret = tap_start(s, yyjson_obj_get(event, "content_block"));
    } else if (gw_str_eq_c(type, "content_block_delta")) {
        *ret = ANSWER_CONTENT;
        tap_block(s, yyjson_obj_get(event, "delta"));
    } else if (gw_str_eq_c(type, "message_delta")) {
        *ret = ANSWER_CONTENT;
        tap_usage(s, t, json_last(event, "usage")); /* cumulative; the start's is too early */
        tap_stop_reason(s, t, yyjson_obj_get(event, "delta"));
    } else if (gw_str_eq_c(type, "message_stop")) {
        *ret = ANSWER_DONE;
        if (!t->finished)
            return fail(s, GW_ERR_UPSTREAM_PROTOCOL,
                        "the provider ended its message without a stop reason");
    }
    return GW_OK;
}

static bool is_error(yyjson_val *event)
{
    return yyjson_equals_str(yyjson_obj_get(event, "type"), "error") ||
           yyjson_is_obj(yyjson_obj_get(event, "error"));
}

static gw_status on_event(adapter_stream *s, const gw_sse_event *e)
{
    answer_event_kind kind = ANSWER_PREAMBLE;
    gw_status rc = GW_OK;
    yyjson_alc alc;

    /* Comments are signs of life, of which callers have their own; SDKs want JSON behind every name. */
    if (s->done || !e->data.ptr || e->data.len == 0)
        return GW_OK;
    if (!s->state)
        s->state = gw_arena_new_of(s->job->arena, tapped);
    if (!s->state)
        return fail(s, GW_ERR_NO_MEMORY, "no memory for the stream");
    yyjson_doc *doc = json_scratch_read(&s->tap->scratch, &alc, e->data);
    yyjson_val *event = yyjson_doc_get_root(doc);
    bool failed = is_error(event);
    if (!failed)
        rc = read_event(s, s->state, event, &kind);
    yyjson_doc_free(doc);
    if (failed)
        return anthropic_fail_inband(s, e->data);
    if (rc != GW_OK)
        return rc;
    if (kind == ANSWER_DONE)
        adapter_emit_done(s, e->raw);
    else
        adapter_emit(s, kind, e->raw, e->data);
    return GW_OK;
}

/* ---- answers ---- */

static gw_status tap_answer(adapter_stream *s, yyjson_val *message)
{
    yyjson_arr_iter it = yyjson_arr_iter_with(yyjson_obj_get(message, "content"));
    yyjson_val *block;
    tapped t = {0};

    if (!yyjson_equals_str(yyjson_obj_get(message, "type"), "message"))
        return fail(s, GW_ERR_UPSTREAM_PROTOCOL, "the provider's answer is no message");
    while ((block = yyjson_arr_iter_next(&it)))
        tap_block(s, block);
    tap_usage(s, &t, json_last(message, "usage"));
    tap_stop_reason(s, &t, message);
    return GW_OK;
}

static gw_status on_answer(adapter_stream *s, gw_str json, gw_str *ret)
{
    yyjson_doc *doc = yyjson_read(json.ptr, json.len, YYJSON_READ_NOFLAG);
    yyjson_val *root = yyjson_doc_get_root(doc);
    int64_t counted;
    gw_status rc = GW_OK;

    if (is_error(root))
        rc = anthropic_fail_inband(s, json);
    else if (s->job->endpoint == ENDPOINT_MESSAGES)
        rc = tap_answer(s, root);
    else if (!json_count(root, "input_tokens", &counted))
        rc = fail(s, GW_ERR_UPSTREAM_PROTOCOL, "the provider's answer is no count of tokens");
    yyjson_doc_free(doc);
    if (rc == GW_OK)
        *ret = json;
    return rc;
}

const adapter_ops messages_through = {
    .name = "anthropic",
    .write_request = write_request,
    .on_event = on_event,
    .on_end = anthropic_on_end,
    .on_answer = on_answer,
    .map_error = anthropic_map_error,
};
