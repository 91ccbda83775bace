/*
 * Argon2 pool: password and key hashing on a few workers, so that its memory and time are bounded.
 *
 * A full queue fails the task with GW_ERR_OVERLOADED: load shows as an error.
 * Thread: the loop's.
 */
#pragma once

#include "crypto/crypto.h"
#include "loop/workers.h"
#include "metrics/metrics.h"

typedef struct argon2_pool argon2_pool;

/* `metrics` counts the runs; may be NULL. */
GW_CHECK gw_status argon2_pool_new(gw_loop *l, unsigned threads, gw_metrics_shard *metrics,
                                   argon2_pool **ret, gw_error *err);
void argon2_pool_free(argon2_pool *p);
GW_DEFINE_FREEP(argon2_pool)

/* Embedded in what asks, which lives until `done`. */
typedef struct argon2_task argon2_task;
struct argon2_task {
    gw_job job;
    gw_str secret; /* borrowed until `done` */
    gw_str stored; /* to verify: a PHC string, borrowed; "" hashes instead */
    char phc[GW_ARGON2_PHC_SIZE]; /* the hash made */
    bool fits; /* the secret fits `stored` */
    /* On the loop, exactly once, never inside argon2_pool_run. */
    void (*done)(argon2_task *t, gw_status rc, const gw_error *err);
    gw_status rc;
    gw_error error;
};
void argon2_pool_run(argon2_pool *p, argon2_task *t);
