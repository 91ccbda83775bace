/*
 * Chunks as Anthropic's events:
 *
 *     the first of them     message_start               (preamble)
 *     a delta               content_block_start of its kind, unless such a block is open, after the stop of another
 *                           content_block_delta
 *     finish_reason, usage  remembered
 *     [DONE]                content_block_stop, message_delta; message_stop, which is withheld; nothing of it when a
 *                           call's arguments are no JSON object
 *
 * Blocks come one after the other, so a provider that goes back to a call it has left cannot be followed.
 */
#include "chat_request.h"
#include "messages_front.h"

#include <stdlib.h>

/* What a stream keeps between chunks at most. */
#define KEPT_BYTES_MAX ((size_t)8 * 1024)
/* Of one call: no request that brings the call back holds more. */
#define ARGUMENTS_MAX ((size_t)32 * 1024 * 1024)

typedef enum block_kind { BLOCK_NONE, BLOCK_TEXT, BLOCK_THINKING, BLOCK_CALL } block_kind;

void messages_events_init(messages_events *w, adapter_stream *s)
{
    *w = (messages_events){.s = s};
}

void messages_events_fini(messages_events *w)
{
    gw_buf_fini(&w->out);
    gw_buf_fini(&w->arguments);
}

static void fail(messages_events *w, gw_status code, const char *what)
{
    if (w->rc == GW_OK)
        w->rc = gw_fail(&w->err, code, "%s", what);
}

/* ---- events ---- */

static void open_event(messages_events *w, const char *name)
{
    gw_buf_append_c(&w->out, "event: ");
    gw_buf_append_c(&w->out, name);
    gw_buf_append_c(&w->out, "\ndata: {\"type\":\"");
    gw_buf_append_c(&w->out, name);
    gw_buf_append_char(&w->out, '"');
}

static void close_event(messages_events *w, const char *rest)
{
    gw_buf_append_c(&w->out, rest);
    gw_buf_append_c(&w->out, "}\n\n");
}

static void append_member(messages_events *w, const char *before, gw_str text)
{
    gw_buf_append_c(&w->out, before);
    gw_buf_append_json(&w->out, text);
}

static void append_index(messages_events *w)
{
    gw_buf_append_c(&w->out, ",\"index\":");
    gw_buf_append_int(&w->out, w->blocks - 1);
}

static void start(messages_events *w, gw_str id, gw_str model)
{
    const adapter_job *job = w->s->job;

    if (w->started)
        return;
    w->started = true;
    open_event(w, "message_start");
    append_member(w, ",\"message\":{\"id\":", id.len > 0 ? id : job->request_id);
    gw_buf_append_c(&w->out, ",\"type\":\"message\",\"role\":\"assistant\"");
    append_member(w, ",\"model\":", model.len > 0 ? model : job->body->model);
    /* The prompt's tokens are known at the end only; message_delta is cumulative. */
    gw_buf_append_c(&w->out, ",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,"
                             "\"usage\":{\"input_tokens\":0,\"cache_creation_input_tokens\":0,"
                             "\"cache_read_input_tokens\":0,\"output_tokens\":0}}");
    close_event(w, "");
}

static void empty(gw_buf *b)
{
    if (b->cap > KEPT_BYTES_MAX)
        gw_buf_fini(b);
    gw_buf_clear(b);
}

static void keep_arguments(messages_events *w, gw_str more)
{
    if (more.len > ARGUMENTS_MAX - w->arguments.len)
        fail(w, GW_ERR_UPSTREAM_PROTOCOL, "the provider called a tool with too long arguments");
    else
        gw_buf_append_str(&w->arguments, more);
}

static void end_arguments(messages_events *w)
{
    if (gw_buf_failed(&w->arguments))
        fail(w, GW_ERR_NO_MEMORY, "no memory for the stream");
    else if (!messages_are_arguments(gw_buf_str(&w->arguments)))
        w->has_bad_arguments = true;
    empty(&w->arguments);
}

static void stop_block(messages_events *w)
{
    if (w->block == BLOCK_NONE)
        return;
    if (w->block == BLOCK_CALL)
        end_arguments(w);
    open_event(w, "content_block_stop");
    append_index(w);
    close_event(w, "");
    w->block = BLOCK_NONE;
}

