/* Streamed answers: their framing, and how a cut one looks to the client. */
#include "http/server.h"

#include "http/server_test_kit.h"

static void a_stream_is_chunked_and_its_head_goes_with_the_first_write(void **state)
{
    kit *k = *state;
    kit_client *c = kit_client_new(k);
    kit_send(c, GET("/hold"));
    kit_wait(k, k->held);
    gw_exchange *x = k->held;
    gw_exchange_start(x, &(gw_response_head){.status = 200}, -1);
    kit_settle(k);
    assert_int_equal(c->in.len, 0);
    assert_false(gw_exchange_has_started(x));
    const gw_str parts[] = {GW_STR("data: "), GW_STR(""), GW_STR("one\n\n")};
    gw_exchange_write(x, parts, 3);
    assert_true(gw_exchange_has_started(x));
    kit_wait(k, kit_saw(c, "Transfer-Encoding: chunked\r\n\r\nb\r\ndata: one\n\n\r\n"));
    gw_exchange_write(x, &GW_STR(""), 1); /* must not look like the end */
    gw_exchange_write(x, &GW_STR("two"), 1);
    gw_exchange_end(x);
    kit_wait(k, kit_saw(c, "3\r\ntwo\r\n0\r\n\r\n"));
    kit_wait(k, k->completed == 1);
    kit_send(c, GET("/next"));
    kit_wait(k, kit_saw(c, "GET /next? "));
}

static void more_parts_than_one_writev_takes_arrive_in_order(void **state)
{
    kit *k = *state;
    kit_client *c = kit_client_new(k);
    kit_send(c, GET("/hold"));
    kit_wait(k, k->held);
    gw_exchange_start(k->held, &(gw_response_head){.status = 200}, 60);
    gw_str parts[60];
    for (size_t i = 0; i < 60; i++)
        parts[i] = gw_str_n(&"abcdefghijklmnopqrstuvwxyz"[i % 26], 1);
    gw_exchange_write(k->held, parts, 60);
    gw_exchange_end(k->held);
    kit_wait(k,
             kit_saw(c, "Content-Length: "
                        "60\r\n\r\nabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefgh"));
}

static void a_flushed_head_goes_out_alone_and_an_empty_stream_is_whole(void **state)
{
    kit *k = *state;
    kit_client *c = kit_client_new(k);
    kit_send(c, GET("/hold"));
    kit_wait(k, k->held);
    gw_exchange *x = k->held;
    gw_exchange_start(x, &(gw_response_head){.status = 200}, -1);
    gw_exchange_flush_head(x);
    kit_wait(k, kit_saw(c, "\r\n\r\n"));
    gw_exchange_end(x);
    kit_wait(k, kit_saw(c, "\r\n\r\n0\r\n\r\n"));
}

static void a_stream_to_http_1_0_ends_with_the_connection(void **state)
{
    kit *k = *state;
    kit_client *c = kit_client_new(k);
    kit_send(c, "GET /hold HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    kit_wait(k, k->held);
    gw_exchange_start(k->held, &(gw_response_head){.status = 200}, -1);
    gw_exchange_write(k->held, &GW_STR("all of it"), 1);
    gw_exchange_end(k->held);
    kit_wait(k, c->is_ended);
    assert_false(c->is_reset);
    kit_assert_saw(c, "Connection: close\r\n\r\nall of it");
    assert_false(kit_saw(c, "chunked"));
}

static void an_aborted_stream_is_seen_as_cut(void **state)
{
    kit *k = *state;
    kit_client *c = kit_client_new(k);
    kit_send(c, GET("/hold"));
    kit_wait(k, k->held);
    gw_exchange_start(k->held, &(gw_response_head){.status = 200}, -1);
    gw_exchange_write(k->held, &GW_STR("some"), 1);
    gw_exchange_abort(k->held);
    assert_int_equal(k->closed, 0);
    kit_wait(k, c->is_ended);
    assert_false(kit_saw(c, "0\r\n\r\n"));
    assert_int_equal(k->closed, 1);
    assert_int_equal(k->completed, 0);

    kit_client *old = kit_client_new(k);
    kit_send(old, "GET /hold HTTP/1.0\r\n\r\n");
    kit_wait(k, k->held);
    gw_exchange_start(k->held, &(gw_response_head){.status = 200}, -1);
    gw_exchange_write(k->held, &GW_STR("some"), 1);
    kit_wait(k, kit_saw(old, "some"));
    gw_exchange_abort(k->held);
    kit_wait(k, old->is_ended);
    assert_true(old->is_reset);
}

static void an_answer_of_another_length_than_announced_is_cut(void **state)
{
    kit *k = *state;
    kit_client *c = kit_client_new(k);
    kit_send(c, GET("/hold"));
    kit_wait(k, k->held);
    gw_exchange_start(k->held, &(gw_response_head){.status = 200}, 3);
    gw_exchange_write(k->held, &GW_STR("ab"), 1);
    gw_exchange_write(k->held, &GW_STR("cd"), 1);
    gw_exchange_end(k->held);
    kit_wait(k, c->is_ended);
    assert_false(kit_saw(c, "abcd"));

    kit_client *d = kit_client_new(k);
    kit_send(d, GET("/hold"));
    kit_wait(k, k->held);
    gw_exchange_start(k->held, &(gw_response_head){.status = 200}, 3);
    gw_exchange_write(k->held, &GW_STR("ab"), 1);
    gw_exchange_end(k->held);
    kit_wait(k, d->is_ended);
    assert_int_equal(k->completed, 0);
    assert_int_equal(k->closed, 2);
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
        CASE(a_stream_is_chunked_and_its_head_goes_with_the_first_write),
        CASE(more_parts_than_one_writev_takes_arrive_in_order),
        CASE(a_flushed_head_goes_out_alone_and_an_empty_stream_is_whole),
        CASE(a_stream_to_http_1_0_ends_with_the_connection),
        CASE(an_aborted_stream_is_seen_as_cut),
        CASE(an_answer_of_another_length_than_announced_is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
