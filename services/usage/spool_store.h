/*
 * Spool store: the write plan of one spool's events, step by step.
 *
 * usage_spools: {_id: <spool id, 10 hex>, boot, n, done, p, lastId, tail, seen, proof, host, claimedAt,
 *                claimId}
 *     n     last seq claimed: the single-document update that moves n from a to b carries the
 *           events (a, b] in `p` and is the one commit point
 *     done  last seq known to be applied everywhere (rows, then hours)
 *     claimId  random, another one for each claim: a crash may take a claim back that was read already, and the next one may
 *           end at the same n; missing in a spool that was not claimed from
 *     status, statusSeq   what the relay told last, and how often that was noted
 *
 * Every write is durable (j:true, majority on a replica set) before its step returns GW_OK. Any
 * step may be repeated, by any replica, at any time.
 *
 * Thread: on a worker; each function blocks. A spool_db belongs to one job.
 */
#pragma once

#include "claim.h"
#include "doc_store.h"
#include "rollup.h"

#define SPOOL_ID_BYTES   5
#define SPOOL_ID_SIZE    (2 * SPOOL_ID_BYTES + 1)
#define SPOOL_BOOT_BYTES 16

typedef struct spool_db {
    doc_store *store;
    int64_t now_ms; /* wall clock */
} spool_db;

/* What a relay says of its spool. */
typedef struct spool_hello {
    char id[SPOOL_ID_SIZE]; /* hex */
    uint8_t boot[SPOOL_BOOT_BYTES];
    bool registered;
    int64_t tail;
    char host[64];
} spool_hello;

typedef enum spool_standing {
    SPOOL_KNOWN,
    SPOOL_CONFLICT, /* known with another boot */
    SPOOL_GONE, /* says it is registered, and is not known */
} spool_standing;

typedef struct spool_position {
    int64_t n;
    bool has_last_id;
    gw_object_id last_id; /* of the event at n */
} spool_position;

/* The days whose hours a step has changed, as ids of their documents (rollup_day_id). */
typedef struct touched_days {
    char (*ids)[ROLLUP_ID_SIZE];
    size_t count, cap;
} touched_days;
void touched_days_fini(touched_days *t);
GW_CHECK bool touched_days_add(touched_days *t, gw_str id); /* false when out of memory */

/* Makes the spool known when it is new. */
GW_CHECK gw_status spool_register(const spool_db *s, const spool_hello *h, spool_standing *ret,
                                  gw_error *err);
/*
 * Where the spool stands, confirmed durable by a write of our own, all of it applied. GW_ERR_ABORTED
 * when others kept moving it; GW_ERR_NOT_FOUND when it is not known.
 */
GW_CHECK gw_status spool_resume(const spool_db *s, const char *id, int64_t tail,
                                spool_position *ret, touched_days *touched, gw_error *err);
/* *ret_matched false: another one moved n. An error: nobody knows; resume tells. */
GW_CHECK gw_status spool_claim(const spool_db *s, const char *id, const claim *c, int64_t tail,
                               bool *ret_matched, gw_error *err);
/* Rows, then hours, of a claim that is known to be durable. */
GW_CHECK gw_status spool_apply(const spool_db *s, const char *id, const claim *c,
                               touched_days *touched, gw_error *err);
/* Everything up to `n` is applied: forgets the events. No match is fine: a later claim said it. */
GW_CHECK gw_status spool_finish(const spool_db *s, const char *id, int64_t n, gw_error *err);

/* What the relay said last; not durable, may be lost. */
typedef struct spool_status {
    int64_t tail, oldest, oldest_timestamp_ms, open_slots, dropped, spool_bytes;
} spool_status;
GW_CHECK gw_status spool_note_status(const spool_db *s, const char *id, const spool_status *status,
                                     gw_error *err);

/*
 * Takes the resume step on spools whose claim is older than `age_ms`: so a claim survives both its
 * relay and its replica. *ret_swept: how many. One that fails does not keep the others; the first
 * failure is returned at the end.
 */
GW_CHECK gw_status spool_sweep(const spool_db *s, int64_t age_ms, size_t *ret_swept,
                               touched_days *touched, gw_error *err);
