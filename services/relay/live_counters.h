/*
 * Live counters: what ended in one second, by key and model, for display (USAGE.md). Lossy by design, never billed.
 *
 * Thread: one owner at a time; the writer fills a table and hands it over.
 */
#pragma once

#include "event_codec.h"

#include "core/arena.h"

#include "apirelay/usage/v1/ingest_service.pb-c.h"

#define LIVE_COUNTERS_MAX 500

typedef struct live_table live_table;

live_table *live_table_new(int64_t second); /* NULL when out of memory */
void live_table_free(live_table *t);
GW_DEFINE_FREEP(live_table)
int64_t live_table_second(const live_table *t);

/* Adds one event. Beyond a bound of keys and models, and without memory, it counts as the rest. */
void live_table_add(live_table *t, const event_figures *e);

/* The busiest, then the rest under an empty key and model; lives in `a`. NULL when out of memory. */
Apirelay__Usage__V1__Live *live_table_message(const live_table *t, gw_arena *a);

/* Bucket of a duration: 304, 16 a doubling, whole ms clamped to [0, 4,194,303]. */
uint32_t live_bucket(int64_t ms);
