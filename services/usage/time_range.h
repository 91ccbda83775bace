/*
 * Time range: which period a question is about and where it is cut into intervals.
 *
 * Thread: values.
 */
#pragma once

#include "time_zone.h"

#include "core/clock.h"
#include "core/violations.h"

#include <google/protobuf/timestamp.pb-c.h>

#define TIME_POINTS_MAX 1000

typedef enum time_interval {
    INTERVAL_NONE,
    INTERVAL_HOUR,
    INTERVAL_DAY,
    INTERVAL_WEEK, /* from Monday */
    INTERVAL_MONTH
} time_interval;

typedef struct time_range {
    int64_t from_ms, to_ms; /* from inclusive, to exclusive */
    time_interval interval;
} time_range;

/* Whole ms of a Timestamp, rounded down; a bad one is a violation of `field`. */
int64_t time_of(const Google__Protobuf__Timestamp *t, const char *field, gw_violations *v);

/* Absent ends are those of the UTC month of `now_ms`. */
time_range time_range_of(const Google__Protobuf__Timestamp *from,
                         const Google__Protobuf__Timestamp *to, const char *interval,
                         int64_t now_ms, gw_violations *v);

/* Interval i is [starts[i], starts[i + 1]); the first may start before the range, the last end
 * after it. No interval: count 0. */
typedef struct time_points {
    size_t count;
    int64_t starts[TIME_POINTS_MAX + 1];
} time_points;

/* GW_ERR_INVALID_ARGUMENT (field "interval") for more than TIME_POINTS_MAX. */
GW_CHECK gw_status time_points_make(const time_range *r, const time_zone *z, time_points *ret,
                                    gw_error *err);
/* The interval that holds `ms`; -1 when none does. */
ptrdiff_t time_points_find(const time_points *p, int64_t ms);