static void open_block(messages_events *w, block_kind kind, const char *type)
{
    stop_block(w);
    w->block = (int)kind;
    w->blocks++;
    open_event(w, "content_block_start");
    append_index(w);
    gw_buf_append_c(&w->out, ",\"content_block\":{\"type\":\"");
    gw_buf_append_c(&w->out, type);
    gw_buf_append_char(&w->out, '"');
}

static void write_delta(messages_events *w, const char *type, const char *member, gw_str text)
{
    open_event(w, "content_block_delta");
    append_index(w);
    gw_buf_append_c(&w->out, ",\"delta\":{\"type\":\"");
    gw_buf_append_c(&w->out, type);
    gw_buf_append_c(&w->out, "\",\"");
    gw_buf_append_c(&w->out, member);
    append_member(w, "\":", text);
    close_event(w, "}");
}

/* ---- content ---- */

static void write_text(messages_events *w, gw_str text)
{
    if (text.len == 0)
        return;
    if (w->block != BLOCK_TEXT) {
        open_block(w, BLOCK_TEXT, "text");
        close_event(w, ",\"text\":\"\"}");
    }
    write_delta(w, "text_delta", "text", text);
}

static void write_thinking(messages_events *w, gw_str text)
{
    if (text.len == 0)
        return;
    if (w->block != BLOCK_THINKING) {
        open_block(w, BLOCK_THINKING, "thinking");
        close_event(w, ",\"thinking\":\"\",\"signature\":\"\"}");
    }
    write_delta(w, "thinking_delta", "thinking", text);
}

/* Of a call, or of a delta: both carry it the same way. */
static void write_signature(messages_events *w, yyjson_val *from)
{
    yyjson_val *google = yyjson_obj_get(yyjson_obj_get(from, "extra_content"), "google");
    gw_str signature = chat_string(google, "thought_signature");
    gw_auto_buf data = {0};

    if (signature.len == 0)
        return;
    gw_buf_append_c(&data, MESSAGES_SIGNATURE_MARK);
    gw_buf_append_str(&data, signature);
    open_block(w, BLOCK_THINKING, "redacted_thinking");
    append_member(w, ",\"data\":", gw_buf_str(&data));
    close_event(w, "}");
    stop_block(w);
    w->out.failed |= gw_buf_failed(&data);
}

static void start_call(messages_events *w, yyjson_val *call, gw_str id, int64_t index)
{
    w->has_calls = messages_calls_are_the_callers(w->s);
    write_signature(w, call);
    open_block(w, BLOCK_CALL, "tool_use");
    append_member(w, ",\"id\":", id);
    append_member(w, ",\"name\":", chat_string(yyjson_obj_get(call, "function"), "name"));
    close_event(w, ",\"input\":{}}");
    w->call = index;
    w->call_id = gw_arena_dup(w->s->job->arena, id);
}

static void write_call(messages_events *w, yyjson_val *call)
{
    yyjson_val *function = yyjson_obj_get(call, "function");
    gw_str id = chat_string(call, "id"), arguments;
    int64_t index = yyjson_get_sint(yyjson_obj_get(call, "index"));
    bool is_open =
        w->block == BLOCK_CALL && index == w->call && (id.len == 0 || gw_str_eq(id, w->call_id));

    if (!is_open && (id.len == 0 || chat_string(function, "name").len == 0)) {
        fail(w, GW_ERR_UPSTREAM_PROTOCOL, "the provider continued a tool call that is not open");
        return;
    }
    if (!is_open)
        start_call(w, call, id, index);
    char *owned = messages_arguments_of(function, &arguments, &w->out.failed);
    if (arguments.len > 0) {
        keep_arguments(w, arguments);
        write_delta(w, "input_json_delta", "partial_json", arguments);
    }
    free(owned);
}

static void write_content(void *arg, bool is_thought, gw_str text)
{
    if (is_thought)
        write_thinking(arg, text);
    else
        write_text(arg, text);
}

