/* Anthropic's whole answers, usage and errors in OpenAI's form. */
#include "anthropic.h"
#include "chat_request.h"

#include <stdlib.h>

const char *anthropic_finish_of(gw_str stop_reason)
{
    static const struct {
        const char *anthropic, *openai;
    } reasons[] = {
        {"max_tokens", "length"},
        {"model_context_window_exceeded", "length"},
        {"tool_use", "tool_calls"},
        {"refusal", "content_filter"},
    };

    for (size_t i = 0; i < GW_ARRAY_LEN(reasons); i++)
        if (gw_str_eq_c(stop_reason, reasons[i].anthropic))
            return reasons[i].openai;
    return "stop"; /* end_turn, stop_sequence, pause_turn, and what comes after us */
}

/* ---- usage ---- */

/* The sum, or where only its parts by their lives are stated, those. message_delta has the sum alone: the parts stay as they were. */
static bool read_cache_write(yyjson_val *usage, anthropic_usage *u)
{
    yyjson_val *parts = json_last(usage, "cache_creation");
    int64_t short_lived = 0;
    bool has_parts = json_count(parts, "ephemeral_5m_input_tokens", &short_lived);

    has_parts |= json_count(parts, "ephemeral_1h_input_tokens", &u->long_cache_write);
    if (json_count(usage, "cache_creation_input_tokens", &u->cache_write))
        return true;
    if (has_parts)
        u->cache_write = short_lived + u->long_cache_write;
    return has_parts;
}

static bool read_prompt(yyjson_val *usage, anthropic_usage *u)
{
    bool given = json_count(usage, "input_tokens", &u->input);

    given |= json_count(usage, "cache_read_input_tokens", &u->cache_read);
    return read_cache_write(usage, u) || given;
}

static void add(int64_t *sum, int64_t more)
{
    *sum = GW_MIN(*sum + more, TOKENS_BELIEVED_MAX);
}

/*
 * A request may be answered in several goes, each of which is paid for: the conversation was summed up first (compaction), a tool of
 * Anthropic's asked another model. The members beside the list do not have all of them.
 */
static bool read_iterations(yyjson_val *usage, anthropic_usage *u)
{
    yyjson_arr_iter it = yyjson_arr_iter_with(json_last(usage, "iterations"));
    anthropic_usage sum = {0};
    bool given = false;
    yyjson_val *each;

    while ((each = yyjson_arr_iter_next(&it))) {
        anthropic_usage one = {0};
        given |= read_prompt(each, &one);
        (void)json_count(each, "output_tokens", &one.output);
        add(&sum.input, one.input);
        add(&sum.cache_read, one.cache_read);
        add(&sum.cache_write, one.cache_write);
        add(&sum.long_cache_write, one.long_cache_write);
        add(&sum.output, one.output);
    }
    u->input = GW_MAX(u->input, sum.input);
    u->cache_read = GW_MAX(u->cache_read, sum.cache_read);
    u->cache_write = GW_MAX(u->cache_write, sum.cache_write);
    u->long_cache_write = GW_MAX(u->long_cache_write, sum.long_cache_write);
    u->output = GW_MAX(u->output, sum.output);
    return given;
}

void anthropic_usage_read(anthropic_usage *u, yyjson_val *usage, usage_tap *tap)
{
    anthropic_usage next = *u;
    bool given = read_prompt(usage, &next);
    bool has_output = json_count(usage, "output_tokens", &next.output);
    gw_str speed = json_string(json_last(usage, "speed"));

    given |= read_iterations(usage, &next);
    if (given && next.input + next.cache_read + next.cache_write > 0) {
        u->input = next.input;
        u->cache_read = next.cache_read;
        u->cache_write = next.cache_write;
        u->long_cache_write = next.long_cache_write;
        u->has_input = true;
    }
    usage_tap_tier(tap, json_string(json_last(usage, "service_tier")));
    if (speed.len > 0 && !gw_str_eq_c(speed, "standard")) /* fast mode: beside the standard tier */
        usage_tap_tier(tap, speed);
    u->output = next.output;
    u->has_output |= has_output;
    yyjson_val *details = json_last(usage, "output_tokens_details");
    if (!json_count(details, "reasoning_tokens", &u->reasoning))
        (void)json_count(details, "thinking_tokens", &u->reasoning);
}

static token_counts prompt_of(const anthropic_usage *u)
{
    return (token_counts){.prompt = u->input + u->cache_read + u->cache_write,
                          .cached = u->cache_read,
                          .cache_write = u->cache_write,
                          .long_cache_write = u->long_cache_write};
}

void anthropic_usage_start(anthropic_usage *u, yyjson_val *message, usage_tap *tap)
{
    anthropic_usage_read(u, json_last(message, "usage"), tap);
    token_counts prompt = prompt_of(u);
    if (u->has_input)
        usage_tap_prompt(tap, &prompt);
}

bool anthropic_usage_as_chat(const anthropic_usage *u, chat_usage *ret)
{
    if (!u->has_input || !u->has_output)
        return false;
    *ret = (chat_usage){.tokens = prompt_of(u)};
    ret->tokens.completion = u->output;
    ret->tokens.reasoning = GW_MIN(u->reasoning, u->output);
    return true;
}

/* ---- errors ---- */

