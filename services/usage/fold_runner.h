/*
 * Fold runner: folds days soon after their hours have changed, and every 30 s those whose hours
 * are dirty all the same (another replica died, a fold lost).
 *
 * Passes are at least 500 ms apart, so that a busy key's day is not folded for every claim. A day that cannot be folded, as it is too
 * large for a document, keeps no other from it; it is tried again less and less often, in the end
 * every ten minutes, until it is folded here, or a sweep finds its hours clean: then another replica folded it, or they have expired.
 *
 * Thread: the loop's. Order at the end: fold_runner_stop(), gw_mongo_free(), fold_runner_free().
 */
#pragma once

#include "spool_store.h"

#include "log/log.h"
#include "loop/loop.h"
#include "metrics/metrics.h"

typedef struct fold_runner fold_runner;

GW_CHECK gw_status fold_runner_new(gw_loop *l, doc_pool *pool, gw_log *log,
                                   gw_metrics_shard *metrics, fold_runner **ret, gw_error *err);
void fold_runner_stop(fold_runner *r); /* starts nothing any more */
void fold_runner_free(fold_runner *r);
GW_DEFINE_FREEP(fold_runner)

void fold_runner_touch(fold_runner *r, const touched_days *days);
