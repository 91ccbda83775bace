/* Whole answers of the other providers as messages, and what streams share with them. */
#include "chat_request.h"
#include "chat_writer.h"
#include "messages_front.h"

#include <stdlib.h>

const char *messages_stop_of(gw_str finish_reason, bool has_calls)
{
    static const struct {
        const char *openai, *anthropic;
    } reasons[] = {
        {"length", "max_tokens"},
        {"tool_calls", "tool_use"},
        {"function_call", "tool_use"},
        {"content_filter", "refusal"},
    };

    for (size_t i = 0; i < GW_ARRAY_LEN(reasons); i++)
        if (gw_str_eq_c(finish_reason, reasons[i].openai))
            return reasons[i].anthropic;
    return has_calls ? "tool_use" : "end_turn";
}

bool messages_calls_are_the_callers(const adapter_stream *s)
{
    return s->job->target->provider->kind != PROVIDER_LIBRECHAT;
}

static void append_count(gw_buf *out, const char *before, int64_t n)
{
    gw_buf_append_c(out, before);
    gw_buf_append_int(out, n);
}

void messages_append_usage(gw_buf *out, const adapter_stream *s)
{
    token_counts t = s->tap->tokens;

    if (!s->tap->has_usage)
        t = (token_counts){.prompt = s->job->prompt_estimate,
                           .completion = text_size_tokens(&s->tap->completion)};
    append_count(out, "\"usage\":{\"input_tokens\":", t.prompt - t.cached - t.cache_write);
    append_count(out, ",\"cache_creation_input_tokens\":", t.cache_write);
    append_count(out, ",\"cache_read_input_tokens\":", t.cached);
    append_count(out, ",\"output_tokens\":", t.completion);
    if (t.reasoning > 0) {
        append_count(out, ",\"output_tokens_details\":{\"thinking_tokens\":", t.reasoning);
        gw_buf_append_char(out, '}');
    }
    gw_buf_append_char(out, '}');
}

/* ---- content ---- */

typedef struct writing {
    gw_buf out;
    int64_t blocks;
} writing;

static void open_block(writing *w, const char *type)
{
    gw_buf_append_c(&w->out, w->blocks++ > 0 ? ",{\"type\":\"" : "{\"type\":\"");
    gw_buf_append_c(&w->out, type);
    gw_buf_append_char(&w->out, '"');
}

static void append_member(writing *w, const char *before, gw_str text)
{
    gw_buf_append_c(&w->out, before);
    gw_buf_append_json(&w->out, text);
}

static void append_thinking(writing *w, gw_str text)
{
    if (text.len == 0)
        return;
    open_block(w, "thinking");
    append_member(w, ",\"thinking\":", text);
    gw_buf_append_c(&w->out, ",\"signature\":\"\"}");
}

static void append_text(writing *w, gw_str text)
{
    if (text.len == 0)
        return;
    open_block(w, "text");
    append_member(w, ",\"text\":", text);
    gw_buf_append_char(&w->out, '}');
}

static void append_part(void *arg, bool is_thought, gw_str text)
{
    if (is_thought)
        append_thinking(arg, text);
    else
        append_text(arg, text);
}

/* Of a call, or of the message: both carry it the same way. */
static void append_signature(writing *w, yyjson_val *from)
{
    yyjson_val *google = yyjson_obj_get(yyjson_obj_get(from, "extra_content"), "google");
    gw_str signature = chat_string(google, "thought_signature");
    gw_auto_buf data = {0};

    if (signature.len == 0)
        return;
    gw_buf_append_c(&data, MESSAGES_SIGNATURE_MARK);
    gw_buf_append_str(&data, signature);
    open_block(w, "redacted_thinking");
    append_member(w, ",\"data\":", gw_buf_str(&data));
    gw_buf_append_char(&w->out, '}');
    w->out.failed |= gw_buf_failed(&data);
}

bool messages_are_arguments(gw_str json)
{
    if (gw_str_trim(json).len == 0)
        return true;
    yyjson_doc *doc = yyjson_read(json.ptr, json.len, YYJSON_READ_NOFLAG);
    bool is = yyjson_is_obj(yyjson_doc_get_root(doc));

    yyjson_doc_free(doc);
    return is;
}

char *messages_arguments_of(yyjson_val *function, gw_str *ret, bool *failed)
{
    yyjson_val *given = yyjson_obj_get(function, "arguments");

    *ret = chat_string(function, "arguments");
    return given && !yyjson_is_str(given) && !yyjson_is_null(given)
               ? chat_json_text(given, ret, failed)
               : NULL;
}

