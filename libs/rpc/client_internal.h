/*
 * The client's inside: channels (client.c) and their calls (client_call.c, client_stream.c).
 */
#pragma once

#include "rpc/client.h"
#include "rpc/measure.h"
#include "rpc/rpc_internal.h"

struct gw_rpc_channel {
    gw_rpc_pump *pump;
    gw_log *log;
    char *target;
    gw_tls_files *tls; /* NULL: plain */
    gw_tls_subscription tls_changes;
    grpc_channel *core; /* of new calls */
    gw_list retired; /* cores of older TLS files, until those that wait on them are let go */
    gw_list calls;
};

/*
 * A call goes when its status is known and `done` was called, and the core has nothing of it any
 * more (`operations`). A channel that goes first takes its calls' users along: `channel` is NULL
 * then, and the rest is only waiting.
 */
struct gw_rpc_client_call {
    gw_rpc_channel *channel;
    gw_rpc_pump *pump;
    gw_list node;
    const grpc_channel *made_on; /* maybe gone: only to compare */
    grpc_call *core;
    const ProtobufCMessageDescriptor *response;
    size_t max_message_bytes;
    bool has_one_answer; /* unary, client streaming */
    grpc_byte_buffer *answer; /* that one */
    gw_rpc_done_fn one_done;
    rpc_measure measure;
    gw_rpc_stream_ops ops;
    void *arg;
    gw_arena *arena; /* of the message being delivered */
    rpc_tag status, received, sent;
    grpc_metadata_array initial, trailing;
    grpc_status_code code;
    grpc_slice message;
    grpc_byte_buffer *incoming;
    gw_list sends;
    size_t queued, queued_bytes;
    unsigned operations;
    bool status_known, cancelled, sending, sending_message, receiving, paused;
    bool close_asked, close_sent, read_over;
    bool connected; /* of a stream: it has reached a server */
    gw_violations *further; /* the caller's, filled before `done`; may be NULL */
    int64_t *retry_after_ms; /* likewise */
    gw_error failure; /* found by us: stands above the peer's status when its code is not GW_OK */
};

void rpc_client_settle(gw_rpc_client_call *c);
/* The call cannot go on; `done` follows with `failure`. */
void rpc_client_break(gw_rpc_client_call *c);
/* `one_done`: of a call with one answer, else NULL. */
gw_rpc_client_call *rpc_client_call_new(gw_rpc_channel *ch, const gw_rpc_call_options *o,
                                        gw_rpc_done_fn one_done, void *arg);
void rpc_client_call_free(gw_rpc_client_call *c);
void rpc_client_orphan(gw_rpc_client_call *c, const gw_error *why);
/* Starts a batch or ends the call. */
void rpc_client_start(gw_rpc_client_call *c, const grpc_op *ops, size_t n, rpc_tag *tag);
/* False after ending the call: the core would refuse a bad header value too, but log it, and this
 * one is a secret. */
bool rpc_client_credential_fits(gw_rpc_client_call *c, const gw_rpc_call_options *o);
/* The initial metadata and the op that sends it; it lives until the batch has started. */
typedef struct rpc_initial {
    grpc_metadata items[4];
    size_t count;
} rpc_initial;
void rpc_client_initial_op(const gw_rpc_call_options *o, rpc_initial *initial, grpc_op *op);
void rpc_client_initial_fini(rpc_initial *initial);
