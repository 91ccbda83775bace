#include "json/json_internal.h"

#include <stdlib.h>

static bool allows_null(const ProtobufCFieldDescriptor *f)
{
    return gw_json_field_kind(f) == GW_JSON_VALUE || gw_json_is_null_value(f);
}

bool gw_json_read_single(gw_json_reader *r, const ProtobufCFieldDescriptor *f, yyjson_val *v,
                         unsigned depth, void *slot)
{
    if (r->values_left == 0)
        return gw_json_refuse(r, "the text holds more than %d values", GW_JSON_VALUES_MAX);
    r->values_left--;
    if (yyjson_is_null(v) && !allows_null(f))
        return gw_json_refuse(r, "null is not allowed here");
    if (f->type != PROTOBUF_C_TYPE_MESSAGE)
        return gw_json_read_scalar(r, f, v, slot);
    return gw_json_read_message(r, (const ProtobufCMessageDescriptor *)f->descriptor, v, depth,
                                (ProtobufCMessage **)slot);
}

/* Room for `n` elements, all of them unset; counted as they are filled, so that a half-read list is
 * freed right. */
static bool make_list(gw_json_reader *r, ProtobufCMessage *m, const ProtobufCFieldDescriptor *f,
                      size_t n, size_t element_size)
{
    if (n > GW_JSON_REPEATED_MAX)
        return gw_json_refuse(r, "has %zu elements, at most %d are allowed", n,
                              GW_JSON_REPEATED_MAX);
    if (n == 0)
        return true;
    void *items = calloc(n, element_size);
    if (!items)
        return gw_json_no_memory(r);
    *(void **)gw_json_slot(m, f) = items;
    return true;
}

static bool read_list(gw_json_reader *r, ProtobufCMessage *m, const ProtobufCFieldDescriptor *f,
                      yyjson_val *list, unsigned depth)
{
    size_t size = gw_field_value_size(f);
    size_t *count = (size_t *)gw_json_quantifier(m, f);
    size_t given = 0;
    bool ok = true;

    if (!yyjson_is_arr(list))
        return gw_json_refuse(r, "must be an array");
    if (!make_list(r, m, f, yyjson_arr_size(list), size))
        return false;
    yyjson_arr_iter at = yyjson_arr_iter_with(list);
    for (yyjson_val *v = yyjson_arr_iter_next(&at); v && !r->stop; v = yyjson_arr_iter_next(&at)) {
        char *items = *(char **)gw_json_slot(m, f);
        size_t mark = gw_json_enter_index(r, given++);
        if (gw_json_read_single(r, f, v, depth, items + *count * size))
            ++*count;
        else
            ok = false;
        gw_json_leave(r, mark);
    }
    return ok && !r->stop;
}

/* One spelling a number, else "1" and "01" would be two entries of one key. */
static bool is_canonical_integer(gw_str text)
{
    gw_str digits = gw_str_starts_with(text, GW_STR("-")) ? gw_str_slice(text, 1, text.len) : text;
    if (digits.len == 0 || (digits.ptr[0] == '0' && text.len > 1))
        return false;
    for (size_t i = 0; i < digits.len; i++)
        if (digits.ptr[i] < '0' || digits.ptr[i] > '9')
            return false;
    return true;
}

static bool read_map_key(gw_json_reader *r, ProtobufCMessage *entry, yyjson_val *key)
{
    const ProtobufCFieldDescriptor *f = &entry->descriptor->fields[0];
    gw_str text = gw_json_text(key);

    if (f->type == PROTOBUF_C_TYPE_BOOL) {
        if (!gw_str_eq(text, GW_STR("true")) && !gw_str_eq(text, GW_STR("false")))
            return gw_json_refuse(r, "the key must be true or false");
        *(protobuf_c_boolean *)gw_json_slot(entry, f) = text.len == strlen("true");
        return true;
    }
    if (f->type != PROTOBUF_C_TYPE_STRING && !is_canonical_integer(text))
        return gw_json_refuse(r, "the key must be an integer");
    return gw_json_read_scalar(r, f, key, gw_json_slot(entry, f));
}

static bool read_map_entry(gw_json_reader *r, const ProtobufCMessageDescriptor *d, yyjson_val *key,
                           unsigned depth, ProtobufCMessage **ret)
{
    gw_auto_message entry = gw_json_new_message(d);
    const ProtobufCFieldDescriptor *value = &d->fields[1];

    if (!entry)
        return gw_json_no_memory(r);
    if (!read_map_key(r, entry, key) || !gw_json_read_single(r, value, yyjson_obj_iter_get_val(key),
                                                             depth + 1, gw_json_slot(entry, value)))
        return false;
    *ret = gw_steal(&entry);
    return true;
}

static bool read_map(gw_json_reader *r, ProtobufCMessage *m, const ProtobufCFieldDescriptor *f,
                     yyjson_val *object, unsigned depth)
{
    size_t *count = (size_t *)gw_json_quantifier(m, f);
    bool ok = true;

    if (!yyjson_is_obj(object))
        return gw_json_refuse(r, "must be an object");
    if (!gw_json_check_duplicates(r, object) ||
        !make_list(r, m, f, yyjson_obj_size(object), sizeof(ProtobufCMessage *)))
        return false;
    yyjson_obj_iter at = yyjson_obj_iter_with(object);
    for (yyjson_val *k = yyjson_obj_iter_next(&at); k && !r->stop; k = yyjson_obj_iter_next(&at)) {
        ProtobufCMessage **items = *(ProtobufCMessage ***)gw_json_slot(m, f);
        size_t mark = gw_json_enter_member(r, gw_json_text(k));
        if (read_map_entry(r, (const ProtobufCMessageDescriptor *)f->descriptor, k, depth,
                           &items[*count]))
            ++*count;
        else
            ok = false;
        gw_json_leave(r, mark);
    }
    return ok && !r->stop;
}

