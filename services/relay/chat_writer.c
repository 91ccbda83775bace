#include "chat_writer.h"

#include <stdlib.h>

/* What a stream keeps between events at most: one large chunk shall not be held for minutes. */
#define KEPT_BYTES_MAX ((size_t)8 * 1024)

static void fini(void *arg)
{
    chat_writer *w = arg;

    gw_buf_fini(&w->out);
}

bool chat_writer_init(chat_writer *w, adapter_stream *s)
{
    *w = (chat_writer){.s = s};
    return gw_arena_defer(s->job->arena, fini, w);
}

bool chat_writer_failed(const chat_writer *w)
{
    return w->failed;
}

bool chat_writer_is_started(const chat_writer *w)
{
    return w->head.ptr != NULL;
}

static void append_names(gw_buf *out, const adapter_job *job, gw_str id, gw_str model,
                         const char *object)
{
    gw_buf_append_c(out, "\"id\":");
    gw_buf_append_json(out, id.len > 0 ? id : job->request_id);
    gw_buf_append_c(out, ",\"object\":\"");
    gw_buf_append_c(out, object);
    gw_buf_append_c(out, "\",\"created\":");
    gw_buf_append_int(out, job->created_s);
    gw_buf_append_c(out, ",\"model\":");
    gw_buf_append_json(out, model.len > 0 ? model : job->body->model);
}

void chat_writer_start(chat_writer *w, gw_str id, gw_str model)
{
    gw_buf_clear(&w->out);
    gw_buf_append_c(&w->out, "data: {");
    append_names(&w->out, w->s->job, id, model, "chat.completion.chunk");
    w->head = gw_arena_dup(w->s->job->arena, gw_buf_str(&w->out));
    w->failed |= gw_buf_failed(&w->out) || !w->head.ptr;
}

static void open_chunk(chat_writer *w)
{
    gw_buf_clear(&w->out);
    gw_buf_append_str(&w->out, w->head);
}

static void emit(chat_writer *w, answer_event_kind kind)
{
    const size_t before = strlen("data: "), after = strlen("\n\n");
    gw_str raw;

    gw_buf_append_c(&w->out, "\n\n");
    raw = gw_buf_str(&w->out);
    if (gw_buf_failed(&w->out))
        w->failed = true;
    else
        adapter_emit(w->s, kind, raw, gw_str_slice(raw, before, raw.len - after));
    if (w->out.cap > KEPT_BYTES_MAX)
        gw_buf_fini(&w->out);
}

void chat_writer_open(chat_writer *w, int64_t choice)
{
    open_chunk(w);
    gw_buf_append_c(&w->out, ",\"choices\":[{\"index\":");
    gw_buf_append_int(&w->out, choice);
    gw_buf_append_c(&w->out, ",\"delta\":{");
}

void chat_writer_close(chat_writer *w, answer_event_kind kind)
{
    gw_buf_append_c(&w->out, "},\"finish_reason\":null}]}");
    emit(w, kind);
}

void chat_writer_role(chat_writer *w, int64_t choice)
{
    chat_writer_open(w, choice);
    gw_buf_append_c(&w->out, "\"role\":\"assistant\",\"content\":\"\"");
    chat_writer_close(w, ANSWER_PREAMBLE);
}

void chat_writer_text(chat_writer *w, int64_t choice, const char *member, gw_str text)
{
    if (text.len == 0)
        return;
    usage_tap_text(w->s->tap, text);
    chat_writer_open(w, choice);
    gw_buf_append_char(&w->out, '"');
    gw_buf_append_c(&w->out, member);
    gw_buf_append_c(&w->out, "\":");
    gw_buf_append_json(&w->out, text);
    chat_writer_close(w, ANSWER_CONTENT);
}

static void open_call(chat_writer *w, int64_t choice, int64_t index)
{
    chat_writer_open(w, choice);
    gw_buf_append_c(&w->out, "\"tool_calls\":[{\"index\":");
    gw_buf_append_int(&w->out, index);
}

