/*
 * The server's inside: the table of methods (server.c), one call (server_accept.c, server_call.c, server_send.c) and
 * the services that are built in (server_health.c, server_reflection.c).
 */
#pragma once

#include "rpc/measure.h"
#include "rpc/rpc_internal.h"
#include "rpc/server.h"
#include "rpc/tls.h"

typedef struct rpc_method {
    const gw_rpc_handler *handler;
    void *arg;
    const gw_method *method;
    bool built_in; /* open to anyone */
} rpc_method;

struct gw_rpc_server {
    gw_loop *loop;
    gw_log *log;
    const gw_schema *schema;
    gw_rpc_authorizer authorizer;
    gw_tls_files *tls_files; /* NULL: plain */
    rpc_server_tls *tls; /* NULL until started */
    char *listen;
    uint16_t port;
    bool reflection;
    gw_map *methods; /* path -> rpc_method */
    gw_rpc_pump *pump; /* NULL until started */
    grpc_server *core;
    gw_list calls;
    size_t call_count, calls_max;
    int64_t connection_age_ms, connection_age_grace_ms;
    gw_rpc_metrics metrics;
    size_t slots; /* requests for a call that the core holds */
    gw_list watches; /* of health */
    bool serving, closing, core_is_down, destroying;
    bool refusing; /* closing, and no longer taking calls */
    int64_t accepted_ms, linger_until_ms, grace_until_ms; /* last call; of a close */
    rpc_tag core_down;
    gw_timer grace; /* of a close: its linger, then its grace */
    void (*closed)(void *arg);
    void *closed_arg;
};

/*
 * A call, from the slot it comes in until `finished`:
 *
 *   slot -> authorizing -> reading the request -> started -> ended by handler -> finished
 *
 * `operations` counts batches in the core and deferred calls; the call goes when there are none,
 * and neither authorizer nor handler may still speak.
 */
struct gw_rpc_call {
    gw_rpc_server *server;
    gw_list node;
    grpc_call *core;
    grpc_call_details details;
    grpc_metadata_array metadata;
    gw_arena *arena, *message_arena; /* of the call; of one message of a stream */
    const rpc_method *method;
    gw_caller caller;
    gw_str peer;
    void *data;
    int64_t deadline_ms;
    gw_timer deadline;
    unsigned operations;
    rpc_tag accepted, closed, received, sent;
    int core_cancelled; /* written by the core before `closed` completes */
    grpc_byte_buffer *incoming;
    gw_list sends;
    size_t queued, queued_bytes;
    rpc_measure measure;
    bool sending_message; /* the batch in flight takes one from the queue */
    gw_error outcome; /* to send when `ending`; GW_OK is success */
    gw_violations *further; /* beside the outcome's, in the arena; NULL: none */
    int64_t retry_after_ms; /* 0: nothing is said */
    bool authorizing, started, handler_ended;
    bool receiving, sending, paused, half_closed;
    bool initial_sent, ending, status_sent;
    bool gone; /* the core cancelled it: nothing can be sent */
    bool aborted; /* by us: deadline or a bad message; the client knows */
    bool told_cancelled, finishing;
};

/* A call that waits for its peer, to be given to the core; NULL when out of memory. */
gw_rpc_call *rpc_call_new(gw_rpc_server *s);
void rpc_call_drop(gw_rpc_call *c); /* one that nobody came for */

/* Ends a call that its handler has not ended: the client gets `e`, the handler `cancelled`. */
void rpc_call_abort(gw_rpc_call *c, const gw_error *e);
void rpc_call_receive(gw_rpc_call *c);
void rpc_call_settle(gw_rpc_call *c); /* finishes, later, when nothing is left to wait for */

/* Ends a call whose handler has not started. */
void rpc_call_refuse(gw_rpc_call *c, const gw_error *e);
/* The caller may: starts the handler, or reads the request that it starts with. */
void rpc_call_begin(gw_rpc_call *c);

/* server_accept.c */
void rpc_call_on_accepted(void *owner, bool success);

/* server_send.c */
void rpc_call_flush(gw_rpc_call *c);
void rpc_call_end(gw_rpc_call *c, const gw_error *outcome);
void rpc_call_on_sent(void *owner, bool success);

/* server.c */
const rpc_method *rpc_server_method(const gw_rpc_server *s, gw_str path);
void rpc_server_post_slot(gw_rpc_server *s);
void rpc_server_settle(gw_rpc_server *s);
bool rpc_server_serves(const gw_rpc_server *s, gw_str service); /* a service with handlers here */

extern const gw_rpc_handler rpc_health_handlers[];
extern const gw_method rpc_health_methods[];
void rpc_health_changed(gw_rpc_server *s);
extern const gw_rpc_handler rpc_reflection_handlers[];
extern const gw_method rpc_reflection_methods[];
