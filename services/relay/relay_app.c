#include "relay_app_internal.h"

#include "spool_command.h"

#define FLUSH_POLL_MS 20
#define FLUSH_MAX_MS  2000 /* for the last answers to leave the sockets */
#define RPC_EXTRA_MS  1000 /* gRPC calls end with our error before they are cancelled */

/* ---- readiness ---- */

static bool is_ready(void *arg, const char **reason)
{
    relay_app *a = arg;
    recorder_stats stats;

    if (!key_cache_is_ready(a->keys)) {
        *reason = "no tag keys yet: auth has not been reached";
        return false;
    }
    if (!key_cache_has_been_watched(a->keys)) {
        *reason = "changes of keys are not watched yet: auth has not answered Watch";
        return false;
    }
    const char *trouble = ledger_keeper_store_trouble(a->ledgers);
    if (trouble) {
        *reason = trouble;
        return false;
    }
    recorder_get_stats(a->recorder, &stats);
    if (!a->core.degrades && (stats.full || stats.disk_failed)) {
        *reason = stats.full ? "the usage spool is full" : "the usage spool's disk fails";
        return false;
    }
    return true;
}

static void set_serving(void *arg, bool serving)
{
    relay_app *a = arg;

    gw_rpc_server_set_serving(a->rpc, serving);
}

/* ---- drain, in the order of its steps ---- */

static void on_upstreams_closed(void *arg)
{
    relay_app *a = arg;

    a->upstreams = NULL;
    gw_service_drained(a->service);
}

static void on_recorder_closed(void *arg)
{
    relay_app *a = arg;

    a->recorder = NULL;
    gw_http_client_close(a->upstreams, on_upstreams_closed, a);
}

static void on_http_closed(void *arg)
{
    relay_app *a = arg;

    a->http = NULL;
    ledger_keeper_stop(a->ledgers);
    recorder_close(a->recorder, a->conf->shutdown_grace_ms, on_recorder_closed, a);
}

/* All requests have ended; their last bytes may still wait in the sockets. */
void relay_app_flush(void *arg)
{
    relay_app *a = arg;
    bool flushed = gw_http_server_connections(a->http) == 0 && a->rpc_closed &&
                   ledger_keeper_is_idle(a->ledgers);

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
    ledger_keeper_drain(a->ledgers);
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

    a->draining = true;
    model_catalog_stop(a->catalog);
    gw_http_server_drain(a->http);
    gw_rpc_server_close(a->rpc, a->conf->shutdown_grace_ms + RPC_EXTRA_MS, on_rpc_closed, a);
    gw_timer_set(a->loop, &a->grace_timer, a->conf->shutdown_grace_ms);
    if (gw_list_is_empty(&a->core.requests))
        relay_app_on_idle(a);
}

/* ---- the process ---- */

static void close_app(void *arg)
{
    relay_app *a = arg;

    gw_redis_free(a->redis);
    ledger_store_free(a->silent.store);
    origin_set_stop(a->origins);
    key_cache_free(a->keys);
    gw_access_checker_free(a->access);
    config_store_free(a->config);
    model_catalog_free(a->catalog);
    user_catalog_free(a->users);
    gw_mongo_free(a->mongo);
    balance_book_free(a->core.balances);
    balance_store_mongo_free(a->balance_store);
    user_token_book_free(a->core.user_tokens);
    user_token_store_mongo_free(a->user_token_store);
    relay_core_fini(&a->core);
    gw_rpc_channel_free(a->auth);
    gw_rpc_channel_free(a->usage);
    ledger_keeper_free(a->ledgers);
    offence_book_free(a->offences);
    origin_set_free(a->origins);
    gw_master_keys_free(a->core.master_keys);
    gw_rpc_pump_free(a->pump);
    gw_schema_free(a->schema);
}

int relay_app_main(int argc, char **argv)
{
    static const gw_service_kind kind = {
        .conf = &relay_conf_table,
        .metrics = relay_metric_table,
        .metric_count = RELAY_METRIC_COUNT,
        .command = spool_command,
        .descriptors = relay_app_descriptors,
        .open = relay_app_open,
        .is_ready = is_ready,
        .set_serving = set_serving,
        .reload = relay_app_reload,
        .drain = drain,
        .close = close_app,
        .close_max_ms = GW_SERVICE_CLOSE_MAX_MS,
    };
    relay_app a = {0};

    return gw_service_main(&kind, &a, argc, argv);
}
