/*
 * Rejects: events that were set aside, tried again through a spool of usage's own, with the same claim as any other.
 *
 *     a new spool S, n = 0 ─▶ rejects taken: {replay: S} ─▶ claim 0 → k ─▶ rows, hours ─▶ rejects of S deleted
 *
 * One claim a spool. Whoever stops in between is finished by the next replay or look: with n = 0 nothing was claimed, S is
 * deleted (so that its claim can never match) and its rejects are free again; with n > 0 the claim is applied by the resume
 * step and its rejects are deleted. So each event becomes exactly one row, or stays a reject.
 *
 * Thread: on a worker.
 */
#pragma once

#include "spool_store.h"

#include "core/id.h"

typedef struct reject_filter {
    bool has_id;
    gw_object_id id;
    gw_str reason; /* "": any */
    int64_t limit; /* 1-REJECTS_A_REPLAY */
} reject_filter;

#define REJECTS_A_REPLAY 500

typedef struct reject_outcome {
    int64_t replayed, still_rejected, duplicates;
} reject_outcome;

/* GW_ERR_ABORTED: another replay was faster. A later one finds what is left. */
GW_CHECK gw_status rejects_replay(const gw_db *d, const reject_filter *f, int64_t now_ms,
                                  int64_t retention_ms, reject_outcome *ret, touched_days *touched,
                                  gw_error *err);
/* Finishes, or takes back, replays that stopped in between, at least `age_ms` old. */
GW_CHECK gw_status rejects_recover(const gw_db *d, int64_t now_ms, int64_t age_ms,
                                   touched_days *touched, gw_error *err);