static const ProtobufCFieldDescriptor *oneof_member_given(const ProtobufCMessage *m,
                                                          const ProtobufCFieldDescriptor *f)
{
    uint32_t id = *(const uint32_t *)gw_json_const_quantifier(m, f);
    return id == 0 || id == f->id ? NULL
                                  : protobuf_c_message_descriptor_get_field(m->descriptor, id);
}

bool gw_json_read_field(gw_json_reader *r, ProtobufCMessage *m, const ProtobufCFieldDescriptor *f,
                        yyjson_val *v, unsigned depth)
{
    if (gw_json_is_map(m->descriptor, f))
        return read_map(r, m, f, v, depth + 1);
    if (f->label == PROTOBUF_C_LABEL_REPEATED)
        return read_list(r, m, f, v, depth + 1);
    if (gw_json_is_oneof(f)) {
        const ProtobufCFieldDescriptor *other = oneof_member_given(m, f);
        if (other) {
            char name[GW_JSON_NAME_SIZE];
            gw_json_name(other->name, name);
            return gw_json_refuse(r, "cannot be given together with %s", name);
        }
    }
    if (!gw_json_read_single(r, f, v, depth + 1, gw_json_slot(m, f)))
        return false;
    gw_json_mark_present(m, f);
    return true;
}

/* Fields met so far in one object: "apiKey" and "api_key" are the same one. */
typedef struct seen_fields {
    uint64_t bits[8];
} seen_fields;

static bool mark_seen(seen_fields *seen, unsigned index)
{
    uint64_t bit = UINT64_C(1) << (index % 64);
    bool again = (seen->bits[index / 64] & bit) != 0;
    seen->bits[index / 64] |= bit;
    return !again;
}

static bool read_member(gw_json_reader *r, ProtobufCMessage *m, seen_fields *seen, yyjson_val *key,
                        unsigned depth)
{
    const ProtobufCFieldDescriptor *f = gw_field_named(m->descriptor, gw_json_text(key));
    yyjson_val *v = yyjson_obj_iter_get_val(key);

    if (!f)
        return gw_json_refuse(r, "unknown member");
    if (!mark_seen(seen, (unsigned)(f - m->descriptor->fields)))
        return gw_json_refuse(r, "given twice");
    if (yyjson_is_null(v) && (f->label == PROTOBUF_C_LABEL_REPEATED || !allows_null(f)))
        return true; /* null is absent */
    return gw_json_read_field(r, m, f, v, depth);
}

static bool read_members(gw_json_reader *r, ProtobufCMessage *m, yyjson_val *object, unsigned depth)
{
    seen_fields seen = {0};
    yyjson_obj_iter at = yyjson_obj_iter_with(object);
    bool ok = true;

    if (m->descriptor->n_fields > sizeof(seen.bits) * 8)
        return gw_json_refuse(r, "%s has too many fields for JSON", m->descriptor->name);
    for (yyjson_val *k = yyjson_obj_iter_next(&at); k && !r->stop; k = yyjson_obj_iter_next(&at)) {
        size_t mark = gw_json_enter_member(r, gw_json_text(k));
        if (!read_member(r, m, &seen, k, depth))
            ok = false;
        gw_json_leave(r, mark);
    }
    return ok && !r->stop;
}

bool gw_json_read_message(gw_json_reader *r, const ProtobufCMessageDescriptor *d, yyjson_val *v,
                          unsigned depth, ProtobufCMessage **ret)
{
    if (depth > GW_JSON_DEPTH_MAX)
        return gw_json_refuse(r, "nested too deeply, at most %d messages", GW_JSON_DEPTH_MAX);
    gw_json_kind kind = gw_json_kind_of(d);
    if (kind != GW_JSON_PLAIN)
        return gw_json_read_known(r, kind, d, v, depth, ret);
    if (!yyjson_is_obj(v))
        return gw_json_refuse(r, "must be an object");

    gw_auto_message m = gw_json_new_message(d);
    if (!m)
        return gw_json_no_memory(r);
    if (!read_members(r, m, v, depth))
        return false;
    *ret = gw_steal(&m);
    return true;
}

gw_status gw_json_read_value(const ProtobufCMessageDescriptor *d, yyjson_val *value,
                             const char *path, ProtobufCMessage **ret, gw_json_violations *v,
                             gw_error *err)
{
    gw_json_reader r;
    ProtobufCMessage *m = NULL;

    gw_json_reader_init(&r, path, v, err);
    if (!gw_json_read_message(&r, d, value, 1, &m))
        return r.rc;
    *ret = m;
    return GW_OK;
}

gw_status gw_json_read(const ProtobufCMessageDescriptor *d, gw_str text, ProtobufCMessage **ret,
                       gw_json_violations *v, gw_error *err)
{
    yyjson_read_err e;
    /* Without YYJSON_READ_INSITU the text is copied, never written to. */
    yyjson_doc *doc = yyjson_read_opts((char *)(uintptr_t)text.ptr, text.len, 0, NULL, &e);

    if (v)
        v->count = 0;
    if (!doc && e.code == YYJSON_READ_ERROR_MEMORY_ALLOCATION)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory to read the JSON");
    if (!doc)
        return gw_fail(err, GW_ERR_INVALID_JSON, "invalid JSON at offset %zu: %s", e.pos, e.msg);
    gw_status rc = gw_json_read_value(d, yyjson_doc_get_root(doc), "", ret, v, err);
    yyjson_doc_free(doc);
    return rc;
}
