/*
 * Where usage keeps things (docs: the document shapes stand in rollup.h, event_row.h, fold.h and
 * spool_store.h).
 */
#pragma once

#define COLLECTION_ROWS  "api_usage" /* a row a request */
#define COLLECTION_HOURS "api_metrics_hourly" /* an hour: a document a key, one for "*" */
#define COLLECTION_OWNER_HOURS                                                                     \
    "api_metrics_owners_hourly" /* the same for the parts of owners (owner_parts.h) */
#define COLLECTION_DAYS   "api_metrics" /* a document a key a day: sums of its hours */
#define COLLECTION_TOTALS "api_metrics_total" /* the same for "*" */
#define COLLECTION_OWNERS "api_metrics_owners" /* the same for the parts of owners */
#define COLLECTION_BY_KEY                                                                          \
    "api_metrics_by_key" /* a document a day: each key's figures, as a report found them */
#define COLLECTION_SPOOLS  "usage_spools" /* how far each spool of a relay is taken */
#define COLLECTION_REJECTS "usage_rejects" /* events that no row can be made of */
#define COLLECTION_LOSSES  "usage_losses" /* spools that will not come back, and what they had */

/* `apiKeyId` of the sums over all keys, a string where keys have an ObjectId. */
#define ALL_KEYS "*"
