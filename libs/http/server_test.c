#include "http/server.h"

#include "http/server_test_kit.h"

static void a_whole_answer_is_one_message_with_length_and_date(void **state)
{
    kit *k = *state;
    kit_client *c = kit_client_new(k);
    kit_send(c, GET("/x?q=1"));
    kit_wait(k, kit_saw(c, "GET /x?q=1 "));
    assert_string_equal(c->in.data,
                        "HTTP/1.1 200 OK\r\nDate: Mon, 23 Nov 2026 07:05:21 GMT\r\n"
                        "Content-Type: text/plain\r\nContent-Length: 11\r\n\r\nGET /x?q=1 ");
    assert_int_equal(k->closed, 1);
    assert_int_equal(k->completed, 1);
    gw_fake_clock_advance_ms(&k->time, 2000);
    kit_send(c, GET("/y"));
    kit_wait(k, kit_saw(c, "GET /y? "));
    kit_assert_saw(c, "Date: Mon, 23 Nov 2026 07:05:23 GMT\r\n");
    assert_int_equal(gw_http_server_connections(k->server), 1);
}

static void bodies_come_whole_by_length_and_by_chunks(void **state)
{
    kit *k = *state;
    kit_client *c = kit_client_new(k);
    kit_send(c, "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
    kit_wait(k, kit_saw(c, "POST /x? hello"));
    kit_send(c, "POST /y HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
                "chunked\r\n\r\n3\r\nwor\r\n2;x\r\nld\r\n0\r\nT: 1\r\n\r\n");
    kit_wait(k, kit_saw(c, "POST /y? world"));
    assert_int_equal(k->completed, 2);
}

static void a_request_cut_anywhere_is_the_same_request(void **state)
{
    kit *k = *state;
    gw_str raw =
        GW_STR("POST /x?q HTTP/1.1\r\nHost: a\r\nX-Long-Name: some value\r\nTransfer-Encoding: "
               "chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n");
    for (size_t at = 1; at < raw.len; at++) {
        kit_client *c = kit_client_new(k);
        kit_send_n(c, gw_str_slice(raw, 0, at));
        kit_settle(k);
        kit_send_n(c, gw_str_slice(raw, at, raw.len));
        kit_wait(k, kit_saw(c, "POST /x?q abcdefg"));
        kit_client_free(c);
    }
    kit_client *c = kit_client_new(k);
    for (size_t i = 0; i < raw.len; i++) {
        kit_send_n(c, gw_str_slice(raw, i, i + 1));
        kit_settle(k);
    }
    kit_wait(k, kit_saw(c, "POST /x?q abcdefg"));
}

static void pipelined_requests_are_answered_one_at_a_time_in_order(void **state)
{
    kit *k = *state;
    kit_client *c = kit_client_new(k);
    kit_send(c,
             GET("/hold") "POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc" GET("/3"));
    kit_wait(k, k->held);
    kit_settle(k);
    assert_int_equal(k->heads, 1);
    assert_int_equal(c->in.len, 0);
    kit_answer(k->held, "first");
    kit_wait(k, kit_saw(c, "GET /3? "));
    kit_assert_saw(c, "POST /2? abc");
    assert_true(strstr(c->in.data, "first") < strstr(c->in.data, "/2?"));
    assert_true(strstr(c->in.data, "/2?") < strstr(c->in.data, "/3?"));
    assert_int_equal(k->completed, 3);
}

static void many_pipelined_requests_need_no_more_memory_than_the_bound(void **state)
{
    kit *k = *state;
    kit_client *c = kit_client_new(k);
    kit_send(c, GET("/hold"));
    kit_wait(k, k->held);
    enum { COUNT = 20000 };
    for (int i = 0; i < COUNT; i++)
        kit_send(c, GET("/x"));
    kit_settle(k);
    kit_answer(k->held, "first");
    kit_wait(k, k->completed == COUNT + 1);
}

static void a_handler_may_decide_later_at_the_head_and_at_the_body(void **state)
{
    kit *k = *state;
    kit_client *c = kit_client_new(k);
    kit_send(c, "POST /hold HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
    kit_wait(k, k->held);
    gw_exchange *x = k->held;
    assert_true(gw_exchange_expects_body(x));
    assert_int_equal(gw_exchange_body(x).len, 0);
    gw_exchange_read_body(x, 3);
    assert_int_equal(k->bodies, 0); /* never inside the call */
    kit_wait(k, k->bodies == 1);
    assert_true(gw_str_eq(gw_exchange_body(x), GW_STR("abc")));
    gw_auto_buf taken = gw_exchange_take_body(x);
    assert_true(gw_str_eq(gw_buf_str(&taken), GW_STR("abc")));
    assert_int_equal(gw_exchange_body(x).len, 0);
    assert_true(gw_exchange_arrival_ns(x) > 0);
    kit_answer(x, "late");
    assert_int_equal(k->closed, 0);
    kit_wait(k, kit_saw(c, "late"));
    assert_int_equal(k->completed, 1);
}

static void continue_is_sent_only_when_the_body_is_asked_for(void **state)
{
    kit *k = *state;
    kit_client *c = kit_client_new(k);
    kit_send(c,
             "POST /hold HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 3\r\n\r\n");
    kit_wait(k, k->held);
    kit_settle(k);
    assert_int_equal(c->in.len, 0);
    gw_exchange *x = k->held;
    gw_exchange_read_body(x, 3);
    kit_wait(k, kit_saw(c, "HTTP/1.1 100 Continue\r\n\r\n"));
    assert_false(gw_exchange_has_started(x));
    kit_send(c, "abc");
    kit_wait(k, k->bodies == 1);
    kit_answer(x, "done");
    kit_wait(k, kit_saw(c, "done"));
    kit_send(c, GET("/next"));
    kit_wait(k, kit_saw(c, "GET /next? "));
}

static void a_refused_expectation_gets_its_answer_instead_and_the_end(void **state)
{
    kit *k = *state;
    kit_client *c = kit_client_new(k);
    kit_send(
        c, "POST /early HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    kit_wait(k, c->is_ended);
    assert_false(c->is_reset);
    assert_int_equal(kit_status(c), 200);
    assert_false(kit_saw(c, "100 Continue"));
    kit_assert_saw(c, "Connection: close\r\n");
    assert_int_equal(k->completed, 1);
}

static void an_answer_before_the_body_reaches_a_client_that_still_sends(void **state)
{
    kit *k = *state;
    kit_client *c = kit_client_new(k);
    kit_send(c, "POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n");
    char *block = calloc(1, 1000000);
    assert_non_null(block);
    for (int i = 0; i < 3; i++)
        kit_send_n(c, gw_str_n(block, 1000000));
    free(block);
    kit_wait(k, c->is_ended);
    assert_false(c->is_reset);
    kit_assert_saw(c, "early");
    kit_client_free(c);
    kit_wait(k, gw_http_server_connections(k->server) == 0);
}

static void head_and_bodyless_statuses_carry_no_body(void **state)
{
    kit *k = *state;
    kit_client *c = kit_client_new(k);
    kit_send(c, "HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n" GET("/hold"));
    kit_wait(k, k->held);
    kit_wait(k, kit_saw(c, "Content-Length: 9\r\n\r\n"));
    assert_false(kit_saw(c, "HEAD /x"));
    gw_exchange_respond(k->held, &(gw_response_head){.status = 204}, GW_STR("never"));
    kit_wait(k, kit_saw(c, "204 No Content"));
    kit_send(c, GET("/hold"));
    kit_wait(k, k->held);
    gw_exchange_start(k->held, &(gw_response_head){.status = 304}, -1);
    gw_exchange_write(k->held, &GW_STR("never"), 1);
    gw_exchange_end(k->held);
    kit_send(c, GET("/next"));
    kit_wait(k, kit_saw(c, "GET /next? "));
    assert_false(kit_saw(c, "never"));
    assert_false(kit_saw(c, "chunked"));
    assert_int_equal(kit_count(c, "Content-Length"), 2);
}

static void http_1_0_closes_unless_it_asks_to_stay(void **state)
{
    kit *k = *state;
    kit_client *c = kit_client_new(k);
    kit_send(c, "GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    kit_wait(k, kit_saw(c, "GET /x? "));
    kit_assert_saw(c, "Connection: keep-alive\r\n");
    kit_send(c, "GET /y HTTP/1.0\r\n\r\n");
    kit_wait(k, c->is_ended);
    kit_assert_saw(c, "GET /y? ");
    kit_assert_saw(c, "Connection: close\r\n");
}

static void connection_close_is_honoured(void **state)
{
    kit *k = *state;
    kit_client *c = kit_client_new(k);
    kit_send(c, "GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    kit_wait(k, c->is_ended);
    kit_assert_saw(c, "GET /x? ");
    kit_assert_saw(c, "Connection: close\r\n");
    assert_false(c->is_reset);
}

static void a_half_closed_client_gets_a_prompt_answer(void **state)
{
    kit *k = *state;
    kit_client *c = kit_client_new(k);
    kit_send(c, GET("/x"));
    kit_client_shut(c);
    kit_wait(k, c->is_ended);
    kit_assert_saw(c, "GET /x? ");
}

static void headers_that_would_split_the_answer_are_dropped(void **state)
{
    kit *k = *state;
    kit_client *c = kit_client_new(k);
    kit_send(c, GET("/hold"));
    kit_wait(k, k->held);
    const gw_header headers[] = {
        {GW_STR("X-Good"), GW_STR("1")},
        {GW_STR("X-Split"), GW_STR("1\r\nSet-Cookie: evil")},
        {GW_STR("X-Nul"), gw_str_n("a\0b", 3)},
        {GW_STR("Bad Name"), GW_STR("1")},
        {GW_STR(""), GW_STR("1")},
        {GW_STR("content-length"), GW_STR("99")},
        {GW_STR("Transfer-Encoding"), GW_STR("gzip")},
        {GW_STR("CONNECTION"), GW_STR("close")},
        {GW_STR("Date"), GW_STR("today")},
    };
    gw_exchange_respond(k->held,
                        &(gw_response_head){.status = 200,
                                            .headers = headers,
                                            .header_count = GW_ARRAY_LEN(headers)},
                        GW_STR("ok"));
    kit_wait(k, kit_saw(c, "\r\n\r\nok"));
    assert_string_equal(c->in.data,
                        "HTTP/1.1 200 OK\r\nDate: Mon, 23 Nov 2026 07:05:21 GMT\r\nX-Good: "
                        "1\r\nContent-Length: 2\r\n\r\nok");
}

static void a_failure_is_told_in_the_handlers_dialect(void **state)
{
    kit *k = *state;
    kit_client *c = kit_client_new(k);
    kit_send(c, GET("/fail"));
    kit_wait(k, kit_saw(c, "KEY_INVALID: no such key"));
    assert_int_equal(kit_status(c), 401);
    kit_assert_saw(c, "Content-Type: text/x-error\r\nX-Extra: yes\r\n");
    assert_int_equal(k->completed, 1);
    kit_send(c, GET("/next"));
    kit_wait(k, kit_saw(c, "GET /next? "));
}

static void the_request_s_parts_are_views_for_the_handler(void **state)
{
    kit *k = *state;
    kit_client *c = kit_client_new(k);
    kit_send(c, "GET http://a:80/hold/x?y=1?2 HTTP/1.1\r\nHost: A:80\r\nx-One: \t one \t\r\nX-ONE: "
                "two\r\nX-Empty:\r\n\r\n");
    kit_wait(k, k->held);
    gw_exchange *x = k->held;
    assert_true(gw_str_eq(gw_exchange_target(x), GW_STR("http://a:80/hold/x?y=1?2")));
    assert_true(gw_str_eq(gw_exchange_path(x), GW_STR("/hold/x")));
    assert_true(gw_str_eq(gw_exchange_query(x), GW_STR("y=1?2")));
    gw_headers h = gw_exchange_headers(x);
    assert_int_equal(h.count, 4);
    assert_true(gw_str_eq(gw_headers_get(h, "X-One"), GW_STR("one")));
    assert_int_equal(gw_headers_count_of(h, "x-one"), 2);
    assert_non_null(gw_headers_get(h, "x-empty").ptr);
    assert_null(gw_headers_get(h, "x-none").ptr);
    char peer[GW_IP_TEXT_SIZE];
    gw_ip_format(gw_exchange_peer(x), peer);
    assert_string_equal(peer, "127.0.0.1");
    kit_answer(x, "ok");
    kit_wait(k, kit_saw(c, "ok"));
}

static void a_taken_port_is_an_error(void **state)
{
    kit *k = *state;
    gw_http_server_options o = gw_http_server_defaults;
    o.port = gw_http_server_port(k->server);
    gw_http_server *second = NULL;
    gw_error err;
    assert_int_equal(gw_http_server_new(k->loop, &o, &kit_handler, k, NULL, &second, &err),
                     GW_ERR_IO);
    assert_null(second);
    o.host = "localhost";
    assert_int_equal(gw_http_server_new(k->loop, &o, &kit_handler, k, NULL, &second, &err),
                     GW_ERR_INVALID_ARGUMENT);
}

static int setup_shared(void **state)
{
    gw_http_server_options o = gw_http_server_defaults;
    o.shares_port = true;
    *state = kit_new(&o);
    return 0;
}

static void servers_that_share_a_port_serve_for_each_other(void **state)
{
    kit *k = *state;
    gw_http_server_options o = gw_http_server_defaults;
    o.port = gw_http_server_port(k->server);
    gw_http_server *second = NULL;
    assert_int_equal(gw_http_server_new(k->loop, &o, &kit_handler, k, NULL, &second, NULL),
                     GW_ERR_IO); /* both have to want it */
    o.shares_port = true;
    assert_int_equal(gw_http_server_new(k->loop, &o, &kit_handler, k, NULL, &second, NULL), GW_OK);
    gw_http_server_drain(k->server);
    kit_settle(k);
    for (int i = 0; i < 8; i++) {
        kit_client *c = kit_client_new(k);
        kit_send(c, GET("/"));
        kit_wait(k, kit_saw(c, "GET /? "));
    }
    assert_int_equal(gw_http_server_connections(second), 8);
    gw_http_server_close(second, NULL, NULL);
}

int main(void)
{
#define PLAIN(name) cmocka_unit_test_setup_teardown(name, kit_setup, kit_teardown)
#define CASE(name)                                                                                 \
    PLAIN(name),                                                                                   \
    {                                                                                              \
#name " (TLS)", name, kit_setup_tls, kit_teardown, NULL                                    \
    }
    const struct CMUnitTest tests[] = {
        CASE(a_whole_answer_is_one_message_with_length_and_date),
        CASE(bodies_come_whole_by_length_and_by_chunks),
        CASE(a_request_cut_anywhere_is_the_same_request),
        CASE(pipelined_requests_are_answered_one_at_a_time_in_order),
        CASE(many_pipelined_requests_need_no_more_memory_than_the_bound),
        CASE(a_handler_may_decide_later_at_the_head_and_at_the_body),
        CASE(continue_is_sent_only_when_the_body_is_asked_for),
        CASE(a_refused_expectation_gets_its_answer_instead_and_the_end),
        CASE(an_answer_before_the_body_reaches_a_client_that_still_sends),
        CASE(head_and_bodyless_statuses_carry_no_body),
        CASE(http_1_0_closes_unless_it_asks_to_stay),
        CASE(connection_close_is_honoured),
        CASE(a_half_closed_client_gets_a_prompt_answer),
        CASE(headers_that_would_split_the_answer_are_dropped),
        CASE(a_failure_is_told_in_the_handlers_dialect),
        CASE(the_request_s_parts_are_views_for_the_handler),
        CASE(a_taken_port_is_an_error),
        cmocka_unit_test_setup_teardown(servers_that_share_a_port_serve_for_each_other,
                                        setup_shared, kit_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
