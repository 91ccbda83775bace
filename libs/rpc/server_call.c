#include "rpc/server_internal.h"

#include <stdlib.h>

#define ABORT_PATIENCE_MS 1000

static void on_closed(void *owner, bool success);
static void on_received(void *owner, bool success);
static void on_deadline(void *arg);

gw_rpc_call *rpc_call_new(gw_rpc_server *s)
{
    gw_rpc_call *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->server = s;
    gw_list_init(&c->node);
    gw_list_init(&c->sends);
    grpc_call_details_init(&c->details);
    grpc_metadata_array_init(&c->metadata);
    rpc_tag_init(&c->accepted, rpc_call_on_accepted, c);
    rpc_tag_init(&c->closed, on_closed, c);
    rpc_tag_init(&c->received, on_received, c);
    rpc_tag_init(&c->sent, rpc_call_on_sent, c);
    gw_timer_init(&c->deadline, on_deadline, c);
    c->deadline_ms = INT64_MAX;
    return c;
}

void rpc_call_drop(gw_rpc_call *c)
{
    grpc_call_details_destroy(&c->details);
    grpc_metadata_array_destroy(&c->metadata);
    if (c->incoming)
        grpc_byte_buffer_destroy(c->incoming);
    rpc_sends_drop(&c->sends, &c->queued_bytes);
    gw_arena_free(c->arena);
    gw_arena_free(c->message_arena);
    if (c->core)
        grpc_call_unref(c->core);
    free(c);
}

static void finish(void *arg)
{
    gw_rpc_call *c = arg;
    gw_rpc_server *s = c->server;
    if (c->started && c->method->handler->finished)
        c->method->handler->finished(c, c->method->arg);
    gw_timer_cancel(s->loop, &c->deadline);
    gw_list_remove(&c->node);
    s->call_count--;
    rpc_call_drop(c);
    rpc_server_settle(s);
}

void rpc_call_settle(gw_rpc_call *c)
{
    if (c->finishing || c->operations > 0 || c->authorizing || (c->started && !c->handler_ended))
        return;
    c->finishing = true;
    gw_loop_defer(c->server->loop, finish, c); /* the handler may be below us on the stack */
}

/* ---- how a call ends early ---- */

static void tell_cancelled(gw_rpc_call *c)
{
    if (!c->started || c->handler_ended || c->told_cancelled)
        return;
    c->told_cancelled = true;
    if (c->method->handler->cancelled)
        c->method->handler->cancelled(c, c->method->arg);
}

void rpc_call_abort(gw_rpc_call *c, const gw_error *e)
{
    if (c->aborted || c->ending || c->gone)
        return;
    c->aborted = true;
    rpc_sends_drop(&c->sends, &c->queued_bytes);
    c->queued = 0;
    rpc_call_end(c, e);
    if (!c->status_sent) /* it waits behind a message that the client may never read */
        gw_timer_set(c->server->loop, &c->deadline, ABORT_PATIENCE_MS);
    tell_cancelled(c);
    rpc_call_settle(c);
}

static void on_deadline(void *arg)
{
    gw_rpc_call *c = arg;
    gw_error err;
    (void)gw_fail(&err, GW_ERR_DEADLINE_EXCEEDED, "the deadline of the call is over");
    if (!c->ending) {
        rpc_call_abort(c, &err);
        return;
    }
    /* Its end waits for a client that does not read. */
    const gw_error *e = c->aborted ? &c->outcome : &err;
    grpc_call_cancel_with_status(c->core, (grpc_status_code)gw_status_describe(e->code)->rpc_code,
                                 e->message, NULL);
}

static void on_closed(void *owner, bool success)
{
    (void)success;
    gw_rpc_call *c = owner;
    if (c->core_cancelled) {
        c->gone = true;
        rpc_measure_end(&c->measure, GW_RPC_CANCELLED, gw_loop_now_ms(c->server->loop));
        rpc_sends_drop(&c->sends, &c->queued_bytes);
        c->queued = 0;
        tell_cancelled(c);
    }
    gw_timer_cancel(c->server->loop, &c->deadline);
    c->operations--;
    rpc_call_settle(c);
}

void rpc_call_refuse(gw_rpc_call *c, const gw_error *e)
{
    rpc_call_end(c, e);
    rpc_call_settle(c);
}

/* ---- receiving ---- */

void rpc_call_receive(gw_rpc_call *c)
{
    if (c->receiving || c->paused || c->half_closed || c->incoming || c->ending || c->gone)
        return;
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};
    op.data.recv_message.recv_message = &c->incoming;
    c->receiving = true;
    c->operations++;
    if (!rpc_start_batch(c->server->pump, c->core, &op, 1, &c->received)) {
        c->receiving = false;
        c->operations--;
        grpc_call_cancel(c->core, NULL);
    }
}

static void start_handler(gw_rpc_call *c, const ProtobufCMessage *request)
{
    c->started = true;
    c->method->handler->start(c, request, c->method->arg);
    rpc_call_flush(c); /* the head of a stream */
}

