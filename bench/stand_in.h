/*
 * Stand-in: what a bench program needs to stand in a service's place: a loop, a gRPC server that takes every caller for the relay,
 * and an ops listener with metrics.
 *
 *   NAME --listen 127.0.0.1:9103 --ops 127.0.0.1:9203
 *
 * Thread: the loop's, which is the caller's of stand_in_run().
 */
#pragma once

#include "ops/ops.h"
#include "rpc/server.h"

typedef struct stand_in {
    gw_loop *loop;
    gw_metrics_shard *shard;
    void *handler_arg; /* `arg` of the options unless starting() says otherwise */
    /* its own */
    gw_schema *schema;
    gw_rpc_server *server;
    gw_ops *ops;
    gw_metrics *metrics;
    void (*stopping)(void *arg);
    void *arg;
} stand_in;

typedef struct stand_in_options {
    const char *name;
    const gw_metric_info *metrics;
    size_t metric_count;
    const gw_rpc_handler *handlers;
    void *arg;
    /* Once the loop and the metrics are there and before the server is; may be NULL. */
    gw_status (*starting)(stand_in *s, void *arg, gw_error *err);
    void (*stopping)(void *arg); /* at SIGTERM; may be NULL */
} stand_in_options;

/* Until SIGTERM; the exit status. */
int stand_in_run(const stand_in_options *o, int argc, char **argv);
