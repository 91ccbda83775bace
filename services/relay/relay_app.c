#include "relay_app_internal.h"

#include <stdlib.h>
#include <unistd.h>

#define READY_POLL_MS 100
#define FLUSH_POLL_MS 20
#define FLUSH_MAX_MS  2000 /* for the last answers to leave the sockets */
#define RPC_EXTRA_MS  1000 /* gRPC calls end with our error before they are cancelled */

/* ---- readiness ---- */

bool relay_app_is_ready(void *arg, const char **reason)
{
    relay_app *a = arg;
    recorder_stats stats;

    if (!key_cache_is_ready(a->keys)) {
        *reason = "no tag keys yet: auth has not been reached";
        return false;
    }
    recorder_get_stats(a->recorder, &stats);
    if (stats.full || stats.disk_failed) {
        *reason = stats.full ? "the usage spool is full" : "the usage spool's disk fails";
        return false;
    }
    return true;
}

void relay_app_watch_readiness(void *arg)
{
    relay_app *a = arg;
    const char *reason = "";
    bool ready = !a->draining && relay_app_is_ready(a, &reason);

    if (ready != a->serving) {
        a->serving = ready;
        gw_rpc_server_set_serving(a->rpc, ready);
        gw_log_info(a->log, ready ? "service_ready" : "service_not_ready", gw_kv("reason", reason));
    }
    gw_timer_set(a->loop, &a->ready_timer, READY_POLL_MS);
}

/* ---- drain, in the order of its steps ---- */

static void on_upstreams_closed(void *arg)
{
    relay_app *a = arg;

    a->upstreams = NULL;
    gw_loop_stop(a->loop);
}

static void on_recorder_closed(void *arg)
{
    relay_app *a = arg;

    a->recorder = NULL;
    gw_http_client_close(a->upstreams, on_upstreams_closed, a);
}

static void on_ops_closed(void *arg)
{
    relay_app *a = arg;

    a->ops = NULL;
    gw_timer_cancel(a->loop, &a->ready_timer);
    recorder_close(a->recorder, a->conf->shutdown_grace_ms, on_recorder_closed, a);
}

static void on_http_closed(void *arg)
{
    relay_app *a = arg;

    a->http = NULL;
    gw_ops_close(a->ops, on_ops_closed, a);
}

/* All requests have ended; their last bytes may still wait in the sockets. */
void relay_app_flush(void *arg)
{
    relay_app *a = arg;
    bool flushed = gw_http_server_connections(a->http) == 0 && a->rpc_closed;

    if (!flushed && gw_loop_now_ms(a->loop) < a->flush_until_ms)
        gw_timer_set(a->loop, &a->flush_timer, FLUSH_POLL_MS);
    else if (!a->rpc_closed)
        gw_timer_set(a->loop, &a->flush_timer, FLUSH_POLL_MS); /* bounded by its own grace */
    else
        gw_http_server_close(a->http, on_http_closed, a);
}

void relay_app_on_idle(void *arg)
{
    relay_app *a = arg;

    if (!a->draining || a->closing)
        return;
    a->closing = true;
    gw_timer_cancel(a->loop, &a->grace_timer);
    a->core.ending = true;
    a->flush_until_ms = gw_loop_now_ms(a->loop) + FLUSH_MAX_MS;
    gw_timer_set(a->loop, &a->flush_timer, 0);
}

static void on_rpc_closed(void *arg)
{
    relay_app *a = arg;

    a->rpc = NULL;
    a->rpc_closed = true;
}

void relay_app_on_grace_over(void *arg)
{
    relay_app *a = arg;

    gw_log_warn(a->log, "requests_cut_short", gw_kv("requests", a->core.in_flight));
    relay_core_end_all(&a->core);
    if (gw_list_is_empty(&a->core.requests))
        relay_app_on_idle(a);
}

static void drain(void *arg)
{
    relay_app *a = arg;

    gw_log_info(a->log, "drain_started", gw_kv("requests", a->core.in_flight));
    a->draining = true;
    a->serving = false;
    gw_timer_cancel(a->loop, &a->ready_timer);
    gw_ops_set_draining(a->ops);
    gw_http_server_drain(a->http);
    gw_rpc_server_close(a->rpc, a->conf->shutdown_grace_ms + RPC_EXTRA_MS, on_rpc_closed, a);
    gw_timer_set(a->loop, &a->grace_timer, a->conf->shutdown_grace_ms);
    if (gw_list_is_empty(&a->core.requests))
        relay_app_on_idle(a);
}

/* ---- run ---- */

static void free_app(relay_app *a)
{
    key_cache_free(a->keys);
    gw_access_checker_free(a->access);
    config_store_free(a->config);
    gw_mongo_free(a->mongo);
    relay_core_fini(&a->core);
    gw_rpc_channel_free(a->auth);
    gw_rpc_channel_free(a->usage);
    gw_rpc_pump_free(a->pump);
    gw_schema_free(a->schema);
    gw_service_tokens_free(a->tokens);
    gw_metrics_free(a->metrics);
    gw_tls_files_free(a->upstream_tls);
    gw_loop_free(a->loop);
    gw_log_free(a->log);
}

int relay_app_run(const relay_conf *conf)
{
    relay_app a = {.conf = conf};
    gw_log_level level = GW_LOG_INFO;
    gw_error err;

    if (!gw_log_level_parse(gw_str_of(conf->log_level), &level))
        level = GW_LOG_INFO; /* not reached: the setting is checked */
    a.log = gw_log_new("relay", STDERR_FILENO, level, &gw_system_clock);
    if (!a.log)
        return EXIT_FAILURE;
    if (relay_app_start(&a, &err) != GW_OK) {
        /* The process ends: what is half built goes with it. */
        gw_log_error(a.log, "start_failed", gw_kv_error(&err));
        return EXIT_FAILURE;
    }
    gw_loop_on_signals(a.loop, drain, NULL, &a);
    relay_app_watch_readiness(&a);
    gw_log_info(a.log, "service_started", gw_kv("http.port", gw_http_server_port(a.http)),
                gw_kv("grpc.port", gw_rpc_server_port(a.rpc)),
                gw_kv("ops.port", gw_ops_port(a.ops)));
    gw_loop_run(a.loop);
    gw_log_info(a.log, "service_stopped");
    free_app(&a);
    return EXIT_SUCCESS;
}
