/*
 * Request: one call of the API, from its head to its usage event.
 *
 *     AUTHENTICATE → READ_BODY → VERIFY → AUTHORIZE → ADMIT → FORWARD → STREAM → SETTLE → RECORD → FINISH
 *
 * One state machine (DESIGN.md §4) for HTTP and gRPC; the caller is behind a sink. Every exit goes
 * through SETTLE, and the end of an answer is sent in FINISH only, after RECORD. A request whose key
 * was recognised leaves exactly one usage event.
 *
 * Thread: the core's loop. A request frees itself when it is done; whoever reports to it forgets it
 * when its sink is released.
 */
#pragma once

#include "relay_core.h"
#include "relay_sink.h"

typedef struct relay_request relay_request;

typedef enum stream_mode {
    STREAM_BY_BODY, /* as the body says */
    STREAM_REQUIRED, /* gRPC StreamChatCompletion */
    STREAM_REFUSED, /* gRPC CreateChatCompletion */
} stream_mode;

typedef struct relay_call { /* what is asked */
    relay_endpoint endpoint;
    caller_dialect dialect; /* of errors and headers */
    stream_mode mode;
    gw_str method; /* "" for gRPC */
    gw_str target; /* raw, as signed: of HTTP as it was sent, of gRPC the method's path */
    gw_str path; /* raw */
    gw_str query; /* raw */
    gw_str model_id; /* of /v1/models/{id}, percent-encoded */
    gw_headers headers;
    /* has all of these texts: the request becomes a holder of it; NULL: they are copied */
    gw_arena *arena;
    gw_ip client;
    int64_t arrival_ns; /* monotonic */
    int64_t deadline_ms; /* monotonic; INT64_MAX = the relay's own only */
} relay_call;

/*
 * Starts a request; it may have answered and be gone when this returns. `sink` lives until
 * ops->released. *ret is set before the first stage runs. False when out of memory: nothing was
 * started.
 */
GW_CHECK bool relay_request_start(relay_core *core, const relay_call *call, relay_sink *sink,
                                  relay_request **ret);

/* The accounting id, NUL-terminated; lives as long as the request. */
const char *relay_request_id(const relay_request *r);

/* What sinks report. The body lives until the sink is released. */
void relay_request_body_arrived(relay_request *r, gw_str body);
/* The headers of limits and of CORS that an answer of the transport's own has, before it says so below. Texts live in the call's arena. */
void relay_request_transport_head(relay_request *r, relay_answer *a);
/* The transport answers by itself (413, 408, …): recorded as refused, nothing more is sent. */
void relay_request_refused_by_transport(relay_request *r, const gw_error *err);
void relay_request_drained(relay_request *r);
/* The caller has left; the sink is not used any more. */
void relay_request_caller_gone(relay_request *r);
