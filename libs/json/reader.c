/* The reader's path and the violations it collects. */
#include "json/json_internal.h"

#include "core/map.h"

#include <stdio.h>

#define SMALL_OBJECT 16

void gw_json_reader_init(gw_json_reader *r, const char *path, gw_json_violations *v, gw_error *err)
{
    *r = (gw_json_reader){
        .violations = v, .err = err, .values_left = GW_JSON_VALUES_MAX, .rc = GW_OK};
    if (v)
        v->count = 0;
    r->path_len = GW_MIN(strlen(path), sizeof(r->path) - 1);
    memcpy(r->path, path, r->path_len);
}

static void append_path(gw_json_reader *r, gw_str text)
{
    size_t n = gw_str_utf8_cut(text, sizeof(r->path) - 1 - r->path_len);
    if (n > 0)
        memcpy(r->path + r->path_len, text.ptr, n);
    r->path_len += n;
    r->path[r->path_len] = '\0';
}

size_t gw_json_enter_member(gw_json_reader *r, gw_str name)
{
    size_t mark = r->path_len;
    if (mark > 0)
        append_path(r, GW_STR("."));
    append_path(r, name);
    return mark;
}

size_t gw_json_enter_index(gw_json_reader *r, size_t i)
{
    size_t mark = r->path_len;
    char text[32];
    (void)snprintf(text, sizeof(text), "[%zu]", i);
    append_path(r, gw_str_of(text));
    return mark;
}

void gw_json_leave(gw_json_reader *r, size_t mark)
{
    r->path_len = mark;
    r->path[mark] = '\0';
}

static void copy_cut(char *to, size_t size, const char *text)
{
    size_t n = gw_str_utf8_cut(gw_str_of(text), size - 1);
    memcpy(to, text, n);
    to[n] = '\0';
}

bool gw_json_refuse(gw_json_reader *r, const char *format, ...)
{
    char text[GW_JSON_REFUSAL_SIZE];
    va_list args;

    if (r->stop)
        return false;
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);

    if (r->refused == 0) {
        r->rc = gw_fail_field(r->err, GW_ERR_INVALID_ARGUMENT, r->path, "%s%s%s", r->path,
                              r->path_len > 0 ? ": " : "", text);
    } else if (r->violations) {
        gw_json_violation *v = &r->violations->items[r->violations->count++];
        copy_cut(v->field, sizeof(v->field), r->path);
        copy_cut(v->description, sizeof(v->description), text);
    }
    r->refused++;
    if (!r->violations || r->violations->count == GW_ARRAY_LEN(r->violations->items))
        r->stop = true;
    return false;
}

bool gw_json_no_memory(gw_json_reader *r)
{
    r->stop = true;
    r->rc = gw_fail(r->err, GW_ERR_NO_MEMORY, "no memory to read the JSON");
    return false;
}

static bool refuse_duplicate(gw_json_reader *r, yyjson_val *key)
{
    size_t mark = gw_json_enter_member(r, gw_json_text(key));
    gw_json_refuse(r, "given twice");
    gw_json_leave(r, mark);
    return false;
}

static bool stands_before(yyjson_val *object, yyjson_val *key)
{
    yyjson_obj_iter before = yyjson_obj_iter_with(object);
    for (yyjson_val *k = yyjson_obj_iter_next(&before); k && k != key;
         k = yyjson_obj_iter_next(&before))
        if (gw_str_eq(gw_json_text(k), gw_json_text(key)))
            return true;
    return false;
}

bool gw_json_check_duplicates(gw_json_reader *r, yyjson_val *object)
{
    bool small = yyjson_obj_size(object) <= SMALL_OBJECT;
    gw_auto(gw_map) seen = small ? NULL : gw_map_new(NULL);
    yyjson_obj_iter at = yyjson_obj_iter_with(object);
    bool ok = true;

    if (!small && !seen)
        return gw_json_no_memory(r);
    for (yyjson_val *k = yyjson_obj_iter_next(&at); k && !r->stop; k = yyjson_obj_iter_next(&at)) {
        if (small ? stands_before(object, k) : gw_map_get(seen, gw_json_text(k)) != NULL)
            ok = refuse_duplicate(r, k);
        else if (!small && !gw_map_put(seen, gw_json_text(k), k))
            return gw_json_no_memory(r);
    }
    return ok && !r->stop;
}
