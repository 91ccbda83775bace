/*
 * Fold in the store: one day made again from its hours (fold.h, rollup.h).
 *
 * The day's `gen` is read first, then its hours; the day is written only while `gen` is as read,
 * so that of two folds the one with older hours loses. Only then are the hours marked clean, each
 * only while its `rev` is as read. Both are random at every write.
 *
 * Thread: on a worker.
 */
#pragma once

#include "spool_store.h"

typedef struct fold_outcome {
    bool folded; /* false: another one folded it meanwhile; its hours stay dirty if they have to */
    uint32_t largest_bytes; /* of its document, as it was to be written, and those of its hours */
} fold_outcome;

/* `day_id` as of rollup_day_id(). */
GW_CHECK gw_status fold_store_day(const spool_db *s, const char *day_id, fold_outcome *ret,
                                  gw_error *err);
/* The days of dirty hours, at most of `limit` hours of keys, and as many of owners. */
GW_CHECK gw_status fold_store_find_dirty(const spool_db *s, int64_t limit, touched_days *ret,
                                         gw_error *err);
