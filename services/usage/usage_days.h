/*
 * Usage days: which whole UTC days of a range may be read as one document each, instead of their hours.
 *
 * A day's document is the sum of its hours unless one of these is dirty: then the hours are read. So nothing is late for the fold,
 * and a month costs some thirty documents.
 *
 * Thread: on a worker.
 */
#pragma once

#include "rollup.h"
#include "usage_report.h"

#include "mongo/db.h"

typedef struct usage_days {
    int64_t from_ms; /* a day's start */
    size_t count;
    bool *whole; /* of each day: its document says all */
} usage_days;

/* Of one key, of all keys' sums, or of all parts of owners. */
typedef struct usage_subject {
    rollup_kind kind;
    gw_object_id key; /* of ROLLUP_KEY */
} usage_subject;

/* The whole days within [from_ms, to_ms). */
GW_CHECK gw_status usage_days_find(const gw_db *d, int64_t from_ms, int64_t to_ms,
                                   const usage_subject *subject, usage_days *ret, gw_error *err);
void usage_days_fini(usage_days *x);
int64_t usage_days_to_ms(const usage_days *x); /* their end */

/* Calls `run` for each stretch of hours in [from_ms, to_ms) that is in no whole day. */
typedef gw_status (*usage_stretch_fn)(void *arg, int64_t from_ms, int64_t to_ms, gw_error *err);
GW_CHECK gw_status usage_days_rest(const usage_days *x, int64_t from_ms, int64_t to_ms,
                                   usage_stretch_fn run, void *arg, gw_error *err);
/* The same for each stretch of whole days; `run` may take days of its stretch back (whole = false). */
GW_CHECK gw_status usage_days_stretches(const usage_days *x, usage_stretch_fn run, void *arg,
                                        gw_error *err);

/* What a day's document keeps of its hours. */
typedef struct usage_day_hours {
    bool has[24];
    usage_figures of[24];
} usage_day_hours;
/* False when it keeps nothing: it was folded by an older version. */
GW_CHECK bool usage_day_hours_of(const bson_t *day, usage_day_hours *ret);

/* ---- what both of these and queries by key ask for ---- */

/* {field: {$gte, $lt}} */
void usage_append_range(bson_t *filter, const char *field, int64_t from_ms, int64_t to_ms);
/* {apiKeyId: …}; of all parts of owners nothing: they have collections of their own */
void usage_append_subject(bson_t *filter, const usage_subject *subject);
