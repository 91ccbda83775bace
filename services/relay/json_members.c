#include "json_members.h"

static size_t skip_space(gw_str t, size_t at)
{
    while (at < t.len &&
           (t.ptr[at] == ' ' || t.ptr[at] == '\t' || t.ptr[at] == '\n' || t.ptr[at] == '\r'))
        at++;
    return at;
}

/* `at` is on the opening quote; returns the offset behind the closing one. */
static size_t skip_string(gw_str t, size_t at)
{
    size_t start = at + 1;

    for (at = start; at < t.len;) {
        const char *quote = memchr(t.ptr + at, '"', t.len - at);
        if (!quote)
            return t.len;
        size_t end = (size_t)(quote - t.ptr);
        size_t slashes = 0;
        while (end - slashes > start && t.ptr[end - slashes - 1] == '\\')
            slashes++;
        at = end + 1;
        if (slashes % 2 == 0)
            return at;
    }
    return t.len;
}

static size_t skip_nested(gw_str t, size_t at)
{
    size_t depth = 0;

    while (at < t.len) {
        char c = t.ptr[at];
        if (c == '"') {
            at = skip_string(t, at);
            continue;
        }
        at++;
        if (c == '{' || c == '[')
            depth++;
        else if ((c == '}' || c == ']') && --depth == 0)
            return at;
    }
    return t.len;
}

static size_t skip_value(gw_str t, size_t at)
{
    if (at >= t.len)
        return t.len;
    if (t.ptr[at] == '"')
        return skip_string(t, at);
    if (t.ptr[at] == '{' || t.ptr[at] == '[')
        return skip_nested(t, at);
    while (at < t.len && !strchr(",}] \t\r\n", t.ptr[at]))
        at++;
    return at;
}

size_t json_members_start(gw_str text)
{
    return GW_MIN(skip_space(text, 0) + 1, text.len);
}

json_members json_members_of(gw_str text)
{
    return (json_members){.text = text, .at = json_members_start(text)};
}

bool json_members_next(json_members *m, json_span *ret_value)
{
    size_t at = skip_space(m->text, m->at);

    if (at < m->text.len && m->text.ptr[at] == ',')
        at = skip_space(m->text, at + 1);
    if (at >= m->text.len || m->text.ptr[at] != '"')
        return false;
    at = skip_space(m->text, skip_string(m->text, at)); /* the colon */
    at = skip_space(m->text, GW_MIN(at + 1, m->text.len));
    ret_value->from = at;
    ret_value->to = m->at = skip_value(m->text, at);
    return true;
}

/* A document's values stand one behind the other, each container before what is in it. */
bool json_is_too_deep(yyjson_val *v)
{
    GW_UNINITIALIZED const yyjson_val *ends[JSON_DEPTH_MAX]; /* of the containers that v is in */
    size_t depth = 0;

    for (yyjson_val *end = v ? unsafe_yyjson_get_next(v) : NULL; v < end; v++) {
        while (depth > 0 && v >= ends[depth - 1])
            depth--;
        if (!yyjson_is_ctn(v))
            continue;
        if (depth == JSON_DEPTH_MAX)
            return true;
        ends[depth++] = unsafe_yyjson_get_next(v);
    }
    return false;
}

yyjson_val *json_last(yyjson_val *object, const char *name)
{
    yyjson_obj_iter it = yyjson_obj_iter_with(object);
    size_t len = strlen(name);
    yyjson_val *key, *last = NULL;

    while ((key = yyjson_obj_iter_next(&it)))
        if (yyjson_equals_strn(key, name, len))
            last = yyjson_obj_iter_get_val(key);
    return last;
}
