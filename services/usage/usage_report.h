/*
 * Usage report: sums over hour documents (rollup.h), in all, by group and by interval.
 *
 * Rows at the edges of a range are made hour documents by rollup.h first, so that there is one
 * definition of what a row adds.
 *
 * Thread: one owner; lives as long as its arena.
 */
#pragma once

#include "histogram.h"
#include "time_range.h"

#include "core/arena.h"
#include "core/id.h"
#include "core/violations.h"

#include <bson/bson.h>

typedef enum usage_group_by {
    GROUP_NONE,
    GROUP_KEY,
    GROUP_MODEL,
    GROUP_PROVIDER,
    GROUP_CLIENT,
    GROUP_USER
} usage_group_by;

/* "key", "apiKey", "apiKeyId", "client_id", …; `own` allows model and provider only. */
usage_group_by usage_group_by_of(const char *text, bool own, gw_violations *v);

typedef struct usage_figures {
    int64_t requests, successful, failed;
    int64_t prompt_tokens, completion_tokens, total_tokens, cached_tokens, reasoning_tokens;
    int64_t cost_nano_usd, billed_nano_usd;
} usage_figures;

typedef struct usage_group {
    gw_str name;
    usage_figures figures;
} usage_group;

#define USAGE_GROUPS_MAX 1000

typedef struct usage_report usage_report;
/* `points` (borrowed) may be NULL: no series. NULL when out of memory. */
usage_report *usage_report_new(gw_arena *a, usage_group_by by, const time_points *points);

/* The path of the groups' slices in a document; NULL: none has them. */
const char *usage_report_slices(usage_group_by by);

enum { /* where a document counts */
       REPORT_TOTALS = 1, /* the totals, and the groups that stand within the document */
       REPORT_SERIES = 2, /* the interval given */
};
/* `point` -1: in no interval. */
void usage_report_add(usage_report *r, const bson_t *hour, unsigned parts, ptrdiff_t point);
/* Adds to one interval alone; -1: none. */
void usage_report_add_series(usage_report *r, const usage_figures *f, ptrdiff_t point);
/* Adds to the group of one key, for GROUP_KEY. */
void usage_report_add_key(usage_report *r, const gw_object_id *key, const usage_figures *f);

/* The figures of an hour document, or of what has its shape. */
usage_figures usage_figures_of(const bson_t *hour);
void usage_figures_add(usage_figures *to, const usage_figures *f);

/* GW_ERR_NO_MEMORY when something could not be added. */
GW_CHECK gw_status usage_report_check(const usage_report *r, gw_error *err);
const usage_figures *usage_report_totals(const usage_report *r);
const usage_figures *usage_report_points(const usage_report *r); /* as many as there are points */
const histogram *usage_report_durations(const usage_report *r);
/* The figures of one group; NULL when it has none. */
const usage_figures *usage_report_group(const usage_report *r, gw_str name);
/* Most expensive first, at most USAGE_GROUPS_MAX; the rest as "other". Requests without a provider
 * or model are the group "". Once, last. */
GW_CHECK gw_status usage_report_groups(usage_report *r, usage_group **ret, size_t *ret_count,
                                       gw_error *err);
