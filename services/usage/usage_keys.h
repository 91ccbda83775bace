/*
 * Usage by key: what each key used in a range of whole hours.
 *
 * Of days at the edges of the range and of those with hours that wait for the fold each key's document is read: it keeps the
 * figures of its hours; of these those that wait are left out and read themselves. They are read first: an hour that is folded
 * after that is left out of its day all the same, and counts as it was read.
 *
 * Other days are in api_metrics_by_key, one document a day (usage_key_days.h), or are summed by the server and put there.
 *
 * So with K keys a report of 30 days reads some sixty documents, K for today, and one for each hour that waits.
 *
 * Thread: on a worker.
 */
#pragma once

#include "usage_report.h"

#include "mongo/db.h"

/* Adds to the groups of `r`. */
GW_CHECK gw_status usage_keys_add(const gw_db *d, int64_t from_ms, int64_t to_ms, usage_report *r,
                                  gw_error *err);
