#include "usage_tap.h"

yyjson_doc *json_scratch_read(const json_scratch *s, yyjson_alc *alc, gw_str json)
{
    const yyjson_alc *with = NULL;

    if (s->bytes && yyjson_read_max_memory_usage(json.len, YYJSON_READ_NOFLAG) <= s->size &&
        yyjson_alc_pool_init(alc, s->bytes, s->size))
        with = alc;
    /* Without YYJSON_READ_INSITU the text is only read: const is cast away for the signature. */
    return yyjson_read_opts((char *)(uintptr_t)json.ptr, json.len, YYJSON_READ_NOFLAG, with, NULL);
}

/* ---- usage ---- */

bool json_count(yyjson_val *object, const char *name, int64_t *ret)
{
    yyjson_val *v = json_last(object, name);

    if (yyjson_is_uint(v) && yyjson_get_uint(v) <= TOKENS_BELIEVED_MAX)
        *ret = (int64_t)yyjson_get_uint(v);
    else if (yyjson_is_real(v) && yyjson_get_real(v) >= 0 &&
             yyjson_get_real(v) <= TOKENS_BELIEVED_MAX)
        *ret = (int64_t)yyjson_get_real(v);
    else
        return false;
    return true;
}

static void take_prompt(usage_tap *t, const token_counts *tokens)
{
    t->has_prompt = true;
    t->tokens.prompt = tokens->prompt;
    t->tokens.cached = GW_MIN(tokens->cached, tokens->prompt);
    t->tokens.cache_write = GW_MIN(tokens->cache_write, tokens->prompt - t->tokens.cached);
    t->tokens.long_cache_write = GW_MIN(tokens->long_cache_write, t->tokens.cache_write);
}

void usage_tap_prompt(usage_tap *t, const token_counts *tokens)
{
    if (!t->has_usage)
        take_prompt(t, tokens);
}

void usage_tap_report(usage_tap *t, const token_counts *tokens, int64_t total_tokens)
{
    t->has_usage = true;
    t->tokens = *tokens;
    take_prompt(t, tokens);
    t->tokens.reasoning = GW_MIN(tokens->reasoning, tokens->completion);
    /* More is plausible (reasoning that the completion leaves out), less is not: some send 0. */
    t->total_tokens = GW_MAX(total_tokens, tokens->prompt + tokens->completion);
}

/*
 * Prompt and completion. What is not stated is not zero: it is the rest of the total, or nobody knows. A completion
 * that nothing was seen of is none: embeddings have no such member.
 */
static bool read_sides(const usage_tap *t, yyjson_val *usage, int64_t total, token_counts *c)
{
    bool prompt = json_count(usage, "prompt_tokens", &c->prompt) ||
                  json_count(usage, "input_tokens", &c->prompt);
    bool completion = json_count(usage, "completion_tokens", &c->completion) ||
                      json_count(usage, "output_tokens", &c->completion);

    if (prompt && !completion) {
        c->completion = GW_MAX(total - c->prompt, 0);
        return c->completion > 0 || usage_tap_is_empty(t);
    }
    if (completion && !prompt)
        c->prompt = GW_MAX(total - c->completion, 0);
    return c->prompt > 0 || prompt;
}

/* cached: DeepSeek has it outside. cache_write: relays have it, and OpenRouter. */
static void read_prompt_details(yyjson_val *usage, token_counts *c)
{
    yyjson_val *details = json_last(usage, "prompt_tokens_details");

    if (!details)
        details = json_last(usage, "input_tokens_details");
    if (!json_count(details, "cached_tokens", &c->cached))
        (void)json_count(usage, "prompt_cache_hit_tokens", &c->cached);
    if (!json_count(details, "cache_creation_tokens", &c->cache_write))
        (void)json_count(details, "cache_write_tokens", &c->cache_write);
}

