/* Connections that come, stall, leave and end. */
#include "http/server.h"

#include "http/server_internal.h"
#include "http/server_test_kit.h"

enum { HIGH_WATER = 16 * 1024 };

static gw_http_server_options options(void)
{
    gw_http_server_options o = gw_http_server_defaults;
    o.write_idle_timeout_ms = 4000;
    o.write_high_water = HIGH_WATER;
    o.connections_max = 3;
    return o;
}

static int setup(void **state)
{
    gw_http_server_options o = options();
    *state = kit_new(&o);
    return 0;
}

static int setup_tls(void **state)
{
    gw_http_server_options o = options();
    *state = kit_new_tls(&o);
    return 0;
}

static void one_connection_too_many_is_told_so(void **state)
{
    kit *k = *state;
    kit_client *kept[3];
    for (size_t i = 0; i < 3; i++)
        kept[i] = kit_client_new(k);
    kit_client *c = kit_client_new(k);
    kit_wait(k, c->is_ended);
    assert_int_equal(kit_status(c), 503);
    kit_client_free(c);
    kit_client_free(kept[0]);
    kit_wait(k, gw_http_server_connections(k->server) == 2);
    kit_client *d = kit_client_new(k);
    kit_send(d, GET("/x"));
    kit_wait(k, kit_saw(d, "GET /x? "));
}

static void a_client_that_leaves_is_noticed_while_the_handler_works(void **state)
{
    kit *k = *state;
    const char *requests[] = {GET("/hold"),
                              "POST /wait HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx",
                              GET("/hold") GET("/next")};
    for (size_t i = 0; i < GW_ARRAY_LEN(requests); i++) {
        kit_client *c = kit_client_new(k);
        kit_send(c, requests[i]);
        kit_wait(k, k->held);
        kit_client_free(c);
        kit_wait(k, !k->held);
        assert_int_equal(k->closed, i + 1);
        assert_int_equal(k->completed, 0);
    }
    kit_wait(k, gw_http_server_connections(k->server) == 0);
}

static void a_client_that_leaves_in_mid_answer_or_mid_body_is_noticed(void **state)
{
    kit *k = *state;
    kit_client *c = kit_client_new(k);
    kit_send(c, GET("/hold"));
    kit_wait(k, k->held);
    gw_exchange_start(k->held, &(gw_response_head){.status = 200}, -1);
    gw_exchange_write(k->held, &GW_STR("some"), 1);
    kit_wait(k, kit_saw(c, "some"));
    kit_client_free(c);
    kit_wait(k, !k->held);
    assert_int_equal(k->completed, 0);

    kit_client *d = kit_client_new(k);
    kit_send(d, "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc");
    kit_wait(k, k->heads == 2);
    kit_client_free(d);
    kit_wait(k, k->closed == 2);
    assert_int_equal(k->bodies, 0);
    assert_int_equal(k->completed, 0);
}

/* Writes until more than the high-water mark waits; returns the bytes written. */
static size_t fill(gw_exchange *x)
{
    static char block[8192];
    memset(block, 'z', sizeof(block));
    size_t written = 0;
    while (!gw_exchange_is_congested(x)) {
        gw_exchange_write(x, &(gw_str){block, sizeof(block)}, 1);
        written += sizeof(block);
        assert_true(written < 64L * 1024 * 1024);
    }
    return written;
}

static void a_slow_reader_congests_and_drains(void **state)
{
    kit *k = *state;
    kit_client *c = kit_client_deaf(k);
    kit_send(c, GET("/hold"));
    kit_wait(k, k->held);
    gw_exchange *x = k->held;
    gw_exchange_start(x, &(gw_response_head){.status = 200}, -1);
    size_t written = fill(x);
    kit_settle(k);
    assert_int_equal(k->drained, 0);
    kit_client_read(c);
    kit_wait(k, k->drained == 1);
    assert_true(gw_exchange_queued_bytes(x) < HIGH_WATER / 2);
    written += fill(x);
    gw_exchange_end(x);
    kit_wait(k, k->completed == 1);
    kit_wait(k, kit_saw(c, "\r\n0\r\n\r\n"));
    assert_int_equal(k->drained, 1);
    assert_int_equal(kit_count(c, "z"), written);
}

