/* Gemini's whole answers, parts, usage and errors in OpenAI's form. */
#include "chat_request.h"
#include "google.h"

#include <stdlib.h>

google_end google_end_of(gw_str finish_reason, bool has_calls)
{
    static const struct {
        const char *reason;
        google_end end;
    } ends[] = {
        {"MAX_TOKENS", {.finish = "length"}},
        {"MALFORMED_FUNCTION_CALL",
         {NULL, GW_ERR_UPSTREAM_FAILED, "the model wrote a tool call that cannot be read"}},
        {"UNEXPECTED_TOOL_CALL",
         {NULL, GW_ERR_UPSTREAM_FAILED, "the model called a tool that it was not given"}},
        {"TOO_MANY_TOOL_CALLS",
         {NULL, GW_ERR_UPSTREAM_FAILED, "the model called tools too often and was stopped"}},
        {"MALFORMED_RESPONSE",
         {NULL, GW_ERR_UPSTREAM_FAILED, "the model wrote an answer that cannot be read"}},
        {"MISSING_THOUGHT_SIGNATURE",
         {NULL, GW_ERR_INVALID_ARGUMENT,
          "a tool call of an earlier turn came back without its thought signature"}},
    };

    if (finish_reason.len == 0 || gw_str_eq_c(finish_reason, "STOP") ||
        gw_str_eq_c(finish_reason, "FINISH_REASON_UNSPECIFIED"))
        return (google_end){.finish = has_calls ? "tool_calls" : "stop"};
    for (size_t i = 0; i < GW_ARRAY_LEN(ends); i++)
        if (gw_str_eq_c(finish_reason, ends[i].reason))
            return ends[i].end;
    return (google_end){.finish = "content_filter"}; /* SAFETY, RECITATION, OTHER and their like */
}

gw_str google_block_reason(yyjson_val *response)
{
    return chat_string(yyjson_obj_get(response, "promptFeedback"), "blockReason");
}

/* ---- usage ---- */

bool google_usage_read(yyjson_val *response, bool is_empty, chat_usage *ret)
{
    *ret = (chat_usage){0};
    yyjson_val *usage = json_last(response, "usageMetadata");
    int64_t prompt = 0, candidates = 0, thoughts = 0, total = 0, cached = 0, tools = 0;
    bool counted = json_count(usage, "candidatesTokenCount", &candidates);

    counted |= json_count(usage, "thoughtsTokenCount", &thoughts);
    (void)json_count(usage, "totalTokenCount", &total);
    (void)json_count(usage, "cachedContentTokenCount", &cached);
    (void)json_count(usage, "toolUsePromptTokenCount", &tools);
    if (!json_count(usage, "promptTokenCount", &prompt))
        return false;
    if (!counted) /* not stated is not zero: it is the rest of the total, or of an answer without a word */
        candidates = GW_MAX(total - prompt - tools, 0);
    *ret = (chat_usage){.tokens = {.prompt = prompt + tools, .cached = cached}};
    if (!counted && candidates == 0 && !is_empty)
        return false;
    /* Candidates include thoughts where the total says so. */
    bool inclusive = total > 0 && prompt + tools + candidates == total;
    *ret = (chat_usage){.tokens = {.prompt = prompt + tools,
                                   .completion = inclusive ? candidates : candidates + thoughts,
                                   .cached = cached,
                                   .reasoning = thoughts}};
    ret->tokens.cached = GW_MIN(ret->tokens.cached, ret->tokens.prompt);
    ret->tokens.reasoning = GW_MIN(ret->tokens.reasoning, ret->tokens.completion);
    return true;
}

void google_usage_note_prompt(const chat_usage *usage, usage_tap *tap)
{
    if (usage->tokens.prompt > 0)
        usage_tap_prompt(tap, &usage->tokens);
}

/* ---- errors ---- */

