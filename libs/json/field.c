#include "json/field.h"

#include "json/json_internal.h"

#include <ctype.h>

size_t gw_field_value_size(const ProtobufCFieldDescriptor *f)
{
    switch (f->type) {
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return 8;
    case PROTOBUF_C_TYPE_BOOL:
        return sizeof(protobuf_c_boolean);
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(void *);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_ENUM:
        return 4;
    }
    return 0;
}

static const void *at(const ProtobufCMessage *m, unsigned offset)
{
    return (const char *)m + offset;
}

bool gw_field_is_set(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
    if (f->label == PROTOBUF_C_LABEL_REPEATED) {
        size_t n;
        memcpy(&n, at(m, f->quantifier_offset), sizeof(n));
        return n != 0;
    }
    if (gw_json_is_oneof(f)) {
        uint32_t which;
        memcpy(&which, at(m, f->quantifier_offset), sizeof(which));
        return which == f->id;
    }
    static const char zeros[16];
    const void *value = at(m, f->offset);
    if (f->type == PROTOBUF_C_TYPE_STRING) {
        const char *text;
        memcpy(&text, value, sizeof(text));
        return text && *text;
    }
    return memcmp(value, zeros, gw_field_value_size(f)) != 0;
}

void gw_field_share(ProtobufCMessage *to, const ProtobufCMessage *from,
                    const ProtobufCFieldDescriptor *f)
{
    char *base = (char *)to;
    if (f->label == PROTOBUF_C_LABEL_REPEATED) {
        memset(base + f->quantifier_offset, 0, sizeof(size_t));
        memset(base + f->offset, 0, sizeof(void *));
        if (from) {
            memcpy(base + f->quantifier_offset, at(from, f->quantifier_offset), sizeof(size_t));
            memcpy(base + f->offset, at(from, f->offset), sizeof(void *));
        }
        return;
    }
    if (gw_json_is_oneof(f)) {
        uint32_t which = from && gw_field_is_set(from, f) ? f->id : 0;
        memcpy(base + f->quantifier_offset, &which, sizeof(which));
        if (which == 0)
            from = NULL;
    }
    if (from) {
        memcpy(base + f->offset, at(from, f->offset), gw_field_value_size(f));
    } else if (f->type == PROTOBUF_C_TYPE_STRING) {
        const char *empty = protobuf_c_empty_string;
        memcpy(base + f->offset, &empty, sizeof(empty));
    } else {
        memset(base + f->offset, 0, gw_field_value_size(f));
    }
}

static bool is_camel_of(const char *proto_name, gw_str name)
{
    size_t n = 0;
    bool upper = false;

    for (const char *c = proto_name; *c; c++) {
        if (*c == '_') {
            upper = true;
            continue;
        }
        char expected = upper ? (char)toupper((unsigned char)*c) : *c;
        if (n == name.len || name.ptr[n++] != expected)
            return false;
        upper = false;
    }
    return n == name.len;
}

const ProtobufCFieldDescriptor *gw_field_named(const ProtobufCMessageDescriptor *d, gw_str name)
{
    for (unsigned i = 0; i < d->n_fields; i++)
        if (is_camel_of(d->fields[i].name, name) || gw_str_eq_c(name, d->fields[i].name))
            return &d->fields[i];
    return NULL;
}