static void write_choice(messages_events *w, yyjson_val *choice)
{
    yyjson_val *delta = yyjson_obj_get(choice, "delta"), *call;
    yyjson_arr_iter calls = yyjson_arr_iter_with(yyjson_obj_get(delta, "tool_calls"));
    gw_str reasoning = chat_string(delta, "reasoning_content");
    gw_str finish = chat_string(choice, "finish_reason");
    gw_str sequence = chat_string(choice, "stop_reason"); /* vLLM */

    write_thinking(w, reasoning.ptr ? reasoning : chat_string(delta, "reasoning"));
    write_signature(w, delta);
    content_each_text(yyjson_obj_get(delta, "content"), write_content, w);
    write_text(w, chat_string(delta, "refusal"));
    while ((call = yyjson_arr_iter_next(&calls)))
        write_call(w, call);
    if (finish.len == 0 || w->stop_reason)
        return;
    w->stop_reason = messages_stop_of(finish, w->has_calls);
    if (gw_str_eq_c(finish, "stop") && sequence.len > 0) {
        w->stop_reason = "stop_sequence";
        w->stop_sequence = gw_arena_dup(w->s->job->arena, sequence);
    }
}

/* ---- chunks ---- */

static void emit(messages_events *w, answer_event_kind kind)
{
    gw_str raw = gw_buf_str(&w->out);

    if (gw_buf_failed(&w->out))
        fail(w, GW_ERR_NO_MEMORY, "no memory for the stream");
    else if (w->rc == GW_OK && raw.len > 0)
        adapter_emit(w->s, kind, raw, GW_STR(""));
    empty(&w->out);
}

static void take_chunk(messages_events *w, const answer_event *e)
{
    yyjson_doc *doc = yyjson_read(e->data.ptr, e->data.len, YYJSON_READ_NOFLAG);
    yyjson_val *root = yyjson_doc_get_root(doc);
    yyjson_arr_iter choices = yyjson_arr_iter_with(yyjson_obj_get(root, "choices"));
    yyjson_val *choice;

    if (!doc) /* the adapter has read it, or written it */
        fail(w, GW_ERR_NO_MEMORY, "no memory for the stream");
    start(w, chat_string(root, "id"), chat_string(root, "model"));
    while ((choice = yyjson_arr_iter_next(&choices)))
        write_choice(w, choice);
    yyjson_doc_free(doc);
    emit(w, e->kind == ANSWER_CONTENT ? ANSWER_CONTENT : ANSWER_PREAMBLE);
}

void messages_events_end(messages_events *w)
{
    if (w->s->done || w->rc != GW_OK)
        return;
    start(w, GW_STR(""), GW_STR(""));
    stop_block(w);
    if (w->has_bad_arguments && (!w->stop_reason || strcmp(w->stop_reason, "max_tokens") != 0))
        fail(w, GW_ERR_UPSTREAM_PROTOCOL, MESSAGES_BAD_ARGUMENTS);
    open_event(w, "message_delta");
    gw_buf_append_c(&w->out, ",\"delta\":{\"stop_reason\":\"");
    gw_buf_append_c(&w->out,
                    w->stop_reason ? w->stop_reason : messages_stop_of(GW_STR(""), w->has_calls));
    gw_buf_append_c(&w->out, "\",\"stop_sequence\":");
    if (w->stop_sequence.ptr)
        gw_buf_append_json(&w->out, w->stop_sequence);
    else
        gw_buf_append_c(&w->out, "null");
    gw_buf_append_c(&w->out, "},");
    messages_append_usage(&w->out, w->s);
    close_event(w, "");
    emit(w, ANSWER_PREAMBLE);
    if (w->rc == GW_OK)
        adapter_emit_done(w->s,
                          GW_STR("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"));
}

void messages_events_take(void *arg, const answer_event *e)
{
    messages_events *w = arg;

    if (w->rc != GW_OK || w->s->done)
        return;
    if (e->kind == ANSWER_COMMENT) /* a sign of life, of which callers have their own */
        return;
    if (e->kind == ANSWER_DONE)
        messages_events_end(w);
    else
        take_chunk(w, e);
}
