/*
 * For the tests of libs/rpc: a server and a client on one loop over loopback, and six rpcs of
 * ours with handlers that do what the request's values say.
 *
 *   ApiKeyService.GetApiKey    unary; the id is what to do: "ok" "bad" "wait" "many" "hang" "later" "big",
 *                              "certificate": the names in the caller's,
 *                              "flaky": UNAVAILABLE `failures` times
 *   ApiKeyService.RevokeApiKey the same, but not idempotent; answers nothing
 *   ApiKeyService.ListApiKeys  unary; hangs, has a maximal deadline of 50 ms
 *   KeyAccessService.Watch     from_generation heartbeats, with backpressure; negative: hangs
 *   ApiKeyService.ImportApiKeys  client streaming; answers the keys' names at the end, or at once after
 *                              "enough"; "bad" fails it
 *   IngestService.Stream       echo: Events.first_seq comes back as Ack; with backpressure
 */
#pragma once

#include "rpc_fixture_calls.h"
#include "rpc_fixture_handlers.h"
#include "rpc_fixture_types.h"

static inline void start_server(fixture *f)
{
    char listen[32];
    (void)snprintf(listen, sizeof listen, "%s:%u", f->host, f->port);
    gw_rpc_server_options o = {.listen = listen,
                               .reflection = true,
                               .schema = f->schema,
                               .authorizer = {test_authorize, f},
                               .tls = f->server_tls,
                               .metrics = {f->shard, 0},
                               .connection_age_ms = f->connection_age_ms,
                               .calls_max = f->calls_max};
    gw_error err;
    assert_int_equal(gw_rpc_server_new(f->loop, &o, &f->server, &err), GW_OK);
    assert_int_equal(gw_rpc_server_add(f->server, test_handlers, f, &err), GW_OK);
    assert_int_equal(gw_rpc_server_start(f->server, &err), GW_OK);
    f->port = gw_rpc_server_port(f->server);
    f->server_closed = false;
}

static inline void on_server_closed(void *arg)
{
    fixture *f = arg;
    f->server_closed = true;
    f->server = NULL;
    gw_loop_stop(f->loop);
}

static inline void close_server(fixture *f, int64_t grace_ms)
{
    gw_rpc_server_close(f->server, grace_ms, on_server_closed, f);
    while (!f->server_closed)
        gw_loop_run(f->loop);
}

static const gw_metric_info test_metrics[] = {
#define METRIC(kind, name, labels, help) {GW_METRIC_##kind, #name, labels, help},
#include "rpc/metrics.def"
#undef METRIC
};

static inline void open_channel(fixture *f, const char *target)
{
    gw_error err;
    assert_int_equal(gw_rpc_channel_new(f->pump, target, f->client_tls, NULL, &f->channel, &err),
                     GW_OK);
}

static inline void start_channel(fixture *f)
{
    char target[32];
    (void)snprintf(target, sizeof target, "127.0.0.1:%u", f->port);
    open_channel(f, target);
}

static inline fixture *new_fixture(void)
{
    fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    gw_error err;
    assert_int_equal(gw_loop_new(&gw_system_clock, &f->loop, &err), GW_OK);
    assert_int_equal(gw_schema_all(&f->schema, &err), GW_OK);
    /* The schema is this test's own. */
    ((gw_method *)(uintptr_t)gw_schema_method(f->schema, GW_STR(LIST_API_KEYS)))->max_deadline_ms =
        50;
    gw_test_watchdog_init(&f->watchdog);
    gw_test_watch(f->loop, &f->watchdog);
    f->metrics = gw_metrics_new(test_metrics, GW_ARRAY_LEN(test_metrics));
    f->shard = gw_metrics_shard_new(f->metrics);
    f->host = "127.0.0.1";
    assert_int_equal(gw_rpc_pump_new(f->loop, &f->pump, &err), GW_OK);
    gw_rpc_pump_describe(f->pump, f->schema, (gw_rpc_metrics){f->shard, 0});
    return f;
}

static inline int setup(void **state)
{
    fixture *f = new_fixture();
    *state = f;
    start_server(f);
    start_channel(f);
    return 0;
}

static inline int teardown(void **state)
{
    fixture *f = *state;
    gw_rpc_channel_free(f->channel);
    if (f->server)
        close_server(f, 0);
    gw_rpc_pump_free(f->pump);
    gw_metrics_free(f->metrics);
    gw_tls_files_free(f->server_tls);
    gw_tls_files_free(f->client_tls);
    gw_timer_cancel(f->loop, &f->watchdog);
    gw_loop_free(f->loop);
    gw_schema_free(f->schema);
    free(f);
    return 0;
}

/* gRPC is started once for all tests of a program. */
static inline int setup_group(void **state)
{
    (void)state;
    gw_rpc_init();
    return 0;
}

static inline int teardown_group(void **state)
{
    (void)state;
    gw_rpc_shutdown();
    return 0;
}
