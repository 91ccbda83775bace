/*
 * Rollup: what one row adds to the sums of its hour. A pure function of the fields stored in the
 * row, so that an hour can be made again from its rows.
 *
 * api_metrics_hourly, one document a key an hour and one for "*" (all keys), and api_metrics_owners_hourly, up to 64 of clients and owners
 * (owner_parts.h):
 *
 *     _id "<apiKeyId hex>|2025-11-23T01" · apiKeyId ObjectId, "*", or "*07" · date (the hour's start)
 *     metrics.requests     total successful failed errors.{type}
 *     metrics.tokens       prompt completion total cached reasoning
 *     metrics.cost         estimatedNanoUsd billedNanoUsd
 *     metrics.performance  sumDuration sumTtft ttftCount                  (whole ms)
 *     metrics.status.{code}
 *     metrics.models.{m}  metrics.providers.{p}
 *                          requests failed tokens prompt completion cached reasoning costNanoUsd
 *     metrics.owners.{userId~clientId}    the same                        (only of a key)
 *     hist.dur.{bucket}    hist.ttft.{bucket}                             (histogram.h)
 *     minutes.{00-59}      requests failed tokens costNanoUsd             (only of "*")
 *     ledger.k             requests tokens costNanoUsd                    (not of "*")
 *                          load.{id, requests, tokens, costNanoUsd}: those of the newest load id
 *     m.{spool}            last seq of that spool that is in the sums · dirty · rev
 *
 * A part of owners has only metrics.clients.{clientId} and metrics.users.{userId}, slices as of a model, and ledger.c.{clientId} and
 * ledger.o.{userId} as ledger.k. Requests of no client or no owner have the slice "%" in "*". Rows of SUMS_FORMAT 1 were
 * summed up in one place: metrics.owners, ledger.c and ledger.o in "*", until a day's owners did not fit into a document any more. So
 * they are when such a row is looked at again: the row says its format.
 *
 * All figures are int64; an absent one is 0. Map keys are escaped (gw_bson_key_escape). A request
 * that no upstream accepted counts under its route's pattern, else callers could make up keys.
 * A row counts as `repeatCount` requests; its tokens and cost are the whole row's. The ledger's sums
 * are what limits count: all but refusals. A ledger's load id is that of its build-up in Redis: a
 * higher one replaces the amounts, the same adds, a lower one leaves them; so they are the sum over
 * the rows with the highest id, in whatever order these came.
 *
 * Thread: one owner.
 */
#pragma once

#include "rollup_names.h"
#include "sums.h"

#include "core/id.h"

/* What rollups need of a row; views into it. */
typedef struct row_facts {
    gw_object_id api_key_id;
    int64_t timestamp_ms;
    gw_str model; /* the name it counts under: the model, or the route's pattern */
    gw_str provider, client_id, outcome, error;
    bool has_user_id;
    gw_object_id user_id;
    int64_t status_code, duration_ms, repeat_count, attempts;
    bool has_ttft;
    int64_t ttft_ms;
    int64_t prompt_tokens, completion_tokens, total_tokens, cached_tokens, reasoning_tokens;
    int64_t cost_nano_usd;
    int64_t key_load_id, client_load_id, owner_load_id; /* 0: no ledger */
    int64_t sums_format;
} row_facts;

#define SUMS_FORMAT       2 /* of a claim, and of the rows made of it */
#define SUMS_FORMAT_FIRST 1 /* rows do not say it */
#define SUMS_FORMAT_FIELD "sumsFormat"

/* False when `row` lacks what every row has. */
GW_CHECK bool row_facts_of(const bson_t *row, row_facts *ret);
/* The one definition of `successful`: a status below 400, and the answer neither interrupted nor
 * failed nor refused. */
bool row_is_successful(const row_facts *f);

/* What a row with a load id adds to `<path>.load`. */
typedef struct ledger_load {
    gw_buf path; /* "ledger.k", "ledger.c.app%2Eone" */
    int64_t id, requests, tokens, cost_nano_usd;
} ledger_load;

/* One hour document's additions. */
typedef struct hour_delta {
    char id[ROLLUP_ID_SIZE];
    rollup_kind kind;
    char subject[GW_OBJECT_ID_HEX_SIZE];
    gw_object_id api_key_id; /* of a key */
    int64_t hour_ms;
    sums *sums;
    ledger_load *loads; /* one for each path */
    size_t load_count;
} hour_delta;

/* The additions of many rows, one hour_delta for each document that they enter. */
typedef struct rollup rollup;
rollup *rollup_new(void); /* NULL when out of memory */
void rollup_free(rollup *r);
GW_DEFINE_FREEP(rollup)

GW_CHECK gw_status rollup_add_row(rollup *r, const bson_t *row, gw_error *err);
size_t rollup_count(const rollup *r);
hour_delta *rollup_at(const rollup *r, size_t i);
