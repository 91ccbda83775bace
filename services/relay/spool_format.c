#include "spool_format.h"

#include "core/crc32c.h"

static const char format[8] = "spool\0\0\1";

_Static_assert(sizeof(spool_meta) == 64 && sizeof(spool_head) == 96 && sizeof(spool_record) == 96 &&
                   sizeof(spool_entry) == 16,
               "nothing between the fields: what stands on disk is all of them");

/* A bijection that spreads (splitmix64): neighbours share nothing. Never the zeroes of what was not written yet. */
uint64_t spool_mark_of(uint64_t log, uint64_t number)
{
    uint64_t x = log ^ (number * 0x9e3779b97f4a7c15U);
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
    return (x ^ (x >> 31)) | 1;
}

static bool meta_is_sane(const spool_meta *m)
{
    return m->base >= 0 && m->acked >= 0 && m->tail >= m->acked && m->tail < INT64_MAX / 4 &&
           m->base < INT64_MAX / 4;
}

static uint32_t sum_of_head(const spool_head *h)
{
    spool_head copy = *h;
    copy.sum = 0;
    return gw_crc32c(0, &copy, sizeof(copy));
}

void spool_head_seal(spool_head *h)
{
    memcpy(h->format, format, sizeof(format));
    h->sum = sum_of_head(h);
}

bool spool_head_is_sound(const spool_head *h)
{
    return memcmp(h->format, format, sizeof(format)) == 0 && h->sum == sum_of_head(h) &&
           h->number > 0 && h->number < UINT64_MAX && meta_is_sane(&h->meta);
}

static uint32_t sum_of_record(const spool_record *r)
{
    const uint8_t *bytes = (const uint8_t *)&r->body_sum;
    return gw_crc32c(0, bytes, sizeof(*r) - offsetof(spool_record, body_sum));
}

void spool_record_seal(uint8_t *bytes, uint64_t mark)
{
    spool_record r;
    memcpy(&r, bytes, sizeof(r));
    r.mark = mark;
    r.body_sum = gw_crc32c(0, bytes + sizeof(r), r.body_bytes);
    r.sum = sum_of_record(&r);
    memcpy(bytes, &r, sizeof(r));
}

bool spool_record_is_sound(const spool_record *r, uint64_t mark)
{
    return r->mark == mark && r->sum == sum_of_record(r) &&
           r->body_bytes <= SPOOL_RECORD_MAX - sizeof(*r) &&
           r->count <= r->body_bytes / sizeof(spool_entry) && meta_is_sane(&r->meta) &&
           spool_meta_end(&r->meta) >= r->count;
}

bool spool_body_is_sound(const spool_record *r, const uint8_t *body)
{
    size_t left = r->body_bytes - r->count * sizeof(spool_entry);
    if (gw_crc32c(0, body, r->body_bytes) != r->body_sum)
        return false;
    for (uint32_t i = 0; i < r->count; i++) {
        spool_entry e;
        memcpy(&e, body + i * sizeof(e), sizeof(e));
        if (e.len > EVENT_MAX_BYTES || e.len > left)
            return false;
        left -= e.len;
    }
    return left == 0;
}

bool spool_event_id(gw_str event, uint8_t ret[SPOOL_EVENT_ID_SIZE])
{
    const uint8_t *b = (const uint8_t *)event.ptr;
    if (event.len < 2 + SPOOL_EVENT_ID_SIZE || b[0] != 0x0a || b[1] != SPOOL_EVENT_ID_SIZE)
        return false;
    memcpy(ret, b + 2, SPOOL_EVENT_ID_SIZE);
    return true;
}
