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

static void add_string(text_size *size, yyjson_val *v)
{
    if (yyjson_is_str(v))
        text_size_add(size, json_string(v));
}

static int64_t add_image(text_size *size, gw_str model, yyjson_val *part)
{
    gw_str detail = json_string(yyjson_obj_get(yyjson_obj_get(part, "image_url"), "detail"));

    text_size_allow(size, prompt_image_extra(model, gw_str_eq_c(detail, "low")));
    size->images++;
    return PROMPT_IMAGE_USUAL;
}

/* A file or a sound in base64: the longer it is, the more it may be. */
#define BINARY_BYTES_PER_TOKEN 16

static int64_t add_binary(text_size *size, yyjson_val *part)
{
    yyjson_obj_iter it = yyjson_obj_iter_with(part);
    yyjson_val *key;

    while ((key = yyjson_obj_iter_next(&it))) {
        yyjson_val *v = yyjson_obj_iter_get_val(key);
        gw_str data = json_string(yyjson_obj_get(v, "data"));
        if (data.len == 0)
            data = json_string(yyjson_obj_get(v, "file_data"));
        text_size_allow(size, (int64_t)data.len / BINARY_BYTES_PER_TOKEN);
    }
    return TOKENS_PER_BINARY_PART;
}

static int64_t add_part(text_size *size, gw_str model, yyjson_val *part)
{
    gw_str type = json_string(yyjson_obj_get(part, "type"));

    if (yyjson_is_str(part) || yyjson_is_str(yyjson_obj_get(part, "text"))) {
        add_string(size, yyjson_is_str(part) ? part : yyjson_obj_get(part, "text"));
        return 0;
    }
    if (gw_str_eq_c(type, "refusal")) {
        add_string(size, yyjson_obj_get(part, "refusal"));
        return 0;
    }
    return gw_str_starts_with(type, GW_STR("image")) ? add_image(size, model, part)
                                                     : add_binary(size, part);
}

static int64_t add_message(text_size *size, gw_str model, yyjson_val *message)
{
    int64_t tokens = TOKENS_PER_MESSAGE;
    yyjson_val *content = yyjson_obj_get(message, "content");
    yyjson_arr_iter parts = yyjson_arr_iter_with(content);
    yyjson_arr_iter calls = yyjson_arr_iter_with(yyjson_obj_get(message, "tool_calls"));
    yyjson_val *each;

    add_string(size, content);
    add_string(size, yyjson_obj_get(message, "name"));
    while ((each = yyjson_arr_iter_next(&parts)))
        tokens += add_part(size, model, each);
    while ((each = yyjson_arr_iter_next(&calls))) {
        yyjson_val *function = yyjson_obj_get(each, "function");
        add_string(size, yyjson_obj_get(function, "name"));
        add_string(size, yyjson_obj_get(function, "arguments"));
    }
    return tokens;
}

/* Text, texts, tokens, or arrays of tokens (prompt of completions, input of embeddings). */
static int64_t add_input(text_size *size, yyjson_val *input)
{
    int64_t tokens = 0;
    yyjson_arr_iter each = yyjson_arr_iter_with(input);
    yyjson_val *v;

    add_string(size, input);
    while ((v = yyjson_arr_iter_next(&each))) {
        add_string(size, v);
        tokens += yyjson_is_num(v) ? 1 : (int64_t)yyjson_arr_size(v);
    }
    return tokens;
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
    tokens += add_input(&size, yyjson_obj_get(b->root, "input"));
    tokens += add_input(&size, yyjson_obj_get(b->root, "prompt"));
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
