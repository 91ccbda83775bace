#include "json/json_internal.h"

#include <stdlib.h>

static gw_status no_such_field(gw_error *err, gw_str path)
{
    char field[96];
    size_t n = gw_str_utf8_cut(path, sizeof(field) - 1);

    if (n > 0)
        memcpy(field, path.ptr, n);
    field[n] = '\0';
    return gw_fail_field(err, GW_ERR_NOT_FOUND, field, "there is no field %s", field);
}

static gw_status descend(ProtobufCMessage **m, const ProtobufCFieldDescriptor *f, gw_str path,
                         gw_error *err)
{
    ProtobufCMessage **child = (ProtobufCMessage **)gw_json_slot(*m, f);

    if (f->type != PROTOBUF_C_TYPE_MESSAGE || f->label == PROTOBUF_C_LABEL_REPEATED ||
        gw_json_field_kind(f) != GW_JSON_PLAIN)
        return no_such_field(err, path);
    if (gw_json_is_oneof(f)) {
        uint32_t given = *(const uint32_t *)gw_json_const_quantifier(*m, f);
        if (given != 0 && given != f->id)
            return gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, f->name,
                                 "%s cannot be given together with another of its kind", f->name);
    }
    /* Before the case is set the slot of a oneof means nothing. */
    bool absent =
        gw_json_is_oneof(f) ? *(uint32_t *)gw_json_quantifier(*m, f) == 0 : *child == NULL;
    if (absent) {
        ProtobufCMessage *made =
            gw_json_new_message((const ProtobufCMessageDescriptor *)f->descriptor);
        if (!made)
            return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for a message");
        *child = made;
        gw_json_mark_present(*m, f);
    }
    *m = *child;
    return GW_OK;
}

gw_status gw_json_field_by_path(ProtobufCMessage *root, gw_str path, ProtobufCMessage **ret_message,
                                const ProtobufCFieldDescriptor **ret_field, gw_error *err)
{
    ProtobufCMessage *m = root;
    const ProtobufCFieldDescriptor *f = NULL;
    gw_str rest = path;
    gw_str name;

    for (unsigned depth = 1; gw_str_split(&rest, '.', &name); depth++) {
        gw_status rc = f ? descend(&m, f, path, err) : GW_OK;
        if (rc != GW_OK)
            return rc;
        f = depth <= GW_JSON_DEPTH_MAX ? gw_field_named(m->descriptor, name) : NULL;
        if (!f)
            return no_such_field(err, path);
    }
    if (!f)
        return no_such_field(err, path);
    *ret_message = m;
    *ret_field = f;
    return GW_OK;
}

/* Text forms stand for scalars and for the well-known messages that are one JSON string or number. */
static bool has_text_form(const ProtobufCFieldDescriptor *f)
{
    if (f->type != PROTOBUF_C_TYPE_MESSAGE)
        return true;
    switch (gw_json_field_kind(f)) {
    case GW_JSON_TIMESTAMP:
    case GW_JSON_DURATION:
    case GW_JSON_FIELD_MASK:
    case GW_JSON_WRAPPER:
        return true;
    default:
        return false;
    }
}

/* The JSON value that the text stands for. Numbers stay strings: the reader takes both. */
static void value_of_text(const ProtobufCFieldDescriptor *f, gw_str text, yyjson_val *ret)
{
    ProtobufCType type = f->type;
    int64_t number;

    if (gw_json_field_kind(f) == GW_JSON_WRAPPER)
        type = ((const ProtobufCMessageDescriptor *)f->descriptor)->fields[0].type;
    *ret = (yyjson_val){.tag = YYJSON_TYPE_STR};
    (void)yyjson_set_strn(ret, text.ptr ? text.ptr : "", text.len);
    if (type == PROTOBUF_C_TYPE_BOOL &&
        (gw_str_eq(text, GW_STR("true")) || gw_str_eq(text, GW_STR("false"))))
        (void)yyjson_set_bool(ret, text.len == strlen("true"));
    if (type == PROTOBUF_C_TYPE_ENUM && gw_str_to_int64(text, &number))
        (void)yyjson_set_sint(ret, number);
}

static bool append_element(gw_json_reader *r, ProtobufCMessage *m,
                           const ProtobufCFieldDescriptor *f, yyjson_val *v)
{
    size_t size = gw_field_value_size(f);
    size_t *count = (size_t *)gw_json_quantifier(m, f);
    char **items = (char **)gw_json_slot(m, f);

    if (*count >= GW_JSON_REPEATED_MAX)
        return gw_json_refuse(r, "has more than %d elements", GW_JSON_REPEATED_MAX);
    char *grown = (char *)realloc(*items, (*count + 1) * size);
    if (!grown)
        return gw_json_no_memory(r);
    *items = grown;
    memset(grown + *count * size, 0, size);
    if (!gw_json_read_single(r, f, v, 2, grown + *count * size))
        return false;
    ++*count;
    return true;
}

/* What is held now goes, so that a second value replaces the first and leaks nothing. */
static void release_singular(ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
    void *slot = gw_json_slot(m, f);

    if (gw_json_is_oneof(f) && *(uint32_t *)gw_json_quantifier(m, f) != f->id)
        return;
    if (f->type == PROTOBUF_C_TYPE_MESSAGE) {
        gw_json_message_free(*(ProtobufCMessage **)slot);
        *(ProtobufCMessage **)slot = NULL;
    } else if (f->type == PROTOBUF_C_TYPE_BYTES) {
        free(((ProtobufCBinaryData *)slot)->data);
        *(ProtobufCBinaryData *)slot = (ProtobufCBinaryData){0};
    } else if (f->type == PROTOBUF_C_TYPE_STRING && *(const void **)slot != f->default_value) {
        free(*(char **)slot);
        *(const void **)slot = f->default_value;
    }
    if (gw_json_is_oneof(f))
        *(uint32_t *)gw_json_quantifier(m, f) = 0;
}

gw_status gw_json_set_from_text(ProtobufCMessage *m, const ProtobufCFieldDescriptor *f, gw_str text,
                                gw_error *err)
{
    gw_json_reader r;
    yyjson_val v;
    char name[GW_JSON_NAME_SIZE];

    gw_json_name(f->name, name);
    gw_json_reader_init(&r, name, NULL, err);
    if (!has_text_form(f)) {
        (void)gw_json_refuse(&r, "cannot be given as text");
        return r.rc;
    }
    value_of_text(f, text, &v);
    if (f->label == PROTOBUF_C_LABEL_REPEATED)
        return append_element(&r, m, f, &v) ? GW_OK : r.rc;
    release_singular(m, f);
    return gw_json_read_field(&r, m, f, &v, 1) ? GW_OK : r.rc;
}
