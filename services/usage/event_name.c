#include "event_name.h"

#include <stdint.h>

enum { TIMESTAMP = 2, MODEL = 7, ROUTE = 8, UPSTREAM_ACCEPTED = 40 }; /* event.proto */
enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };

typedef struct reader {
    const uint8_t *bytes;
    size_t len, at;
} reader;

static bool read_varint(reader *r, uint64_t *ret)
{
    *ret = 0;
    for (unsigned shift = 0; shift < 64 && r->at < r->len; shift += 7) {
        uint8_t b = r->bytes[r->at++];
        *ret |= (uint64_t)(b & 0x7f) << shift;
        if (!(b & 0x80))
            return true;
    }
    return false;
}

static bool skip_bytes(reader *r, uint64_t count)
{
    if (count > r->len - r->at)
        return false;
    r->at += (size_t)count;
    return true;
}

static void take_number(event_name *n, uint64_t field, uint64_t value, size_t at, size_t len)
{
    if (field == TIMESTAMP)
        n->timestamp_ms = (int64_t)value;
    if (field != UPSTREAM_ACCEPTED)
        return;
    n->accepted_at = at;
    n->accepted_len = value ? len : 0;
}

static void take_text(event_name *n, uint64_t field, gw_str text)
{
    if (field == MODEL)
        n->model = text;
    else if (field == ROUTE)
        n->route = text;
}

static bool read_value(reader *r, uint64_t tag, event_name *n)
{
    size_t at = r->at;
    uint64_t value;
    switch (tag & 7) {
    case VARINT:
        if (!read_varint(r, &value))
            return false;
        take_number(n, tag >> 3, value, at, r->at - at);
        return true;
    case FIXED64:
        return skip_bytes(r, 8);
    case FIXED32:
        return skip_bytes(r, 4);
    case BYTES:
        if (!read_varint(r, &value) || !skip_bytes(r, value))
            return false;
        take_text(n, tag >> 3, gw_str_n((const char *)r->bytes + r->at - value, (size_t)value));
        return true;
    default:
        return false;
    }
}

bool event_name_read(gw_str packed, event_name *ret)
{
    reader r = {.bytes = (const uint8_t *)packed.ptr, .len = packed.len};
    event_name n = {0};
    uint64_t tag;
    while (r.at < r.len)
        if (!read_varint(&r, &tag) || !read_value(&r, tag, &n))
            return false;
    *ret = n;
    return true;
}

/* A varint of as many bytes, of which each says nothing. */
void event_name_drop(char *packed, const event_name *name)
{
    for (size_t i = 0; i < name->accepted_len; i++)
        packed[name->accepted_at + i] = i + 1 < name->accepted_len ? (char)0x80 : 0;
}
