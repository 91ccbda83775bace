/*
 * Metrics: a declarative table a service, one shard a loop, Prometheus text on scrape (text format
 * 0.0.4).
 *
 *     METRIC(COUNTER, relay_requests_total, "endpoint,outcome", "requests answered, by endpoint and
 * outcome")
 *
 * A table line generates the enum member M_relay_requests_total. Labels come from closed sets; a
 * metric holds at most GW_METRIC_SERIES_MAX label combinations, later ones are counted under the
 * label value "other".
 *
 * Thread: a shard is written by its one loop without locks (relaxed atomics); gw_metrics_render()
 * may run elsewhere.
 */
#pragma once

#include "core/status.h"
#include "core/str.h"

#define GW_METRIC_SERIES_MAX 512
#define GW_METRIC_LABELS_MAX 4

typedef enum gw_metric_kind {
    GW_METRIC_COUNTER,
    GW_METRIC_GAUGE,
    GW_METRIC_HISTOGRAM
} gw_metric_kind;

typedef struct gw_metric_info {
    gw_metric_kind kind;
    const char *name; /* base units in the name: _seconds, _bytes, _total */
    const char *labels; /* comma-separated names, "" for none */
    const char *help;
} gw_metric_info;

/*
 * A service writes its table once in x_metrics.def and then:
 *   enum { #define METRIC(kind, name, labels, help) M_##name, … };
 *   static const gw_metric_info table[] = { #define METRIC(kind, name, labels, help)
 * {GW_METRIC_##kind, #name, labels, help}, … };
 */
typedef struct gw_metrics gw_metrics;
typedef struct gw_metrics_shard gw_metrics_shard;

gw_metrics *gw_metrics_new(const gw_metric_info *table,
                           size_t n); /* table is borrowed; NULL when out of memory */
void gw_metrics_free(gw_metrics *m);
GW_DEFINE_FREEP(gw_metrics)
gw_metrics_shard *gw_metrics_shard_new(gw_metrics *m); /* owned by `m`; NULL when out of memory */

/* `labels` are the values in the table's order, `n` of them. Histograms take seconds (or the base
 * unit of the name). */
void gw_metric_add(gw_metrics_shard *s, unsigned metric, int64_t delta, const gw_str *labels,
                   size_t n);
void gw_metric_set(gw_metrics_shard *s, unsigned metric, int64_t value, const gw_str *labels,
                   size_t n); /* gauges: shards add up */
void gw_metric_observe(gw_metrics_shard *s, unsigned metric, double value, const gw_str *labels,
                       size_t n);
/*
 * One series of a counter or a gauge, found once, for what is counted often: lives as long as the shard. NULL when out of
 * memory; adding to NULL is lost.
 */
typedef struct gw_metric_cell gw_metric_series;
gw_metric_series *gw_metric_series_of(gw_metrics_shard *s, unsigned metric, const gw_str *labels,
                                      size_t n);
void gw_metric_series_add(gw_metric_series *series, int64_t delta);
#define gw_metric_count(s, metric, ...)                                                            \
    gw_metric_add((s), (metric), 1, (const gw_str[]){__VA_ARGS__},                                 \
                  sizeof((const gw_str[]){__VA_ARGS__}) / sizeof(gw_str))

/* Shown as build_info{service="…",version="…"} 1; the texts are static. */
void gw_metrics_set_build(gw_metrics *m, const char *service, const char *version);

/* All shards added up, plus build_info and
 * process_{cpu_seconds_total,resident_memory_bytes,open_fds,start_time_seconds}. */
void gw_metrics_render(gw_metrics *m, gw_buf *out);
