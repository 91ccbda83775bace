/*
 * Several replicas behind one target: who gets the calls, which are made again, what a rolling restart
 * costs, and what is counted of it.
 */
#include "rpc/rpc_fixture.h"

/* A second server on the fixture's loop, at 127.0.0.2, and a channel to both. */
typedef struct replicas {
    fixture *first;
    fixture second;
    size_t calls, failed; /* of a run */
} replicas;

static int setup_two(void **state)
{
    assert_int_equal(setup(state), 0);
    fixture *f = *state;
    replicas *r = calloc(1, sizeof *r);
    assert_non_null(r);
    r->first = f;
    r->second = (fixture){.loop = f->loop, .schema = f->schema, .host = "127.0.0.2"};
    start_server(&r->second);
    gw_rpc_channel_free(gw_steal(&f->channel));
    char target[64];
    (void)snprintf(target, sizeof target, "ipv4:127.0.0.1:%u,127.0.0.2:%u", f->port,
                   r->second.port);
    open_channel(f, target);
    *state = r;
    return 0;
}

static int teardown_two(void **state)
{
    replicas *r = *state;
    void *f = r->first;
    gw_rpc_channel_free(gw_steal(&r->first->channel));
    if (r->second.server)
        close_server(&r->second, 0);
    free(r);
    return teardown(&f);
}

/* Until both are connected: a call is given to the first one that is. */
static void warm_up(replicas *r)
{
    while (r->first->started == 0 || r->second.started == 0)
        assert_int_equal(get(r->first, "ok", "good", 20000), GW_OK);
    r->first->started = r->second.started = 0;
}

static void calls_go_round_all_replicas(void **state)
{
    replicas *r = *state;
    warm_up(r);
    for (int i = 0; i < 10; i++)
        assert_int_equal(get(r->first, "ok", "good", 20000), GW_OK);
    assert_int_equal(r->first->started, 5);
    assert_int_equal(r->second.started, 5);
}

static void a_replica_that_does_not_serve_gets_no_call(void **state)
{
    replicas *r = *state;
    warm_up(r);
    gw_rpc_server_set_serving(r->second.server, false);
    do { /* until the client has heard of it */
        r->second.started = 0;
        for (int i = 0; i < 4; i++)
            assert_int_equal(get(r->first, "ok", "good", 20000), GW_OK);
    } while (r->second.started > 0);
    gw_rpc_server_set_serving(r->second.server, true);
    while (r->second.started == 0)
        assert_int_equal(get(r->first, "ok", "good", 20000), GW_OK);
}

/* ---- repetition ---- */

static void an_idempotent_call_is_made_again_after_unavailable(void **state)
{
    fixture *f = *state;
    f->failures = 2;
    assert_int_equal(get(f, "flaky", "good", 20000), GW_OK);
    assert_int_equal(f->started, 3);
}

static void it_is_made_again_some_times_only(void **state)
{
    fixture *f = *state;
    f->failures = 1000;
    assert_int_equal(get(f, "flaky", "good", 20000), GW_ERR_UNAVAILABLE);
    assert_string_equal(f->err.message, "not now");
    assert_int_equal(f->started, 4);
}

static void other_errors_are_final(void **state)
{
    fixture *f = *state;
    assert_int_equal(get(f, "bad", "good", 20000), GW_ERR_MAX_TOKENS_EXCEEDED);
    assert_int_equal(f->started, 1);
}

static void a_call_with_side_effects_is_made_once(void **state)
{
    fixture *f = *state;
    f->failures = 2;
    start_revoke(f, "flaky", true);
    run_until_done(f, 1);
    assert_int_equal(f->rc, GW_ERR_UNAVAILABLE);
    assert_int_equal(f->started, 1);
}

static void a_channel_without_a_schema_repeats_nothing(void **state)
{
    fixture *f = *state;
    gw_rpc_channel_free(gw_steal(&f->channel));
    gw_rpc_pump_describe(f->pump, NULL, (gw_rpc_metrics){0});
    char target[32];
    (void)snprintf(target, sizeof target, "127.0.0.1:%u", f->port);
    open_channel(f, target);
    f->failures = 1;
    assert_int_equal(get(f, "flaky", "good", 20000), GW_ERR_UNAVAILABLE);
    assert_int_equal(f->started, 1);
}