static gw_status unpack_incoming(gw_rpc_call *c, ProtobufCMessage **ret, gw_error *err)
{
    const gw_rpc_handler *h = c->method->handler;
    const gw_method *m = c->method->method;
    grpc_byte_buffer *buffer = gw_steal(&c->incoming);
    gw_arena *arena = m->client_streaming ? c->message_arena : c->arena;
    gw_status rc = rpc_unpack(m->descriptor->input, buffer,
                              h->max_message_bytes ? h->max_message_bytes : RPC_MESSAGE_MAX_DEFAULT,
                              arena, ret, err);
    grpc_byte_buffer_destroy(buffer);
    return rc;
}

static void deliver_message(gw_rpc_call *c)
{
    ProtobufCMessage *request = NULL;
    gw_error err;
    gw_status rc = unpack_incoming(c, &request, &err);
    if (rc != GW_OK && c->started) {
        rpc_call_abort(c, &err);
    } else if (rc != GW_OK) {
        rpc_call_refuse(c, &err);
    } else if (!c->method->method->client_streaming) {
        start_handler(c, request);
    } else {
        if (c->method->handler->message)
            c->method->handler->message(c, request, c->method->arg);
        gw_arena_reset(c->message_arena);
        rpc_call_receive(c);
    }
}

static void deliver_end(gw_rpc_call *c, bool failed)
{
    if (failed)
        return; /* `closed` tells */
    if (!c->method->method->client_streaming) {
        gw_error err;
        (void)gw_fail(&err, GW_ERR_INVALID_ARGUMENT, "the call has no request message");
        rpc_call_refuse(c, &err);
        return;
    }
    c->half_closed = true;
    if (c->method->handler->half_closed)
        c->method->handler->half_closed(c, c->method->arg);
}

static void on_received(void *owner, bool success)
{
    gw_rpc_call *c = owner;
    c->receiving = false;
    bool is_over = c->ending || c->gone || c->handler_ended;
    if (is_over && c->incoming)
        grpc_byte_buffer_destroy(gw_steal(&c->incoming));
    if (!is_over && !c->incoming)
        deliver_end(c, !success || grpc_call_failed_before_recv_message(c->core));
    else if (!is_over && !c->paused) /* else it is kept until resume */
        deliver_message(c);
    c->operations--;
    rpc_call_settle(c);
}

void gw_rpc_pause(gw_rpc_call *c)
{
    c->paused = true;
}

static void after_resume(void *arg)
{
    gw_rpc_call *c = arg;
    bool is_over = c->ending || c->gone || c->handler_ended;
    if (!is_over && !c->paused && c->incoming && !c->receiving)
        deliver_message(c);
    else if (!is_over)
        rpc_call_receive(c);
    c->operations--;
    rpc_call_settle(c);
}

void gw_rpc_resume(gw_rpc_call *c)
{
    if (!c->paused)
        return;
    c->paused = false;
    c->operations++;
    gw_loop_defer(c->server->loop, after_resume, c); /* never a message inside the caller */
}

void rpc_call_begin(gw_rpc_call *c)
{
    if (c->method->method->client_streaming)
        start_handler(c, NULL);
    rpc_call_receive(c);
    rpc_call_settle(c);
}

/* ---- what a handler asks ---- */

const gw_caller *gw_rpc_call_caller(const gw_rpc_call *c)
{
    return &c->caller;
}

const gw_method *gw_rpc_call_method(const gw_rpc_call *c)
{
    return c->method->method;
}

gw_arena *gw_rpc_call_arena(gw_rpc_call *c)
{
    return c->arena;
}

int64_t gw_rpc_call_deadline_ms(const gw_rpc_call *c)
{
    return c->deadline_ms;
}

gw_str gw_rpc_call_peer(const gw_rpc_call *c)
{
    return c->peer;
}

gw_str gw_rpc_call_metadata_next(const gw_rpc_call *c, const char *name, size_t *at)
{
    const gw_str wanted = gw_str_of(name);

    for (size_t i = *at; i < c->metadata.count; i++) {
        if (!gw_str_eq(rpc_slice_view(&c->metadata.metadata[i].key), wanted))
            continue;
        *at = i + 1;
        return rpc_slice_view(&c->metadata.metadata[i].value);
    }
    *at = c->metadata.count;
    return GW_STR_NULL;
}

gw_str gw_rpc_call_metadata(const gw_rpc_call *c, const char *name)
{
    size_t at = 0;
    gw_str value = gw_rpc_call_metadata_next(c, name, &at);

    return value.ptr ? value : GW_STR("");
}

bool gw_rpc_call_is_cancelled(const gw_rpc_call *c)
{
    return c->gone || c->aborted;
}

void gw_rpc_call_set_data(gw_rpc_call *c, void *data)
{
    c->data = data;
}

void *gw_rpc_call_data(const gw_rpc_call *c)
{
    return c->data;
}
