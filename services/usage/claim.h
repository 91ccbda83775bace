/*
 * Claim: the events (from, from + count] of one spool, with the verdict on each, as they stand in
 * `p` of usage_spools. Whoever reads it applies the same rows and the same sums.
 *
 *     p: {format: 2, from, count, events: <binary>, rejected: [{i, reason}, …]}
 *     events:  ┌ length u32 LE ┬ packed UsageEvent ┐ repeated `count` times
 *
 * The format is SUMS_FORMAT of whoever made the claim: its rows are summed up by that one, whoever applies it. A version that does not
 * know it leaves the claim to others.
 *
 * Thread: values; one owner.
 */
#pragma once

#include "core/id.h"
#include "core/status.h"
#include "core/str.h"

#include <bson/bson.h>

#define CLAIM_EVENTS_MAX 8000
#define CLAIM_BYTES_MAX  (4 << 20)

/* ---- events waiting for a claim ---- */
typedef struct event_queue {
    gw_buf bytes; /* as in `events` above */
    size_t head; /* where the first event starts */
    size_t count;
    int64_t first_seq; /* of the first event; the others follow without gaps */
} event_queue;

void event_queue_fini(event_queue *q);
size_t event_queue_bytes(const event_queue *q);
GW_CHECK bool event_queue_push(event_queue *q, gw_str packed); /* false when out of memory */
void event_queue_drop_through(event_queue *q, int64_t seq); /* those up to and with `seq` */
/* Packed, a view until the queue changes; GW_STR_NULL when it is not there. */
gw_str event_queue_at(const event_queue *q, int64_t seq);
void event_queue_clear(event_queue *q);

/* ---- a claim ---- */
typedef struct claim_verdict {
    size_t index;
    char reason[32];
} claim_verdict;

typedef struct claim {
    int sums_format; /* rollup.h */
    int64_t from; /* the seq before the first event */
    size_t count;
    gw_buf events;
    claim_verdict *rejected; /* by rising index */
    size_t rejected_count;
} claim;

void claim_fini(claim *c);
static inline int64_t claim_to(const claim *c) /* the last seq */
{
    return c->from + (int64_t)c->count;
}

/* Copies the first events of the queue, at most the two bounds above, into the zeroed `c`. They
 * leave the queue when the claim is known to have been made. */
GW_CHECK gw_status claim_take(const event_queue *q, claim *c, gw_error *err);
GW_CHECK gw_status claim_judge(claim *c, int64_t now_ms, int64_t retention_ms, gw_error *err);

/* The claim as `p`, and back; a `p` that does not hold what it says is GW_ERR_DATA_LOSS, one of a
 * newer format GW_ERR_FAILED_PRECONDITION. */
void claim_append(const claim *c, bson_t *p);
GW_CHECK gw_status claim_parse(const bson_t *p, claim *ret, gw_error *err);

/* The events in order: `claim_cursor at = {0}; while (claim_next(c, &at)) …` */
typedef struct claim_cursor {
    size_t offset;
    size_t next_verdict;
    size_t next_index;
    int64_t seq; /* of this event */
    gw_str packed; /* this event */
    const char *reason; /* why it is rejected; NULL when it is not */
} claim_cursor;
bool claim_next(const claim *c, claim_cursor *at);