/* False when the arguments are none. Those of an answer that was cut are left out. */
static bool append_call(writing *w, yyjson_val *call, bool was_cut)
{
    yyjson_val *function = yyjson_obj_get(call, "function");
    gw_str input;
    char *owned = messages_arguments_of(function, &input, &w->out.failed);
    bool is_whole = messages_are_arguments(input);

    if (!is_whole && !was_cut) {
        free(owned);
        return false;
    }
    append_signature(w, call);
    open_block(w, "tool_use");
    append_member(w, ",\"id\":", chat_string(call, "id"));
    append_member(w, ",\"name\":", chat_string(function, "name"));
    gw_buf_append_c(&w->out, ",\"input\":");
    input = gw_str_trim(input);
    gw_buf_append_str(&w->out, is_whole && input.len > 0 ? input : GW_STR("{}"));
    gw_buf_append_char(&w->out, '}');
    free(owned);
    return true;
}

static bool append_content(writing *w, yyjson_val *message, bool was_cut)
{
    yyjson_arr_iter it = yyjson_arr_iter_with(yyjson_obj_get(message, "tool_calls"));
    gw_str reasoning = chat_string(message, "reasoning_content");
    yyjson_val *call;

    append_thinking(w, reasoning.ptr ? reasoning : chat_string(message, "reasoning"));
    append_signature(w, message);
    content_each_text(yyjson_obj_get(message, "content"), append_part, w);
    append_text(w, chat_string(message, "refusal"));
    while ((call = yyjson_arr_iter_next(&it)))
        if (!append_call(w, call, was_cut))
            return false;
    return true;
}

/* vLLM says which sequence it stopped at. */
static void append_stop(writing *w, yyjson_val *choice, gw_str finish, bool has_calls)
{
    gw_str sequence = chat_string(choice, "stop_reason");
    bool is_named = gw_str_eq_c(finish, "stop") && sequence.len > 0;

    gw_buf_append_c(&w->out, "],\"stop_reason\":\"");
    gw_buf_append_c(&w->out, is_named ? "stop_sequence" : messages_stop_of(finish, has_calls));
    gw_buf_append_c(&w->out, "\",\"stop_sequence\":");
    if (is_named)
        gw_buf_append_json(&w->out, sequence);
    else
        gw_buf_append_c(&w->out, "null");
    gw_buf_append_char(&w->out, ',');
}

static gw_status write_message(adapter_stream *s, yyjson_val *root, writing *w, gw_error *err)
{
    yyjson_val *choice = yyjson_arr_get_first(yyjson_obj_get(root, "choices"));
    yyjson_val *message = yyjson_obj_get(choice, "message");
    gw_str id = chat_string(root, "id"), model = chat_string(root, "model");
    gw_str finish = chat_string(choice, "finish_reason");

    if (!yyjson_is_obj(message))
        return gw_fail(err, GW_ERR_UPSTREAM_PROTOCOL, "the provider's answer has no message");
    append_member(w, "{\"id\":", id.len > 0 ? id : s->job->request_id);
    gw_buf_append_c(&w->out, ",\"type\":\"message\",\"role\":\"assistant\"");
    append_member(w, ",\"model\":", model.len > 0 ? model : s->job->body->model);
    gw_buf_append_c(&w->out, ",\"content\":[");
    if (!append_content(w, message, gw_str_eq_c(finish, "length")))
        return gw_fail(err, GW_ERR_UPSTREAM_PROTOCOL, MESSAGES_BAD_ARGUMENTS);
    bool has_calls = yyjson_arr_size(yyjson_obj_get(message, "tool_calls")) > 0;
    append_stop(w, choice, finish, has_calls && messages_calls_are_the_callers(s));
    messages_append_usage(&w->out, s);
    gw_buf_append_char(&w->out, '}');
    return GW_OK;
}

gw_status messages_from_completion(adapter_stream *s, gw_str json, gw_str *ret)
{
    yyjson_doc *doc = yyjson_read(json.ptr, json.len, YYJSON_READ_NOFLAG);
    writing w = {0};
    gw_error err;
    gw_status rc = write_message(s, yyjson_doc_get_root(doc), &w, &err);

    if (rc == GW_OK) {
        *ret =
            gw_buf_failed(&w.out) ? GW_STR_NULL : gw_arena_dup(s->job->arena, gw_buf_str(&w.out));
        if (!ret->ptr)
            rc = gw_fail(&err, GW_ERR_NO_MEMORY, "no memory for the answer");
    }
    gw_buf_fini(&w.out);
    yyjson_doc_free(doc);
    return rc == GW_OK ? rc : adapter_fail(s, &err);
}
