/* The sending half of a call: messages in order, one batch at a time, the status last. */
#include "rpc/server_internal.h"

/* Of answers that wait for a caller to read: handlers hold back before it, this is the end of it. */
#define QUEUE_BYTES_MAX (4UL << 20)

#define PAGE_BYTES_MAX   (RPC_MESSAGE_MAX_DEFAULT / 4 * 3)
#define ITEM_FRAME_BYTES 8 /* tag and length */

size_t gw_rpc_page_fit(ProtobufCMessage *const *items, size_t count)
{
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        bytes += protobuf_c_message_get_packed_size(items[i]) + ITEM_FRAME_BYTES;
        if (i > 0 && bytes > PAGE_BYTES_MAX)
            return i;
    }
    return count;
}

static void start_send(gw_rpc_call *c, const grpc_op *ops, size_t n)
{
    c->sending = true;
    c->operations++;
    if (rpc_start_batch(c->server->pump, c->core, ops, n, &c->sent))
        return;
    /* Only metadata that HTTP/2 does not allow could do that, and ours is fixed. */
    c->sending = false;
    c->operations--;
    grpc_call_cancel(c->core, NULL);
}

/* The status and what it needs until the batch has started. */
typedef struct status_op {
    gw_buf details;
    grpc_slice message;
    grpc_metadata trailing;
} status_op;

static void fill_status(const gw_rpc_call *c, status_op *s, grpc_op *op)
{
    const gw_error *outcome = &c->outcome;
    op->op = GRPC_OP_SEND_STATUS_FROM_SERVER;
    op->data.send_status_from_server.status =
        (grpc_status_code)gw_status_describe(outcome->code)->rpc_code;
    if (outcome->code == GW_OK)
        return;
    s->message = grpc_slice_from_copied_string(outcome->message);
    op->data.send_status_from_server.status_details = &s->message;
    rpc_status_encode(outcome, c->further, c->retry_after_ms, &s->details);
    if (gw_buf_failed(&s->details))
        return; /* the bare status has to do */
    s->trailing.key = grpc_slice_from_static_string(RPC_DETAILS_KEY);
    s->trailing.value = grpc_slice_from_copied_buffer(s->details.data, s->details.len);
    op->data.send_status_from_server.trailing_metadata = &s->trailing;
    op->data.send_status_from_server.trailing_metadata_count = 1;
}

void rpc_call_flush(gw_rpc_call *c)
{
    if (c->sending || c->status_sent || c->gone)
        return;
    grpc_byte_buffer *message = rpc_sends_pop(&c->sends, &c->queued_bytes);
    bool is_last = c->ending && gw_list_is_empty(&c->sends);
    const gw_method *method = c->method ? c->method->method : NULL;
    bool is_stream = method && (method->client_streaming || method->server_streaming);
    /* A stream shows at once that it was accepted. */
    bool needs_initial = !c->initial_sent && (message || is_last || (c->started && is_stream));
    grpc_op ops[3] = {0};
    size_t n = 0;
    if (needs_initial)
        ops[n++].op = GRPC_OP_SEND_INITIAL_METADATA;
    if (message) {
        ops[n].op = GRPC_OP_SEND_MESSAGE;
        ops[n++].data.send_message.send_message = message;
    }
    status_op status = {.message = grpc_empty_slice(), .trailing.value = grpc_empty_slice()};
    if (is_last)
        fill_status(c, &status, &ops[n++]);
    if (n > 0) {
        c->initial_sent = true;
        c->status_sent = is_last;
        c->sending_message = message != NULL;
        start_send(c, ops, n);
    }
    /* All slices are the core's own now, or not needed. */
    if (message)
        grpc_byte_buffer_destroy(message);
    grpc_slice_unref(status.message);
    grpc_slice_unref(status.trailing.value);
    gw_buf_fini(&status.details);
}

void rpc_call_on_sent(void *owner, bool success)
{
    gw_rpc_call *c = owner;
    c->sending = false;
    bool took_message = c->sending_message;
    c->sending_message = false;
    if (took_message && c->queued > 0)
        c->queued--;
    if (!success) {
        rpc_sends_drop(&c->sends, &c->queued_bytes);
        c->queued = 0;
    } else if (took_message && c->started && !c->handler_ended && !c->gone && !c->aborted &&
               c->method->handler->writable) {
        c->method->handler->writable(c, c->method->arg);
    }
    rpc_call_flush(c);
    c->operations--;
    rpc_call_settle(c);
}

/* The status follows what is queued. */
void rpc_call_end(gw_rpc_call *c, const gw_error *outcome)
{
    if (c->ending)
        return;
    c->ending = true;
    if (outcome)
        c->outcome = *outcome;
    rpc_measure_end(&c->measure, gw_status_describe(c->outcome.code)->rpc_code,
                    gw_loop_now_ms(c->server->loop));
    rpc_call_flush(c);
}

static bool can_send(const gw_rpc_call *c)
{
    return !c->gone && !c->aborted && !c->ending;
}

void gw_rpc_send(gw_rpc_call *c, const ProtobufCMessage *m)
{
    gw_error err;
    if (!can_send(c))
        return;
    if (c->queued_bytes > QUEUE_BYTES_MAX) {
        (void)gw_fail(&err, GW_ERR_OVERLOADED, "the caller does not read its answers");
        rpc_call_abort(c, &err);
        return;
    }
    if (!rpc_sends_push(&c->sends, m, &c->queued_bytes)) {
        /* A gap would go unseen: the stream ends instead. */
        (void)gw_fail(&err, GW_ERR_NO_MEMORY, "no memory for an answer");
        rpc_call_abort(c, &err);
        return;
    }
    c->queued++;
    rpc_call_flush(c);
}

static void handler_ends(gw_rpc_call *c, const gw_error *outcome)
{
    if (c->handler_ended)
        return;
    c->handler_ended = true;
    if (!c->aborted)
        rpc_call_end(c, outcome);
    rpc_call_settle(c);
}

void gw_rpc_reply(gw_rpc_call *c, const ProtobufCMessage *m)
{
    if (can_send(c) && rpc_sends_push(&c->sends, m, &c->queued_bytes)) {
        c->queued++;
        handler_ends(c, NULL);
        return;
    }
    gw_error err; /* not seen by a client that is gone */
    (void)gw_fail(&err, GW_ERR_NO_MEMORY, "no memory for the answer");
    handler_ends(c, &err);
}

void gw_rpc_finish(gw_rpc_call *c)
{
    handler_ends(c, NULL);
}

void gw_rpc_set_retry_after(gw_rpc_call *c, int64_t ms)
{
    c->retry_after_ms = ms;
}

void gw_rpc_fail(gw_rpc_call *c, const gw_error *err)
{
    gw_rpc_fail_all(c, err, NULL);
}

void gw_rpc_fail_all(gw_rpc_call *c, const gw_error *err, const gw_violations *further)
{
    if (further && further->count > 0 && !c->handler_ended) {
        c->further = gw_arena_new_of(gw_rpc_call_arena(c), gw_violations);
        if (c->further) /* without memory the first one has to do */
            *c->further = *further;
    }
    if (err->code == GW_ERR_INTERNAL)
        gw_log_error(c->server->log, "rpc_failed", gw_kv("rpc.method", c->method->method->path),
                     gw_kv_error(err));
    handler_ends(c, err);
}

size_t gw_rpc_call_queued(const gw_rpc_call *c)
{
    return c->queued;
}