static void a_reader_that_takes_nothing_is_closed(void **state)
{
    kit *k = *state;
    kit_client *c = kit_client_deaf(k);
    kit_send(c, GET("/hold"));
    kit_wait(k, k->held);
    gw_exchange_start(k->held, &(gw_response_head){.status = 200}, -1);
    fill(k->held);
    kit_settle(k);
    kit_advance_ms(k, 3999);
    assert_non_null(k->held);
    kit_advance_ms(k, 1);
    kit_wait(k, !k->held);
    assert_int_equal(k->completed, 0);
    kit_wait(k, gw_http_server_connections(k->server) == 0);
}

/* As TLS's own bytes do, which may come at any time. */
static void what_waits_since_before_a_head_is_watched_behind_it(void **state)
{
    kit *k = *state;
    enum { SIZE = 20 * 1024 * 1024 };
    kit_client *c = kit_client_new(k);
    kit_send(c, GET("/hold"));
    kit_wait(k, k->held);
    connection *server_side = k->held->connection;
    kit_answer(k->held, "first");
    kit_wait(k, kit_saw(c, "first"));
    uv_read_stop((uv_stream_t *)&c->tcp);
    uv_buf_t bytes = uv_buf_init(calloc(1, SIZE), SIZE);
    connection_write_raw(server_side, &bytes, 1);
    free(bytes.base);
    kit_send(c, GET("/hold"));
    kit_wait(k, k->held);
    kit_answer(k->held, "second");
    kit_settle(k);
    kit_advance_ms(k, 3999);
    assert_int_equal(gw_http_server_connections(k->server), 1);
    kit_advance_ms(k, 1);
    assert_int_equal(gw_http_server_connections(k->server), 0);
}

