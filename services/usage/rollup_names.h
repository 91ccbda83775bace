/*
 * Rollup names: which documents of sums there are, and where each stands.
 *
 *     subject                                   its hours                    its days
 *     a key, in hex                             api_metrics_hourly           api_metrics
 *     "*": all keys                             api_metrics_hourly           api_metrics_total
 *     "*07": a part of owners (owner_parts.h)   api_metrics_owners_hourly    api_metrics_owners
 *
 * Thread: values.
 */
#pragma once

#include "core/str.h"

#include <stdint.h>

typedef enum rollup_kind { ROLLUP_KEY, ROLLUP_ALL_KEYS, ROLLUP_OWNERS } rollup_kind;

rollup_kind rollup_kind_of(gw_str subject);
rollup_kind rollup_kind_of_id(gw_str id); /* of an hour or a day */
const char *rollup_hours_collection(rollup_kind kind);
const char *rollup_days_collection(rollup_kind kind);

/* "<subject>|2025-11-23T01" and "<subject>|2025-11-23" */
#define ROLLUP_ID_SIZE 48
void rollup_hour_id(gw_str subject, int64_t time_ms, char out[ROLLUP_ID_SIZE]);
void rollup_day_id(gw_str subject, int64_t time_ms, char out[ROLLUP_ID_SIZE]);