void chat_writer_call(chat_writer *w, int64_t choice, int64_t index, gw_str id, gw_str name,
                      gw_str arguments, gw_str extra)
{
    usage_tap_text(w->s->tap, name);
    usage_tap_text(w->s->tap, arguments);
    open_call(w, choice, index);
    gw_buf_append_c(&w->out, ",\"id\":");
    gw_buf_append_json(&w->out, id);
    gw_buf_append_c(&w->out, ",\"type\":\"function\",\"function\":{\"name\":");
    gw_buf_append_json(&w->out, name);
    gw_buf_append_c(&w->out, ",\"arguments\":");
    gw_buf_append_json(&w->out, arguments);
    gw_buf_append_char(&w->out, '}');
    gw_buf_append_str(&w->out, extra);
    gw_buf_append_c(&w->out, "}]");
    chat_writer_close(w, ANSWER_CONTENT);
}

void chat_writer_arguments(chat_writer *w, int64_t choice, int64_t index, gw_str text)
{
    usage_tap_text(w->s->tap, text);
    open_call(w, choice, index);
    gw_buf_append_c(&w->out, ",\"function\":{\"arguments\":");
    gw_buf_append_json(&w->out, text);
    gw_buf_append_c(&w->out, "}}]");
    chat_writer_close(w, ANSWER_CONTENT);
}

void chat_writer_finish(chat_writer *w, int64_t choice, const char *reason)
{
    usage_tap_finish(w->s->tap, gw_str_of(reason));
    open_chunk(w);
    gw_buf_append_c(&w->out, ",\"choices\":[{\"index\":");
    gw_buf_append_int(&w->out, choice);
    gw_buf_append_c(&w->out, ",\"delta\":{},\"finish_reason\":\"");
    gw_buf_append_c(&w->out, reason);
    gw_buf_append_c(&w->out, "\"}]}");
    emit(w, ANSWER_CONTENT);
}

static void append_count(gw_buf *out, const char *before, int64_t n)
{
    gw_buf_append_c(out, before);
    gw_buf_append_int(out, n);
}

static void append_usage(gw_buf *out, const chat_usage *usage)
{
    const token_counts *t = &usage->tokens;

    append_count(out, ",\"usage\":{\"prompt_tokens\":", t->prompt);
    append_count(out, ",\"completion_tokens\":", t->completion);
    append_count(out, ",\"total_tokens\":", t->prompt + t->completion);
    append_count(out, ",\"prompt_tokens_details\":{\"cached_tokens\":", t->cached);
    if (t->cache_write > 0)
        append_count(out, ",\"cache_creation_tokens\":", t->cache_write);
    append_count(out, "},\"completion_tokens_details\":{\"reasoning_tokens\":", t->reasoning);
    gw_buf_append_c(out, "}}");
}

void chat_writer_usage(chat_writer *w, const chat_usage *usage)
{
    open_chunk(w);
    gw_buf_append_c(&w->out, ",\"choices\":[]");
    append_usage(&w->out, usage);
    gw_buf_append_char(&w->out, '}');
    emit(w, ANSWER_USAGE);
}

/* ---- whole answers ---- */

void chat_answer_head(gw_buf *out, const adapter_job *job, gw_str id, gw_str model)
{
    gw_buf_append_char(out, '{');
    append_names(out, job, id, model, "chat.completion");
    gw_buf_append_c(out, ",\"choices\":[");
}

char *chat_json_text(yyjson_val *v, gw_str *ret, bool *failed)
{
    size_t len = 0;
    char *text = v ? yyjson_val_write(v, YYJSON_WRITE_NOFLAG, &len) : NULL;

    *ret = text ? gw_str_n(text, len) : GW_STR("{}");
    *failed |= v && !text;
    return text;
}

