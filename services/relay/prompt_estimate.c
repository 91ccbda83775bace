#include "prompt_estimate.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum {
    ASCII_BYTES_PER_TOKEN = 4,
    TOKENS_PER_MESSAGE = 4,
    TOKENS_PER_REQUEST = 3,
    TOKENS_PER_BINARY_PART = 1000,
};

/*
 * Of one byte, in 64ths of a token; of a character of several bytes the first has all of it. Letters as in words of a rare language, capitals
 * as in base64, digits as in UUIDs, marks as in JSON. A line's end is a token, the blanks at its begin are few.
 */
static const uint8_t weights[256] = {
    [0x00 ... 0x1f] = 64,  [' '] = 6,          ['!' ... '/'] = 52,   ['0' ... '9'] = 56,
    [':' ... '@'] = 52,    ['A' ... 'Z'] = 48, ['[' ... '`'] = 52,   ['a' ... 'z'] = 25,
    ['{' ... '~'] = 52,    [0x7f] = 64,        [0xc0 ... 0xdf] = 64, /* Latin with accents … Arabic */
    [0xe0 ... 0xef] = 96, /* India, East Asia */
    [0xf0 ... 0xff] = 192, /* emoji, rare scripts */
};

static int64_t weight_of(const unsigned char *s, size_t len)
{
    int64_t sum[4] = {0};
    size_t at = 0;

    for (; len - at >= 4; at += 4)
        for (size_t i = 0; i < 4; i++)
            sum[i] += weights[s[at + i]];
    for (; at < len; at++)
        sum[0] += weights[s[at]];
    return sum[0] + sum[1] + sum[2] + sum[3];
}

#ifdef __SSE2__
/* Of sixteen bytes; of a character of several bytes the first counts. */
static void count_block(text_size *t, const char *at)
{
    __m128i block = _mm_loadu_si128((const __m128i *)(const void *)at);
    unsigned others = (unsigned)_mm_movemask_epi8(block); /* from 0x80 */
    unsigned not_first = (unsigned)_mm_movemask_epi8(_mm_cmplt_epi8(block, _mm_set1_epi8(-64)));

    t->ascii_bytes += (int64_t)sizeof(block);
    if (others == 0)
        return;
    t->ascii_bytes -= __builtin_popcount(others);
    t->other_chars += __builtin_popcount(others & ~not_first);
}
#endif

void text_size_count(text_size *t, gw_str text)
{
    size_t at = 0;

#ifdef __SSE2__
    for (; text.len - at >= sizeof(__m128i); at += sizeof(__m128i))
        count_block(t, text.ptr + at);
#endif
    for (; at < text.len; at++) {
        unsigned char c = (unsigned char)text.ptr[at];
        t->ascii_bytes += c < 0x80;
        t->other_chars += c >= 0xC0;
    }
}

void text_size_add(text_size *t, gw_str text)
{
    if (!t->is_usual_only)
        t->weight += weight_of((const unsigned char *)text.ptr, text.len);
    text_size_count(t, text);
}

int64_t text_size_tokens(const text_size *t)
{
    return (t->ascii_bytes + ASCII_BYTES_PER_TOKEN - 1) / ASCII_BYTES_PER_TOKEN + t->other_chars;
}

prompt_tokens text_size_prompt(const text_size *t, int64_t others)
{
    int64_t usual = text_size_tokens(t) + others;
    int64_t most = (t->weight + TEXT_WEIGHT_TOKEN - 1) / TEXT_WEIGHT_TOKEN + others;

    if (t->is_usual_only)
        return (prompt_tokens){.usual = usual, .most = usual, .images = t->images};
    return (prompt_tokens){.usual = usual, .most = GW_MAX(usual, most), .images = t->images};
}

static bool contains(gw_str s, gw_str part)
{
    for (; s.len >= part.len; s = gw_str_slice(s, 1, s.len))
        if (gw_str_starts_with(s, part))
            return true;
    return false;
}

/*
 * The largest image, by what providers publish. OpenAI: 8 tiles, or 1,536 patches and a factor
 * (platform.openai.com/docs/guides/images-vision). Anthropic: patches of 28 x 28 pixels, 4,784 since Claude Opus 4.7
 * (platform.claude.com/docs/en/build-with-claude/vision); other names may be its models' aliases.
 */
int64_t prompt_image_extra(gw_str model, bool low_detail)
{
    bool is_openais = gw_str_starts_with(model, GW_STR("gpt-"));
    int64_t most = is_openais ? 1600 : 4784;

    if (gw_str_starts_with(model, GW_STR("gpt-4o-mini")))
        most = low_detail ? 2833 : 2833 + 8 * 5667;
    else if (contains(model, GW_STR("-mini")) || contains(model, GW_STR("-nano")))
        most = 3779; /* 1,536 patches, 2.46 times */
    else if (is_openais && low_detail)
        most = PROMPT_IMAGE_USUAL;
    return GW_MAX(most - PROMPT_IMAGE_USUAL, 0);
}

