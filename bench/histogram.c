#include "histogram.h"

#include "core/macros.h"

#include <math.h>

#define SUB_COUNT ((size_t)1 << HISTOGRAM_SUB_BITS)

/* Values below two doublings of sub-buckets are their own index; above, the top bits are. */
static size_t index_of(uint64_t v)
{
    if (v < 2 * SUB_COUNT)
        return (size_t)v;
    unsigned shift = 63U - (unsigned)__builtin_clzll(v) - HISTOGRAM_SUB_BITS;
    size_t index = ((size_t)shift << HISTOGRAM_SUB_BITS) + (size_t)(v >> shift);
    return GW_MIN(index, (size_t)HISTOGRAM_BUCKETS - 1);
}

static uint64_t upper_bound_of(size_t index)
{
    if (index < 2 * SUB_COUNT)
        return index;
    unsigned shift = (unsigned)(index >> HISTOGRAM_SUB_BITS) - 1;
    uint64_t top = (index & (SUB_COUNT - 1)) | SUB_COUNT;
    return ((top + 1) << shift) - 1;
}

void histogram_add(histogram *h, int64_t ns)
{
    ns = GW_MAX(ns, 0);
    h->count++;
    h->max_ns = GW_MAX(h->max_ns, ns);
    h->buckets[index_of((uint64_t)ns)]++;
}

int64_t histogram_percentile(const histogram *h, double fraction)
{
    uint64_t wanted = (uint64_t)ceil(fraction * (double)h->count);
    uint64_t seen = 0;
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += h->buckets[i];
        if (seen >= wanted && seen > 0)
            return GW_MIN((int64_t)upper_bound_of(i), h->max_ns);
    }
    return h->max_ns;
}
