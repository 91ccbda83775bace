#include "rpc/server_internal.h"

#include <grpc/grpc_security.h>
#include <stdlib.h>

/* Calls the core may hand over before we ask anew; more wait inside it. */
#define SLOTS             64
#define CALLS_MAX_DEFAULT 10000
#define STREAMS_MAX       4096 /* on one connection */
#define METADATA_MAX      (16 << 10)
#define HANDSHAKE_MS      10000 /* to the client's settings */
#define IDLE_MS           600000 /* a connection without calls; our clients watch health on theirs */
#define TRANSPORT_BYTES   (256UL << 20) /* buffers of all connections */
#define LINGER_QUIET_MS   250
#define LINGER_MAX_MS     2000
#define LINGER_STEP_MS    25

static gw_rpc_server *new_empty(gw_loop *l, const gw_rpc_server_options *o)
{
    gw_rpc_server *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->loop = l;
    s->log = o->log;
    s->schema = o->schema;
    s->authorizer = o->authorizer;
    s->reflection = o->reflection;
    s->tls_files = o->tls;
    s->metrics = o->metrics;
    s->connection_age_ms = o->connection_age_ms;
    s->connection_age_grace_ms = o->connection_age_grace_ms;
    s->calls_max = o->calls_max ? o->calls_max : CALLS_MAX_DEFAULT;
    s->listen = gw_str_dup(gw_str_of(o->listen));
    s->methods = gw_map_new(free);
    gw_list_init(&s->calls);
    gw_list_init(&s->watches);
    if (!s->listen || !s->methods) {
        gw_map_free(s->methods);
        free(s->listen);
        free(s);
        return NULL;
    }
    return s;
}

static gw_status add(gw_rpc_server *s, const gw_rpc_handler *h, void *arg, const gw_method *method,
                     bool built_in, gw_error *err)
{
    gw_str path = gw_str_of(h->path);
    if (gw_map_get(s->methods, path))
        return gw_fail(err, GW_ERR_INTERNAL, "rpc: %s has two handlers", h->path);
    rpc_method *m = calloc(1, sizeof *m);
    if (!m || !gw_map_put(s->methods, path, m)) {
        free(m);
        return gw_fail(err, GW_ERR_NO_MEMORY, "rpc: no memory for %s", h->path);
    }
    *m = (rpc_method){.handler = h, .arg = arg, .method = method, .built_in = built_in};
    return GW_OK;
}

static gw_status add_built_in(gw_rpc_server *s, const gw_rpc_handler *handlers,
                              const gw_method *methods, gw_error *err)
{
    gw_status rc = GW_OK;
    for (size_t i = 0; rc == GW_OK && handlers[i].path; i++)
        rc = add(s, &handlers[i], s, &methods[i], true, err);
    return rc;
}

gw_status gw_rpc_server_new(gw_loop *l, const gw_rpc_server_options *o, gw_rpc_server **ret,
                            gw_error *err)
{
    gw_rpc_server *s = new_empty(l, o);
    if (!s)
        return gw_fail(err, GW_ERR_NO_MEMORY, "rpc: no memory for a server");
    gw_status rc = add_built_in(s, rpc_health_handlers, rpc_health_methods, err);
    if (rc == GW_OK && s->reflection)
        rc = add_built_in(s, rpc_reflection_handlers, rpc_reflection_methods, err);
    if (rc == GW_OK)
        *ret = s;
    else
        gw_rpc_server_close(s, 0, NULL, NULL);
    return rc;
}

gw_status gw_rpc_server_add(gw_rpc_server *s, const gw_rpc_handler *handlers, void *arg,
                            gw_error *err)
{
    for (const gw_rpc_handler *h = handlers; h->path; h++) {
        const gw_method *method = gw_schema_method(s->schema, gw_str_of(h->path));
        if (!method)
            return gw_fail(err, GW_ERR_INTERNAL, "rpc: %s is not in the schema", h->path);
        gw_status rc = add(s, h, arg, method, false, err);
        if (rc != GW_OK)
            return rc;
    }
    return GW_OK;
}

const rpc_method *rpc_server_method(const gw_rpc_server *s, gw_str path)
{
    return gw_map_get(s->methods, path);
}

bool rpc_server_serves(const gw_rpc_server *s, gw_str service)
{
    gw_str key;
    void *value;
    for (size_t at = 0; gw_map_next(s->methods, &at, &key, &value);) {
        const rpc_method *m = value;
        if (gw_str_eq(m->method->service_name, service))
            return true;
    }
    return false;
}

