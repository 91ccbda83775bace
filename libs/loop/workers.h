/*
 * Workers: threads for what blocks (database calls, Argon2id, disk).
 *
 * `work` runs on a worker, then `done` on the loop that submitted. The queue is bounded: a full
 * queue refuses, so that load shows as an error and not as memory.
 */
#pragma once

#include "loop/mailbox.h"

typedef struct gw_workers gw_workers;

typedef struct gw_job {
    gw_message message; /* libs/loop's own */
    void (*work)(struct gw_job *j); /* on a worker: touches the job only */
    void (*done)(
        struct gw_job *j); /* on the loop, exactly once for each accepted job; frees the job */
    gw_mailbox *reply; /* libs/loop's own */
    struct gw_job *next; /* libs/loop's own */
} gw_job;

/* `threads` 1-64, `queue_max` jobs waiting at most. `name` (<= 10 characters) names the threads. */
GW_CHECK gw_status gw_workers_new(gw_loop *l, const char *name, unsigned threads, size_t queue_max,
                                  gw_workers **ret, gw_error *err);
/* Lets running jobs end, runs what is queued, delivers every `done`, then joins. On the loop,
 * outside a `done`. */
void gw_workers_free(gw_workers *w);
GW_DEFINE_FREEP(gw_workers)

/* GW_ERR_OVERLOADED when the queue is full, GW_ERR_SHUTTING_DOWN inside gw_workers_free(): the job stays the caller's. On the loop. */
GW_CHECK gw_status gw_workers_submit(gw_workers *w, gw_job *j, gw_error *err);
size_t gw_workers_queued(const gw_workers *w); /* waiting, not running */
