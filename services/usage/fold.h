/*
 * Fold: a day as the sum of its hours. Recomputed each time, never added to.
 *
 * api_metrics (a key), api_metrics_total ("*") and api_metrics_owners (a part of owners, which has of it only metrics and hours):
 *     _id "<subject>|2025-11-23" · apiKeyId · date · gen ·
 *     metrics   as in rollup.h, and metrics.performance.{avgResponseTime, p95ResponseTime,
 *               p99ResponseTime} (double ms), metrics.cost.{estimated, billed} (double USD)
 *     hist      as in rollup.h · hours: how many hour documents it is the sum of
 *     byHour.{00-23}   what reports in other time zones need of the hours, in the order of
 *               USAGE_HOUR_FIGURES: [requests, successful, failed, prompt, completion, total, cached,
 *               reasoning, estimated, billed (nano-USD)]
 *
 * Thread: one owner.
 */
#pragma once

#include "rollup.h"

#include "core/status.h"

#include <bson/bson.h>

#define USAGE_HOUR_FIGURES 10
extern const char *const usage_hour_figures[USAGE_HOUR_FIGURES]; /* their paths in an hour */

typedef struct fold fold;
fold *fold_new(rollup_kind kind); /* NULL when out of memory */
void fold_free(fold *f);
GW_DEFINE_FREEP(fold)

void fold_add_hour(fold *f, const bson_t *hour);
/* Appends metrics, hist, hours and byHour to `day`. Once, last. */
GW_CHECK gw_status fold_append_day(fold *f, bson_t *day, gw_error *err);