void chat_message_fini(chat_message *m)
{
    gw_buf_fini(&m->text);
    gw_buf_fini(&m->reasoning);
    gw_buf_fini(&m->calls);
    gw_buf_fini(&m->extra);
}

void chat_message_clear(chat_message *m)
{
    gw_buf_clear(&m->text);
    gw_buf_clear(&m->reasoning);
    gw_buf_clear(&m->calls);
    gw_buf_clear(&m->extra);
    m->call_count = 0;
}

bool chat_message_failed(const chat_message *m)
{
    return gw_buf_failed(&m->text) || gw_buf_failed(&m->reasoning) || gw_buf_failed(&m->calls) ||
           gw_buf_failed(&m->extra);
}

void chat_message_call(chat_message *m, usage_tap *tap, gw_str id, gw_str name, gw_str arguments,
                       gw_str extra)
{
    gw_buf *out = &m->calls;

    usage_tap_text(tap, name);
    usage_tap_text(tap, arguments);
    gw_buf_append_c(out, m->call_count++ > 0 ? ",{\"id\":" : "{\"id\":");
    gw_buf_append_json(out, id);
    gw_buf_append_c(out, ",\"type\":\"function\",\"function\":{\"name\":");
    gw_buf_append_json(out, name);
    gw_buf_append_c(out, ",\"arguments\":");
    gw_buf_append_json(out, arguments);
    gw_buf_append_char(out, '}');
    gw_buf_append_str(out, extra);
    gw_buf_append_char(out, '}');
}

void chat_answer_choice(gw_buf *out, usage_tap *tap, int64_t index, const chat_message *m,
                        const char *finish)
{
    usage_tap_text(tap, gw_buf_str(&m->text));
    usage_tap_text(tap, gw_buf_str(&m->reasoning));
    usage_tap_finish(tap, gw_str_of(finish));
    append_count(out, index > 0 ? ",{\"index\":" : "{\"index\":", index);
    gw_buf_append_c(out, ",\"message\":{\"role\":\"assistant\",\"content\":");
    if (m->text.len > 0 || m->call_count == 0)
        gw_buf_append_json(out, gw_buf_str(&m->text));
    else
        gw_buf_append_c(out, "null");
    gw_buf_append_c(out, ",\"refusal\":null");
    if (m->reasoning.len > 0) {
        gw_buf_append_c(out, ",\"reasoning_content\":");
        gw_buf_append_json(out, gw_buf_str(&m->reasoning));
    }
    gw_buf_append_str(out, gw_buf_str(&m->extra));
    if (m->call_count > 0) {
        gw_buf_append_c(out, ",\"tool_calls\":[");
        gw_buf_append_str(out, gw_buf_str(&m->calls));
        gw_buf_append_char(out, ']');
    }
    gw_buf_append_c(out, "},\"logprobs\":null,\"finish_reason\":\"");
    gw_buf_append_c(out, finish);
    gw_buf_append_c(out, "\"}");
}

void chat_answer_end(gw_buf *out, usage_tap *tap, const chat_usage *usage)
{
    gw_buf_append_char(out, ']');
    if (usage) {
        chat_usage_report(usage, tap);
        append_usage(out, usage);
    }
    gw_buf_append_char(out, '}');
}

gw_status chat_answer_take(adapter_stream *s, gw_buf *out, bool failed, gw_str *ret)
{
    gw_error err;

    *ret =
        failed || gw_buf_failed(out) ? GW_STR_NULL : gw_arena_dup(s->job->arena, gw_buf_str(out));
    if (ret->ptr)
        return GW_OK;
    (void)gw_fail(&err, GW_ERR_NO_MEMORY, "no memory for the answer");
    return adapter_fail(s, &err);
}

void chat_usage_report(const chat_usage *u, usage_tap *tap)
{
    usage_tap_report(tap, &u->tokens, u->tokens.prompt + u->tokens.completion);
}
