/*
 * gRPC server on a loop: calls of all four kinds, gRPC C core behind it.
 *
 * One pump thread waits on the server's completion queue and posts what happens to the loop;
 * handlers run on the loop only. Before a message is unpacked its bytes are walked by descriptor
 * (rpc/walk.h), each one of a stream. Before a handler runs, the caller is checked against the rpc's
 * access option by `authorize`. Every call has a deadline: the caller's, cut to the maximum of the rpc's
 * deadline option, else that maximum. Health (grpc.health.v1, with Watch) and reflection (v1, v1alpha)
 * are built in.
 *
 * What callers can make it hold is bounded: calls in flight, bytes of metadata, of a message, and of
 * answers that a caller does not read (the call then ends RESOURCE_EXHAUSTED); connections that pause in
 * their handshake, idle ones and such that ping too often are closed.
 *
 * Thread: the loop's.
 */
#pragma once

#include "core/arena.h"
#include "core/violations.h"
#include "log/log.h"
#include "loop/loop.h"
#include "rpc/metrics.h"
#include "schema/schema.h"
#include "tls/tls_files.h"

#include <protobuf-c/protobuf-c.h>

typedef struct gw_rpc_server gw_rpc_server;
typedef struct gw_rpc_call gw_rpc_call; /* one call, server side */

/* Who calls, as `authorize` found out. Strings live as long as the call. */
typedef enum gw_caller_kind {
    GW_CALLER_ANYONE,
    GW_CALLER_SERVICE,
    GW_CALLER_ADMIN,
    GW_CALLER_API_KEY
} gw_caller_kind;
typedef struct gw_caller {
    gw_caller_kind kind;
    gw_str name; /* service name, admin user name, or key name */
    gw_str id; /* admin user or admin key id, or apiKeyId (hex ObjectId) */
    gw_str key_id; /* public part of the API key or admin key */
    gw_str session_id; /* hash of the session, "" when none */
    gw_str address; /* where it calls from, without a port; "" when unknown */
    gw_role role; /* of an admin */
    gw_str credential; /* as presented; to forward, never to log */
} gw_caller;

/*
 * Decides whether a call may go on. Calls gw_rpc_authorized() once, now or later, on the loop.
 */
typedef struct gw_rpc_authorizer {
    void (*authorize)(void *self, gw_rpc_call *call, const gw_method *method,
                      gw_str credential /* "" when none */);
    void *self;
} gw_rpc_authorizer;
/* rc GW_OK lets the handler run with `caller` (copied); else the call ends with `err`. */
void gw_rpc_authorized(gw_rpc_call *call, gw_status rc, const gw_caller *caller,
                       const gw_error *err);

/*
 * A handler. `start` for every call; a unary or server-streaming call has its request there.
 * `message` for each message of a client-streaming or bidi call (start has request NULL then),
 * `half_closed` when the client has sent all: a client-streaming call is answered there, or before, by
 * gw_rpc_reply(); `writable` when a gw_rpc_send() has been taken; `finished` exactly
 * once, last, whatever happened: the handler's data is released there. NULL members are fine where
 * they cannot happen. `request` is owned by the call, valid until `finished` (of `message`:
 * until the callback returns).
 */
typedef struct gw_rpc_handler {
    const char *path; /* "/pkg.Service/Method" */
    void (*start)(gw_rpc_call *call, const ProtobufCMessage *request, void *arg);
    void (*message)(gw_rpc_call *call, const ProtobufCMessage *request, void *arg);
    void (*half_closed)(gw_rpc_call *call, void *arg);
    void (*writable)(gw_rpc_call *call, void *arg);
    void (*cancelled)(
        gw_rpc_call *call,
        void *arg); /* client gone or deadline over; the handler still ends the call */
    void (*finished)(gw_rpc_call *call, void *arg);
    size_t max_message_bytes; /* 0: 4 MiB */
} gw_rpc_handler;

typedef struct gw_rpc_server_options {
    const char *listen; /* "127.0.0.1:9101"; port 0 picks one */
    bool reflection; /* serve grpc.reflection.v1 */
    const gw_schema *schema;
    gw_rpc_authorizer authorizer;
    /* NULL: plain connections. Else TLS; callers may present a certificate of the set's authorities (rpc/peer.h). A changed
     * set is used for connections from then on. Borrowed. */
    gw_tls_files *tls;
    gw_log *log; /* may be NULL */
    gw_rpc_metrics metrics; /* {0}: nothing is counted */
    /* A connection is asked to end after this long, 10 % more or less: clients resolve names anew only
     * then, and would never see new replicas. 0: never. */
    int64_t connection_age_ms;
    int64_t connection_age_grace_ms; /* calls on it may go on this long; 0: to their end */
    size_t calls_max; /* in flight, further ones end RESOURCE_EXHAUSTED; 0: 10,000 */
} gw_rpc_server_options;

