/*
 * Usage query: reads what a report is made of. Whole UTC days come from their documents (usage_days.h), other whole hours from
 * theirs (rollup_names.h), the parts of hours at the edges of the range, and where an interval starts within an hour (zones off the
 * full hour), from the rows of api_usage.
 *
 * Rows expire: edges off the full hour further back than USAGE_RETENTION_DAYS have none.
 *
 * Thread: usage_query_run() on a worker; the rest values.
 */
#pragma once

#include "usage_report.h"

#include "mongo/db.h"

typedef struct usage_query {
    int64_t from_ms, to_ms;
    usage_group_by by;
    bool one_key;
    gw_object_id key; /* when one_key */
    bool durations; /* the histogram of durations too */
} usage_query;

GW_CHECK gw_status usage_query_run(const gw_db *d, const usage_query *q, const time_points *points,
                                   usage_report *r, gw_error *err);

/* ---- what is read from rows ---- */

/* A stretch of time within at most one interval. */
typedef struct row_piece {
    int64_t from_ms, to_ms;
    unsigned parts; /* of usage_report_add */
    ptrdiff_t point;
} row_piece;

/* At most two edges, each and every interval's start in two parts. */
#define ROW_PIECES_MAX (2 * TIME_POINTS_MAX + 8)

typedef struct usage_plan {
    int64_t hours_from_ms, hours_to_ms; /* whole hours; empty when not from < to */
    size_t count;
    row_piece pieces[ROW_PIECES_MAX];
} usage_plan;

void usage_plan_make(const usage_query *q, const time_points *points, usage_plan *ret);
/* Whether an interval starts within the hour: its document tells nothing of the series then. */
bool usage_hour_is_split(const time_points *points, int64_t hour_ms);
