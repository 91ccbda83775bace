#include "histogram.h"

#include <math.h>

#define LINEAR_BUCKETS 16 /* also the buckets of one doubling: 2^LINEAR_BITS */
#define LINEAR_BITS    4

int histogram_bucket(int64_t ms)
{
    uint64_t v = ms < 0 ? 0 : (uint64_t)(ms > HISTOGRAM_MAX_MS ? HISTOGRAM_MAX_MS : ms);
    if (v < LINEAR_BUCKETS)
        return (int)v;
    int doubling = 63 - __builtin_clzll(v) - LINEAR_BITS;
    return LINEAR_BUCKETS * doubling + (int)(v >> doubling);
}

double histogram_bucket_value(int index)
{
    if (index < LINEAR_BUCKETS)
        return index;
    int doubling = index / LINEAR_BUCKETS - 1;
    int64_t width = INT64_C(1) << doubling;
    int64_t low = (LINEAR_BUCKETS + index % LINEAR_BUCKETS) * width;
    return (double)low + (double)(width - 1) / 2;
}

void histogram_add(histogram *h, int64_t index, int64_t count)
{
    if (index >= 0 && index < HISTOGRAM_BUCKETS)
        h->counts[index] += count;
}

int64_t histogram_count(const histogram *h)
{
    int64_t total = 0;
    for (int i = 0; i < HISTOGRAM_BUCKETS; i++)
        total += h->counts[i];
    return total;
}

double histogram_percentile(const histogram *h, double share)
{
    int64_t rank = (int64_t)ceil(share * (double)histogram_count(h));
    int64_t seen = 0;
    for (int i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += h->counts[i];
        if (seen > 0 && seen >= rank)
            return histogram_bucket_value(i);
    }
    return 0;
}
