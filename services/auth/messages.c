#include "messages.h"

#include "json/json.h"

#define FIRST_SECOND (-62135596800LL) /* 0001-01-01T00:00:00Z */
#define LAST_SECOND  253402300799LL /* 9999-12-31T23:59:59Z */

void *message_new(gw_arena *a, const ProtobufCMessageDescriptor *d)
{
    ProtobufCMessage *m = gw_arena_zalloc(a, d->sizeof_message);
    if (m)
        protobuf_c_message_init(d, m);
    return m;
}

static void *arena_alloc(void *arena, size_t size)
{
    return gw_arena_alloc(arena, size);
}

static void arena_free(void *arena, void *p)
{
    (void)arena;
    (void)p;
}

void *message_copy(gw_arena *a, const ProtobufCMessage *m)
{
    if (!m)
        return NULL;
    ProtobufCAllocator allocator = {arena_alloc, arena_free, a};
    size_t len = protobuf_c_message_get_packed_size(m);
    uint8_t *packed = gw_arena_alloc(a, len + 1);
    if (!packed)
        return NULL;
    protobuf_c_message_pack(m, packed);
    return protobuf_c_message_unpack(m->descriptor, &allocator, len, packed);
}

char *message_text(gw_arena *a, gw_str s)
{
    char *text = s.len ? gw_arena_strdup(a, s) : NULL;
    return text ? text : (char *)(uintptr_t)protobuf_c_empty_string;
}

Google__Protobuf__Timestamp *message_time(gw_arena *a, int64_t wall_ms)
{
    if (wall_ms == 0)
        return NULL;
    Google__Protobuf__Timestamp *t = message_new(a, &google__protobuf__timestamp__descriptor);
    if (!t)
        return NULL;
    int64_t ms = wall_ms % 1000;
    t->seconds = wall_ms / 1000;
    if (ms < 0) { /* nanos count forward from the second before */
        ms += 1000;
        t->seconds--;
    }
    t->nanos = (int32_t)ms * 1000000;
    return t;
}

int64_t message_time_ms(const Google__Protobuf__Timestamp *t)
{
    if (!t)
        return 0;
    int64_t seconds = GW_MIN(GW_MAX(t->seconds, FIRST_SECOND), LAST_SECOND);
    return seconds * 1000 + t->nanos / 1000000;
}

static size_t value_size(const ProtobufCFieldDescriptor *f)
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

static bool is_oneof(const ProtobufCFieldDescriptor *f)
{
    return (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0;
}

bool message_field_is_set(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
    if (f->label == PROTOBUF_C_LABEL_REPEATED) {
        size_t n;
        memcpy(&n, at(m, f->quantifier_offset), sizeof(n));
        return n != 0;
    }
    if (is_oneof(f)) {
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
    return memcmp(value, zeros, value_size(f)) != 0;
}

void message_field_share(ProtobufCMessage *to, const ProtobufCMessage *from,
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
    if (is_oneof(f)) {
        uint32_t which = from && message_field_is_set(from, f) ? f->id : 0;
        memcpy(base + f->quantifier_offset, &which, sizeof(which));
        if (which == 0)
            from = NULL;
    }
    if (from) {
        memcpy(base + f->offset, at(from, f->offset), value_size(f));
    } else if (f->type == PROTOBUF_C_TYPE_STRING) {
        const char *empty = protobuf_c_empty_string;
        memcpy(base + f->offset, &empty, sizeof(empty));
    } else {
        memset(base + f->offset, 0, value_size(f));
    }
}

void message_fill_absent(ProtobufCMessage *to, const ProtobufCMessage *from)
{
    for (unsigned i = 0; i < from->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &from->descriptor->fields[i];
        ProtobufCMessage *has = message_child(to, f);
        if (!message_field_is_set(from, f))
            continue;
        if (!has && !message_field_is_set(to, f))
            message_field_share(to, from, f);
        else if (has && f->descriptor != &google__protobuf__timestamp__descriptor)
            message_fill_absent(has, message_child(from, f));
    }
}

ProtobufCMessage *message_child(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
    ProtobufCMessage *child = NULL;
    if (f->type == PROTOBUF_C_TYPE_MESSAGE && f->label != PROTOBUF_C_LABEL_REPEATED)
        memcpy(&child, at(m, f->offset), sizeof(void *));
    return child;
}

const ProtobufCFieldDescriptor *message_field(const ProtobufCMessageDescriptor *d, gw_str name)
{
    for (unsigned i = 0; i < d->n_fields; i++) {
        char json[GW_JSON_NAME_SIZE];
        gw_json_name(d->fields[i].name, json);
        if (gw_str_eq_c(name, d->fields[i].name) || gw_str_eq_c(name, json))
            return &d->fields[i];
    }
    return NULL;
}