static void read_usage(usage_tap *t, yyjson_val *usage)
{
    yyjson_val *details = json_last(usage, "completion_tokens_details");
    token_counts c = {0};
    int64_t total = 0;

    (void)json_count(usage, "total_tokens", &total);
    bool is_whole = read_sides(t, usage, total, &c);
    read_prompt_details(usage, &c);
    if (!is_whole && c.prompt > 0) /* at least that */
        usage_tap_prompt(t, &c);
    if (!is_whole)
        return;
    (void)json_count(details ? details : json_last(usage, "output_tokens_details"),
                     "reasoning_tokens", &c.reasoning);
    /* xAI counts reasoning beside the completion, and only the total tells. */
    if (c.reasoning > 0 && total == c.prompt + c.completion + c.reasoning)
        c.completion += c.reasoning;
    usage_tap_report(t, &c, total);
}

void usage_tap_tier(usage_tap *t, gw_str tier)
{
    size_t len = gw_str_utf8_cut(tier, sizeof(t->service_tier) - 1);

    if (len == 0)
        return;
    memcpy(t->service_tier, tier.ptr, len);
    t->service_tier[len] = '\0';
}

/* ---- content ---- */

void usage_tap_text(usage_tap *t, gw_str text)
{
    text_size_count(&t->completion, text);
    if (t->is_bounded)
        least_tokens_add(&t->least, text);
}

void usage_tap_finish(usage_tap *t, gw_str reason)
{
    if (t->finish_reason[0] == '\0')
        memcpy(t->finish_reason, reason.ptr, gw_str_utf8_cut(reason, sizeof(t->finish_reason) - 1));
    t->finished_choices++;
}

static bool add_text(usage_tap *t, yyjson_val *v)
{
    if (yyjson_get_len(v) == 0 || !yyjson_is_str(v))
        return false;
    usage_tap_text(t, json_string(v));
    return true;
}

static void each_part(yyjson_val *parts, bool is_thought, content_text_fn each, void *arg)
{
    yyjson_arr_iter it = yyjson_arr_iter_with(parts);
    yyjson_val *part;

    while ((part = yyjson_arr_iter_next(&it))) {
        yyjson_val *text = yyjson_obj_get(part, "text");
        if (yyjson_is_str(text) && yyjson_get_len(text) > 0)
            each(arg, is_thought, json_string(text));
        if (!is_thought)
            each_part(yyjson_obj_get(part, "thinking"), true, each, arg);
    }
}

void content_each_text(yyjson_val *content, content_text_fn each, void *arg)
{
    if (!yyjson_is_str(content))
        each_part(content, false, each, arg);
    else if (yyjson_get_len(content) > 0)
        each(arg, false, json_string(content));
}

static void add_part(void *arg, bool is_thought, gw_str text)
{
    (void)is_thought;
    usage_tap_text(arg, text);
}

static bool add_content(usage_tap *t, yyjson_val *content)
{
    if (!yyjson_is_arr(content))
        return add_text(t, content);
    content_each_text(content, add_part, t);
    return yyjson_is_obj(yyjson_arr_get_first(content));
}

static bool add_function(usage_tap *t, yyjson_val *function)
{
    bool some = add_text(t, yyjson_obj_get(function, "name"));
    yyjson_val *arguments = yyjson_obj_get(function, "arguments");

    if (!yyjson_is_obj(arguments))
        return add_text(t, arguments) || some;
    size_t len = 0; /* some servers send what the text should be of */
    char *text = yyjson_val_write(arguments, YYJSON_WRITE_NOFLAG, &len);
    if (text)
        usage_tap_text(t, gw_str_n(text, len));
    free(text);
    return true;
}

/* A delta, or a whole message: their members have the same names. */
static bool add_delta(usage_tap *t, yyjson_val *delta)
{
    yyjson_arr_iter calls = yyjson_arr_iter_with(yyjson_obj_get(delta, "tool_calls"));
    yyjson_val *call;
    bool some = add_content(t, yyjson_obj_get(delta, "content"));

    some |= add_text(t, yyjson_obj_get(delta, "refusal"));
    some |= add_text(t, yyjson_obj_get(delta, "reasoning_content")) ||
            add_text(t, yyjson_obj_get(delta, "reasoning")); /* vLLM has the same in both */
    while ((call = yyjson_arr_iter_next(&calls))) {
        (void)add_function(t, yyjson_obj_get(call, "function"));
        some = true;
    }
    some |= add_function(t, yyjson_obj_get(delta, "function_call"));
    return some || yyjson_is_obj(yyjson_obj_get(delta, "audio"));
}

