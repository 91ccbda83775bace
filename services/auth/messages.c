#include "messages.h"

#include "json/field.h"

#define FIRST_SECOND (-62135596800LL) /* 0001-01-01T00:00:00Z */
#define LAST_SECOND  253402300799LL /* 9999-12-31T23:59:59Z */
#define LAST_NANO    999999999

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

bool message_is_same(gw_arena *a, const ProtobufCMessage *x, const ProtobufCMessage *y)
{
    size_t len = protobuf_c_message_get_packed_size(x);
    if (len != protobuf_c_message_get_packed_size(y))
        return false;
    uint8_t *both = gw_arena_alloc(a, 2 * len + 1);
    if (!both)
        return false;
    protobuf_c_message_pack(x, both);
    protobuf_c_message_pack(y, both + len);
    return memcmp(both, both + len, len) == 0;
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

bool message_time_is_valid(const Google__Protobuf__Timestamp *t)
{
    return t->seconds >= FIRST_SECOND && t->seconds <= LAST_SECOND && t->nanos >= 0 &&
           t->nanos <= LAST_NANO;
}

int64_t message_time_ms(const Google__Protobuf__Timestamp *t)
{
    if (!t)
        return 0;
    int64_t seconds = GW_MIN(GW_MAX(t->seconds, FIRST_SECOND), LAST_SECOND);
    return seconds * 1000 + GW_MIN(GW_MAX(t->nanos, 0), LAST_NANO) / 1000000;
}

void message_fill_absent(ProtobufCMessage *to, const ProtobufCMessage *from)
{
    for (unsigned i = 0; i < from->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &from->descriptor->fields[i];
        ProtobufCMessage *has = message_child(to, f);
        if (!gw_field_is_set(from, f))
            continue;
        if (!has && !gw_field_is_set(to, f))
            gw_field_share(to, from, f);
        else if (has && f->descriptor != &google__protobuf__timestamp__descriptor)
            message_fill_absent(has, message_child(from, f));
    }
}

ProtobufCMessage *message_child(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
    ProtobufCMessage *child = NULL;
    if (f->type == PROTOBUF_C_TYPE_MESSAGE && f->label != PROTOBUF_C_LABEL_REPEATED)
        memcpy(&child, (const char *)m + f->offset, sizeof(void *));
    return child;
}
