#include "rpc/client_internal.h"

static void receive(gw_rpc_client_call *c)
{
    if (c->receiving || c->paused || c->incoming || c->read_over || c->cancelled || !c->channel)
        return;
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};
    op.data.recv_message.recv_message = &c->incoming;
    c->receiving = true;
    rpc_client_start(c, &op, 1, &c->received);
}

/* Reads on after it, to the end of the stream: a peer that sends a second one is broken. */
static void keep_answer(gw_rpc_client_call *c)
{
    if (!c->answer) {
        c->answer = gw_steal(&c->incoming);
        receive(c);
        return;
    }
    grpc_byte_buffer_destroy(gw_steal(&c->incoming));
    c->read_over = true;
    (void)gw_fail(&c->failure, GW_ERR_INTERNAL, "more than one answer");
    grpc_call_cancel(c->core, NULL);
}

static void deliver(gw_rpc_client_call *c)
{
    ProtobufCMessage *m = NULL;
    grpc_byte_buffer *buffer = gw_steal(&c->incoming);
    gw_error err;
    gw_status rc = rpc_unpack(c->response, buffer, c->max_message_bytes, c->arena, &m, &err);
    grpc_byte_buffer_destroy(buffer);
    if (rc != GW_OK) {
        c->read_over = true;
        c->failure = err;
        grpc_call_cancel(c->core, NULL);
        return;
    }
    if (c->ops.message)
        c->ops.message(c->arg, m);
    gw_arena_reset(c->arena);
    receive(c);
}

static void on_received(void *owner, bool success)
{
    gw_rpc_client_call *c = owner;
    c->receiving = false;
    if (!success || !c->incoming)
        c->read_over = true; /* the status tells why */
    else if (!c->channel || c->cancelled)
        grpc_byte_buffer_destroy(gw_steal(&c->incoming));
    else if (c->has_one_answer)
        keep_answer(c);
    else if (!c->paused)
        deliver(c);
    c->operations--;
    rpc_client_settle(c);
}

static void flush(gw_rpc_client_call *c)
{
    if (c->sending || c->close_sent || c->cancelled || c->status_known || !c->channel)
        return;
    grpc_byte_buffer *message = rpc_sends_pop(&c->sends, &c->queued_bytes);
    grpc_op ops[2] = {0};
    size_t n = 0;
    if (message) {
        ops[n].op = GRPC_OP_SEND_MESSAGE;
        ops[n++].data.send_message.send_message = message;
    }
    if (c->close_asked && gw_list_is_empty(&c->sends)) {
        ops[n++].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
        c->close_sent = true;
    }
    if (n > 0) {
        c->sending = true;
        c->sending_message = message != NULL;
        rpc_client_start(c, ops, n, &c->sent);
    }
    if (message)
        grpc_byte_buffer_destroy(message);
}

static void on_sent(void *owner, bool success)
{
    gw_rpc_client_call *c = owner;
    c->sending = false;
    c->connected = c->connected || success;
    bool took_message = c->sending_message;
    c->sending_message = false;
    if (took_message && c->queued > 0)
        c->queued--;
    if (!success) {
        rpc_sends_drop(&c->sends, &c->queued_bytes);
        c->queued = 0;
        c->close_sent = true; /* nothing more goes out; the status tells why */
    }
    flush(c);
    if (success && took_message && c->queued == 0 && c->channel && !c->close_asked &&
        !c->cancelled && c->ops.writable)
        c->ops.writable(c->arg);
    c->operations--;
    rpc_client_settle(c);
}