static const struct {
    const char *type;
    int status;
} error_types[] = {
    {"invalid_request_error", 400}, {"authentication_error", 401}, {"billing_error", 402},
    {"permission_error", 403},      {"not_found_error", 404},      {"conflict_error", 409},
    {"request_too_large", 413},     {"rate_limit_error", 429},     {"api_error", 500},
    {"timeout_error", 504},         {"overloaded_error", 529},
};

/* What only the caller can mend keeps Anthropic's words, under OpenAI's types and codes. */
void anthropic_map_error(const adapter_job *job, int status, bool is_json, gw_str body,
                         openai_error *ret)
{
    adapter_map_error(job, status, is_json, body, ret);
    if (gw_str_starts_with(ret->message, GW_STR("Your credit balance is too low")))
        openai_error_from_quota(ret, job->target->provider->name);
    if (ret->error.code == GW_ERR_MODEL_NOT_FOUND)
        ret->code = GW_STR("model_not_found");
    else if (ret->error.code != GW_ERR_UPSTREAM_REJECTED)
        return;
    else if (status == 413)
        ret->code = GW_STR("request_too_large");
    else if (gw_str_starts_with(ret->message, GW_STR("prompt is too long")))
        ret->code = GW_STR("context_length_exceeded");
    ret->type = GW_STR("invalid_request_error");
}

gw_status anthropic_fail_inband(adapter_stream *s, gw_str json)
{
    yyjson_doc *doc = yyjson_read(json.ptr, json.len, YYJSON_READ_NOFLAG);
    gw_str type = chat_string(yyjson_obj_get(yyjson_doc_get_root(doc), "error"), "type");
    int status = 500;

    for (size_t i = 0; i < GW_ARRAY_LEN(error_types); i++)
        if (gw_str_eq_c(type, error_types[i].type))
            status = error_types[i].status;
    yyjson_doc_free(doc);
    anthropic_map_error(s->job, status, true, json, s->failure);
    return s->failure->error.code;
}

/* ---- answer ---- */

static void append_thinking(chat_message *m, yyjson_val *block)
{
    gw_str json;
    char *text = chat_json_text(block, &json, &m->extra.failed);

    gw_buf_append_c(&m->extra, m->extra.len > 0 ? "," : ",\"thinking_blocks\":[");
    gw_buf_append_str(&m->extra, json);
    free(text);
}

static void append_call(chat_message *m, usage_tap *tap, yyjson_val *block)
{
    gw_str json;
    char *text = chat_json_text(yyjson_obj_get(block, "input"), &json, &m->calls.failed);

    chat_message_call(m, tap, chat_string(block, "id"), chat_string(block, "name"), json,
                      GW_STR(""));
    free(text);
}

static void read_block(chat_message *m, usage_tap *tap, yyjson_val *block)
{
    gw_str type = chat_string(block, "type");

    if (gw_str_eq_c(type, "text")) {
        gw_buf_append_str(&m->text, chat_string(block, "text"));
    } else if (gw_str_eq_c(type, "tool_use")) {
        append_call(m, tap, block);
    } else if (gw_str_eq_c(type, "thinking")) {
        gw_buf_append_str(&m->reasoning, chat_string(block, "thinking"));
        append_thinking(m, block);
    } else if (gw_str_eq_c(type, "redacted_thinking")) {
        append_thinking(m, block);
    }
}

static gw_status translate(adapter_stream *s, yyjson_val *message, gw_str *ret)
{
    yyjson_arr_iter it = yyjson_arr_iter_with(yyjson_obj_get(message, "content"));
    chat_auto_message m = {0};
    gw_auto_buf out = {0};
    anthropic_usage read = {0};
    chat_usage usage;
    yyjson_val *block;

    while ((block = yyjson_arr_iter_next(&it)))
        read_block(&m, s->tap, block);
    if (m.extra.len > 0)
        gw_buf_append_char(&m.extra, ']');
    anthropic_usage_read(&read, json_last(message, "usage"), s->tap);
    chat_answer_head(&out, s->job, chat_string(message, "id"), chat_string(message, "model"));
    chat_answer_choice(&out, s->tap, 0, &m,
                       anthropic_finish_of(chat_string(message, "stop_reason")));
    chat_answer_end(&out, s->tap, anthropic_usage_as_chat(&read, &usage) ? &usage : NULL);
    return chat_answer_take(s, &out, chat_message_failed(&m), ret);
}

gw_status anthropic_on_answer(adapter_stream *s, gw_str json, gw_str *ret)
{
    yyjson_doc *doc = yyjson_read(json.ptr, json.len, YYJSON_READ_NOFLAG);
    yyjson_val *root = yyjson_doc_get_root(doc);
    yyjson_val *type = yyjson_obj_get(root, "type");
    gw_error err;
    gw_status rc;

    if (yyjson_equals_str(type, "error")) {
        rc = anthropic_fail_inband(s, json);
    } else if (!yyjson_equals_str(type, "message")) {
        (void)gw_fail(&err, GW_ERR_UPSTREAM_PROTOCOL, "the provider's answer is no message");
        rc = adapter_fail(s, &err);
    } else {
        rc = translate(s, root, ret);
    }
    yyjson_doc_free(doc);
    return rc;
}