static bool add_choice(usage_tap *t, yyjson_val *choice)
{
    yyjson_val *delta = yyjson_obj_get(choice, "delta");
    gw_str finish = json_string(yyjson_obj_get(choice, "finish_reason"));

    /* Beside a delta a message is all of it so far, once more (Perplexity). */
    bool some = add_delta(t, yyjson_is_obj(delta) ? delta : yyjson_obj_get(choice, "message"));
    some |= add_text(t, yyjson_obj_get(choice, "text"));
    if (finish.len == 0)
        return some;
    usage_tap_finish(t, finish);
    return true;
}

/* Whatever a provider puts there to say that it failed; null, false and {} mean nothing. */
static bool has_error(yyjson_val *root)
{
    yyjson_val *e = yyjson_obj_get(root, "error");

    return yyjson_get_len(e) > 0 || yyjson_is_true(e) || yyjson_obj_size(e) > 0 ||
           yyjson_equals_str(yyjson_obj_get(root, "object"), "error"); /* vLLM's older form */
}

gw_status usage_tap_chunk_value(usage_tap *t, yyjson_val *chunk, tap_kind *ret, gw_error *err)
{
    yyjson_val *all = yyjson_obj_get(chunk, "choices");
    yyjson_arr_iter choices = yyjson_arr_iter_with(all);
    yyjson_val *usage = json_last(chunk, "usage");
    yyjson_val *choice;
    bool content = false, chose = false;

    if (!yyjson_is_obj(chunk))
        return gw_fail(err, GW_ERR_UPSTREAM_PROTOCOL,
                       "the provider sent something else than JSON objects");
    if (has_error(chunk))
        return gw_fail(err, GW_ERR_UPSTREAM_FAILED, "the provider reported a failure");
    t->has_choices |= yyjson_is_arr(all);
    while ((choice = yyjson_arr_iter_next(&choices))) {
        chose = true;
        t->has_choice |= yyjson_is_obj(choice);
        content |= add_choice(t, choice);
    }
    usage_tap_tier(t, json_string(json_last(chunk, "service_tier")));
    if (yyjson_is_obj(usage)) {
        read_usage(t, usage);
        t->usage_is_beside = chose;
    }
    if (content)
        *ret = TAP_CONTENT;
    else
        *ret = !chose && yyjson_is_obj(usage) ? TAP_USAGE : TAP_PREAMBLE;
    return GW_OK;
}

static gw_status no_json(gw_error *err)
{
    return gw_fail(err, GW_ERR_UPSTREAM_PROTOCOL, "the provider sent something else than JSON");
}

gw_status usage_tap_chunk(usage_tap *t, gw_str json, tap_kind *ret, gw_error *err)
{
    yyjson_alc alc;
    yyjson_doc *doc = json_scratch_read(&t->scratch, &alc, json);
    gw_status rc =
        doc ? usage_tap_chunk_value(t, yyjson_doc_get_root(doc), ret, err) : no_json(err);

    yyjson_doc_free(doc);
    return rc;
}

gw_status usage_tap_answer(usage_tap *t, gw_str json, gw_error *err)
{
    yyjson_alc alc;
    yyjson_doc *doc = json_scratch_read(&t->scratch, &alc, json);
    yyjson_val *root = yyjson_doc_get_root(doc);
    tap_kind kind;
    gw_status rc = doc ? usage_tap_chunk_value(t, root, &kind, err) : no_json(err);

    t->has_data = yyjson_is_arr(yyjson_obj_get(root, "data"));
    yyjson_doc_free(doc);
    return rc;
}