/* A key that is none comes back as 400; the reason says so (ErrorInfo). */
static bool is_about_our_key(yyjson_val *error)
{
    yyjson_arr_iter it = yyjson_arr_iter_with(yyjson_obj_get(error, "details"));
    yyjson_val *detail;

    while ((detail = yyjson_arr_iter_next(&it)))
        if (gw_str_starts_with(chat_string(detail, "reason"), GW_STR("API_KEY_")))
            return true;
    return gw_str_starts_with(chat_string(error, "message"), GW_STR("API key not valid"));
}

static yyjson_val *error_of(yyjson_doc *doc)
{
    yyjson_val *root = yyjson_doc_get_root(doc);

    return yyjson_obj_get(yyjson_is_arr(root) ? yyjson_arr_get_first(root) : root, "error");
}

/* What only the caller can mend keeps Google's words, under OpenAI's types and codes. */
void google_map_error(const adapter_job *job, int status, bool is_json, gw_str body,
                      openai_error *ret)
{
    yyjson_doc *doc = is_json ? yyjson_read(body.ptr, body.len, YYJSON_READ_NOFLAG) : NULL;

    if (status == 400 && is_about_our_key(error_of(doc)))
        status = 401;
    yyjson_doc_free(doc);
    adapter_map_error(job, status, is_json, body, ret);
    if (ret->error.code == GW_ERR_MODEL_NOT_FOUND)
        ret->code = GW_STR("model_not_found");
    else if (ret->error.code == GW_ERR_UPSTREAM_REJECTED)
        ret->code = gw_str_starts_with(ret->message, GW_STR("The input token count"))
                        ? GW_STR("context_length_exceeded")
                        : GW_STR_NULL;
    else
        return;
    ret->type = GW_STR("invalid_request_error");
}

gw_status google_fail_inband(adapter_stream *s, gw_str json)
{
    yyjson_doc *doc = yyjson_read(json.ptr, json.len, YYJSON_READ_NOFLAG);
    int64_t status = yyjson_get_sint(yyjson_obj_get(error_of(doc), "code"));

    yyjson_doc_free(doc);
    google_map_error(s->job, status >= 400 && status <= 599 ? (int)status : 500, true, json,
                     s->failure);
    return s->failure->error.code;
}

/* ---- parts ---- */

static gw_str extra_of(const adapter_job *job, gw_str signature)
{
    gw_auto_buf out = {0};

    if (signature.len == 0)
        return GW_STR("");
    gw_buf_append_c(&out, ",\"extra_content\":{\"google\":{\"thought_signature\":");
    gw_buf_append_json(&out, signature);
    gw_buf_append_c(&out, "}}");
    return gw_arena_dup(job->arena, gw_buf_str(&out));
}

google_part google_part_read(const adapter_job *job, yyjson_val *part, int64_t number)
{
    yyjson_val *call = yyjson_obj_get(part, "functionCall");
    google_part p = {.text = chat_string(part, "text"),
                     .extra = extra_of(job, chat_string(part, "thoughtSignature"))};
    gw_str code = google_code_read(job->arena, part, &p.has_failed);

    if (code.ptr) {
        p.kind = GOOGLE_TEXT;
        p.text = code;
    } else if (yyjson_is_obj(call)) {
        p.kind = GOOGLE_CALL;
        p.id = chat_string(call, "id");
        p.name = chat_string(call, "name");
        p.args = yyjson_obj_get(call, "args");
        if (p.id.len == 0)
            p.id = gw_arena_printf(job->arena, "call_%.*s_%lld", GW_STR_ARG(job->request_id),
                                   (long long)number);
    } else if (p.text.len > 0) {
        p.kind = yyjson_is_true(yyjson_obj_get(part, "thought")) ? GOOGLE_THOUGHT : GOOGLE_TEXT;
    } else if (yyjson_obj_get(part, "inlineData") || yyjson_obj_get(part, "fileData")) {
        p.kind = GOOGLE_MEDIA;
    }
    return p;
}

/* ---- answer ---- */

