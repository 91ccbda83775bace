/*
 * REST front: HTTP in, one gRPC call out, its answer as JSON or, of an rpc that streams, as
 * server-sent events (rest_stream.h). One exchange goes
 *
 *   head: Host → route → origin and content type → credential → body
 *   body: CSRF token (cookie and change only; asks auth) → request message → call → answer
 *
 * The caller's own credential goes to the backend, which decides what it may do. Only the sign-in
 * carries the gateway's service token.
 *
 * A caller that leaves cancels what only reads, and every stream; another change goes on to its end.
 *
 * Thread: the loop's.
 */
#pragma once

#include "core/id.h"
#include "core/list.h"
#include "edge.h"
#include "http/server.h"
#include "metrics/metrics.h"
#include "rest_call.h"
#include "rpc/client.h"

typedef struct rest_front { /* filled by the owner, outlives the server */
    const route_table *routes;
    gw_rpc_channel *backends[3]; /* by route_backend */
    gw_str service_token; /* for the sign-in, and to prove who tells of a caller's address */
    edge_rules rules;
    const gw_cidr *trusted_proxies;
    size_t trusted_proxy_count;
    gw_str openapi; /* the document */
    size_t body_max_bytes;
    int64_t call_timeout_ms;
    int64_t stream_keep_alive_ms, stream_life_ms;
    gw_loop *loop;
    const gw_clock *clock;
    gw_log *log;
    gw_metrics_shard *metrics;
    gw_list exchanges; /* own; empty, by gw_list_init(), at first */
    bool is_ending; /* own */
    char error_id
        [GW_REQUEST_ID_SIZE]; /* own: of what the server refused before it was an exchange */
} rest_front;

/* Ends every stream, whose caller is told that we are shutting down, and refuses further ones. */
void rest_front_end_streams(rest_front *front);
/* Cancels every call in flight; whoever waits for one is told that we are shutting down. */
void rest_front_end_all(rest_front *front);

/* Handler for gw_http_server_new() with a rest_front as `arg`. */
extern const gw_http_handler_ops rest_front_ops;