/* A service in trouble is not asked four times as much. */
static void a_budget_bounds_the_repetitions_of_all_calls(void **state)
{
    enum { CALLS = 300 };
    fixture *f = *state;
    f->failures = SIZE_MAX;
    for (int i = 0; i < CALLS; i++)
        (void)start_get(f, "flaky", "good", 20000);
    run_until_done(f, CALLS);
    assert_int_equal(f->rc, GW_ERR_UNAVAILABLE);
    assert_in_range(f->started, CALLS + 1, CALLS + 100); /* half of the budget of 200 */
}

/* ---- a rolling restart ---- */

static void start_next(replicas *r);

static void on_revoked(void *arg, gw_status rc, const ProtobufCMessage *response,
                       const gw_error *err)
{
    replicas *r = arg;
    (void)response;
    (void)err;
    r->calls++;
    r->failed += rc != GW_OK;
    if (!r->second.server_closed)
        start_next(r);
    else
        gw_loop_stop(r->first->loop);
}

static void start_next(replicas *r)
{
    gw_rpc_call_options o = {.path = REVOKE_API_KEY,
                             .response = &apirelay__auth__v1__revoke_api_key_response__descriptor,
                             .credential = GW_STR("good"),
                             .deadline_ms = 20000};
    Apirelay__Auth__V1__RevokeApiKeyRequest q = APIRELAY__AUTH__V1__REVOKE_API_KEY_REQUEST__INIT;
    q.id = (char *)(uintptr_t) "ok";
    assert_non_null(gw_rpc_unary(r->first->channel, &o, &q.base, on_revoked, r));
}

static void a_replica_that_closes_under_load_fails_no_call(void **state)
{
    enum { AT_ONCE = 8, BEFORE = 200 };
    replicas *r = *state;
    warm_up(r);
    for (int i = 0; i < AT_ONCE; i++)
        start_next(r);
    r->second.stop_when_started = BEFORE;
    while (r->second.started < BEFORE)
        gw_loop_run(r->first->loop);
    r->second.stop_when_started = 0;
    gw_rpc_server_close(r->second.server, 10000, on_server_closed, &r->second);
    size_t before = r->calls;
    while (!r->second.server_closed)
        gw_loop_run(r->first->loop);
    assert_true(r->calls > before);
    for (size_t n = r->calls; r->calls < n + AT_ONCE;)
        gw_loop_run(r->first->loop);
    assert_int_equal(r->failed, 0);
}

static void an_aged_connection_is_replaced_without_a_failed_call(void **state)
{
    fixture *f = *state;
    gw_rpc_channel_free(gw_steal(&f->channel));
    close_server(f, 0);
    f->connection_age_ms = 50;
    start_server(f);
    char target[32];
    (void)snprintf(target, sizeof target, "127.0.0.1:%u", f->port);
    open_channel(f, target);
    /* Calls are counted by connection: the port of the client tells them apart. */
    char first[64] = "";
    size_t connections = 0;
    while (connections < 5) {
        start_revoke(f, "ok", true);
        run_until_done(f, f->done + 1);
        assert_int_equal(f->rc, GW_OK);
        if (strcmp(first, f->peer) != 0) {
            (void)snprintf(first, sizeof first, "%s", f->peer);
            connections++;
        }
    }
}

/* ---- bounds ---- */

static void calls_beyond_the_most_at_once_are_refused(void **state)
{
    fixture *f = *state;
    gw_rpc_channel_free(gw_steal(&f->channel));
    close_server(f, 0);
    f->calls_max = 4; /* one is the client's watch of our health */
    start_server(f);
    char target[32];
    (void)snprintf(target, sizeof target, "127.0.0.1:%u", f->port);
    open_channel(f, target);
    for (int i = 0; i < 3; i++)
        (void)start_get(f, "hang", "good", 20000);
    f->stop_when_started = 3;
    while (f->started < 3)
        gw_loop_run(f->loop);
    assert_int_equal(get(f, "ok", "good", 20000), GW_ERR_OVERLOADED);
    gw_rpc_channel_free(gw_steal(&f->channel)); /* cancels those that hang */
    f->stop_when_cancelled = 3;
    while (f->cancelled < 3)
        gw_loop_run(f->loop);
    open_channel(f, target);
    assert_int_equal(get(f, "ok", "good", 20000), GW_OK);
}

/* ---- what is counted ---- */

static void has_line(fixture *f, const char *line)
{
    gw_auto_buf text = {0};
    gw_metrics_render(f->metrics, &text);
    char with_end[256];
    (void)snprintf(with_end, sizeof with_end, "%s\n", line);
    if (!strstr(text.data, with_end))
        fail_msg("no line %s in\n%s", line, text.data);
}

