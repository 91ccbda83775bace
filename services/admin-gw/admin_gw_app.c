#include "admin_gw_app.h"

#include "admin_gw_conf.h"
#include "admin_gw_metrics.h"
#include "auth_health.h"
#include "openapi.h"
#include "rest_front.h"
#include "schema/all.h"
#include "service/service_http.h"

#define DRAIN_POLL_MS 20
#define FLUSH_MAX_MS  2000 /* for the last answers to leave the sockets */

typedef struct admin_gw_app {
    gw_service *service;
    const admin_gw_conf *conf;
    gw_log *log;
    gw_loop *loop;
    gw_schema *schema;
    route_table *routes;
    gw_buf openapi;
    gw_rpc_pump *pump;
    gw_rpc_channel *backends[3]; /* by route_backend */
    auth_health auth;
    rest_front front;
    gw_http_server *http;
    gw_timer drain_timer;
    int64_t drain_until_ms;
    bool cut_short;
} admin_gw_app;

static bool is_ready(void *arg, const char **reason)
{
    const admin_gw_app *a = arg;
    *reason = "auth cannot be reached, or does not serve";
    return a->auth.is_up;
}

static void on_auth_changed(void *arg, bool is_up)
{
    admin_gw_app *a = arg;
    gw_metric_set(a->service->shard, M_admin_gw_auth_up, is_up, NULL, 0);
}

/* ---- drain, in the order of its steps ---- */

static void on_http_closed(void *arg)
{
    admin_gw_app *a = arg;
    auth_health_stop(&a->auth);
    gw_service_drained(a->service);
}

static void watch_drain(void *arg)
{
    admin_gw_app *a = arg;
    size_t connections = gw_http_server_connections(a->http);
    bool idle = connections == 0 && gw_list_is_empty(&a->front.exchanges);
    bool over = gw_loop_now_ms(a->loop) >= a->drain_until_ms;
    if (idle || (over && a->cut_short)) {
        gw_http_server_close(a->http, on_http_closed, a);
        return;
    }
    if (over) {
        gw_log_warn(a->log, "requests_cut_short", gw_kv("connections", connections));
        a->cut_short = true;
        a->drain_until_ms = gw_loop_now_ms(a->loop) + FLUSH_MAX_MS;
        rest_front_end_all(&a->front);
    }
    gw_timer_set(a->loop, &a->drain_timer, DRAIN_POLL_MS);
}

static void drain(void *arg)
{
    admin_gw_app *a = arg;
    gw_http_server_drain(a->http);
    rest_front_end_streams(&a->front); /* they would not end by themselves */
    a->drain_until_ms = gw_loop_now_ms(a->loop) + a->conf->shutdown_grace_ms;
    watch_drain(a);
}

/* ---- start, in order ---- */

static gw_status open_routes(admin_gw_app *a, gw_error *err)
{
    gw_status rc = gw_schema_all(&a->schema, err);
    if (rc == GW_OK)
        rc = route_table_new(a->schema, &a->routes, err);
    return rc == GW_OK ? openapi_write(a->schema, a->routes, &a->openapi, err) : rc;
}

static gw_status open_backends(admin_gw_app *a, gw_error *err)
{
    const char *const targets[] = {[ROUTE_AUTH] = a->conf->auth_target,
                                   [ROUTE_RELAY] = a->conf->relay_target,
                                   [ROUTE_USAGE] = a->conf->usage_target};
    gw_status rc = gw_rpc_pump_new(a->loop, &a->pump, err);
    if (rc != GW_OK)
        return rc;
    gw_rpc_pump_describe(a->pump, a->schema,
                         (gw_rpc_metrics){a->service->shard, M_rpc_server_calls_total});
    for (size_t i = 0; rc == GW_OK && i < GW_ARRAY_LEN(targets); i++)
        rc = gw_rpc_channel_new(a->pump, targets[i], a->service->tls, a->log, &a->backends[i], err);
    return rc;
}

