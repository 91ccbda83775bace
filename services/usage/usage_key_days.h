/*
 * Days by key: what each key used on whole days that are folded.
 *
 *     api_metrics_by_key: _id "2025-11-23" · date · keys: for each key its id and its ten figures (usage_report.h), 92 bytes ·
 *                         made · parts
 *
 * A day of more keys than one document is to hold has `parts`: "2025-11-23", "2025-11-23|1" …, whose date is the day's start and so
 * many ms, and which are of one report: `made`, random, is the same in all of them.
 *
 * They are what a report found when it summed the day's documents of api_metrics, and count only as long as their sums are
 * those of the day in api_metrics_total. Each event adds a request to one key and to all of them: of two sets of events of which
 * one holds the other, those with as many requests are the same. So nobody has to keep these documents right; what does not agree
 * is summed anew, and they may be deleted at any time.
 *
 * Thread: on a worker.
 */
#pragma once

#include "usage_report.h"

#include "mongo/db.h"

/* Most keys that one document holds; smaller in tests. */
extern size_t usage_key_days_part_keys;

/* Of the whole days in [from_ms, to_ms), of which no hour waits for the fold. */
GW_CHECK gw_status usage_key_days_add(const gw_db *d, int64_t from_ms, int64_t to_ms,
                                      usage_report *r, gw_error *err);

/* Of whole hours, each from its document: for when too many wait. */
GW_CHECK gw_status usage_key_hours_sum(const gw_db *d, int64_t from_ms, int64_t to_ms,
                                       usage_report *r, gw_error *err);
