#include "rpc/client_internal.h"
#include "rpc/forwarded.h"

#include <grpc/support/time.h>
#include <stdlib.h>

static void on_status(void *owner, bool success);

/* INT64_MAX: none. */
static int64_t deadline_of(const gw_rpc_call_options *o, const gw_method *method,
                           bool has_one_answer)
{
    if (o->deadline_ms > 0)
        return o->deadline_ms;
    if (method)
        return method->default_deadline_ms;
    return has_one_answer ? GW_METHOD_DEADLINE_MS : INT64_MAX;
}

static grpc_call *new_core(gw_rpc_channel *ch, const gw_rpc_call_options *o, int64_t deadline_ms)
{
    gpr_timespec deadline = gpr_inf_future(GPR_CLOCK_MONOTONIC);
    if (deadline_ms != INT64_MAX)
        deadline = gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                                gpr_time_from_millis(deadline_ms, GPR_TIMESPAN));
    grpc_slice path = grpc_slice_from_copied_string(o->path);
    grpc_call *core =
        grpc_channel_create_call(ch->core, NULL, 0, ch->pump->queue, path, NULL, deadline, NULL);
    grpc_slice_unref(path);
    return core;
}

gw_rpc_client_call *rpc_client_call_new(gw_rpc_channel *ch, const gw_rpc_call_options *o,
                                        gw_rpc_done_fn one_done, void *arg)
{
    const gw_rpc_pump *p = ch->pump;
    const gw_method *method = p->schema ? gw_schema_method(p->schema, gw_str_of(o->path)) : NULL;
    gw_rpc_client_call *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    gw_list_init(&c->node);
    gw_list_init(&c->sends);
    grpc_metadata_array_init(&c->initial);
    grpc_metadata_array_init(&c->trailing);
    c->message = grpc_empty_slice();
    rpc_tag_init(&c->status, on_status, c);
    c->channel = ch;
    c->pump = ch->pump;
    c->made_on = ch->core;
    c->arg = arg;
    c->one_done = one_done;
    c->has_one_answer = one_done != NULL;
    c->response = o->response;
    c->further = o->further;
    if (c->further)
        c->further->count = 0;
    c->retry_after_ms = o->retry_after_ms;
    if (c->retry_after_ms)
        *c->retry_after_ms = 0;
    c->max_message_bytes = o->max_message_bytes ? o->max_message_bytes : RPC_MESSAGE_MAX_DEFAULT;
    c->arena = gw_arena_new();
    int64_t deadline_ms = deadline_of(o, method, c->has_one_answer);
    c->core = c->arena ? new_core(ch, o, deadline_ms) : NULL;
    if (!c->core) {
        rpc_client_call_free(c);
        return NULL;
    }
    gw_list_push_back(&ch->calls, &c->node);
    rpc_measure_begin(&c->measure, RPC_CLIENT, &p->metrics, method, gw_loop_now_ms(p->loop));
    return c;
}

void rpc_client_call_free(gw_rpc_client_call *c)
{
    gw_list_remove(&c->node);
    grpc_metadata_array_destroy(&c->initial);
    grpc_metadata_array_destroy(&c->trailing);
    grpc_slice_unref(c->message);
    if (c->incoming)
        grpc_byte_buffer_destroy(c->incoming);
    if (c->answer)
        grpc_byte_buffer_destroy(c->answer);
    rpc_sends_drop(&c->sends, &c->queued_bytes);
    gw_arena_free(c->arena);
    if (c->core)
        grpc_call_unref(c->core);
    free(c);
}

static gw_status outcome_of(gw_rpc_client_call *c, gw_error *err)
{
    *err = (gw_error){.code = GW_OK};
    if (c->cancelled)
        (void)gw_fail(err, GW_ERR_CANCELLED, "the call was cancelled");
    else if (c->failure.code != GW_OK)
        *err = c->failure;
    else if (c->code != GRPC_STATUS_OK)
        rpc_status_decode(c->code, rpc_slice_view(&c->message), &c->trailing, err, c->further,
                          c->retry_after_ms);
    return err->code;
}

static void end_measure(gw_rpc_client_call *c, gw_status rc)
{
    gw_rpc_code code = rc == GW_OK ? GW_RPC_OK : gw_status_describe(rc)->rpc_code;
    rpc_measure_end(&c->measure, code, gw_loop_now_ms(c->pump->loop));
}

static void tell_answer(gw_rpc_client_call *c, gw_status rc, gw_error *err)
{
    ProtobufCMessage *response = NULL;
    if (rc == GW_OK && !c->answer)
        rc = gw_fail(err, GW_ERR_INTERNAL, "the answer has no message");
    else if (rc == GW_OK)
        rc = rpc_unpack(c->response, c->answer, c->max_message_bytes, c->arena, &response, err);
    end_measure(c, rc);
    c->one_done(c->arg, rc, rc == GW_OK ? response : NULL, err);
}

static void tell_done(gw_rpc_client_call *c, gw_status rc, gw_error *err)
{
    if (c->has_one_answer) {
        tell_answer(c, rc, err);
        return;
    }
    end_measure(c, rc);
    c->ops.done(c->arg, rc, err);
}

void rpc_client_settle(gw_rpc_client_call *c)
{
    bool held = c->incoming && !c->cancelled && c->paused;
    if (c->operations > 0 || (c->channel && (!c->status_known || held)))
        return;
    if (c->channel) {
        c->channel = NULL; /* `done` may free the channel: it does not find this call */
        gw_list_remove(&c->node);
        gw_error err;
        gw_status rc = outcome_of(c, &err);
        tell_done(c, rc, &err);
    }
    rpc_client_call_free(c);
}

