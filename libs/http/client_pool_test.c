/* Connections that are kept: how many, for whom, and what happens to those that have ended meanwhile. */
#include "http/client_internal.h"
#include "http/client_test_kit.h"
#include "testing/fake_clock.h"

static const char ok_answer[] =
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello";

static void send_another(kit_call *c)
{
    kit *k = c->k;
    kit_call *next = k->mine;
    k->mine = NULL;
    gw_http_request r = kit_request(k, "GET");
    kit_start(k, next, &r);
}

static void a_call_made_in_on_done_reuses_the_connection(void **state)
{
    kit *k = *state;
    kit_auto_call first = {.in_done = send_another}, second = {0};
    k->mine = &second;
    kit_script(k, ok_answer, false);
    kit_get(k, &first);
    kit_assert_ok(&second);
    assert_int_equal(k->server.accepted, 1);
    assert_int_equal(k->server.requests, 2);
}

static void a_kept_connection_holds_no_head(void **state)
{
    kit *k = *state;
    kit_auto_call c = {0};
    kit_script(k,
               "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
               "5\r\nhello\r\n0\r\nX-Trailer: t\r\n\r\n",
               false);
    kit_get(k, &c);
    kit_assert_ok(&c);
    assert_false(gw_list_is_empty(&k->client->idle));
    assert_null(GW_CONTAINER_OF(gw_list_first(&k->client->idle), gw_http_conn, idle_node)->head);
}

static void call_four_at_once_twice(kit *k, size_t idle_max)
{
    kit_call c[4] = {0};
    kit_script(k, ok_answer, false);
    for (int round = 0; round < 2; round++) {
        gw_http_request r = kit_request(k, "GET");
        r.idle_max = idle_max;
        for (size_t i = 0; i < 4; i++) {
            c[i].dones = c[i].heads = 0;
            kit_start(k, &c[i], &r);
        }
        kit_run(k);
    }
    for (size_t i = 0; i < 4; i++) {
        kit_assert_ok(&c[i]);
        kit_call_fini(&c[i]);
    }
}

static void the_pool_keeps_as_many_as_it_may(void **state)
{
    kit *k = *state;
    kit_close_client(k);
    gw_http_client_options o = kit_options();
    o.idle_max_per_origin = 2;
    kit_open_client(k, o);
    call_four_at_once_twice(k, 0);
    assert_int_equal(k->server.accepted, 6);
}

static void a_request_says_how_many_its_origin_keeps(void **state)
{
    kit *k = *state;
    call_four_at_once_twice(k, 3);
    assert_int_equal(k->server.accepted, 5);
}

static void origins_do_not_share_connections(void **state)
{
    kit *k = *state;
    kit_auto_call a = {0}, b = {0};
    kit_script(k, ok_answer, false);
    kit_get(k, &a);
    gw_http_request r = kit_request(k, "GET");
    r.url.host = GW_STR("localhost");
    kit_start(k, &b, &r);
    kit_run(k);
    kit_assert_ok(&b);
    assert_int_equal(k->server.accepted, 2);
}

/* Answers the first request of a connection, closes at the second. */
static void answer_once(kit_peer *p)
{
    if (p->requests > 1)
        kit_close(p);
    else
        kit_answer(p);
}

static void a_stale_connection_is_retried_once_on_a_fresh_one(void **state)
{
    kit *k = *state;
    k->server.on_request = answer_once;
    kit_script(k, ok_answer, false);
    for (size_t i = 0; i < 3; i++) {
        kit_auto_call c = {0};
        kit_get(k, &c);
        kit_assert_ok(&c);
        assert_int_equal(k->server.accepted, i + 1);
    }
    assert_int_equal(k->server.requests, 5);
}

static void a_body_that_a_stale_connection_did_not_take_is_sent_anew(void **state)
{
    kit *k = *state;
    gw_auto_buf half = {0};
    for (size_t i = 0; i < 4 * 1024 * 1024 / 16; i++)
        gw_buf_append(&half, "0123456789abcdef", 16);
    const gw_str body[] = {gw_buf_str(&half), gw_buf_str(&half)};
    k->server.hears_one = true;
    kit_script(k, ok_answer, false);
    for (size_t i = 0; i < 3; i++) {
        kit_auto_call c = {0};
        gw_http_request r = kit_request(k, "POST");
        r.body = body;
        r.body_parts = 2;
        kit_start(k, &c, &r);
        kit_run(k);
        kit_assert_ok(&c);
        assert_int_equal(k->server.requests, i + 1);
        assert_true(k->server.last_request.len > 2 * half.len);
    }
    assert_int_equal(k->server.accepted, 3);
}

