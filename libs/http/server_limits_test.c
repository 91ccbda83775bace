/* What a client may cost: time and bytes. */
#include "http/server.h"

#include "http/server_test_kit.h"
#include "testing/failing_alloc.h"

enum { HEAD_MAX = 1024, HEADERS_MAX = 10, BODY_MEMORY_MAX = 4096 };

static gw_http_server_options options(void)
{
    gw_http_server_options o = gw_http_server_defaults;
    o.head_timeout_ms = 1000;
    o.body_timeout_ms = 2000;
    o.idle_timeout_ms = 3000;
    o.head_max_bytes = HEAD_MAX;
    o.headers_max = HEADERS_MAX;
    o.body_memory_max_bytes = BODY_MEMORY_MAX;
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

/* ---- time ---- */

static void a_client_that_says_nothing_is_closed(void **state)
{
    kit *k = *state;
    kit_client *c = kit_client_new(k);
    kit_settle(k);
    kit_advance_ms(k, 999);
    assert_false(c->is_ended);
    kit_advance_ms(k, 1);
    kit_wait(k, c->is_ended);
    assert_int_equal(c->in.len, 0);
}

static void a_head_that_drips_is_answered_408(void **state)
{
    kit *k = *state;
    kit_client *c = kit_client_new(k);
    gw_str head = GW_STR("GET /x HTTP/1.1\r\nHost: a\r\n");
    for (size_t i = 0; i < 11; i++) { /* each byte comes in time, the head does not */
        kit_send_n(c, gw_str_slice(head, i, i + 1));
        kit_advance_ms(k, 99);
    }
    kit_wait(k, c->is_ended);
    assert_int_equal(kit_status(c), 408);
    assert_int_equal(k->heads, 0);
}

static void the_head_s_time_starts_anew_with_each_request(void **state)
{
    kit *k = *state;
    kit_client *c = kit_client_new(k);
    kit_advance_ms(k, 900);
    kit_send(c, GET("/x"));
    kit_wait(k, kit_saw(c, "GET /x? "));
    kit_advance_ms(k, 2900); /* idle */
    kit_send(c, "GET /y");
    kit_settle(k);
    kit_advance_ms(k, 900);
    kit_send(c, " HTTP/1.1\r\nHost: a\r\n\r\n");
    kit_wait(k, kit_saw(c, "GET /y? "));
    kit_send(c, "GET /z");
    kit_settle(k);
    kit_advance_ms(k, 1000);
    kit_wait(k, c->is_ended);
    kit_assert_saw(c, "408 Request Timeout");
}

static void an_idle_connection_is_closed_without_a_word(void **state)
{
    kit *k = *state;
    kit_client *c = kit_client_new(k);
    kit_send(c, GET("/x"));
    kit_wait(k, kit_saw(c, "GET /x? "));
    size_t len = c->in.len;
    kit_advance_ms(k, 2999);
    assert_false(c->is_ended);
    kit_advance_ms(k, 1);
    kit_wait(k, c->is_ended);
    assert_int_equal(c->in.len, len);
}

static void a_body_that_stops_is_answered_408(void **state)
{
    kit *k = *state;
    kit_client *c = kit_client_new(k);
    kit_send(c, "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n");
    for (int i = 0; i < 3; i++) { /* while bytes come, time is given */
        kit_settle(k);
        kit_advance_ms(k, 1900);
        kit_send(c, "x");
    }
    kit_settle(k);
    assert_false(c->is_ended);
    kit_advance_ms(k, 2000);
    kit_wait(k, c->is_ended);
    assert_int_equal(kit_status(c), 408);
    assert_int_equal(k->closed, 1);
    assert_int_equal(k->completed, 0);
}

static void answer_held(void *arg)
{
    kit_answer(((kit *)arg)->held, "early");
}

static void an_answer_in_the_turn_that_time_is_up_is_the_only_one(void **state)
{
    kit *k = *state;
    kit_client *c = kit_client_new(k);
    kit_send(c, "POST /hold HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx");
    kit_wait(k, k->held);
    gw_exchange_read_body(k->held, KIT_BODY_MAX);
    kit_settle(k);
    gw_timer handlers;
    gw_timer_init(&handlers, answer_held, k);
    gw_timer_set(k->loop, &handlers, 1999);
    kit_advance_ms(k, 2000);
    kit_wait(k, c->is_ended);
    assert_int_equal(kit_count(c, "HTTP/1.1 "), 1);
    kit_assert_saw(c, "early");
}

static void chunk_extensions_and_trailers_buy_no_time(void **state)
{
    kit *k = *state;
    kit_client *c = kit_client_new(k);
    kit_send(c, "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;");
    for (int i = 0; i < 4; i++) {
        kit_send(c, "aaaa");
        kit_settle(k);
        kit_advance_ms(k, 500);
    }
    kit_wait(k, c->is_ended);
    assert_int_equal(kit_status(c), 408);
}

static void a_handler_s_time_is_its_own(void **state)
{
    kit *k = *state;
    kit_client *c = kit_client_new(k);
    kit_send(c, GET("/hold"));
    kit_wait(k, k->held);
    kit_advance_ms(k, 100000);
    assert_false(c->is_ended);
    kit_answer(k->held, "at last");
    kit_wait(k, kit_saw(c, "at last"));
}

/* ---- bytes ---- */

static void a_head_too_large_is_answered_431(void **state)
{
    kit *k = *state;
    char big[HEAD_MAX * 2];
    memset(big, 'a', sizeof(big));
    const char *starts[] = {"GET /",
                            "GET /x HTTP/1.1\r\nHost: a\r\nA: ", "GET /x HTTP/1.1\r\nHost: a\r\nA"};
    for (size_t i = 0; i < GW_ARRAY_LEN(starts); i++) {
        kit_client *c = kit_client_new(k);
        kit_send(c, starts[i]);
        kit_send_n(c, gw_str_n(big, sizeof(big)));
        kit_wait(k, c->is_ended);
        assert_int_equal(kit_status(c), 431);
        assert_false(c->is_reset);
        kit_client_free(c);
        kit_settle(k);
    }
    assert_int_equal(k->heads, 0);
}

static void a_head_of_just_the_allowed_size_is_served(void **state)
{
    kit *k = *state;
    for (size_t over = 0; over < 2; over++) {
        gw_auto_buf head = {0};
        gw_buf_append_c(&head, "GET /x HTTP/1.1\r\nHost: a\r\nA: ");
        while (head.len < HEAD_MAX + over - 4)
            gw_buf_append_char(&head, 'a');
        gw_buf_append_c(&head, "\r\n\r\n");
        kit_client *c = kit_client_new(k);
        kit_send_n(c, gw_buf_str(&head));
        kit_wait(k, kit_status(c) != 0);
        assert_int_equal(kit_status(c), over ? 431 : 200);
    }
}

static void too_many_header_lines_are_answered_431(void **state)
{
    kit *k = *state;
    kit_client *c = kit_client_new(k);
    kit_send(c, "GET /x HTTP/1.1\r\nHost: a\r\n");
    for (int i = 0; i < HEADERS_MAX - 1; i++)
        kit_send(c, "A: b\r\n");
    kit_settle(k);
    assert_false(c->is_ended);
    kit_send(c, "A: b\r\n\r\n");
    kit_wait(k, c->is_ended);
    assert_int_equal(kit_status(c), 431);
}

static void endless_trailers_are_refused(void **state)
{
    kit *k = *state;
    kit_client *c = kit_client_new(k);
    kit_send(c, "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n");
    for (int i = 0; i < HEAD_MAX; i++)
        kit_send(c, "Ab: c\r\n");
    kit_wait(k, c->is_ended);
    assert_int_equal(kit_status(c), 431);
    assert_int_equal(k->bodies, 0);
}

static void endless_chunk_extensions_are_refused(void **state)
{
    kit *k = *state;
    kit_client *c = kit_client_new(k);
    kit_send(c, "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < HEAD_MAX; i++)
        kit_send(c, "1;ab=c\r\n \r\n");
    kit_wait(k, c->is_ended);
    assert_int_equal(kit_status(c), 431);
    assert_int_equal(k->bodies, 0);
}

static void a_body_over_the_handler_s_limit_is_answered_413(void **state)
{
    kit *k = *state;
    kit_client *c = kit_client_new(k);
    kit_send(
        c, "POST /small HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n");
    kit_wait(k, c->is_ended);
    assert_int_equal(kit_status(c), 413);
    assert_false(kit_saw(c, "100 Continue"));
    assert_false(c->is_reset);

    kit_client *d = kit_client_new(k);
    kit_send(
        d,
        "POST /small HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n12345678\r\n");
    kit_settle(k);
    assert_false(d->is_ended);
    kit_send(d, "1\r\n9\r\n0\r\n\r\n");
    kit_wait(k, d->is_ended);
    assert_int_equal(kit_status(d), 413);
    assert_int_equal(k->bodies, 0);
    assert_int_equal(k->closed, 2);
    assert_int_equal(k->completed, 0);
}

static void bodies_of_just_the_limit_are_served(void **state)
{
    kit *k = *state;
    kit_client *c = kit_client_new(k);
    kit_send(c, "POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\n12345678");
    kit_wait(k, kit_saw(c, "POST /small? 12345678"));
    kit_send(c, "POST /small HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
                "chunked\r\n\r\n8\r\n87654321\r\n0\r\n\r\n");
    kit_wait(k, kit_saw(c, "POST /small? 87654321"));
}

static void bodies_of_all_connections_share_one_bound(void **state)
{
    kit *k = *state;
    kit_client *first = kit_client_new(k);
    kit_send(first, "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 4000\r\n\r\nabc");
    kit_settle(k);
    kit_client *second = kit_client_new(k);
    kit_send(second, "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 97\r\n\r\n");
    kit_wait(k, second->is_ended);
    assert_int_equal(kit_status(second), 503);
    kit_client_free(second);
    kit_settle(k);
    kit_client *third = kit_client_new(k);
    kit_send(third, "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n60\r\n");
    char part[97];
    memset(part, 'a', sizeof(part));
    kit_send_n(third, gw_str_n(part, 0x60));
    kit_settle(k);
    assert_false(third->is_ended);
    kit_send(third, "\r\n1\r\na\r\n0\r\n\r\n");
    kit_wait(k, third->is_ended);
    assert_int_equal(kit_status(third), 503);
    kit_client_free(third);

    kit_client_free(first); /* what it held is free again */
    kit_wait(k, gw_http_server_connections(k->server) == 0);
    kit_client *fourth = kit_client_new(k);
    kit_send(fourth, "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 4096\r\n\r\n");
    char *body = calloc(1, 4096);
    assert_non_null(body);
    memset(body, 'b', 4096);
    kit_send_n(fourth, gw_str_n(body, 4096));
    free(body);
    kit_wait(k, kit_saw(fourth, "POST /x? bbbb"));
    assert_int_equal(kit_status(fourth), 200);
}

static void bounds_that_change_hold_from_then_on(void **state)
{
    kit *k = *state;
    gw_http_server_options o = options();
    kit_client *first = kit_client_new(k);
    kit_send(first, "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 4000\r\n\r\nabc");
    kit_settle(k);
    o.body_memory_max_bytes = 100; /* less than is held: nothing more, not everything more */
    o.idle_timeout_ms = 500;
    gw_http_server_adjust(k->server, &o);
    kit_client *second = kit_client_new(k);
    kit_send(second, "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n");
    kit_wait(k, second->is_ended);
    assert_int_equal(kit_status(second), 503);
    assert_false(first->is_ended);

    kit_client *third = kit_client_new(k);
    kit_send(third, GET("/x"));
    kit_wait(k, kit_saw(third, "GET /x? "));
    kit_settle(k);
    kit_advance_ms(k, 499);
    assert_false(third->is_ended);
    kit_advance_ms(k, 1);
    kit_wait(k, third->is_ended);

    kit_client_free(second);
    kit_client_free(third);
    kit_wait(k, gw_http_server_connections(k->server) == 1);
    o.connections_max = 1;
    gw_http_server_adjust(k->server, &o);
    kit_client *fourth = kit_client_new(k);
    kit_wait(k, fourth->is_ended);
}

static void running_out_of_memory_anywhere_ends_in_an_answer_or_the_end(void **state)
{
    kit *k = *state;
    gw_str raw =
        GW_STR("POST /x HTTP/1.1\r\nHost: a\r\nA: 1\r\nB: 2\r\nTransfer-Encoding: chunked\r\n\r\n"
               "3\r\nabc\r\n0\r\n\r\n");
    bool has_failed = true;
    for (size_t n = 1; has_failed; n++) {
        kit_client *c = kit_client_deaf(k);
        kit_send_n(c, gw_str_slice(raw, 0, 30)); /* in two parts, so that the head is gathered */
        kit_settle(k);
        kit_send_n(c, gw_str_slice(raw, 30, raw.len));
        gw_failing_alloc_arm(n);
        kit_settle(k);
        has_failed = gw_failing_alloc_disarm();
        kit_client_read(c);
        kit_wait(k, c->is_ended || kit_saw(c, "\r\n\r\n"));
        if (!has_failed)
            assert_int_equal(kit_status(c), 200);
        kit_client_free(c);
        kit_wait(k, gw_http_server_connections(k->server) == 0);
        assert_int_equal(k->closed, k->heads);
    }
    assert_true(k->completed >= 1);
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
        CASE(a_client_that_says_nothing_is_closed),
        CASE(a_head_that_drips_is_answered_408),
        CASE(the_head_s_time_starts_anew_with_each_request),
        CASE(an_idle_connection_is_closed_without_a_word),
        CASE(a_body_that_stops_is_answered_408),
        CASE(an_answer_in_the_turn_that_time_is_up_is_the_only_one),
        CASE(chunk_extensions_and_trailers_buy_no_time),
        CASE(a_handler_s_time_is_its_own),
        CASE(a_head_too_large_is_answered_431),
        CASE(a_head_of_just_the_allowed_size_is_served),
        CASE(too_many_header_lines_are_answered_431),
        CASE(endless_trailers_are_refused),
        CASE(endless_chunk_extensions_are_refused),
        CASE(a_body_over_the_handler_s_limit_is_answered_413),
        CASE(bodies_of_just_the_limit_are_served),
        CASE(bodies_of_all_connections_share_one_bound),
        CASE(bounds_that_change_hold_from_then_on),
        CASE(running_out_of_memory_anywhere_ends_in_an_answer_or_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
