/*
 * What the ledgers show of themselves in /metrics. A shard of NULL: nothing is measured.
 *
 * Thread: the loop's.
 */
#pragma once

#include "grant_book.h"

#include "metrics/metrics.h"

/* Adds what has been counted since `was`, which then is `now`. */
void ledger_metrics_count(gw_metrics_shard *m, const grant_book_figures *now,
                          grant_book_figures *was);
/* A statement's reply; NULL: none came. */
void ledger_metrics_answer(gw_metrics_shard *m, const ledger_reply *reply);
/* Shards born at `since_ms` or later are in quarantine. */
void ledger_metrics_births(gw_metrics_shard *m, const int64_t born[LEDGER_SHARDS],
                           int64_t since_ms);
void ledger_metrics_stand(gw_metrics_shard *m, const grant_book *b);