/*
 * Every member counts, not only the first of a name: which one of two a provider reads is its own choice. What is known to be text is
 * counted; whatever else there is may be text to some provider, so that it is held for, but not billed by our count.
 */

#define LABEL_MAX_BYTES 64 /* roles, types, ids, voices: up to here they are no text */

static bool is_label(yyjson_val *v)
{
    return !yyjson_is_ctn(v) && (!yyjson_is_str(v) || yyjson_get_len(v) <= LABEL_MAX_BYTES);
}

/* A string, or all strings in a container, names too: values of a document stand one behind the other. */
static void allow_all(text_size *size, yyjson_val *v)
{
    if (size->is_usual_only)
        return;
    for (yyjson_val *end = unsafe_yyjson_get_next(v); v < end; v++) {
        if (yyjson_is_str(v))
            size->weight += weight_of((const unsigned char *)yyjson_get_str(v), yyjson_get_len(v));
        size->weight += TEXT_WEIGHT_TOKEN;
    }
}

static void allow_unless_label(text_size *size, yyjson_val *v)
{
    if (!is_label(v))
        allow_all(size, v);
}

static void add_string(text_size *size, yyjson_val *v)
{
    if (yyjson_is_str(v))
        text_size_add(size, json_string(v));
    else
        allow_unless_label(size, v);
}

/* What a part has in place of text: {"data": …, "format": …}, {"url": …}. */
static void allow_media(text_size *size, yyjson_val *media)
{
    yyjson_obj_iter it = yyjson_obj_iter_with(media);
    yyjson_val *key;

    while ((key = yyjson_obj_iter_next(&it))) {
        gw_str name = json_string(key);
        yyjson_val *v = yyjson_obj_iter_get_val(key);
        if (yyjson_is_str(v) && (openai_name_is(name, "data") ||
                                 openai_name_is(name, "file_data") || openai_name_is(name, "url")))
            text_size_allow_data(size, json_string(v));
        else
            allow_unless_label(size, v);
    }
}

/* True when that is all it says of it. */
static bool is_low_detail(yyjson_val *image)
{
    yyjson_obj_iter it = yyjson_obj_iter_with(image);
    yyjson_val *key;
    bool low = false;

    while ((key = yyjson_obj_iter_next(&it))) {
        if (!openai_name_is(json_string(key), "detail"))
            continue;
        low = yyjson_equals_str(yyjson_obj_iter_get_val(key), "low");
        if (!low)
            return false;
    }
    return low;
}

static int64_t add_image(text_size *size, gw_str model, yyjson_val *image)
{
    text_size_allow(size, prompt_image_extra(model, is_low_detail(image)));
    size->images++;
    return PROMPT_IMAGE_USUAL;
}

static int64_t add_part(text_size *size, gw_str model, yyjson_val *part)
{
    yyjson_obj_iter it = yyjson_obj_iter_with(part);
    bool is_text = yyjson_is_str(part), is_image = false;
    int64_t tokens = 0;
    yyjson_val *key;

    if (is_text)
        add_string(size, part);
    while ((key = yyjson_obj_iter_next(&it))) {
        gw_str name = json_string(key);
        yyjson_val *v = yyjson_obj_iter_get_val(key);
        if (openai_name_is(name, "text") || openai_name_is(name, "refusal")) {
            is_text |= yyjson_is_str(v);
            add_string(size, v);
        } else if (openai_name_is(name, "image_url")) {
            tokens += add_image(size, model, v);
        } else if (openai_name_is(name, "type")) {
            is_image |= gw_str_starts_with(json_string(v), GW_STR("image"));
            allow_unless_label(size, v);
        } else if (yyjson_is_obj(v)) {
            allow_media(size, v);
        } else if (gw_str_starts_with(json_string(v), GW_STR("data:"))) {
            text_size_allow_data(size, json_string(v));
        } else {
            allow_unless_label(size, v);
        }
    }
    if (is_image && tokens == 0)
        tokens += add_image(size, model, NULL);
    return is_text || tokens > 0 ? tokens : TOKENS_PER_BINARY_PART;
}

static int64_t add_content(text_size *size, gw_str model, yyjson_val *content)
{
    yyjson_arr_iter parts = yyjson_arr_iter_with(content);
    int64_t tokens = 0;
    yyjson_val *each;

    if (!yyjson_is_arr(content))
        add_string(size, content);
    while ((each = yyjson_arr_iter_next(&parts)))
        tokens += add_part(size, model, each);
    return tokens;
}

/* {"name": …, "arguments": …}, {"name": …, "input": …} */
static void add_function(text_size *size, yyjson_val *function)
{
    yyjson_obj_iter it = yyjson_obj_iter_with(function);
    yyjson_val *key;

    while ((key = yyjson_obj_iter_next(&it)))
        add_string(size, yyjson_obj_iter_get_val(key));
}

