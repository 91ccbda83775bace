#include "prompt_estimate.h"

enum {
    ASCII_BYTES_PER_TOKEN = 4,
    TOKENS_PER_MESSAGE = 4,
    TOKENS_PER_REQUEST = 3,
    TOKENS_PER_IMAGE = 1105,
    TOKENS_PER_BINARY_PART = 1000,
};

void text_size_add(text_size *t, gw_str text)
{
    const uint64_t top_bits = 0x8080808080808080ULL;
    size_t at = 0;
    uint64_t word;

    for (; text.len - at >= sizeof(word); at += sizeof(word)) { /* eight bytes at once */
        memcpy(&word, text.ptr + at, sizeof(word));
        int64_t others = word & top_bits ? __builtin_popcountll(word & top_bits) : 0;
        t->ascii_bytes += (int64_t)sizeof(word) - others;
        if (others > 0) /* lead bytes only: both upper bits */
            t->other_chars += __builtin_popcountll(word & (word << 1) & top_bits);
    }
    for (; at < text.len; at++) {
        unsigned char c = (unsigned char)text.ptr[at];
        t->ascii_bytes += c < 0x80;
        t->other_chars += c >= 0xC0;
    }
}

int64_t text_size_tokens(const text_size *t)
{
    return (t->ascii_bytes + ASCII_BYTES_PER_TOKEN - 1) / ASCII_BYTES_PER_TOKEN + t->other_chars;
}

static void add_string(text_size *size, yyjson_val *v)
{
    if (yyjson_is_str(v))
        text_size_add(size, json_string(v));
}

static int64_t add_part(text_size *size, yyjson_val *part)
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
    return gw_str_starts_with(type, GW_STR("image")) ? TOKENS_PER_IMAGE : TOKENS_PER_BINARY_PART;
}

static int64_t add_message(text_size *size, yyjson_val *message)
{
    int64_t tokens = TOKENS_PER_MESSAGE;
    yyjson_val *content = yyjson_obj_get(message, "content");
    yyjson_arr_iter parts = yyjson_arr_iter_with(content);
    yyjson_arr_iter calls = yyjson_arr_iter_with(yyjson_obj_get(message, "tool_calls"));
    yyjson_val *each;

    add_string(size, content);
    add_string(size, yyjson_obj_get(message, "name"));
    while ((each = yyjson_arr_iter_next(&parts)))
        tokens += add_part(size, each);
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

int64_t prompt_estimate(const openai_body *b)
{
    const json_span as_they_stand[] = {b->tools_at, b->functions_at, b->response_format_at};
    yyjson_arr_iter each = yyjson_arr_iter_with(yyjson_obj_get(b->root, "messages"));
    text_size size = {0};
    int64_t tokens = TOKENS_PER_REQUEST;
    yyjson_val *message;

    while ((message = yyjson_arr_iter_next(&each)))
        tokens += add_message(&size, message);
    tokens += add_input(&size, yyjson_obj_get(b->root, "input"));
    tokens += add_input(&size, yyjson_obj_get(b->root, "prompt"));
    for (size_t i = 0; i < GW_ARRAY_LEN(as_they_stand); i++)
        text_size_add(&size, gw_str_slice(b->raw, as_they_stand[i].from, as_they_stand[i].to));
    return tokens + text_size_tokens(&size);
}
