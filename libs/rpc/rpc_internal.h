/*
 * What the parts of libs/rpc share: tags, the pump, message buffers, status details.
 */
#pragma once

#include "core/arena.h"
#include "core/list.h"
#include "loop/mailbox.h"
#include "rpc/client.h"

#include <grpc/byte_buffer.h>
#include <grpc/grpc.h>
#include <grpc/slice.h>
#include <stdatomic.h>

#define RPC_MESSAGE_MAX_DEFAULT (4UL << 20)

/*
 * What a batch carries through the completion queue, and the message in which the pump hands it to
 * the loop: embedded in the call, so that an event costs no allocation. One batch at a time.
 */
typedef struct rpc_tag {
    gw_message message; /* first */
    void (*complete)(void *owner, bool success);
    void *owner;
    bool success;
} rpc_tag;
void rpc_tag_init(rpc_tag *t, void (*complete)(void *owner, bool success), void *owner);
struct gw_rpc_pump {
    gw_loop *loop;
    gw_mailbox *mailbox;
    grpc_completion_queue *queue;
    pthread_t thread;
    bool running;
    atomic_size_t in_core; /* tags that the core has */
    const gw_schema *schema; /* of the channels; may be NULL */
    gw_rpc_metrics metrics;
};
/* Shuts the queue down, joins the thread and completes what was left. No new batches from now on.
 * A server destroys its core between this and gw_rpc_pump_free(). */
void rpc_pump_stop(gw_rpc_pump *p);

/* Around what gives a tag to the core by hand; `untake` when it was not taken. This also orders our
 * writes before the pump's reads, so that no tool has to understand the core's own locks. */
void rpc_pump_take(gw_rpc_pump *p);
void rpc_pump_untake(gw_rpc_pump *p);
GW_CHECK bool rpc_start_batch(gw_rpc_pump *p, grpc_call *core, const grpc_op *ops, size_t n,
                              rpc_tag *t);

/* accept.c: from now on a lack of descriptors closes connections, and not the listener. */
void rpc_accept_prepare(void);

/* A message to send, packed. NULL when out of memory. */
grpc_byte_buffer *rpc_pack(const ProtobufCMessage *m);

/* Queue of packed messages. */
typedef struct rpc_send {
    gw_list node;
    grpc_byte_buffer *buffer;
} rpc_send;
/* *bytes grows by what the message holds. */
GW_CHECK bool rpc_sends_push(gw_list *sends, const ProtobufCMessage *m, size_t *bytes);
grpc_byte_buffer *rpc_sends_pop(gw_list *sends, size_t *bytes); /* NULL when empty */
void rpc_sends_drop(gw_list *sends, size_t *bytes);

/* Walks and unpacks into the arena; the buffer stays the caller's. BODY_TOO_LARGE,
 * INVALID_ARGUMENT. */
GW_CHECK gw_status rpc_unpack(const ProtobufCMessageDescriptor *d, grpc_byte_buffer *b,
                              size_t max_bytes, gw_arena *arena, ProtobufCMessage **ret,
                              gw_error *err);

static inline gw_str rpc_slice_view(const grpc_slice *s) /* of a slice that stays where it is */
{
    return gw_str_n(GRPC_SLICE_START_PTR(*s), GRPC_SLICE_LENGTH(*s));
}

#define RPC_DETAILS_KEY  "grpc-status-details-bin"
#define RPC_ERROR_DOMAIN "apirelay"
/* google.rpc.Status with ErrorInfo and, when a field is named, BadRequest. `further` may be NULL. */
void rpc_status_encode(const gw_error *e, const gw_violations *further, int64_t retry_after_ms,
                       gw_buf *out); /* retry_after_ms 0: no RetryInfo */
/* What a peer's status means to us; never GW_OK. `further` gets the violations beside *ret's, *ret_retry_after_ms RetryInfo's delay or 0;
 * both may be NULL. */
void rpc_status_decode(grpc_status_code code, gw_str message, const grpc_metadata_array *trailing,
                       gw_error *ret, gw_violations *further, int64_t *ret_retry_after_ms);
