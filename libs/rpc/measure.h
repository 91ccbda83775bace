/*
 * One call, counted: in flight from rpc_measure_begin() to rpc_measure_end(). Private to libs/rpc.
 */
#pragma once

#include "rpc/metrics.h"
#include "schema/schema.h"

typedef enum rpc_side { RPC_SERVER, RPC_CLIENT } rpc_side;

typedef struct rpc_measure {
    const gw_rpc_metrics *metrics; /* NULL: begun without, or ended */
    rpc_side side;
    gw_str method; /* "apirelay.auth.v1.ApiKeyService/GetApiKey" or "other" */
    bool is_timed; /* no stream of answers: its length says nothing */
    int64_t began_ms;
} rpc_measure;

/* `method` NULL: an rpc that is not known here. Both must outlive the call. */
void rpc_measure_begin(rpc_measure *m, rpc_side side, const gw_rpc_metrics *metrics,
                       const gw_method *method, int64_t now_ms);
void rpc_measure_end(rpc_measure *m, gw_rpc_code code, int64_t now_ms); /* again: does nothing */
void rpc_measure_repeated(const rpc_measure *m); /* server: its client tried before */