GW_CHECK gw_status gw_rpc_server_new(gw_loop *l, const gw_rpc_server_options *o,
                                     gw_rpc_server **ret, gw_error *err);
/* Handlers of one service, an array that ends with a NULL path; borrowed. Before start. */
GW_CHECK gw_status gw_rpc_server_add(gw_rpc_server *s, const gw_rpc_handler *handlers, void *arg,
                                     gw_error *err);
/* Fails when a method has no access option, is unknown to the schema, or the address is taken; the
 * server is then still to be closed. */
GW_CHECK gw_status gw_rpc_server_start(gw_rpc_server *s, gw_error *err);
uint16_t gw_rpc_server_port(const gw_rpc_server *s);
void gw_rpc_server_set_serving(gw_rpc_server *s, bool serving); /* what health answers */
/*
 * NOT_SERVING at once. While callers watch that, new calls are still taken until none has come for a
 * quarter of a second (at most for 2 s, and half of the grace): so those who watch lose no call. Then no
 * new calls; calls in flight may end within `grace_ms` of the start, then are cancelled. `closed(arg)` (NULL is fine) on the loop when all is gone and the server freed: each
 * handler has ended its calls by then, and the authorizer has answered. Once.
 */
void gw_rpc_server_close(gw_rpc_server *s, int64_t grace_ms, void (*closed)(void *arg), void *arg);

/* ---- a call; valid from `start` until `finished` returns ---- */
const gw_caller *gw_rpc_call_caller(const gw_rpc_call *c);
const gw_method *gw_rpc_call_method(const gw_rpc_call *c);
gw_arena *gw_rpc_call_arena(gw_rpc_call *c);
int64_t gw_rpc_call_deadline_ms(const gw_rpc_call *c); /* monotonic; INT64_MAX when none */
gw_str gw_rpc_call_peer(const gw_rpc_call *c); /* "ipv4:127.0.0.1:50412" */
gw_str gw_rpc_call_metadata(const gw_rpc_call *c,
                            const char *name); /* lower-case name; "" when absent */
/* The values of a name one after the other, from *at on (0 at first); ptr NULL after the last. */
gw_str gw_rpc_call_metadata_next(const gw_rpc_call *c, const char *name, size_t *at);
bool gw_rpc_call_is_cancelled(const gw_rpc_call *c);
void gw_rpc_call_set_data(gw_rpc_call *c, void *data);
void *gw_rpc_call_data(const gw_rpc_call *c);

/*
 * How many of a list's items, from the first, a page has room for: one in any case, and then as many as stay below what clients take of
 * an answer (4 MiB), the rest of it included.
 */
size_t gw_rpc_page_fit(ProtobufCMessage *const *items, size_t count);

void gw_rpc_reply(
    gw_rpc_call *c,
    const ProtobufCMessage *m); /* unary, client streaming: the answer and OK. Once. Packs now. */
void gw_rpc_send(gw_rpc_call *c,
                 const ProtobufCMessage *m); /* streams: packs now; queued in order */
size_t
gw_rpc_call_queued(const gw_rpc_call *c); /* messages sent but not yet taken by the transport */
void gw_rpc_pause(gw_rpc_call *c); /* no further `message` */
void gw_rpc_resume(gw_rpc_call *c);
void gw_rpc_finish(gw_rpc_call *c); /* streams: OK */
/* Ends any call with the error's gRPC status, message and google.rpc details (BadRequest,
 * ErrorInfo). Once. */
void gw_rpc_fail(gw_rpc_call *c, const gw_error *err);
/* The same with further violations beside the one in `err`; NULL is fine. Those that do not fit into
 * 4 KiB are left out. */
void gw_rpc_fail_all(gw_rpc_call *c, const gw_error *err, const gw_violations *further);
/* Before the call fails: google.rpc.RetryInfo goes with its error. In ms, > 0. */
void gw_rpc_set_retry_after(gw_rpc_call *c, int64_t ms);
