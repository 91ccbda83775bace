/* The first steps of a call: its method, its deadline, who calls. */
#include "rpc/server_internal.h"

#include <grpc/support/alloc.h>
#include <grpc/support/time.h>

static gw_str dup_in(gw_rpc_call *c, gw_str s)
{
    return s.len ? gw_arena_dup(c->arena, s) : GW_STR("");
}

void gw_rpc_authorized(gw_rpc_call *c, gw_status rc, const gw_caller *caller, const gw_error *err)
{
    c->authorizing = false;
    if (c->gone || c->ending) {
        rpc_call_settle(c);
        return;
    }
    if (rc != GW_OK) {
        rpc_call_refuse(c, err);
        return;
    }
    c->caller = (gw_caller){.kind = caller->kind,
                            .name = dup_in(c, caller->name),
                            .id = dup_in(c, caller->id),
                            .key_id = dup_in(c, caller->key_id),
                            .session_id = dup_in(c, caller->session_id),
                            .address = dup_in(c, caller->address),
                            .role = caller->role,
                            .credential = dup_in(c, caller->credential)};
    rpc_call_begin(c);
}

/* The bearer credential; false when there are several, which proxies and we could read apart. */
static bool read_credential(const gw_rpc_call *c, gw_str *ret)
{
    size_t found = 0;
    *ret = GW_STR("");
    for (size_t i = 0; i < c->metadata.count; i++) {
        if (!gw_str_eq(rpc_slice_view(&c->metadata.metadata[i].key), GW_STR("authorization")))
            continue;
        found++;
        gw_str value = rpc_slice_view(&c->metadata.metadata[i].value), scheme;
        if (gw_str_split(&value, ' ', &scheme) && gw_str_eq_nocase(scheme, GW_STR("bearer")))
            *ret = gw_str_trim(value);
    }
    return found <= 1;
}

static void authorize(gw_rpc_call *c)
{
    const gw_method *m = c->method->method;
    const gw_rpc_authorizer *a = &c->server->authorizer;
    gw_str credential;
    gw_error err;
    if (!read_credential(c, &credential)) {
        (void)gw_fail(&err, GW_ERR_UNAUTHENTICATED, "more than one authorization");
        rpc_call_refuse(c, &err);
    } else if (a->authorize) {
        c->authorizing = true;
        a->authorize(a->self, c, m, credential);
    } else if (m->access.anyone) {
        rpc_call_begin(c);
    } else {
        (void)gw_fail(&err, GW_ERR_UNAUTHENTICATED, "no caller is known here");
        rpc_call_refuse(c, &err);
    }
}

static void set_deadline(gw_rpc_call *c)
{
    const gw_method *m = c->method->method;
    int64_t left_ms = m->max_deadline_ms;
    gpr_timespec at = gpr_convert_clock_type(c->details.deadline, GPR_CLOCK_MONOTONIC);
    if (gpr_time_cmp(at, gpr_inf_future(GPR_CLOCK_MONOTONIC)) != 0) {
        int64_t theirs_ms = gpr_time_to_millis(gpr_time_sub(at, gpr_now(GPR_CLOCK_MONOTONIC)));
        left_ms = GW_MIN(left_ms, GW_MAX(theirs_ms, 0));
    }
    if (left_ms == INT64_MAX)
        return;
    c->deadline_ms = gw_loop_now_ms(c->server->loop) + left_ms;
    gw_timer_set(c->server->loop, &c->deadline, left_ms);
}

/* False when the call cannot even be refused in order. */
static bool watch_close(gw_rpc_call *c)
{
    grpc_op op = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER};
    op.data.recv_close_on_server.cancelled = &c->core_cancelled;
    c->operations++;
    if (rpc_start_batch(c->server->pump, c->core, &op, 1, &c->closed))
        return true;
    c->operations--;
    grpc_call_cancel(c->core, NULL);
    return false;
}

static void measure(gw_rpc_call *c)
{
    gw_rpc_server *s = c->server;
    rpc_measure_begin(&c->measure, RPC_SERVER, &s->metrics, c->method ? c->method->method : NULL,
                      gw_loop_now_ms(s->loop));
    if (gw_rpc_call_metadata(c, "grpc-previous-rpc-attempts").len > 0)
        rpc_measure_repeated(&c->measure);
}

static void route(gw_rpc_call *c)
{
    gw_error err;
    c->arena = gw_arena_new();
    c->message_arena = gw_arena_new();
    char *peer = grpc_call_get_peer(c->core);
    if (peer && c->arena)
        c->peer = gw_arena_dup(c->arena, gw_str_of(peer));
    gpr_free(peer);
    c->method = rpc_server_method(c->server, rpc_slice_view(&c->details.method));
    measure(c);
    if (c->server->refusing) {
        (void)gw_fail(&err, GW_ERR_SHUTTING_DOWN, "the server is shutting down");
        rpc_call_refuse(c, &err);
    } else if (c->server->call_count > c->server->calls_max) {
        (void)gw_fail(&err, GW_ERR_OVERLOADED, "too many calls at once");
        rpc_call_refuse(c, &err);
    } else if (!c->arena || !c->message_arena) {
        (void)gw_fail(&err, GW_ERR_NO_MEMORY, "no memory for a call");
        rpc_call_refuse(c, &err);
    } else if (!c->method) {
        (void)gw_fail(&err, GW_ERR_UNIMPLEMENTED, "unknown method " GW_STR_FMT,
                      GW_STR_ARG(rpc_slice_view(&c->details.method)));
        rpc_call_refuse(c, &err);
    } else {
        set_deadline(c);
        if (c->method->built_in)
            rpc_call_begin(c);
        else
            authorize(c);
    }
}

void rpc_call_on_accepted(void *owner, bool success)
{
    gw_rpc_call *c = owner;
    gw_rpc_server *s = c->server;
    s->slots--;
    if (!success) { /* the server is going down */
        rpc_call_drop(c);
        rpc_server_settle(s);
        return;
    }
    rpc_server_post_slot(s);
    gw_list_push_back(&s->calls, &c->node);
    s->call_count++;
    s->accepted_ms = gw_loop_now_ms(s->loop);
    if (watch_close(c))
        route(c);
    rpc_call_settle(c);
}