/* The head, and for server streaming the one request and the end of sending. */
static void start_sending(gw_rpc_client_call *c, const gw_rpc_call_options *o,
                          const ProtobufCMessage *request)
{
    grpc_byte_buffer *message = request ? rpc_pack(request) : NULL;
    rpc_initial initial;
    grpc_op ops[3] = {0};
    size_t n = 1;
    rpc_client_initial_op(o, &initial, &ops[0]);
    if (message) {
        ops[n].op = GRPC_OP_SEND_MESSAGE;
        ops[n++].data.send_message.send_message = message;
        ops[n++].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
        c->close_asked = c->close_sent = true;
    }
    c->sending = true;
    rpc_client_start(c, ops, n, &c->sent);
    if (message)
        grpc_byte_buffer_destroy(message);
    rpc_client_initial_fini(&initial);
}

static gw_rpc_client_call *start(gw_rpc_client_call *c, const gw_rpc_call_options *o,
                                 const ProtobufCMessage *request)
{
    rpc_tag_init(&c->received, on_received, c);
    rpc_tag_init(&c->sent, on_sent, c);
    if (!rpc_client_credential_fits(c, o))
        return c;
    /* A batch of its own: it ends only with the call. */
    grpc_op status = {.op = GRPC_OP_RECV_STATUS_ON_CLIENT};
    status.data.recv_status_on_client.trailing_metadata = &c->trailing;
    status.data.recv_status_on_client.status = &c->code;
    status.data.recv_status_on_client.status_details = &c->message;
    rpc_client_start(c, &status, 1, &c->status);
    start_sending(c, o, request);
    grpc_op first[2] = {{.op = GRPC_OP_RECV_INITIAL_METADATA}, {.op = GRPC_OP_RECV_MESSAGE}};
    first[0].data.recv_initial_metadata.recv_initial_metadata = &c->initial;
    first[1].data.recv_message.recv_message = &c->incoming;
    c->receiving = true;
    rpc_client_start(c, first, 2, &c->received);
    return c;
}

gw_rpc_client_call *gw_rpc_stream(gw_rpc_channel *ch, const gw_rpc_call_options *o,
                                  const ProtobufCMessage *request, const gw_rpc_stream_ops *ops,
                                  void *arg)
{
    gw_rpc_client_call *c = rpc_client_call_new(ch, o, NULL, arg);
    if (!c)
        return NULL;
    c->ops = *ops;
    return start(c, o, request);
}

gw_rpc_client_call *gw_rpc_send_stream(gw_rpc_channel *ch, const gw_rpc_call_options *o,
                                       void (*writable)(void *arg), gw_rpc_done_fn done, void *arg)
{
    gw_rpc_client_call *c = rpc_client_call_new(ch, o, done, arg);
    if (!c)
        return NULL;
    c->ops = (gw_rpc_stream_ops){.writable = writable};
    return start(c, o, NULL);
}

void gw_rpc_stream_send(gw_rpc_client_call *c, const ProtobufCMessage *m)
{
    if (c->close_asked || c->cancelled || c->status_known)
        return;
    if (!rpc_sends_push(&c->sends, m, &c->queued_bytes)) {
        /* A gap would go unseen: the stream ends instead. */
        (void)gw_fail(&c->failure, GW_ERR_NO_MEMORY, "no memory for a message");
        grpc_call_cancel(c->core, NULL);
        return;
    }
    c->queued++;
    flush(c);
}

size_t gw_rpc_stream_queued(const gw_rpc_client_call *c)
{
    return c->queued;
}

void gw_rpc_stream_close_send(gw_rpc_client_call *c)
{
    c->close_asked = true;
    flush(c);
}

void gw_rpc_stream_pause(gw_rpc_client_call *c)
{
    c->paused = true;
}

static void after_resume(void *arg)
{
    gw_rpc_client_call *c = arg;
    if (c->incoming && !c->receiving && !c->paused && !c->cancelled && c->channel)
        deliver(c);
    else
        receive(c);
    c->operations--;
    rpc_client_settle(c);
}

void gw_rpc_stream_resume(gw_rpc_client_call *c)
{
    if (!c->paused)
        return;
    c->paused = false;
    c->operations++;
    gw_loop_defer(c->pump->loop, after_resume, c); /* never a message inside the caller */
}
