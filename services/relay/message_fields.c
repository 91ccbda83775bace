#include "message_fields.h"

#include "json/json.h"

#include <assert.h>

static void *at(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
    return (char *)(uintptr_t)m + f->offset;
}

static size_t *count_of(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
    return (size_t *)(void *)((char *)(uintptr_t)m + f->quantifier_offset);
}

static const ProtobufCFieldDescriptor *field_named(const ProtobufCMessage *m, const char *name)
{
    const ProtobufCFieldDescriptor *f =
        protobuf_c_message_descriptor_get_field_by_name(m->descriptor, name);
    assert(f);
    return f;
}

void *message_field(ProtobufCMessage *m, const char *name)
{
    return at(m, field_named(m, name));
}

const char *message_text(const ProtobufCMessage *m, const char *name)
{
    const char *text = *(const char *const *)at(m, field_named(m, name));
    return text ? text : "";
}

void message_set_text(ProtobufCMessage *m, const char *name, const char *value)
{
    *(const char **)message_field(m, name) = value;
}

const ProtobufCMessage *message_child(const ProtobufCMessage *m, const char *name)
{
    return *(const ProtobufCMessage *const *)at(m, field_named(m, name));
}

ProtobufCMessage *message_make(gw_arena *a, const ProtobufCMessageDescriptor *d)
{
    ProtobufCMessage *m = gw_arena_alloc(a, d->sizeof_message);
    if (m)
        d->message_init(m);
    return m;
}

ProtobufCMessage *message_shallow_copy(gw_arena *a, const ProtobufCMessage *m)
{
    ProtobufCMessage *copy = gw_arena_alloc(a, m->descriptor->sizeof_message);
    if (copy)
        memcpy(copy, m, m->descriptor->sizeof_message);
    return copy;
}

static size_t size_of(const ProtobufCFieldDescriptor *f)
{
    if (f->label == PROTOBUF_C_LABEL_REPEATED)
        return sizeof(void *);
    switch (f->type) {
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return 8;
    case PROTOBUF_C_TYPE_BOOL:
        return sizeof(protobuf_c_boolean);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(void *);
    default:
        return 4;
    }
}

void message_copy_field(ProtobufCMessage *to, const ProtobufCMessage *from,
                        const ProtobufCFieldDescriptor *f)
{
    assert(to->descriptor == from->descriptor && !(f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF));
    memcpy(at(to, f), at(from, f), size_of(f));
    if (f->label == PROTOBUF_C_LABEL_REPEATED)
        *count_of(to, f) = *count_of(from, f);
}

const ProtobufCFieldDescriptor *message_field_of_path(const ProtobufCMessageDescriptor *d,
                                                      const char *path)
{
    char name[GW_JSON_NAME_SIZE];
    for (unsigned i = 0; i < d->n_fields; i++) {
        gw_json_name(d->fields[i].name, name);
        if (strcmp(path, d->fields[i].name) == 0 || strcmp(path, name) == 0)
            return &d->fields[i];
    }
    return NULL;
}

bool message_has(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
    static const char zeros[sizeof(ProtobufCBinaryData)];
    if (f->label == PROTOBUF_C_LABEL_REPEATED)
        return *count_of(m, f) > 0;
    if (f->type == PROTOBUF_C_TYPE_STRING) {
        const char *text = *(const char *const *)at(m, f);
        return text && *text;
    }
    return memcmp(at(m, f), zeros, size_of(f)) != 0;
}
