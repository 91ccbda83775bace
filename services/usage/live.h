/*
 * Live: the counters of the last 60 seconds, as relays report them each second. In memory; lossy by
 * design, for display only. A replica has one of what its relays report, and one of what all
 * replicas do (live_shared.h).
 *
 * Frames that are late by up to LIVE_SECONDS go into their second; older and future ones are
 * dropped. A second keeps at most LIVE_CELLS_MAX (key, model) pairs, the rest is summed as one.
 *
 * Thread: the loop's.
 */
#pragma once

#include "live_figure.h"

#include "core/arena.h"
#include "core/clock.h"
#include "core/id.h"

#include "apirelay/usage/v1/usage_service.pb-c.h"

#define LIVE_SECONDS    60
#define LIVE_CELLS_MAX  4000
#define LIVE_GROUPS_MAX 100

typedef struct live live;

live *live_new(const gw_clock *clock); /* borrowed; NULL when out of memory */
void live_free(live *l);
GW_DEFINE_FREEP(live)

/* Figures that make no sense (negative, a bucket out of range) are ignored. */
void live_add(live *l, const Apirelay__Usage__V1__Live *frame);
void live_add_figure(live *l, int64_t second, const live_figure *f);
void live_clear(live *l, int64_t second); /* as if nothing of that second had come */

/*
 * The last `window_seconds` (1-60) whole seconds, of one key or all (NULL). The answer lives in the
 * arena; NULL when out of memory. Gauges are those of the newest second that all relays have had
 * the time to report.
 */
Apirelay__Usage__V1__GetMetricsResponse *
live_metrics(const live *l, gw_arena *a, int window_seconds, const gw_object_id *api_key_id);
