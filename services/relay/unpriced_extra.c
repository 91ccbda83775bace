#include "unpriced_extra.h"

/* By their bit. */
static const char *const members[] = {"tools", "inference_geo", "web_search_options", "modalities",
                                      "messages"};

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

static bool asks_for_sound(yyjson_val *modalities)
{
    yyjson_arr_iter it = yyjson_arr_iter_with(modalities);
    yyjson_val *each;

    while ((each = yyjson_arr_iter_next(&it)))
        if (yyjson_equals_str(each, "audio"))
            return true;
    return false;
}

/* As a URL, or the media type of a source. */
static bool is_of_sound(yyjson_val *key, gw_str value)
{
    const char *prefix = openai_name_is(json_string(key), "media_type") ? "audio/" : "data:audio/";

    return gw_str_eq_nocase(gw_str_slice(value, 0, strlen(prefix)), gw_str_of(prefix));
}

/* {"type":"file","file":{"file_data":"data:audio/…"}}, {"type":"document","source":{"media_type":"audio/…"}} */
static bool has_sound(yyjson_val *object)
{
    yyjson_obj_iter it = yyjson_obj_iter_with(object);
    yyjson_val *key;

    while ((key = yyjson_obj_iter_next(&it)))
        if (is_of_sound(key, json_string(yyjson_obj_iter_get_val(key))))
            return true;
    return false;
}

static bool is_of_media(gw_str name)
{
    return openai_name_is(name, "file") || openai_name_is(name, "image_url") ||
           openai_name_is(name, "source");
}

static bool part_is_sound(yyjson_val *part)
{
    yyjson_obj_iter it = yyjson_obj_iter_with(part);
    yyjson_val *key;

    while ((key = yyjson_obj_iter_next(&it))) {
        gw_str name = json_string(key);
        yyjson_val *value = yyjson_obj_iter_get_val(key);
        if (openai_name_is(name, "type") &&
            gw_str_starts_with(json_string(value), GW_STR("input_audio")))
            return true;
        if (is_of_media(name) && (has_sound(value) || is_of_sound(key, json_string(value))))
            return true;
    }
    return false;
}

static bool any_is_sound(yyjson_val *parts)
{
    yyjson_arr_iter it = yyjson_arr_iter_with(parts);
    yyjson_val *each;

    while ((each = yyjson_arr_iter_next(&it)))
        if (part_is_sound(each))
            return true;
    return false;
}

/* Also in the results of tools, whose parts stand in a part (/v1/messages). */
static bool content_has_sound(yyjson_val *content)
{
    yyjson_arr_iter parts = yyjson_arr_iter_with(content);
    yyjson_val *part, *key;

    while ((part = yyjson_arr_iter_next(&parts))) {
        yyjson_obj_iter it = yyjson_obj_iter_with(part);
        while ((key = yyjson_obj_iter_next(&it)))
            if (openai_name_is(json_string(key), "content") &&
                any_is_sound(yyjson_obj_iter_get_val(key)))
                return true;
    }
    return any_is_sound(content);
}

static bool message_has_sound(yyjson_val *message)
{
    yyjson_obj_iter it = yyjson_obj_iter_with(message);
    yyjson_val *key;

    while ((key = yyjson_obj_iter_next(&it)))
        if (openai_name_is(json_string(key), "content") &&
            content_has_sound(yyjson_obj_iter_get_val(key)))
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

/* Each search is billed, and what it found is prompt that nobody has seen (web_search_20250305 and later ones). */
static unsigned extra_of_messages(gw_str name, yyjson_val *value)
{
    if (openai_name_is(name, "tools") && any_has_type(value, "web_search"))
        return EXTRA_SEARCHES;
    if (openai_name_is(name, "inference_geo") && yyjson_get_len(value) > 0 &&
        !yyjson_equals_str(value, "global"))
        return EXTRA_PLACE;
    return 0;
}

static unsigned extra_of_chat(gw_str name, yyjson_val *value)
{
    if (openai_name_is(name, "web_search_options") && !yyjson_is_null(value))
        return EXTRA_SEARCH;
    if (openai_name_is(name, "modalities") && asks_for_sound(value))
        return EXTRA_SOUND_OUT;
    return 0;
}

unsigned unpriced_extras(const openai_body *b, relay_endpoint endpoint)
{
    yyjson_obj_iter it = yyjson_obj_iter_with(b->root);
    bool is_messages = endpoint == ENDPOINT_MESSAGES;
    unsigned found = 0;
    yyjson_val *key;

    if (!is_messages && endpoint != ENDPOINT_CHAT)
        return 0;
    while ((key = yyjson_obj_iter_next(&it))) {
        gw_str name = json_string(key);
        yyjson_val *value = yyjson_obj_iter_get_val(key);
        found |= is_messages ? extra_of_messages(name, value) : extra_of_chat(name, value);
        if (openai_name_is(name, "messages") && messages_have_sound(value))
            found |= EXTRA_SOUND_IN;
    }
    return found;
}

unsigned unpriced_extras_sent(unsigned extras, provider_kind kind, bool passes_members)
{
    if (passes_members)
        return extras;
    return kind == PROVIDER_GOOGLE ? extras & EXTRA_SOUND_IN : 0;
}

const char *unpriced_extras_member(unsigned extras)
{
    for (size_t i = 0; i < GW_ARRAY_LEN(members); i++)
        if (extras & 1U << i)
            return members[i];
    return NULL;
}