/* Every rpc of a service that is served says who may call it, also those without a handler. */
static gw_status check_access(const gw_rpc_server *s, gw_error *err)
{
    for (size_t i = 0; i < gw_schema_method_count(s->schema); i++) {
        const gw_method *m = gw_schema_method_at(s->schema, i);
        bool is_grpcs_own = gw_str_starts_with(m->service_name, GW_STR("grpc.health.")) ||
                            gw_str_starts_with(m->service_name, GW_STR("grpc.reflection."));
        if (!m->access.declared && !is_grpcs_own && rpc_server_serves(s, m->service_name))
            return gw_fail(err, GW_ERR_INTERNAL,
                           "rpc: " GW_STR_FMT " does not say who may call it (option access)",
                           GW_STR_ARG(m->path));
    }
    return GW_OK;
}

static int message_max(const gw_rpc_server *s)
{
    size_t max = RPC_MESSAGE_MAX_DEFAULT;
    gw_str key;
    void *value;
    for (size_t at = 0; gw_map_next(s->methods, &at, &key, &value);) {
        const rpc_method *m = value;
        max = GW_MAX(max, m->handler->max_message_bytes);
    }
    return (int)GW_MIN(max, (size_t)INT32_MAX);
}

#define INTEGER_ARG(name, number)                                                                  \
    {                                                                                              \
        .type = GRPC_ARG_INTEGER, .key = (char *)(uintptr_t)(name), .value.integer = (number)      \
    }

static int age(int64_t ms)
{
    return ms > 0 ? (int)GW_MIN(ms, (int64_t)INT32_MAX) : INT32_MAX; /* that is never */
}

static grpc_server *new_core(const gw_rpc_server *s)
{
    grpc_resource_quota *quota = grpc_resource_quota_create("rpc server");
    grpc_resource_quota_resize(quota, TRANSPORT_BYTES);
    grpc_arg args[] = {
        {.type = GRPC_ARG_POINTER,
         .key = (char *)(uintptr_t)GRPC_ARG_RESOURCE_QUOTA,
         .value.pointer = {quota, grpc_resource_quota_arg_vtable()}},
        /* On by default: two servers would share a port in silence. */
        INTEGER_ARG(GRPC_ARG_ALLOW_REUSEPORT, 0),
        INTEGER_ARG(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, message_max(s)),
        INTEGER_ARG(GRPC_ARG_MAX_METADATA_SIZE, METADATA_MAX),
        INTEGER_ARG(GRPC_ARG_MAX_CONCURRENT_STREAMS, STREAMS_MAX),
        INTEGER_ARG(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 10000),
        INTEGER_ARG(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1),
        INTEGER_ARG(GRPC_ARG_KEEPALIVE_TIME_MS, 30000),
        INTEGER_ARG(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10000),
        INTEGER_ARG(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, HANDSHAKE_MS),
        INTEGER_ARG(GRPC_ARG_MAX_CONNECTION_IDLE_MS, IDLE_MS),
        INTEGER_ARG(GRPC_ARG_MAX_CONNECTION_AGE_MS,
                    age(s->connection_age_ms)), /* the core jitters */
        INTEGER_ARG(GRPC_ARG_MAX_CONNECTION_AGE_GRACE_MS, age(s->connection_age_grace_ms)),
        /* Identity only: see rpc_unpack(). */
        INTEGER_ARG(GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET, 1),
        INTEGER_ARG(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0),
    };
    grpc_channel_args channel_args = {GW_ARRAY_LEN(args), args};
    grpc_server *core = grpc_server_create(&channel_args, NULL);
    grpc_resource_quota_unref(quota);
    return core;
}

static void on_core_down(void *owner, bool success)
{
    (void)success;
    gw_rpc_server *s = owner;
    s->core_is_down = true;
    rpc_server_settle(s);
}

static void on_grace_over(void *arg)
{
    gw_rpc_server *s = arg;
    grpc_server_cancel_all_calls(s->core);
}

/* Health watches and reflection never end by themselves. */
static void end_built_in_calls(gw_rpc_server *s)
{
    gw_error err;
    (void)gw_fail(&err, GW_ERR_SHUTTING_DOWN, "the server is shutting down");
    gw_list_each (node, &s->calls) {
        gw_rpc_call *c = GW_CONTAINER_OF(node, gw_rpc_call, node);
        if (c->method && c->method->built_in && c->started && !c->handler_ended)
            gw_rpc_fail(c, &err);
    }
}

static void shut_down_core(gw_rpc_server *s)
{
    s->refusing = true;
    end_built_in_calls(s);
    rpc_pump_take(s->pump);
    grpc_server_shutdown_and_notify(s->core, s->pump->queue, &s->core_down);
    gw_timer_init(&s->grace, on_grace_over, s);
    gw_timer_set(s->loop, &s->grace,
                 GW_MAX(s->grace_until_ms - gw_loop_now_ms(s->loop), (int64_t)0));
}