static void a_large_whole_answer_reaches_a_slow_reader(void **state)
{
    kit *k = *state;
    enum { SIZE = 20 * 1024 * 1024 };
    kit_client *c = kit_client_deaf(k);
    kit_send(c, "GET /hold HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    kit_wait(k, k->held);
    char *body = malloc(SIZE);
    assert_non_null(body);
    memset(body, 'y', SIZE);
    gw_exchange_respond(k->held, &(gw_response_head){.status = 200}, gw_str_n(body, SIZE));
    free(body);
    kit_settle(k);
    assert_int_equal(k->closed, 0);
    kit_client_read(c);
    kit_wait(k, c->is_ended);
    assert_false(c->is_reset);
    assert_int_equal(k->completed, 1);
    assert_true(c->in.len > SIZE);
}

/* ---- the end ---- */

static void a_drain_closes_idle_connections_and_lets_the_others_finish(void **state)
{
    kit *k = *state;
    kit_client *idle = kit_client_new(k), *fresh = kit_client_new(k), *busy = kit_client_new(k);
    kit_send(idle, GET("/x"));
    kit_wait(k, kit_saw(idle, "GET /x? "));
    kit_send(busy, GET("/hold"));
    kit_wait(k, k->held);
    gw_http_server_drain(k->server);
    kit_wait(k, idle->is_ended && fresh->is_ended);
    kit_settle(k);
    assert_false(busy->is_ended);
    assert_int_equal(gw_http_server_connections(k->server), 1);
    kit_answer(k->held, "finished");
    kit_wait(k, busy->is_ended);
    kit_assert_saw(busy, "Connection: close\r\n");
    kit_assert_saw(busy, "finished");
    assert_int_equal(k->completed, 2);
    kit_wait(k, gw_http_server_connections(k->server) == 0);
}

static void a_close_ends_every_exchange_incomplete(void **state)
{
    kit *k = *state;
    kit_client *c = kit_client_new(k), *d = kit_client_new(k);
    kit_send(c, GET("/hold"));
    kit_send(d, "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc");
    kit_wait(k, k->heads == 2);
    gw_http_server_close(gw_steal(&k->server), kit_on_server_closed, k);
    assert_int_equal(k->closed, 0); /* from the loop, not from inside */
    kit_wait(k, k->server_is_gone);
    assert_int_equal(k->closed, 2);
    assert_int_equal(k->completed, 0);
    kit_wait(k, c->is_ended && d->is_ended);
}

static void what_is_written_in_a_turn_of_the_loop_leaves_together(void **state)
{
    kit *k = *state;
    kit_client *c = kit_client_new(k);
    kit_send(c, GET("/hold"));
    kit_wait(k, k->held);
    gw_exchange *x = k->held;
    size_t reads = c->reads;
    gw_exchange_start(x, &(gw_response_head){.status = 200}, -1);
    gw_exchange_write(x, &GW_STR("one"), 1);
    gw_exchange_write(x, &GW_STR("two"), 1);
    assert_true(gw_exchange_has_started(x));
    assert_true(gw_exchange_queued_bytes(x) > 0);
    gw_exchange_end(x);
    kit_wait(k, kit_saw(c, "3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"));
    assert_int_equal(c->reads, reads + 1);
    assert_int_equal(k->completed, 1);
}

/* More than is gathered does not overtake what was. */
static void large_and_small_writes_keep_their_order(void **state)
{
    kit *k = *state;
    kit_client *c = kit_client_new(k);
    kit_send(c, GET("/hold"));
    kit_wait(k, k->held);
    gw_auto_free char *block = malloc(100000);
    assert_non_null(block);
    memset(block, 'y', 100000);
    gw_exchange_start(k->held, &(gw_response_head){.status = 200}, 100006);
    gw_exchange_write(k->held, &GW_STR("one"), 1);
    gw_exchange_write(k->held, &(gw_str){block, 100000}, 1);
    gw_exchange_write(k->held, &GW_STR("two"), 1);
    gw_exchange_end(k->held);
    kit_wait(k, k->completed == 1 && kit_saw(c, "ytwo"));
    kit_assert_saw(c, "\r\n\r\noney");
    assert_int_equal(kit_count(c, "y"), 100000);
}

static void an_answer_that_is_cut_has_what_was_written_before(void **state)
{
    kit *k = *state;
    kit_client *c = kit_client_new(k);
    kit_send(c, GET("/hold"));
    kit_wait(k, k->held);
    gw_exchange_start(k->held, &(gw_response_head){.status = 200}, -1);
    gw_exchange_write(k->held, &GW_STR("so far"), 1);
    gw_exchange_abort(k->held);
    kit_wait(k, c->is_ended);
    kit_assert_saw(c, "6\r\nso far\r\n");
    assert_false(kit_saw(c, "\r\n0\r\n"));
    assert_int_equal(k->completed, 0);
}

int main(void)
{
#define PLAIN(name) cmocka_unit_test_setup_teardown(name, setup, kit_teardown)
#define CASE(name)                                                                                 \
    PLAIN(name),                                                                                   \
    {                                                                                              \
#name " (TLS)", name, setup_tls, kit_teardown, NULL                                        \
    }
    const struct CMUnitTest tests[] = {
        PLAIN(one_connection_too_many_is_told_so),
        CASE(a_client_that_leaves_is_noticed_while_the_handler_works),
        CASE(a_client_that_leaves_in_mid_answer_or_mid_body_is_noticed),
        CASE(what_is_written_in_a_turn_of_the_loop_leaves_together),
        CASE(large_and_small_writes_keep_their_order),
        CASE(an_answer_that_is_cut_has_what_was_written_before),
        CASE(a_slow_reader_congests_and_drains),
        CASE(a_reader_that_takes_nothing_is_closed),
        CASE(what_waits_since_before_a_head_is_watched_behind_it),
        CASE(a_large_whole_answer_reaches_a_slow_reader),
        CASE(a_drain_closes_idle_connections_and_lets_the_others_finish),
        CASE(a_close_ends_every_exchange_incomplete),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
