/*
 * Rating scan: the rows of a period, in order of time, as far as one call goes.
 *
 * It is bounded in rows and in time, and ends between two times only: who goes on at `next_ms` counts no row twice and misses none.
 *
 * Thread: one owner.
 */
#pragma once

#include "rating.h"

#include "core/clock.h"

typedef struct rating_bounds {
    int64_t rows; /* looked at */
    int64_t stop_ms; /* of the clock, monotonic */
} rating_bounds;

typedef struct rating_scan {
    const Apirelay__Usage__V1__RateUsageRequest *asked; /* its filters that no index serves */
    rating *rating;
    const gw_clock *clock;
    rating_bounds bounds;
    int64_t rows, last_ms;
    bool is_cut; /* the bound was reached before the end */
    int64_t next_ms; /* of the first row that was not looked at, when it was cut */
} rating_scan;

/* For gw_db_find(), which hands it the rows sorted by time; `arg` is the scan. GW_ERR_CANCELLED, and `is_cut`: no more. */
GW_CHECK gw_status rating_scan_row(void *arg, const bson_t *row, gw_error *err);