static void close_all_but_the_first(kit_peer *p)
{
    if (p->requests == 1 && p->index == 0)
        kit_answer(p);
    else
        kit_close(p);
}

static void a_retry_is_not_retried(void **state)
{
    kit *k = *state;
    k->server.on_request = close_all_but_the_first;
    kit_script(k, ok_answer, false);
    kit_auto_call a = {0}, b = {0};
    kit_get(k, &a);
    kit_get(k, &b);
    assert_int_equal(b.rc, GW_ERR_UPSTREAM_CUT);
    assert_int_equal(k->server.requests, 3);
}

static void half_answer_at_second(kit_peer *p)
{
    if (p->requests == 1) {
        kit_answer(p);
        return;
    }
    kit_send(p, GW_STR("HTTP/1.1 2"));
    kit_close(p);
}

static void an_answer_that_began_is_not_retried(void **state)
{
    kit *k = *state;
    k->server.on_request = half_answer_at_second;
    kit_script(k, ok_answer, false);
    kit_auto_call a = {0}, b = {0};
    kit_get(k, &a);
    kit_get(k, &b);
    assert_int_equal(b.rc, GW_ERR_UPSTREAM_CUT);
    assert_int_equal(k->server.requests, 2);
}

/* ---- who closes late has the request ---- */

static gw_fake_clock fake_time;
static gw_clock fake_clock;
static int64_t closes_after_ms;

static int setup_with_fake_time(void **state)
{
    fake_clock = gw_fake_clock_init(&fake_time, 0);
    return kit_setup_at(state, &fake_clock);
}

static int setup_curl_with_fake_time(void **state)
{
    setup_with_fake_time(state);
    ((kit *)*state)->transport = GW_HTTP_CURL;
    return 0;
}

static void close_a_while_after_the_second(kit_peer *p)
{
    if (p->requests == 1) {
        kit_answer(p);
        return;
    }
    gw_fake_clock_advance_ms(&fake_time, closes_after_ms);
    kit_close(p);
}

static void a_connection_that_ends_later_is_not_taken_for_a_stale_one(void **state)
{
    kit *k = *state;
    closes_after_ms = 1000;
    k->server.on_request = close_a_while_after_the_second;
    kit_script(k, ok_answer, false);
    kit_auto_call a = {0}, b = {0}, c = {0};
    kit_get(k, &a);
    kit_get(k, &b);
    kit_assert_ok(&b);
    assert_int_equal(k->server.requests, 3);
    closes_after_ms = 1001;
    kit_get(k, &c);
    assert_int_equal(c.rc, GW_ERR_UPSTREAM_CUT);
    assert_int_equal(k->server.requests, 4);
}

/* Only time with the request out counts, not that of the fresh connection. */
static void a_fresh_connection_may_take_its_time(void **state)
{
    kit *k = *state;
    kit_auto_call a = {0}, b = {0};
    gw_auto_buf half = {0};
    for (size_t i = 0; i < 2 * 1024 * 1024 / 16; i++)
        gw_buf_append(&half, "0123456789abcdef", 16);
    const gw_str body[] = {gw_buf_str(&half), gw_buf_str(&half)};
    gw_http_request r = kit_request(k, "POST");
    r.body = body;
    r.body_parts = 2;
    k->server.hears_one = true;
    kit_script(k, ok_answer, false);
    kit_get(k, &a);
    kit_start(k, &b, &r);
    while (!b.call->was_retried)
        kit_turn(k);
    assert_int_equal(b.call->stage, GW_HTTP_CONNECTING);
    gw_fake_clock_advance_ms(&fake_time, GW_HTTP_STALE_MS + 1);
    kit_run(k);
    kit_assert_ok(&b);
    assert_int_equal(k->server.accepted, 2);
    assert_int_equal(k->server.requests, 2);
}

/* ---- what nobody asked for ---- */

static void run_until_peers_are_gone(kit *k)
{
    while (!gw_list_is_empty(&k->server.peers))
        kit_turn(k);
}

static void an_idle_connection_that_ends_or_speaks_is_dropped(void **state)
{
    kit *k = *state;
    kit_auto_call a = {0}, b = {0}, c = {0};
    kit_script(k, ok_answer, false);
    kit_get(k, &a);
    kit_send(kit_first_peer(k), GW_STR("HTTP/1.1 200 OK\r\n"));
    run_until_peers_are_gone(k);
    assert_int_equal(k->server.closed_by_client, 1);
    kit_get(k, &b);
    kit_assert_ok(&b);
    kit_close(kit_first_peer(k));
    run_until_peers_are_gone(k);
    kit_get(k, &c);
    kit_assert_ok(&c);
    assert_int_equal(k->server.accepted, 3);
    assert_int_equal(k->server.requests, 3);
}

