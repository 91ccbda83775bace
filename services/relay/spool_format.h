/*
 * Spool format: what stands in a segment of the spool, and how what does not belong there is told apart.
 *
 *     segment   head │ record │ record │ … │ 0            (allocated whole; what is behind the end is of an earlier use)
 *     record    spool_record │ spool_entry × count │ the events' bytes │ up to 7 bytes of nothing
 *
 * A record is one commit or a part of it. Its mark is of the log and of the segment's number, so that bytes of an earlier use of the
 * file never pass. The numbers of events go on for ever: number = base + seq. Native byte order: a spool does not travel.
 *
 * Thread: pure.
 */
#pragma once

#include "event_codec.h"
#include "spool.h"

#define SPOOL_RECORD_MAX  (128U << 10) /* whole */
#define SPOOL_SEGMENT_MAX (64U << 20) /* that is read */
#define SPOOL_FIRST       ((uint32_t)sizeof(spool_head)) /* where a segment's first record is */

/* What a spool is, as of a record. */
typedef struct spool_meta {
    uint8_t id[SPOOL_ID_SIZE];
    uint8_t registered;
    uint8_t unused[2];
    uint8_t boot[SPOOL_BOOT_SIZE];
    int64_t base, tail, acked; /* the number of seq 1 is base + 1 */
    uint8_t acked_event_id[SPOOL_EVENT_ID_SIZE];
    uint32_t opens;
} spool_meta;

typedef struct spool_head {
    char format[8];
    uint64_t log, number; /* of the segment: 1, 2, … */
    uint32_t size; /* of the file */
    uint32_t sum;
    spool_meta meta; /* before its first record */
} spool_head;

typedef struct spool_record {
    uint64_t mark;
    uint32_t sum; /* of the rest of this header */
    uint32_t body_sum;
    uint32_t body_bytes;
    uint32_t count;
    uint32_t durable; /* the segment up to here was on disk before this was written */
    uint32_t unused;
    spool_meta meta; /* with this record */
} spool_record;

typedef struct spool_entry {
    uint32_t slot;
    uint32_t len;
    uint64_t generation;
} spool_entry;

static inline int64_t spool_meta_end(const spool_meta *m) /* number of the last event */
{
    return m->base + m->tail;
}
static inline uint32_t spool_record_bytes(const spool_record *r)
{
    return ((uint32_t)sizeof(*r) + r->body_bytes + 7) & ~7U;
}

uint64_t spool_mark_of(uint64_t log, uint64_t number);
void spool_head_seal(spool_head *h);
bool spool_head_is_sound(const spool_head *h);

/* Fills mark and sums in; `bytes` is the record, whole. */
void spool_record_seal(uint8_t *bytes, uint64_t mark);
/* Whether it is a record's header of that segment; nothing about its body. */
bool spool_record_is_sound(const spool_record *r, uint64_t mark);
/* Whether body and header agree: then the lengths of its entries are those of its events. */
bool spool_body_is_sound(const spool_record *r, const uint8_t *body);

/* The id stands first in a packed event. */
bool spool_event_id(gw_str event, uint8_t ret[SPOOL_EVENT_ID_SIZE]);
