/*
 * JSON members: where the members of an object stand in its text, so that one value can be replaced
 * and every other byte stays as it came.
 *
 * The text has been validated by a real parser before (yyjson): this walk only finds the borders.
 */
#pragma once

#include "core/str.h"

#include <yyjson.h>

typedef struct json_span { /* bytes [from, to) of the text; from == to: absent */
    size_t from, to;
} json_span;

typedef struct json_members {
    gw_str text;
    size_t at;
} json_members;

/* `text` is a valid JSON object, white space around it allowed. */
json_members json_members_of(gw_str text);
/* The next member's value, in the order of the text. False at the end. */
bool json_members_next(json_members *m, json_span *ret_value);
/* Offset behind the object's opening brace. */
size_t json_members_start(gw_str text);

#define JSON_DEPTH_MAX 128 /* of bodies: providers' own parsers break at a thousand, or break off */

/* Whether arrays and objects stand in one another more than JSON_DEPTH_MAX deep; no recursion. */
bool json_is_too_deep(yyjson_val *v);

/* The text of a JSON string, GW_STR_NULL of anything else: yyjson_get_len() also counts arrays. */
static inline gw_str json_string(yyjson_val *v)
{
    return yyjson_is_str(v) ? gw_str_n(yyjson_get_str(v), yyjson_get_len(v)) : GW_STR_NULL;
}

/*
 * The last of the members of that name; NULL: there is none. Callers' readers of JSON take the last one, too, where
 * yyjson_obj_get() finds the first: what is billed is what they see.
 */
yyjson_val *json_last(yyjson_val *object, const char *name);

/* A member that is there; null counts as absent. */
static inline yyjson_val *json_given(yyjson_val *object, const char *name)
{
    yyjson_val *v = yyjson_obj_get(object, name);

    return yyjson_is_null(v) ? NULL : v;
}
