#include "update_mask.h"

/* `path` is `above` or lies below it. */
static bool is_within(gw_str path, gw_str above)
{
    return gw_str_starts_with(path, above) && (path.len == above.len || path.ptr[above.len] == '.');
}

static void append_path(gw_buf *out, gw_str path)
{
    if (out->len > 0)
        gw_buf_append_char(out, ',');
    gw_buf_append_str(out, path);
}

/*
 * gw_json_mask_of() descends an object and finds nothing in an empty one; a null is named by its
 * own path, and that is what an empty one means here. The values of a document lie in one block, a
 * container before its members (yyjson, DataStructures.md), so an empty one becomes a null in
 * place.
 */
static void empty_objects_become_null(yyjson_doc *doc)
{
    yyjson_val *root = yyjson_doc_get_root(doc);
    size_t count = yyjson_doc_get_val_count(doc);
    for (size_t i = 1; i < count; i++) {
        if (yyjson_is_obj(&root[i]) && yyjson_obj_size(&root[i]) == 0)
            unsafe_yyjson_set_null(&root[i]);
    }
}

static gw_status no_memory(gw_error *err)
{
    return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the update mask");
}

static gw_status mask_of_body(const ProtobufCMessageDescriptor *d, gw_str body, gw_buf *out,
                              gw_error *err)
{
    yyjson_doc *doc = yyjson_read(body.ptr, body.len, 0);
    if (!doc)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory to read the JSON");
    empty_objects_become_null(doc);
    gw_auto_buf all = {0};
    gw_status rc = gw_json_mask_of(d, yyjson_doc_get_root(doc), &all, err);
    yyjson_doc_free(doc);
    if (rc == GW_OK && gw_buf_failed(&all))
        return no_memory(err); /* a part of the mask would write a part of the body */
    gw_str rest = gw_buf_str(&all);
    gw_str path;
    while (rc == GW_OK && rest.len > 0 && gw_str_split(&rest, ',', &path)) {
        if (!gw_str_eq_c(path, "etag"))
            append_path(out, path);
    }
    return rc == GW_OK && gw_buf_failed(out) ? no_memory(err) : rc;
}

/* Adds what `wanted` leaves of `mask`; false when it is nothing. */
static bool add_common(gw_str mask, gw_str wanted, gw_buf *out)
{
    bool found = false;
    gw_str path;
    while (mask.len > 0 && gw_str_split(&mask, ',', &path)) {
        bool kept = is_within(path, wanted);
        if (!kept && !is_within(wanted, path))
            continue;
        append_path(out, kept ? path : wanted);
        found = true;
    }
    return found;
}

static gw_status narrow_mask(gw_str mask, gw_str narrow, gw_buf *out, gw_error *err)
{
    gw_str path;
    while (gw_str_split(&narrow, ',', &path)) {
        char text[GW_JSON_NAME_SIZE];
        char camel[GW_JSON_NAME_SIZE];
        path = gw_str_trim(path);
        size_t n = GW_MIN(path.len, sizeof text - 1);
        if (n > 0)
            memcpy(text, path.ptr, n);
        text[n] = '\0';
        gw_json_name(text, camel);
        bool found = path.len > 0 && path.len == n && add_common(mask, gw_str_of(camel), out);
        if (gw_buf_failed(out))
            return no_memory(err);
        if (!found)
            return gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, "updateMask",
                                 "updateMask: the body has no member \"%s\"", text);
    }
    if (out->len == 0)
        return gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, "updateMask",
                             "updateMask: names no member");
    return GW_OK;
}

gw_status update_mask_make(const ProtobufCMessageDescriptor *d, gw_str body, gw_str narrow,
                           gw_arena *a, gw_str *ret, gw_error *err)
{
    gw_auto_buf mask = {0};
    gw_auto_buf narrowed = {0};
    gw_status rc = mask_of_body(d, body, &mask, err);
    if (rc == GW_OK && mask.len == 0)
        rc = gw_fail(err, GW_ERR_INVALID_ARGUMENT, "the body has no member: nothing to change");
    if (rc == GW_OK && narrow.ptr)
        rc = narrow_mask(gw_buf_str(&mask), narrow, &narrowed, err);
    if (rc != GW_OK)
        return rc;
    *ret = gw_arena_dup(a, gw_buf_str(narrow.ptr ? &narrowed : &mask));
    return ret->ptr ? GW_OK : no_memory(err);
}