#define GET_LABEL "method=\"apirelay.auth.v1.ApiKeyService/GetApiKey\""

static void calls_are_counted_on_both_sides(void **state)
{
    fixture *f = *state;
    assert_int_equal(get(f, "ok", "good", 20000), GW_OK);
    assert_int_equal(get(f, "ok", "low", 20000), GW_ERR_PERMISSION_DENIED);
    f->failures = 1;
    assert_int_equal(get(f, "flaky", "good", 20000), GW_OK);
    has_line(f, "rpc_client_calls_total{" GET_LABEL ",code=\"OK\"} 2");
    has_line(f, "rpc_client_calls_total{" GET_LABEL ",code=\"PERMISSION_DENIED\"} 1");
    has_line(f, "rpc_client_calls_in_flight{" GET_LABEL "} 0");
    has_line(f, "rpc_client_call_duration_seconds_count{" GET_LABEL "} 3");
    has_line(f, "rpc_server_calls_total{" GET_LABEL ",code=\"OK\"} 2");
    has_line(f, "rpc_server_calls_total{" GET_LABEL ",code=\"PERMISSION_DENIED\"} 1");
    has_line(f, "rpc_server_calls_total{" GET_LABEL ",code=\"UNAVAILABLE\"} 1");
    has_line(f, "rpc_server_repeated_calls_total{" GET_LABEL "} 1");
    has_line(f, "rpc_server_calls_in_flight{" GET_LABEL "} 0");
    has_line(f, "rpc_server_call_duration_seconds_count{" GET_LABEL "} 4");
}

static void a_call_in_flight_is_seen_and_ends_once(void **state)
{
    fixture *f = *state;
    gw_rpc_client_call *c = start_get(f, "hang", "good", 20000);
    f->stop_when_started = 1;
    gw_loop_run(f->loop);
    has_line(f, "rpc_client_calls_in_flight{" GET_LABEL "} 1");
    has_line(f, "rpc_server_calls_in_flight{" GET_LABEL "} 1");
    gw_rpc_cancel(c);
    f->stop_when_cancelled = 1;
    while (f->cancelled == 0 || f->done == 0)
        gw_loop_run(f->loop);
    has_line(f, "rpc_client_calls_in_flight{" GET_LABEL "} 0");
    has_line(f, "rpc_server_calls_in_flight{" GET_LABEL "} 0");
    has_line(f, "rpc_client_calls_total{" GET_LABEL ",code=\"CANCELLED\"} 1");
    has_line(f, "rpc_server_calls_total{" GET_LABEL ",code=\"CANCELLED\"} 1");
}

static void an_unknown_path_is_counted_as_other(void **state)
{
    fixture *f = *state;
    gw_rpc_call_options o = get_options("good", 20000);
    o.path = "/a.name.of/the-callers-choice";
    Apirelay__Auth__V1__GetApiKeyRequest q = APIRELAY__AUTH__V1__GET_API_KEY_REQUEST__INIT;
    assert_non_null(gw_rpc_unary(f->channel, &o, &q.base, on_unary_done, f));
    run_until_done(f, 1);
    assert_int_equal(f->rc, GW_ERR_UNIMPLEMENTED);
    has_line(f, "rpc_client_calls_total{method=\"other\",code=\"UNIMPLEMENTED\"} 1");
    has_line(f, "rpc_server_calls_total{method=\"other\",code=\"UNIMPLEMENTED\"} 1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define TWO(name)  cmocka_unit_test_setup_teardown(name, setup_two, teardown_two)
        TWO(calls_go_round_all_replicas),
        TWO(a_replica_that_does_not_serve_gets_no_call),
        CASE(an_idempotent_call_is_made_again_after_unavailable),
        CASE(it_is_made_again_some_times_only),
        CASE(other_errors_are_final),
        CASE(a_call_with_side_effects_is_made_once),
        CASE(a_channel_without_a_schema_repeats_nothing),
        CASE(a_budget_bounds_the_repetitions_of_all_calls),
        TWO(a_replica_that_closes_under_load_fails_no_call),
        CASE(an_aged_connection_is_replaced_without_a_failed_call),
        CASE(calls_beyond_the_most_at_once_are_refused),
        CASE(calls_are_counted_on_both_sides),
        CASE(a_call_in_flight_is_seen_and_ends_once),
        CASE(an_unknown_path_is_counted_as_other),
    };
    return cmocka_run_group_tests(tests, setup_group, teardown_group);
}
