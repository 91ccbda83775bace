/*
 * Family: the label combinations of one metric, each seen for the first time by any shard. Private
 * to libs/metrics.
 *
 * Combinations are numbered in order of appearance and never go. Shards keep their values by that
 * number, so that the limit holds over all shards and a scrape adds up by index.
 *
 * Thread: any; a lock is taken when a shard meets a combination for the first time, never for the
 * next measurement.
 */
#pragma once

#include "metrics/metrics.h"

#include <pthread.h>

typedef struct gw_label_set {
    gw_str values[GW_METRIC_LABELS_MAX]; /* views into `bytes` */
    char *bytes;
    gw_buf text; /* `a="x",b="y"`, escaped */
} gw_label_set;

typedef struct gw_metric_family {
    const gw_metric_info *info;
    gw_str label_names[GW_METRIC_LABELS_MAX];
    size_t label_count;
    const double *bounds; /* histogram: upper bounds without +Inf */
    size_t bound_count;

    pthread_mutex_t lock; /* of what follows */
    gw_label_set *sets[GW_METRIC_SERIES_MAX + 1]; /* the last one is all "other" */
    size_t set_count;
} gw_metric_family;

bool gw_metric_family_init(gw_metric_family *f, const gw_metric_info *info);
void gw_metric_family_fini(gw_metric_family *f);

bool gw_metric_values_eq(const gw_metric_family *f, const gw_str *a, const gw_str *b);
/* The number of the combination, added if there is room, else of "other". -1 when out of memory. */
int gw_metric_family_index(gw_metric_family *f, const gw_str *values);
size_t gw_metric_family_count(gw_metric_family *f);
const gw_label_set *gw_metric_family_set(gw_metric_family *f,
                                         size_t index); /* lives as long as the family */
