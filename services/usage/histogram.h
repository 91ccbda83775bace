/*
 * Histogram of whole milliseconds, log-linear: 16 buckets a doubling, 304 in all, so that a value
 * read back is within 1/32 (3.13 %) of what was counted. Merging is adding.
 *
 *     v < 16: bucket v; else e = 63 - clz(v), bucket = 16 (e - 4) + (v >> (e - 4))
 *
 * Stored as a sparse map from index to count. Thread: values.
 */
#pragma once

#include <stdint.h>

#define HISTOGRAM_BUCKETS 304
#define HISTOGRAM_MAX_MS  4194303 /* larger values count as this one */

typedef struct histogram {
    int64_t counts[HISTOGRAM_BUCKETS];
} histogram;

int histogram_bucket(int64_t ms); /* negative counts as 0 */
double histogram_bucket_value(int index); /* the middle of the bucket, ms */

/* An index outside the buckets, which only a damaged document has, is ignored. */
void histogram_add(histogram *h, int64_t index, int64_t count);
int64_t histogram_count(const histogram *h);
/* The value of rank ceil(share x count), `share` in (0, 1]; 0 when empty. */
double histogram_percentile(const histogram *h, double share);
