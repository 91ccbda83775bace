#include "messages_body.h"

enum {
    TOKENS_PER_MESSAGE = 4,
    TOKENS_PER_REQUEST = 3,
    TOKENS_PER_DOCUMENT = 1000,
    TOKENS_PER_VALUE = 1, /* of JSON: what stands around it */
    RESULTS_DEPTH = 1, /* a block in a tool's result has no results in it */
};

/* ---- what the key's rules are asked by ---- */

/* Every member counts, not only the first of a name: which one of two a provider reads is its own choice. */
static bool block_has_image(yyjson_val *block, int depth)
{
    yyjson_obj_iter it = yyjson_obj_iter_with(block);
    yyjson_val *key, *part;

    while ((key = yyjson_obj_iter_next(&it))) {
        yyjson_val *value = yyjson_obj_iter_get_val(key);
        if (openai_name_is(json_string(key), "type") && yyjson_equals_str(value, "image"))
            return true;
        if (!openai_name_is(json_string(key), "content") || depth == 0)
            continue;
        yyjson_arr_iter parts = yyjson_arr_iter_with(value);
        while ((part = yyjson_arr_iter_next(&parts)))
            if (block_has_image(part, depth - 1))
                return true;
    }
    return false;
}

static bool is_given(yyjson_val *v)
{
    return v && !yyjson_is_null(v);
}

void messages_body_take(openai_body *b)
{
    yyjson_arr_iter each = yyjson_arr_iter_with(yyjson_obj_get(b->root, "messages"));
    gw_str user = json_string(yyjson_obj_get(yyjson_obj_get(b->root, "metadata"), "user_id"));
    yyjson_val *message;

    b->choices = b->completions = 1;
    b->effort_given = is_given(yyjson_obj_get(yyjson_obj_get(b->root, "output_config"), "effort"));
    b->output_format_given = is_given(yyjson_obj_get(b->root, "output_format"));
    if (user.ptr)
        b->user = user;
    while ((message = yyjson_arr_iter_next(&each)))
        b->needs.vision |= block_has_image(message, 1 + RESULTS_DEPTH);
}

/* ---- estimate ---- */

/* All that is in `v`. Values of a document stand one behind the other, so that none of its depth is ours. */
static int64_t add_all(text_size *size, yyjson_val *v)
{
    int64_t tokens = 0;

    if (!v)
        return 0;
    for (yyjson_val *end = unsafe_yyjson_get_next(v); v < end; v++) {
        if (yyjson_is_str(v))
            text_size_add(size, json_string(v));
        tokens += TOKENS_PER_VALUE;
    }
    return tokens;
}

static int64_t add_content(text_size *size, yyjson_val *content, int depth);

/* Each member of that name, as above. */
static int64_t add_contents(text_size *size, yyjson_val *object, const char *name, int depth)
{
    yyjson_obj_iter it = yyjson_obj_iter_with(object);
    int64_t tokens = 0;
    yyjson_val *key;

    while ((key = yyjson_obj_iter_next(&it)))
        if (openai_name_is(json_string(key), name))
            tokens += add_content(size, yyjson_obj_iter_get_val(key), depth);
    return tokens;
}

/* "" when it is given twice: a block may then be what either says. */
static gw_str type_of(yyjson_val *block)
{
    yyjson_obj_iter it = yyjson_obj_iter_with(block);
    gw_str type = GW_STR("");
    size_t given = 0;
    yyjson_val *key;

    while ((key = yyjson_obj_iter_next(&it))) {
        if (!openai_name_is(json_string(key), "type"))
            continue;
        type = json_string(yyjson_obj_iter_get_val(key));
        given++;
    }
    return given == 1 ? type : GW_STR("");
}

/* Of a document that is data: false when it has two sources, of which a provider may read either. */
static bool allow_source(text_size *size, yyjson_val *block)
{
    yyjson_obj_iter it = yyjson_obj_iter_with(block);
    yyjson_obj_iter members = yyjson_obj_iter_with(yyjson_obj_get(block, "source"));
    size_t given = 0;
    yyjson_val *key;

    while ((key = yyjson_obj_iter_next(&it)))
        given += openai_name_is(json_string(key), "source");
    while (given == 1 && (key = yyjson_obj_iter_next(&members)))
        text_size_allow_data(size, json_string(yyjson_obj_iter_get_val(key)));
    return given == 1;
}

static int64_t add_block(text_size *size, yyjson_val *block, int depth)
{
    gw_str type = type_of(block);
    gw_str source = type_of(yyjson_obj_get(block, "source"));
    bool is_data =
        gw_str_eq_c(source, "base64") || gw_str_eq_c(source, "url") || gw_str_eq_c(source, "file");

    if (gw_str_eq_c(type, "image")) {
        text_size_allow(size, prompt_image_extra(GW_STR("claude"), false));
        size->images++;
        return PROMPT_IMAGE_USUAL;
    }
    if (gw_str_eq_c(type, "document") && is_data && allow_source(size, block))
        return TOKENS_PER_DOCUMENT + add_contents(size, block, "title", 0) +
               add_contents(size, block, "context", 0);
    if (gw_str_eq_c(type, "text"))
        return add_contents(size, block, "text", 0);
    if (gw_str_eq_c(type, "tool_result") && depth > 0)
        return add_contents(size, block, "content", depth - 1);
    return add_all(size, block);
}

static int64_t add_content(text_size *size, yyjson_val *content, int depth)
{
    yyjson_arr_iter it = yyjson_arr_iter_with(content);
    yyjson_val *block;
    int64_t tokens = 0;

    if (!yyjson_is_arr(content))
        return add_all(size, content);
    while ((block = yyjson_arr_iter_next(&it)))
        tokens += add_block(size, block, depth);
    return tokens;
}

static int64_t add_messages(text_size *size, yyjson_val *messages)
{
    yyjson_arr_iter each = yyjson_arr_iter_with(messages);
    yyjson_val *message;
    int64_t tokens = 0;

    while ((message = yyjson_arr_iter_next(&each)))
        tokens += TOKENS_PER_MESSAGE + add_contents(size, message, "content", RESULTS_DEPTH);
    return tokens;
}

prompt_tokens messages_body_estimate(const openai_body *b, bool for_hold)
{
    yyjson_obj_iter it = yyjson_obj_iter_with(b->root);
    int64_t tokens = TOKENS_PER_REQUEST;
    text_size size = {.is_usual_only = !for_hold};
    yyjson_val *key;

    while ((key = yyjson_obj_iter_next(&it))) { /* each: of two `system` either may be read */
        yyjson_val *value = yyjson_obj_iter_get_val(key);
        if (yyjson_equals_str(key, "messages"))
            tokens += add_messages(&size, value);
        else if (yyjson_equals_str(key, "system"))
            tokens += add_content(&size, value, 0);
        else if (yyjson_is_ctn(value)) {
            tokens += add_all(&size, value);
            if (yyjson_equals_str(key, "tools") || yyjson_equals_str(key, "mcp_servers"))
                text_size_allow(&size, PROMPT_TOOLS_EXTRA);
        }
    }
    return text_size_prompt(&size, tokens);
}
