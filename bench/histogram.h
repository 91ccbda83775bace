/*
 * Histogram of durations with exact bounds: 64 buckets a doubling, so a percentile is at most 1.6 % too high and never
 * too low. 1 ns to about 18 minutes; longer values count as that.
 *
 * Thread: one owner.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define HISTOGRAM_SUB_BITS 6
#define HISTOGRAM_BUCKETS  ((41 - HISTOGRAM_SUB_BITS) << HISTOGRAM_SUB_BITS)

/* Zero-initialised is empty. */
typedef struct histogram {
    uint64_t count;
    int64_t max_ns;
    uint64_t buckets[HISTOGRAM_BUCKETS];
} histogram;

void histogram_add(histogram *h, int64_t ns); /* below 0 counts as 0 */
/* The least upper bound that `fraction` (0-1) of the values do not exceed; 0 when empty. */
int64_t histogram_percentile(const histogram *h, double fraction);