/* A call that is on its way when the core shuts down is lost, and its caller may not repeat it: so
 * those who watch our health get the time to go elsewhere. */
static void linger(void *arg)
{
    gw_rpc_server *s = arg;
    int64_t now_ms = gw_loop_now_ms(s->loop);
    bool is_quiet = now_ms - s->accepted_ms >= LINGER_QUIET_MS;
    if (gw_list_is_empty(&s->watches) || is_quiet || now_ms >= s->linger_until_ms)
        shut_down_core(s);
    else
        gw_timer_set(s->loop, &s->grace, LINGER_STEP_MS);
}

gw_status gw_rpc_server_start(gw_rpc_server *s, gw_error *err)
{
    gw_status rc = check_access(s, err);
    if (rc == GW_OK)
        rc = s->tls_files ? rpc_server_tls_new(s->tls_files, &s->tls, err) : GW_OK;
    if (rc == GW_OK)
        rc = gw_rpc_pump_new(s->loop, &s->pump, err);
    if (rc != GW_OK)
        return rc;
    s->core = new_core(s);
    grpc_server_register_completion_queue(s->core, s->pump->queue, NULL);
    grpc_server_credentials *credentials = rpc_server_credentials(s->tls);
    int port = grpc_server_add_http2_port(s->core, s->listen, credentials);
    grpc_server_credentials_release(credentials);
    if (port <= 0) {
        /* Never started, so there is nothing to shut down. */
        rpc_pump_stop(s->pump);
        grpc_server_destroy(gw_steal(&s->core));
        gw_rpc_pump_free(gw_steal(&s->pump));
        return gw_fail(err, GW_ERR_IO, "rpc: cannot listen on %s", s->listen);
    }
    s->port = (uint16_t)port;
    s->serving = true;
    rpc_tag_init(&s->core_down, on_core_down, s);
    gw_timer_init(&s->grace, linger, s);
    grpc_server_start(s->core);
    for (int i = 0; i < SLOTS; i++)
        rpc_server_post_slot(s);
    return GW_OK;
}

void rpc_server_post_slot(gw_rpc_server *s)
{
    if (s->refusing)
        return;
    gw_rpc_call *c = rpc_call_new(s);
    if (!c) {
        gw_log_error(s->log, "rpc_slot_lost", gw_kv("slots", s->slots));
        return;
    }
    rpc_pump_take(s->pump);
    grpc_call_error e = grpc_server_request_call(s->core, &c->core, &c->details, &c->metadata,
                                                 s->pump->queue, s->pump->queue, &c->accepted);
    if (e == GRPC_CALL_OK) {
        s->slots++;
        return;
    }
    rpc_pump_untake(s->pump);
    rpc_call_drop(c);
}

uint16_t gw_rpc_server_port(const gw_rpc_server *s)
{
    return s->port;
}

void gw_rpc_server_set_serving(gw_rpc_server *s, bool serving)
{
    if (s->serving == serving || (serving && s->closing))
        return;
    s->serving = serving;
    rpc_health_changed(s);
}

/* The order is the core's law: queue down and drained, then the server, then the queue. */
static void destroy(void *arg)
{
    gw_rpc_server *s = arg;
    if (s->core) {
        gw_timer_cancel(s->loop, &s->grace);
        rpc_pump_stop(s->pump);
        grpc_server_destroy(s->core);
        gw_rpc_pump_free(s->pump);
    }
    rpc_server_tls_free(s->tls);
    void (*closed)(void *) = s->closed;
    void *closed_arg = s->closed_arg;
    gw_map_free(s->methods);
    free(s->listen);
    free(s);
    if (closed)
        closed(closed_arg);
}

void rpc_server_settle(gw_rpc_server *s)
{
    bool is_down = !s->core || (s->core_is_down && s->slots == 0 && gw_list_is_empty(&s->calls));
    if (!s->closing || !is_down || s->destroying)
        return;
    s->destroying = true;
    gw_loop_defer(s->loop, destroy, s); /* never inside an event of the pump that goes with it */
}

void gw_rpc_server_close(gw_rpc_server *s, int64_t grace_ms, void (*closed)(void *arg), void *arg)
{
    if (s->closing)
        return;
    gw_rpc_server_set_serving(s, false);
    s->closing = true;
    s->closed = closed;
    s->closed_arg = arg;
    if (s->core) {
        int64_t now_ms = gw_loop_now_ms(s->loop);
        s->accepted_ms = now_ms; /* it takes a moment until the watchers know */
        s->linger_until_ms = now_ms + GW_MIN(grace_ms / 2, (int64_t)LINGER_MAX_MS);
        s->grace_until_ms = now_ms + grace_ms;
        linger(s);
    }
    rpc_server_settle(s);
}
