/*
 * What metrics.c (the writer's side) and render.c (the scrape) share. Private to libs/metrics.
 */
#pragma once

#include "metrics/family.h"

#include <stdatomic.h>

/* The values of one label combination in one shard. Written by the shard's loop, read by any
 * scrape. */
typedef struct gw_metric_cell {
    struct gw_metric_cell *next; /* published list; set before the cell is */
    struct gw_metric_cell *chain_next; /* writer only */
    const gw_label_set *set;
    size_t index; /* in the family */
    uint64_t hash;
    _Atomic(int64_t) value; /* counter, gauge */
    _Atomic(double) sum; /* histogram */
    _Atomic(uint64_t) buckets[]; /* not cumulative; the last one is +Inf */
} gw_metric_cell;

#define GW_METRIC_CHAINS 64

typedef struct gw_metric_cells {
    _Atomic(gw_metric_cell *) published;
    gw_metric_cell *recent; /* the one used last: very often the next, too */
    gw_metric_cell *chains[GW_METRIC_CHAINS];
} gw_metric_cells;

struct gw_metrics_shard {
    gw_metrics *metrics;
    gw_metrics_shard *next;
    gw_metric_cells cells[]; /* one for each metric */
};

struct gw_metrics {
    size_t metric_count;
    const char *service, *version; /* NULL until gw_metrics_set_build() */
    gw_metric_family *families;
    pthread_mutex_t shards_lock; /* adding a shard */
    _Atomic(gw_metrics_shard *) shards;
};
