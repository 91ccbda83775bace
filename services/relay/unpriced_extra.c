#include "unpriced_extra.h"

/* By their bit. */
static const char *const members[] = {"tools", "inference_geo", "web_search_options", "modalities",
                                      "messages"};

static bool any_in(yyjson_val *list, bool (*is)(yyjson_val *each))
{
    yyjson_arr_iter it = yyjson_arr_iter_with(list);
    yyjson_val *each;

    while ((each = yyjson_arr_iter_next(&it)))
        if (is(each))
            return true;
    return false;
}

/* Every member of a name counts: which one of two a provider reads is its own choice. */
static bool any_member(yyjson_val *object, bool (*is)(gw_str name, yyjson_val *value))
{
    yyjson_obj_iter it = yyjson_obj_iter_with(object);
    yyjson_val *key;

    while ((key = yyjson_obj_iter_next(&it)))
        if (is(json_string(key), yyjson_obj_iter_get_val(key)))
            return true;
    return false;
}

static bool names_web_search(gw_str name, yyjson_val *value)
{
    return openai_name_is(name, "type") &&
           gw_str_starts_with(json_string(value), GW_STR("web_search"));
}

static bool is_web_search(yyjson_val *tool)
{
    return any_member(tool, names_web_search);
}

static bool is_audio(yyjson_val *modality)
{
    return yyjson_equals_str(modality, "audio");
}

/* As a URL, or the media type of a source. */
static bool is_of_sound(gw_str name, yyjson_val *value)
{
    const char *prefix = openai_name_is(name, "media_type") ? "audio/" : "data:audio/";

    return gw_str_eq_nocase(gw_str_slice(json_string(value), 0, strlen(prefix)), gw_str_of(prefix));
}

static bool is_of_media(gw_str name)
{
    return openai_name_is(name, "file") || openai_name_is(name, "image_url") ||
           openai_name_is(name, "source");
}

/* {"type":"file","file":{"file_data":"data:audio/…"}}, {"type":"document","source":{"media_type":"audio/…"}} */
static bool makes_it_sound(gw_str name, yyjson_val *value)
{
    if (openai_name_is(name, "type"))
        return gw_str_starts_with(json_string(value), GW_STR("input_audio"));
    return is_of_media(name) && (any_member(value, is_of_sound) || is_of_sound(name, value));
}

static bool is_sound(yyjson_val *part)
{
    return any_member(part, makes_it_sound);
}

static bool is_content_of_sound(gw_str name, yyjson_val *value)
{
    return openai_name_is(name, "content") && any_in(value, is_sound);
}

/* Also in the results of tools, whose parts stand in a part (/v1/messages). */
static bool has_sound(yyjson_val *part)
{
    return is_sound(part) || any_member(part, is_content_of_sound);
}

static bool is_content_with_sound(gw_str name, yyjson_val *value)
{
    return openai_name_is(name, "content") && any_in(value, has_sound);
}

static bool message_has_sound(yyjson_val *message)
{
    return any_member(message, is_content_with_sound);
}

/* Each search is billed, and what it found is prompt that nobody has seen (web_search_20250305 and later ones). */
static unsigned extra_of_messages(gw_str name, yyjson_val *value)
{
    if (openai_name_is(name, "tools") && any_in(value, is_web_search))
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
    if (openai_name_is(name, "modalities") && any_in(value, is_audio))
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
        if (openai_name_is(name, "messages") && any_in(value, message_has_sound))
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
