/*
 * gRPC client on a loop: unary, client-streaming, server-streaming and bidirectional calls.
 *
 * A channel is one target: "127.0.0.1:9101", "dns:///auth:9101" for all addresses of a name, or a list
 * "ipv4:10.0.0.1:9101,10.0.0.2:9101". Calls go round all its replicas that are connected and whose health
 * says SERVING; it connects by itself, reconnects with backoff, and asks a name anew when it loses a
 * replica. One pump thread a loop (gw_rpc_pump) turns completion events into messages to the loop.
 *
 * A unary call of an rpc with an idempotency_level is made again when it ends UNAVAILABLE, some times,
 * with jittered backoff, within its deadline, while the channel's budget lasts; any other call only when
 * nothing of it was sent. A request above 256 KiB is not made again.
 *
 * Failed calls give a gw_error: the peer's name (ErrorInfo.reason) when it is one of ours, its
 * message and first field violation; else the general code of the gRPC status.
 *
 * Thread: the loop's.
 */
#pragma once

#include "core/violations.h"
#include "log/log.h"
#include "loop/loop.h"
#include "rpc/metrics.h"
#include "schema/schema.h"
#include "tls/tls_files.h"

#include <protobuf-c/protobuf-c.h>

typedef struct gw_rpc_pump gw_rpc_pump;
GW_CHECK gw_status gw_rpc_pump_new(gw_loop *l, gw_rpc_pump **ret, gw_error *err);
/* All channels are freed by now; joins the thread. Runs the loop's mailbox until the queue is down.
 */
void gw_rpc_pump_free(gw_rpc_pump *p);
GW_DEFINE_FREEP(gw_rpc_pump)
/* Which rpcs there are, for repetition and deadlines, and where calls are counted. Before the first
 * channel; the schema is borrowed. Without, nothing is repeated or counted. */
void gw_rpc_pump_describe(gw_rpc_pump *p, const gw_schema *schema, gw_rpc_metrics metrics);

typedef struct gw_rpc_channel gw_rpc_channel;
/*
 * `tls` (borrowed; NULL: plain): the server's certificate has to be of the set's authorities and for the target's host, so
 * a list of addresses is no target here; our
 * own is presented. After a change of the set new calls take a new connection, those that have one end on it; a
 * stream that waits for a connection with the old set ends UNAVAILABLE some seconds later.
 */
GW_CHECK gw_status gw_rpc_channel_new(gw_rpc_pump *p, const char *target, gw_tls_files *tls,
                                      gw_log *log, gw_rpc_channel **ret, gw_error *err);
/* Calls in flight are cancelled: `done` of each is called, with GW_ERR_CANCELLED, before this
 * returns. */
void gw_rpc_channel_free(gw_rpc_channel *c);
GW_DEFINE_FREEP(gw_rpc_channel)

typedef struct gw_rpc_client_call gw_rpc_client_call;

typedef struct gw_rpc_call_options {
    const char *path; /* "/pkg.Service/Method" */
    const ProtobufCMessageDescriptor *response;
    gw_str credential; /* sent as `authorization: Bearer …` when not empty */
    gw_str request_id; /* sent as `x-request-id` when not empty; printable ASCII */
    gw_str client_address,
        forwarder; /* of a call with somebody else's credential (rpc/forwarded.h); sent when not empty */
    /* gets the violations beside the one in `err` before `done`; may be NULL */
    gw_violations *further;
    /* gets google.rpc.RetryInfo's delay before `done`, 0: none; may be NULL */
    int64_t *retry_after_ms;
    int64_t deadline_ms; /* from now; 0: the rpc's own (option deadline), 30 s when it is not known;
                            streams of answers may have none */
    bool wait_for_ready; /* wait for a connection within the deadline instead of failing at once */
    size_t max_message_bytes; /* of an answer; 0: 4 MiB */
} gw_rpc_call_options;

/* Unary. `done` exactly once, from the loop, never inside the call; `response` (NULL unless GW_OK)
 * lives during it. The call is gone when `done` returns. NULL when out of memory: no `done` then. */
typedef void (*gw_rpc_done_fn)(void *arg, gw_status rc, const ProtobufCMessage *response,
                               const gw_error *err);
gw_rpc_client_call *gw_rpc_unary(gw_rpc_channel *ch, const gw_rpc_call_options *o,
                                 const ProtobufCMessage *request, gw_rpc_done_fn done, void *arg);

/* Client streaming: messages by gw_rpc_stream_send() until gw_rpc_stream_close_send(); `done` as of a
 * unary call, also before all was sent. `writable` as of a stream, may be NULL. */
gw_rpc_client_call *gw_rpc_send_stream(gw_rpc_channel *ch, const gw_rpc_call_options *o,
                                       void (*writable)(void *arg), gw_rpc_done_fn done, void *arg);

/*
 * Streams: `request` is sent first and the sending side closed for server-streaming calls; NULL
 * starts a bidi call. `done` exactly once, last; the call is gone when it returns. NULL when out of
 * memory: no `done` then.
 */
typedef struct gw_rpc_stream_ops {
    void (*message)(void *arg, const ProtobufCMessage *m); /* lives during the call */
    void (*writable)(void *arg); /* queue of sends is empty; may be NULL */
    void (*done)(void *arg, gw_status rc, const gw_error *err);
} gw_rpc_stream_ops;
gw_rpc_client_call *gw_rpc_stream(gw_rpc_channel *ch, const gw_rpc_call_options *o,
                                  const ProtobufCMessage *request, const gw_rpc_stream_ops *ops,
                                  void *arg);
void gw_rpc_stream_send(gw_rpc_client_call *c,
                        const ProtobufCMessage *m); /* packs now, queued in order */
size_t gw_rpc_stream_queued(const gw_rpc_client_call *c);
void gw_rpc_stream_close_send(gw_rpc_client_call *c);
void gw_rpc_stream_pause(gw_rpc_client_call *c);
void gw_rpc_stream_resume(gw_rpc_client_call *c);

void gw_rpc_cancel(gw_rpc_client_call *c); /* `done` follows with GW_ERR_CANCELLED */
