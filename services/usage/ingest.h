/*
 * Ingest: IngestService.Stream, one stream a spool of a relay.
 *
 *     HELLO ─▶ RESUME ─▶ FLOW (collect ⇄ claim ⇄ apply) ─▶ END
 *
 * Every step of a stream against the store is one job on a worker, one at a time, so that the claims
 * of a stream are strictly in order; between streams there is no order (USAGE.md). An event is
 * acknowledged when the claim that carries it was, and in no other case.
 *
 * Thread: the loop's. Order at the end: ingest_stop(), close of the gRPC server, ingest_cut() when
 * it is idle or the patience is over, gw_mongo_free(), ingest_free().
 */
#pragma once

#include "fold_runner.h"

#include "rpc/server.h"

#include "apirelay/usage/v1/ingest_service.pb-c.h"

typedef struct ingest ingest;

typedef struct ingest_limits {
    int64_t retention_ms; /* events older than this are rejected */
    int64_t memory_bytes; /* windows granted in all */
    int64_t window_bytes; /* granted to one stream at most */
    int64_t claim_delay_ms; /* how long events may wait for company */
} ingest_limits;

typedef struct ingest_options {
    gw_loop *loop;
    doc_pool *pool;
    fold_runner *folds;
    gw_log *log;
    gw_metrics_shard *metrics;
    ingest_limits limits;
    void (*on_live)(void *arg, const Apirelay__Usage__V1__Live *live); /* may be NULL */
    void *live_arg;
} ingest_options;

GW_CHECK gw_status ingest_new(const ingest_options *o, ingest **ret, gw_error *err);
/* From now on: windows that are granted stay as they are. */
void ingest_adjust(ingest *in, const ingest_limits *limits);
const gw_rpc_handler *ingest_handlers(void); /* with the ingest as their argument */
/* No new streams; those open apply what they have claimed and end with GW_ERR_SHUTTING_DOWN. */
void ingest_stop(ingest *in);
bool ingest_is_idle(const ingest *in); /* no stream is left */
/* Starts no further step: what is claimed and not applied is left for a resume or a sweep. */
void ingest_cut(ingest *in);
void ingest_free(ingest *in);
GW_DEFINE_FREEP(ingest)
