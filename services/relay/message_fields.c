#include "message_fields.h"

#include <assert.h>

static void *at(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
    return (char *)(uintptr_t)m + f->offset;
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