static void answer_both(kit_peer *p)
{
    const kit_server *s = p->server;
    if (s->requests <= 2) { /* two connections are kept */
        if (s->requests == 2)
            gw_list_each (node, &s->peers)
                kit_answer(GW_CONTAINER_OF(node, kit_peer, node));
        return;
    }
    if (s->requests > 3) {
        kit_answer(p);
        return;
    }
    /* The call that this answer lets go finds the other connection, on which an answer is in the kernel already. */
    kit_send(p, GW_STR("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"));
    gw_list_each (node, &s->peers)
        if (node != &p->node)
            kit_send(GW_CONTAINER_OF(node, kit_peer, node),
                     GW_STR("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nunsent"));
}

static void an_answer_that_is_there_before_the_request_is_not_its_own(void **state)
{
    kit *k = *state;
    kit_auto_call a = {0}, b = {0}, next = {0};
    kit_auto_call c = {.in_done = send_another};
    gw_http_request r = kit_request(k, "GET");
    k->mine = &next;
    k->server.on_request = answer_both;
    kit_script(k, ok_answer, false);
    kit_start(k, &a, &r);
    kit_start(k, &b, &r);
    kit_run(k);
    kit_get(k, &c);
    kit_assert_ok(&next);
    assert_string_equal(next.body.data, "hello");
    assert_int_equal(k->server.accepted, 3);
}

/* libcurl looks when it wants to use it again. */
static void an_idle_connection_that_ended_is_not_used_by_libcurl(void **state)
{
    kit *k = *state;
    kit_auto_call a = {0}, b = {0}, c = {0};
    kit_script(k, ok_answer, false);
    kit_get(k, &a);
    kit_get(k, &b);
    kit_assert_ok(&b);
    assert_int_equal(k->server.accepted, 1);
    kit_close(kit_first_peer(k));
    run_until_peers_are_gone(k);
    kit_get(k, &c);
    kit_assert_ok(&c);
    assert_int_equal(k->server.accepted, 2);
    assert_int_equal(k->server.requests, 3);
}

static void an_idle_connection_is_closed_in_time(void **state)
{
    kit *k = *state;
    kit_close_client(k);
    gw_http_client_options o = kit_options();
    o.idle_timeout_ms = 20;
    kit_open_client(k, o);
    kit_auto_call a = {0};
    kit_script(k, ok_answer, false);
    kit_get(k, &a);
    run_until_peers_are_gone(k);
    assert_int_equal(k->server.closed_by_client, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        KIT_TEST_BOTH(a_call_made_in_on_done_reuses_the_connection),
        KIT_TEST(a_kept_connection_holds_no_head),
        KIT_TEST(the_pool_keeps_as_many_as_it_may),
        KIT_TEST(a_request_says_how_many_its_origin_keeps),
        KIT_TEST_BOTH(origins_do_not_share_connections),
        KIT_TEST_BOTH(a_stale_connection_is_retried_once_on_a_fresh_one),
        KIT_TEST_BOTH(a_body_that_a_stale_connection_did_not_take_is_sent_anew),
        KIT_TEST(a_retry_is_not_retried),
        KIT_TEST(an_answer_that_began_is_not_retried),
        cmocka_unit_test_setup_teardown(a_connection_that_ends_later_is_not_taken_for_a_stale_one,
                                        setup_with_fake_time, kit_teardown),
        cmocka_unit_test_setup_teardown(a_connection_that_ends_later_is_not_taken_for_a_stale_one,
                                        setup_curl_with_fake_time, kit_teardown),
        cmocka_unit_test_setup_teardown(a_fresh_connection_may_take_its_time, setup_with_fake_time,
                                        kit_teardown),
        cmocka_unit_test_setup_teardown(a_fresh_connection_may_take_its_time,
                                        setup_curl_with_fake_time, kit_teardown),
        KIT_TEST(an_idle_connection_that_ends_or_speaks_is_dropped),
        KIT_TEST(an_answer_that_is_there_before_the_request_is_not_its_own),
        KIT_TEST_CURL(an_idle_connection_that_ended_is_not_used_by_libcurl),
        KIT_TEST(an_idle_connection_is_closed_in_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
