/*
 * Usage queries: what is asked of usage over gRPC. UsageService and AlertService, and the alert
 * rules' evaluation every 30 s.
 *
 * Thread: the loop's.
 */
#pragma once

#include "live_shared.h"
#include "spool_care.h"

#include "log/log.h"
#include "mongo/mongo.h"
#include "rpc/client.h"
#include "rpc/server.h"

typedef struct fold_runner fold_runner;

typedef struct usage_queries_options {
    gw_loop *loop;
    gw_mongo *mongo;
    gw_redis *redis; /* for the live counters of all replicas; may be NULL */
    gw_rpc_channel *auth; /* tells a key's limits */
    gw_str own_token; /* ours, for auth; borrowed */
    gw_str cursor_secret; /* cursors are signed with a key derived from it; all replicas have the
                             same; copied */
    gw_log *log; /* may be NULL */
    gw_metrics_shard *metrics; /* may be NULL, and folds too */
    fold_runner *folds; /* told of days whose hours were changed */
    int64_t retention_ms; /* of rows */
    spool_care spools;
} usage_queries_options;

typedef struct usage_queries usage_queries;

/* Everything is borrowed. Makes its indexes and begins to evaluate alert rules once MongoDB is up. */
GW_CHECK gw_status usage_queries_new(const usage_queries_options *o, usage_queries **ret,
                                     gw_error *err);
/* As the options of these names, from now on. */
void usage_queries_adjust(usage_queries *q, int64_t retention_ms, spool_care spools);
/* Ends the streams that have no end; when the drain begins. */
void usage_queries_end_streams(usage_queries *q);
/* After the server is closed and before gw_mongo_free(), whose jobs end first: call
 * usage_queries_stop() before that, usage_queries_free() after it and after gw_redis_free(). */
void usage_queries_set_own_token(usage_queries *q,
                                 gw_str own_token); /* for calls to come; borrowed */
void usage_queries_stop(usage_queries *q);
void usage_queries_free(usage_queries *q);
GW_DEFINE_FREEP(usage_queries)

/* Adds the handlers of both services. Before the server starts. */
GW_CHECK gw_status usage_queries_register(usage_queries *q, gw_rpc_server *server, gw_error *err);

/* Where the ingest side adds LIVE frames: live_shared_add(usage_queries_live(q), frame). */
live_shared *usage_queries_live(usage_queries *q);