static void add_calls(text_size *size, yyjson_val *calls)
{
    yyjson_arr_iter each = yyjson_arr_iter_with(calls);
    yyjson_val *call, *key;

    while ((call = yyjson_arr_iter_next(&each))) {
        yyjson_obj_iter it = yyjson_obj_iter_with(call);
        while ((key = yyjson_obj_iter_next(&it))) {
            yyjson_val *v = yyjson_obj_iter_get_val(key);
            if (yyjson_is_obj(v))
                add_function(size, v);
            else
                allow_unless_label(size, v);
        }
    }
}

static int64_t add_message(text_size *size, gw_str model, yyjson_val *message)
{
    yyjson_obj_iter it = yyjson_obj_iter_with(message);
    int64_t tokens = TOKENS_PER_MESSAGE;
    yyjson_val *key;

    while ((key = yyjson_obj_iter_next(&it))) {
        gw_str name = json_string(key);
        yyjson_val *v = yyjson_obj_iter_get_val(key);
        if (openai_name_is(name, "content")) {
            tokens += add_content(size, model, v);
        } else if (openai_name_is(name, "name") || openai_name_is(name, "refusal")) {
            add_string(size, v);
        } else if (openai_name_is(name, "tool_calls") && yyjson_is_arr(v)) {
            add_calls(size, v);
        } else if (openai_name_is(name, "function_call") && yyjson_is_obj(v)) {
            add_function(size, v);
        } else if (openai_name_is(name, "audio") && yyjson_is_obj(v)) { /* said before, by its id */
            text_size_allow(size, TOKENS_PER_BINARY_PART);
            allow_all(size, v);
        } else {
            allow_unless_label(size, v);
        }
    }
    return tokens;
}

/* Text, texts, tokens, arrays of tokens (prompt of completions, input of embeddings), or parts. */
static int64_t add_input(text_size *size, gw_str model, yyjson_val *input)
{
    int64_t tokens = 0;
    yyjson_arr_iter each = yyjson_arr_iter_with(input);
    yyjson_val *v;

    if (yyjson_is_str(input))
        add_string(size, input);
    while ((v = yyjson_arr_iter_next(&each))) {
        if (yyjson_is_num(v)) {
            tokens++;
        } else if (yyjson_is_arr(v)) {
            yyjson_arr_iter of_one = yyjson_arr_iter_with(v);
            yyjson_val *token;
            tokens += (int64_t)yyjson_arr_size(v);
            while ((token = yyjson_arr_iter_next(&of_one)))
                allow_unless_label(size, token);
        } else {
            tokens += add_part(size, model, v);
        }
    }
    return tokens;
}

/* Members that nobody here reads and that no prompt is made of, long as they may be. */
static bool is_beside_the_prompt(gw_str name)
{
    static const char *const names[] = {
        "model",      "messages", "input", "prompt",   "tools",      "functions", "response_format",
        "prediction", "user",     "stop",  "metadata", "logit_bias", "suffix"};

    for (size_t i = 0; i < GW_ARRAY_LEN(names); i++)
        if (gw_str_eq_c(name, names[i]))
            return true;
    return false;
}

/* `suffix` of completions is a part of the prompt; others may be: documents, a template, a context of a local server's. */
static void add_other_members(text_size *size, yyjson_val *root)
{
    yyjson_obj_iter it = yyjson_obj_iter_with(root);
    yyjson_val *key;

    while ((key = yyjson_obj_iter_next(&it))) {
        yyjson_val *v = yyjson_obj_iter_get_val(key);
        if (openai_name_is(json_string(key), "suffix"))
            add_string(size, v);
        else if (!is_label(v) && !is_beside_the_prompt(json_string(key)))
            allow_all(size, v);
    }
}

prompt_tokens prompt_estimate(const openai_body *b, bool for_hold)
{
    const json_span as_they_stand[] = {b->tools_at, b->functions_at, b->response_format_at};
    yyjson_arr_iter each = yyjson_arr_iter_with(yyjson_obj_get(b->root, "messages"));
    text_size size = {.is_usual_only = !for_hold};
    int64_t tokens = TOKENS_PER_REQUEST;
    yyjson_val *message;

    while ((message = yyjson_arr_iter_next(&each)))
        tokens += add_message(&size, b->model, message);
    tokens += add_input(&size, b->model, yyjson_obj_get(b->root, "input"));
    tokens += add_input(&size, b->model, yyjson_obj_get(b->root, "prompt"));
    add_other_members(&size, b->root);
    for (size_t i = 0; i < GW_ARRAY_LEN(as_they_stand); i++)
        text_size_add(&size, gw_str_slice(b->raw, as_they_stand[i].from, as_they_stand[i].to));
    if (b->tools_at.to > b->tools_at.from || b->functions_at.to > b->functions_at.from)
        text_size_allow(&size, PROMPT_TOOLS_EXTRA);
    return text_size_prompt(&size, tokens);
}

/* As its JSON text: whichever member of it a provider reads. */
int64_t predicted_tokens(const openai_body *b, bool for_hold)
{
    text_size size = {.is_usual_only = !for_hold};

    if (b->prediction_at.to == b->prediction_at.from)
        return 0;
    text_size_add(&size, gw_str_slice(b->raw, b->prediction_at.from, b->prediction_at.to));
    return text_size_prompt(&size, 0).most;
}