/* False: the message cannot carry it. */
static bool add_part(chat_message *m, adapter_stream *s, yyjson_val *part, int64_t *calls)
{
    google_part p = google_part_read(s->job, part, *calls);
    gw_str json;
    char *text;

    m->text.failed |= p.has_failed;
    switch (p.kind) {
    case GOOGLE_TEXT:
        gw_buf_append_str(&m->text, p.text);
        break;
    case GOOGLE_THOUGHT:
        gw_buf_append_str(&m->reasoning, p.text);
        break;
    case GOOGLE_CALL:
        text = chat_json_text(p.args, &json, &m->calls.failed);
        chat_message_call(m, s->tap, p.id, p.name, json, p.extra);
        free(text);
        ++*calls;
        return true;
    case GOOGLE_MEDIA:
        return false;
    case GOOGLE_NOTHING:
        break;
    }
    if (m->extra.len == 0) /* one is all that a message can carry */
        gw_buf_append_str(&m->extra, p.extra);
    return true;
}

static gw_status fail_answer(adapter_stream *s, gw_status code, const char *what)
{
    gw_error err;

    (void)gw_fail(&err, code, "%s", what);
    return adapter_fail(s, &err);
}

static gw_status add_candidate(adapter_stream *s, yyjson_val *candidate, int64_t index,
                               chat_message *m, int64_t *calls, gw_buf *out)
{
    yyjson_val *parts = yyjson_obj_get(yyjson_obj_get(candidate, "content"), "parts");
    yyjson_arr_iter it = yyjson_arr_iter_with(parts);
    yyjson_val *part;

    while ((part = yyjson_arr_iter_next(&it)))
        if (!add_part(m, s, part, calls))
            return fail_answer(s, GW_ERR_UPSTREAM_FAILED, GOOGLE_MEDIA_MESSAGE);
    google_end end = google_end_of(chat_string(candidate, "finishReason"), m->call_count > 0);
    if (!end.finish)
        return fail_answer(s, end.code, end.failure);
    chat_answer_choice(out, s->tap, index, m, end.finish);
    return GW_OK;
}

static gw_status translate(adapter_stream *s, yyjson_val *response, gw_str *ret)
{
    yyjson_arr_iter it = yyjson_arr_iter_with(yyjson_obj_get(response, "candidates"));
    chat_auto_message m = {0};
    gw_auto_buf out = {0};
    int64_t index = 0, calls = 0;
    chat_usage usage;
    yyjson_val *candidate;
    bool failed = false;

    chat_answer_head(&out, s->job, chat_string(response, "responseId"),
                     chat_string(response, "modelVersion"));
    while ((candidate = yyjson_arr_iter_next(&it))) {
        gw_status rc = add_candidate(s, candidate, index++, &m, &calls, &out);
        if (rc != GW_OK) {
            if (google_usage_read(response, false, &usage)) /* it was made, and costs */
                chat_usage_report(&usage, s->tap);
            return rc;
        }
        failed |= chat_message_failed(&m);
        chat_message_clear(&m);
    }
    if (index == 0 && !google_block_reason(response).ptr)
        return fail_answer(s, GW_ERR_UPSTREAM_PROTOCOL, "the provider's answer has no candidates");
    if (index == 0)
        chat_answer_choice(&out, s->tap, 0, &m, "content_filter");
    bool is_known = google_usage_read(response, usage_tap_is_empty(s->tap), &usage);
    if (!is_known)
        google_usage_note_prompt(&usage, s->tap);
    chat_answer_end(&out, s->tap, is_known ? &usage : NULL);
    return chat_answer_take(s, &out, failed, ret);
}

gw_status google_on_answer(adapter_stream *s, gw_str json, gw_str *ret)
{
    yyjson_doc *doc = yyjson_read(json.ptr, json.len, YYJSON_READ_NOFLAG);
    yyjson_val *root = yyjson_doc_get_root(doc);
    gw_status rc;

    if (yyjson_is_obj(error_of(doc)))
        rc = google_fail_inband(s, json);
    else if (!yyjson_is_obj(root))
        rc = fail_answer(s, GW_ERR_UPSTREAM_PROTOCOL, "the provider's answer is no JSON object");
    else
        rc = translate(s, root, ret);
    yyjson_doc_free(doc);
    return rc;
}
