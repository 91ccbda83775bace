#include "unpriced_extra.h"

#define SEARCH_OF_REQUEST "web_search_options"

/* Every member of that name counts: which one of two a provider reads is its own choice. */
static bool has_type(yyjson_val *object, const char *prefix)
{
    yyjson_obj_iter it = yyjson_obj_iter_with(object);
    yyjson_val *key;

    while ((key = yyjson_obj_iter_next(&it)))
        if (openai_name_is(json_string(key), "type") &&
            gw_str_starts_with(json_string(yyjson_obj_iter_get_val(key)), gw_str_of(prefix)))
            return true;
    return false;
}

static bool any_has_type(yyjson_val *list, const char *prefix)
{
    yyjson_arr_iter it = yyjson_arr_iter_with(list);
    yyjson_val *each;

    while ((each = yyjson_arr_iter_next(&it)))
        if (has_type(each, prefix))
            return true;
    return false;
}

/* Each search is billed, and what it found is prompt that nobody has seen (web_search_20250305 and later ones). */
static const char *extra_of_messages(gw_str name, yyjson_val *value)
{
    if (openai_name_is(name, "tools") && any_has_type(value, "web_search"))
        return "tools";
    if (openai_name_is(name, "inference_geo") && yyjson_get_len(value) > 0 &&
        !yyjson_equals_str(value, "global"))
        return "inference_geo";
    return NULL;
}

static bool asks_for_sound(yyjson_val *modalities)
{
    yyjson_arr_iter it = yyjson_arr_iter_with(modalities);
    yyjson_val *each;

    while ((each = yyjson_arr_iter_next(&it)))
        if (yyjson_equals_str(each, "audio"))
            return true;
    return false;
}

static bool message_has_sound(yyjson_val *message)
{
    yyjson_obj_iter it = yyjson_obj_iter_with(message);
    yyjson_val *key;

    while ((key = yyjson_obj_iter_next(&it)))
        if (openai_name_is(json_string(key), "content") &&
            any_has_type(yyjson_obj_iter_get_val(key), "input_audio"))
            return true;
    return false;
}

static bool messages_have_sound(yyjson_val *messages)
{
    yyjson_arr_iter it = yyjson_arr_iter_with(messages);
    yyjson_val *each;

    while ((each = yyjson_arr_iter_next(&it)))
        if (message_has_sound(each))
            return true;
    return false;
}

static const char *extra_of_chat(gw_str name, yyjson_val *value)
{
    if (openai_name_is(name, SEARCH_OF_REQUEST) && !yyjson_is_null(value))
        return SEARCH_OF_REQUEST;
    if (openai_name_is(name, "modalities") && asks_for_sound(value))
        return "modalities";
    if (openai_name_is(name, "messages") && messages_have_sound(value))
        return "messages";
    return NULL;
}

const char *unpriced_extra(const openai_body *b, relay_endpoint endpoint)
{
    yyjson_obj_iter it = yyjson_obj_iter_with(b->root);
    bool is_messages = endpoint == ENDPOINT_MESSAGES;
    const char *found = NULL;
    yyjson_val *key;

    if (!is_messages && endpoint != ENDPOINT_CHAT)
        return NULL;
    while (!found && (key = yyjson_obj_iter_next(&it))) {
        gw_str name = json_string(key);
        yyjson_val *value = yyjson_obj_iter_get_val(key);
        found = is_messages ? extra_of_messages(name, value) : extra_of_chat(name, value);
    }
    return found;
}

bool unpriced_extra_is_search_of_request(const char *member)
{
    return gw_str_eq_c(gw_str_of(member), SEARCH_OF_REQUEST);
}
