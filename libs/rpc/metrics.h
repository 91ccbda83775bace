/*
 * Where libs/rpc counts. A service's x_metrics.def has
 *
 *     #include "rpc/metrics.def"
 *
 * in it, once, and gives its shard and the number of that block's first line to its server and pump:
 * {shard, M_rpc_server_calls_total}. Label values are closed sets: the rpcs of the schema, health and
 * reflection, "other" for a path that no service has; and the gRPC status codes.
 *
 * Thread: the shard's loop.
 */
#pragma once

#include "metrics/metrics.h"

typedef struct gw_rpc_metrics {
    gw_metrics_shard *shard; /* NULL: nothing is counted */
    unsigned first; /* M_rpc_server_calls_total of the table */
} gw_rpc_metrics;