/* Settings that a reload may change, and our own token. */
static void adjust_front(admin_gw_app *a)
{
    const admin_gw_conf *conf = a->conf;
    a->front.service_token = gw_service_own_token(a->service);
    a->front.rules = (edge_rules){.hosts = conf->allowed_hosts.items,
                                  .host_count = conf->allowed_hosts.n,
                                  .origins = conf->allowed_origins.items,
                                  .origin_count = conf->allowed_origins.n};
    a->front.trusted_proxies = conf->trusted_proxies.items;
    a->front.trusted_proxy_count = conf->trusted_proxies.n;
    a->front.body_max_bytes = (size_t)conf->body_max_bytes;
    a->front.call_timeout_ms = conf->call_timeout_ms;
    a->front.stream_keep_alive_ms = conf->stream_keep_alive_ms;
    a->front.stream_life_ms = conf->stream_life_ms;
}

static gw_http_server_options http_options(const admin_gw_conf *conf)
{
    gw_http_server_options options = gw_http_server_defaults;
    options.head_timeout_ms = conf->head_timeout_ms;
    options.body_timeout_ms = conf->body_timeout_ms;
    options.idle_timeout_ms = conf->idle_timeout_ms;
    options.body_memory_max_bytes = (size_t)conf->body_memory_max_bytes;
    options.connections_max = (size_t)conf->max_connections;
    return options;
}

static gw_status open_http(admin_gw_app *a, gw_error *err)
{
    const admin_gw_conf *conf = a->conf;
    const gw_service_http http = {.listen = conf->listen,
                                  .cert_file = conf->listen_tls_cert_file,
                                  .key_file = conf->listen_tls_key_file,
                                  .options = http_options(conf),
                                  .ops = &rest_front_ops,
                                  .arg = &a->front};
    a->front = (rest_front){
        .routes = a->routes,
        .openapi = gw_buf_str(&a->openapi),
        .loop = a->loop,
        .clock = &gw_system_clock,
        .log = a->log,
        .metrics = a->service->shard,
    };
    adjust_front(a);
    gw_list_init(&a->front.exchanges);
    for (size_t i = 0; i < GW_ARRAY_LEN(a->backends); i++)
        a->front.backends[i] = a->backends[i];
    return gw_service_open_http(a->service, &http, &a->http, err);
}

static uint64_t descriptors(const void *conf)
{
    return (uint64_t)((const admin_gw_conf *)conf)->max_connections;
}

static void reload(void *arg)
{
    admin_gw_app *a = arg;
    const gw_http_server_options options = http_options(a->conf);
    adjust_front(a);
    gw_http_server_adjust(a->http, &options);
}

static gw_status open_app(void *arg, gw_service *service, gw_error *err)
{
    static gw_status (*const steps[])(admin_gw_app * a,
                                      gw_error * err) = {open_routes, open_backends, open_http};
    admin_gw_app *a = arg;
    a->service = service;
    a->conf = service->conf;
    a->log = service->log;
    a->loop = service->loop;
    gw_timer_init(&a->drain_timer, watch_drain, a);
    for (size_t i = 0; i < GW_ARRAY_LEN(steps); i++) {
        gw_status rc = steps[i](a, err);
        if (rc != GW_OK)
            return rc;
    }
    a->auth = (auth_health){.loop = a->loop,
                            .auth = a->backends[ROUTE_AUTH],
                            .log = a->log,
                            .changed = on_auth_changed,
                            .arg = a};
    auth_health_start(&a->auth);
    return GW_OK;
}

static void close_app(void *arg)
{
    admin_gw_app *a = arg;
    for (size_t i = 0; i < GW_ARRAY_LEN(a->backends); i++)
        gw_rpc_channel_free(a->backends[i]);
    gw_rpc_pump_free(a->pump);
    gw_buf_fini(&a->openapi);
    route_table_free(a->routes);
    gw_schema_free(a->schema);
}

int admin_gw_app_main(int argc, char **argv)
{
    static const gw_service_kind kind = {
        .conf = &admin_gw_conf_table,
        .metrics = admin_gw_metric_table,
        .metric_count = ADMIN_GW_METRIC_COUNT,
        .needs_own_token = true,
        .descriptors = descriptors,
        .open = open_app,
        .is_ready = is_ready,
        .reload = reload,
        .drain = drain,
        .close = close_app,
    };
    admin_gw_app a = {0};
    return gw_service_main(&kind, &a, argc, argv);
}
