/*
 * Anthropic's events as chunks:
 *
 *     message_start        role                  (preamble)
 *     content_block_start  tool_use: a call with its id and name
 *     content_block_delta  text, thinking, arguments
 *     content_block_stop   tool_use without any: arguments "{}"
 *     message_delta        finish reason; usage
 *     message_stop         usage, [DONE]
 *
 * Blocks come one after the other; deltas for one that is not open are a fault of the provider's.
 */
#include "anthropic.h"
#include "chat_request.h"

#include <stdlib.h>

typedef enum block_kind {
    BLOCK_NONE,
    BLOCK_TEXT,
    BLOCK_CALL,
    BLOCK_THINKING,
    BLOCK_OTHER
} block_kind;

typedef struct stream {
    chat_writer writer;
    anthropic_usage usage;
    block_kind block; /* the open one */
    int64_t block_index;
    int64_t calls, thinkings; /* blocks of that kind so far */
    bool has_arguments; /* of the open call */
    bool finished; /* the stop reason was told */
} stream;

static stream *stream_of(adapter_stream *s)
{
    if (!s->state) {
        stream *new = gw_arena_new_of(s->job->arena, stream);
        if (new &&chat_writer_init(&new->writer, s))
            s->state = new;
    }
    return s->state;
}

static gw_status fail_protocol(adapter_stream *s, const char *what)
{
    gw_error err;

    (void)gw_fail(&err, GW_ERR_UPSTREAM_PROTOCOL, "%s", what);
    return adapter_fail(s, &err);
}

/* ---- content blocks ---- */

static gw_status start_message(adapter_stream *s, stream *t, yyjson_val *event)
{
    yyjson_val *message = yyjson_obj_get(event, "message");

    if (chat_writer_is_started(&t->writer))
        return fail_protocol(s, "the provider began a second message");
    chat_writer_start(&t->writer, chat_string(message, "id"), chat_string(message, "model"));
    anthropic_usage_start(&t->usage, message, s->tap);
    chat_writer_role(&t->writer, 0);
    return GW_OK;
}

/* thinking_blocks of a delta carry an index, so that callers can put the pieces together. */
static void open_thinking(stream *t, const char *type)
{
    gw_buf *out = &t->writer.out;

    gw_buf_append_c(out, "\"thinking_blocks\":[{\"index\":");
    gw_buf_append_int(out, t->thinkings - 1);
    gw_buf_append_c(out, ",\"type\":\"");
    gw_buf_append_c(out, type);
    gw_buf_append_char(out, '"');
}

static void write_thinking_member(stream *t, const char *type, const char *member, gw_str value)
{
    gw_buf *out = &t->writer.out;

    if (value.len == 0)
        return;
    chat_writer_open(&t->writer, 0);
    open_thinking(t, type);
    gw_buf_append_c(out, ",\"");
    gw_buf_append_c(out, member);
    gw_buf_append_c(out, "\":");
    gw_buf_append_json(out, value);
    gw_buf_append_c(out, "}]");
    chat_writer_close(&t->writer, ANSWER_CONTENT);
}

static void write_thinking(stream *t, gw_str text)
{
    gw_buf *out = &t->writer.out;

    if (text.len == 0)
        return;
    usage_tap_text(t->writer.s->tap, text);
    chat_writer_open(&t->writer, 0);
    gw_buf_append_c(out, "\"reasoning_content\":");
    gw_buf_append_json(out, text);
    gw_buf_append_char(out, ',');
    open_thinking(t, "thinking");
    gw_buf_append_c(out, ",\"thinking\":");
    gw_buf_append_json(out, text);
    gw_buf_append_c(out, "}]");
    chat_writer_close(&t->writer, ANSWER_CONTENT);
}

/* Some upstreams give the whole input at once, where Anthropic has {}. */
static void start_call(stream *t, yyjson_val *block)
{
    yyjson_val *input = yyjson_obj_get(block, "input");
    gw_str json = GW_STR("");
    char *text = NULL;

    t->has_arguments = yyjson_obj_size(input) > 0;
    if (t->has_arguments)
        text = chat_json_text(input, &json, &t->writer.failed);
    t->block = BLOCK_CALL;
    chat_writer_call(&t->writer, 0, t->calls++, chat_string(block, "id"),
                     chat_string(block, "name"), json, GW_STR(""));
    free(text);
}

static gw_status start_block(adapter_stream *s, stream *t, yyjson_val *event)
{
    yyjson_val *block = yyjson_obj_get(event, "content_block");
    gw_str type = chat_string(block, "type");

    if (t->block != BLOCK_NONE)
        return fail_protocol(s, "the provider began a content block within another");
    t->block = BLOCK_OTHER;
    t->block_index = yyjson_get_sint(yyjson_obj_get(event, "index"));
    if (gw_str_eq_c(type, "text")) {
        t->block = BLOCK_TEXT;
        chat_writer_text(&t->writer, 0, "content", chat_string(block, "text"));
    } else if (gw_str_eq_c(type, "tool_use")) {
        start_call(t, block);
    } else if (gw_str_eq_c(type, "thinking")) {
        t->block = BLOCK_THINKING;
        t->thinkings++;
        write_thinking(t, chat_string(block, "thinking"));
    } else if (gw_str_eq_c(type, "redacted_thinking")) {
        t->thinkings++;
        write_thinking_member(t, "redacted_thinking", "data", chat_string(block, "data"));
    }
    return GW_OK;
}