void rpc_client_orphan(gw_rpc_client_call *c, const gw_error *why)
{
    c->channel = NULL;
    c->paused = false;
    grpc_call_cancel(c->core, NULL);
    gw_error err = *why;
    c->operations++; /* `done` may call us */
    tell_done(c, err.code, &err);
    c->operations--;
    rpc_client_settle(c);
}

static void on_status(void *owner, bool success)
{
    (void)success; /* never fails; the status tells */
    gw_rpc_client_call *c = owner;
    c->status_known = true;
    c->operations--;
    rpc_client_settle(c);
}

static void after_break(void *arg)
{
    gw_rpc_client_call *c = arg;
    c->status_known = true; /* if the core's is still to come, `operations` waits for it */
    c->operations--;
    rpc_client_settle(c);
}

void rpc_client_break(gw_rpc_client_call *c)
{
    grpc_call_cancel(c->core, NULL);
    c->operations++;
    gw_loop_defer(c->pump->loop, after_break, c);
}

void rpc_client_start(gw_rpc_client_call *c, const grpc_op *ops, size_t n, rpc_tag *tag)
{
    c->operations++;
    if (rpc_start_batch(c->pump, c->core, ops, n, tag))
        return;
    c->operations--;
    if (c->failure.code == GW_OK)
        (void)gw_fail(&c->failure, GW_ERR_INTERNAL, "the call could not be started");
    rpc_client_break(c);
}

bool rpc_client_credential_fits(gw_rpc_client_call *c, const gw_rpc_call_options *o)
{
    for (size_t i = 0; i < o->credential.len; i++) {
        uint8_t byte = (uint8_t)o->credential.ptr[i];
        if (byte > 0x20 && byte < 0x7f)
            continue;
        (void)gw_fail(&c->failure, GW_ERR_UNAUTHENTICATED, "the credential has bad characters");
        rpc_client_break(c);
        return false;
    }
    return true;
}

/* Adds one pair when the value is not empty. `key` and `prefix` are static. */
static void add_metadata(rpc_initial *initial, const char *key, gw_str prefix, gw_str value)
{
    if (value.len == 0)
        return;
    grpc_slice s = grpc_slice_malloc(prefix.len + value.len);
    memcpy(GRPC_SLICE_START_PTR(s), prefix.ptr, prefix.len);
    memcpy(GRPC_SLICE_START_PTR(s) + prefix.len, value.ptr, value.len);
    initial->items[initial->count++] =
        (grpc_metadata){.key = grpc_slice_from_static_string(key), .value = s};
}

void rpc_client_initial_op(const gw_rpc_call_options *o, rpc_initial *initial, grpc_op *op)
{
    op->op = GRPC_OP_SEND_INITIAL_METADATA;
    if (o->wait_for_ready)
        op->flags = GRPC_INITIAL_METADATA_WAIT_FOR_READY |
                    GRPC_INITIAL_METADATA_WAIT_FOR_READY_EXPLICITLY_SET;
    initial->count = 0;
    add_metadata(initial, "authorization", GW_STR("Bearer "), o->credential);
    add_metadata(initial, "x-request-id", GW_STR(""), o->request_id);
    add_metadata(initial, GW_RPC_CLIENT_ADDRESS, GW_STR(""), o->client_address);
    add_metadata(initial, GW_RPC_FORWARDER, GW_STR(""), o->forwarder);
    op->data.send_initial_metadata.metadata = initial->items;
    op->data.send_initial_metadata.count = initial->count;
}

void rpc_client_initial_fini(rpc_initial *initial)
{
    for (size_t i = 0; i < initial->count; i++)
        grpc_slice_unref(initial->items[i].value);
}

gw_rpc_client_call *gw_rpc_unary(gw_rpc_channel *ch, const gw_rpc_call_options *o,
                                 const ProtobufCMessage *request, gw_rpc_done_fn done, void *arg)
{
    gw_rpc_client_call *c = rpc_client_call_new(ch, o, done, arg);
    if (!c)
        return NULL;
    if (!rpc_client_credential_fits(c, o))
        return c;
    grpc_byte_buffer *message = rpc_pack(request);
    rpc_initial initial;
    grpc_op ops[6] = {0};
    rpc_client_initial_op(o, &initial, &ops[0]);
    ops[1].op = GRPC_OP_SEND_MESSAGE;
    ops[1].data.send_message.send_message = message;
    ops[2].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
    ops[3].op = GRPC_OP_RECV_INITIAL_METADATA;
    ops[3].data.recv_initial_metadata.recv_initial_metadata = &c->initial;
    ops[4].op = GRPC_OP_RECV_MESSAGE;
    ops[4].data.recv_message.recv_message = &c->answer;
    ops[5].op = GRPC_OP_RECV_STATUS_ON_CLIENT;
    ops[5].data.recv_status_on_client.trailing_metadata = &c->trailing;
    ops[5].data.recv_status_on_client.status = &c->code;
    ops[5].data.recv_status_on_client.status_details = &c->message;
    rpc_client_start(c, ops, GW_ARRAY_LEN(ops), &c->status);
    grpc_byte_buffer_destroy(message);
    rpc_client_initial_fini(&initial);
    return c;
}

void gw_rpc_cancel(gw_rpc_client_call *c)
{
    c->cancelled = true;
    grpc_call_cancel(c->core, NULL);
    if (c->status_known && c->operations == 0) { /* only a held message kept it */
        c->operations++;
        gw_loop_defer(c->pump->loop, after_break, c);
    }
}