static gw_status read_delta(adapter_stream *s, stream *t, yyjson_val *event)
{
    yyjson_val *delta = yyjson_obj_get(event, "delta");
    gw_str type = chat_string(delta, "type");
    gw_str partial = chat_string(delta, "partial_json");

    if (t->block == BLOCK_NONE || yyjson_get_sint(yyjson_obj_get(event, "index")) != t->block_index)
        return fail_protocol(s, "the provider continued a content block that is not open");
    if (t->block == BLOCK_TEXT && gw_str_eq_c(type, "text_delta")) {
        chat_writer_text(&t->writer, 0, "content", chat_string(delta, "text"));
    } else if (t->block == BLOCK_CALL && gw_str_eq_c(type, "input_json_delta")) {
        t->has_arguments |= partial.len > 0;
        if (partial.len > 0)
            chat_writer_arguments(&t->writer, 0, t->calls - 1, partial);
    } else if (t->block == BLOCK_THINKING && gw_str_eq_c(type, "thinking_delta")) {
        write_thinking(t, chat_string(delta, "thinking"));
    } else if (t->block == BLOCK_THINKING && gw_str_eq_c(type, "signature_delta")) {
        write_thinking_member(t, "thinking", "signature", chat_string(delta, "signature"));
    }
    return GW_OK; /* citations, and what comes after us */
}

static gw_status stop_block(adapter_stream *s, stream *t, yyjson_val *event)
{
    (void)s;
    (void)event;
    /* No parameters: callers parse the arguments all the same. */
    if (t->block == BLOCK_CALL && !t->has_arguments)
        chat_writer_arguments(&t->writer, 0, t->calls - 1, GW_STR("{}"));
    t->block = BLOCK_NONE;
    return GW_OK;
}

/* ---- the end ---- */

static gw_status read_message_delta(adapter_stream *s, stream *t, yyjson_val *event)
{
    gw_str reason = chat_string(yyjson_obj_get(event, "delta"), "stop_reason");
    chat_usage usage;

    anthropic_usage_read(&t->usage, json_last(event, "usage"), s->tap);
    /* Not before: message_start counts only the first tokens of the output. */
    if (anthropic_usage_as_chat(&t->usage, &usage))
        chat_usage_report(&usage, s->tap);
    if (reason.len > 0 && !t->finished) {
        t->finished = true;
        chat_writer_finish(&t->writer, 0, anthropic_finish_of(reason));
    }
    return GW_OK;
}

static gw_status stop_message(adapter_stream *s, stream *t, yyjson_val *event)
{
    chat_usage usage;

    (void)event;
    if (!t->finished)
        return fail_protocol(s, "the provider ended its message without a stop reason");
    if (s->tap->has_usage && anthropic_usage_as_chat(&t->usage, &usage))
        chat_writer_usage(&t->writer, &usage);
    adapter_emit_done(s, GW_STR("data: [DONE]\n\n"));
    return GW_OK;
}

/* ---- events ---- */

static gw_status read_event(adapter_stream *s, stream *t, yyjson_val *event)
{
    static const struct {
        const char *type;
        gw_status (*read)(adapter_stream *s, stream *t, yyjson_val *event);
    } events[] = {
        {"content_block_delta", read_delta},   {"content_block_start", start_block},
        {"content_block_stop", stop_block},    {"message_start", start_message},
        {"message_delta", read_message_delta}, {"message_stop", stop_message},
    };
    gw_str type = chat_string(event, "type");

    if (!yyjson_is_obj(event))
        return fail_protocol(s, "the provider sent something else than JSON objects");
    for (size_t i = 0; i < GW_ARRAY_LEN(events); i++) {
        if (!gw_str_eq_c(type, events[i].type))
            continue;
        if (events[i].read != start_message && !chat_writer_is_started(&t->writer))
            return fail_protocol(s, "the provider's stream did not begin with a message");
        return events[i].read(s, t, event);
    }
    return GW_OK; /* ping, and what comes after us */
}

static bool is_error(yyjson_val *event)
{
    return yyjson_equals_str(yyjson_obj_get(event, "type"), "error") ||
           yyjson_is_obj(yyjson_obj_get(event, "error"));
}

gw_status anthropic_on_event(adapter_stream *s, const gw_sse_event *e)
{
    stream *t = stream_of(s);
    yyjson_alc alc;
    GW_UNINITIALIZED gw_error err;

    if (s->done || !e->data.ptr || gw_str_starts_with(e->data, GW_STR("[DONE]")))
        return GW_OK; /* only message_stop ends a message */
    yyjson_doc *doc = json_scratch_read(&s->tap->scratch, &alc, e->data);
    yyjson_val *event = yyjson_doc_get_root(doc);
    bool failed = is_error(event);
    gw_status rc = GW_OK;
    if (!t)
        rc = gw_fail(&err, GW_ERR_NO_MEMORY, "no memory for the stream");
    else if (!failed)
        rc = read_event(s, t, event);
    yyjson_doc_free(doc);
    if (!t)
        return adapter_fail(s, &err);
    if (failed)
        return anthropic_fail_inband(s, e->data);
    if (rc == GW_OK && chat_writer_failed(&t->writer)) {
        (void)gw_fail(&err, GW_ERR_NO_MEMORY, "no memory for the stream");
        return adapter_fail(s, &err);
    }
    return rc;
}

gw_status anthropic_on_end(adapter_stream *s)
{
    gw_error err;

    if (s->done)
        return GW_OK;
    (void)gw_fail(&err, GW_ERR_UPSTREAM_CUT, "the provider's stream ended in mid-answer");
    return adapter_fail(s, &err);
}
