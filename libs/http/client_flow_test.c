#include "http/client_test_kit.h"

static const char ok_answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
#define BIG_BYTES ((size_t)8 * 1024 * 1024)

static void stay_silent(kit_peer *p)
{
    (void)p;
}

static void send_with(kit *k, kit_call *c, gw_http_timeouts t)
{
    gw_http_request r = kit_request(k, "GET");
    r.timeouts = t;
    kit_start(k, c, &r);
}

/* ---- timeouts ---- */

static void assert_timeout(kit *k, gw_http_timeouts t, const char *message)
{
    kit_auto_call c = {0};
    send_with(k, &c, t);
    kit_run(k);
    assert_int_equal(c.rc, GW_ERR_UPSTREAM_TIMEOUT);
    if (!strstr(c.err.message, message))
        fail_msg("the message is \"%s\"", c.err.message);
    assert_int_equal(c.dones, 1);
}

static void a_silent_upstream_runs_into_the_first_byte_timeout(void **state)
{
    kit *k = *state;
    k->server.on_request = stay_silent;
    assert_timeout(k, (gw_http_timeouts){.first_byte_ms = 20, .idle_ms = 1},
                   "no answer within 20 ms");
}

static void interim_answers_do_not_count_as_the_answer(void **state)
{
    kit *k = *state;
    kit_script(k, "HTTP/1.1 100 Continue\r\n\r\n", false);
    assert_timeout(k, (gw_http_timeouts){.first_byte_ms = 20}, "no answer within 20 ms");
}

static void a_stalled_answer_runs_into_the_idle_timeout(void **state)
{
    kit *k = *state;
    kit_script(k, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe", false);
    assert_timeout(k, (gw_http_timeouts){.idle_ms = 20}, "no answer byte for 20 ms");
}

static void the_total_timeout_covers_everything(void **state)
{
    kit *k = *state;
    kit_script(k, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe", false);
    assert_timeout(k, (gw_http_timeouts){.idle_ms = 10000, .total_ms = 20}, "more than 20 ms");
}

static void the_connect_timeout_covers_the_tls_handshake(void **state)
{
    kit *k = *state;
    k->server.on_request = stay_silent;
    kit_auto_call c = {0};
    gw_http_request r = kit_request(k, "GET");
    r.url.scheme = GW_STR("https");
    r.timeouts.connect_ms = 30;
    kit_start(k, &c, &r);
    kit_run(k);
    assert_int_equal(c.rc, GW_ERR_UPSTREAM_TIMEOUT);
    assert_non_null(strstr(c.err.message, "no connection within 30 ms"));
    assert_false(c.k->pending);
}

static void an_upstream_that_takes_no_request_bytes_times_out(void **state)
{
    kit *k = *state;
    k->server.is_deaf = true;
    gw_auto_free char *big = calloc(1, BIG_BYTES);
    gw_str body = gw_str_n(big, BIG_BYTES);
    kit_auto_call c = {0};
    gw_http_request r = kit_request(k, "POST");
    r.body = &body;
    r.body_parts = 1;
    r.timeouts.first_byte_ms = 50;
    kit_start(k, &c, &r);
    kit_run(k);
    assert_int_equal(c.rc, GW_ERR_UPSTREAM_TIMEOUT);
    assert_non_null(strstr(c.err.message, "took no request byte for 50 ms"));
}

/* ---- bodies ---- */

static void a_large_body_arrives_whole(void **state)
{
    kit *k = *state;
    gw_auto_free char *big = malloc(BIG_BYTES);
    for (size_t i = 0; i < BIG_BYTES; i++)
        big[i] = (char)('a' + i % 23);
    gw_str body[] = {gw_str_n(big, 7), gw_str_n(big + 7, BIG_BYTES - 7)};
    gw_http_request r = kit_request(k, "POST");
    r.body = body;
    r.body_parts = 2;
    kit_script(k, ok_answer, false);
    for (int i = 0; i < 2; i++) { /* fresh, then kept */
        kit_auto_call c = {0};
        kit_start(k, &c, &r);
        kit_run(k);
        kit_assert_ok(&c);
        gw_str got = gw_buf_str(&k->server.last_request);
        assert_true(
            gw_str_eq(gw_str_slice(got, got.len - BIG_BYTES, got.len), gw_str_n(big, BIG_BYTES)));
    }
    assert_int_equal(k->server.accepted, 1);
}

static void answer_before_reading(kit *k)
{
    while (gw_list_is_empty(&k->server.peers))
        kit_turn(k);
    kit_peer *p = kit_first_peer(k);
    kit_send(p, GW_STR("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno"));
}

static void an_answer_may_come_before_the_request_is_sent(void **state)
{
    kit *k = *state;
    k->server.is_deaf = true;
    gw_auto_free char *big = calloc(1, BIG_BYTES);
    gw_str body = gw_str_n(big, BIG_BYTES);
    kit_auto_call c = {0};
    gw_http_request r = kit_request(k, "POST");
    r.body = &body;
    r.body_parts = 1;
    kit_start(k, &c, &r);
    answer_before_reading(k);
    kit_run(k);
    kit_assert_ok(&c);
    assert_int_equal(c.status, 413);
    assert_string_equal(c.body.data, "no");
    k->server.is_deaf = false;
    kit_script(k, ok_answer, false);
    kit_auto_call again = {0};
    kit_get(k, &again);
    kit_assert_ok(&again);
    assert_int_equal(k->server.accepted, 2);
}

/* ---- pause ---- */

static void resume(void *arg)
{
    kit_call *c = arg;
    gw_http_resume(c->call);
}

static void pause_a_while(kit_call *c)
{
    gw_http_pause(c->call);
    gw_timer_init(&c->timer, resume, c);
    gw_timer_set(c->k->loop, &c->timer, 1);
}

static void pause_once(kit_call *c)
{
    if (c->bodies <= 1)
        pause_a_while(c);
}

static void a_paused_answer_loses_nothing(void **state)
{
    kit *k = *state;
    static const char chunked[] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                                  "1\r\nh\r\n1\r\ne\r\n3\r\nllo\r\n0\r\n\r\n";
    const char *answers[] = {ok_answer, chunked, "HTTP/1.1 200 OK\r\n\r\nhello"};
    for (size_t a = 0; a < GW_ARRAY_LEN(answers); a++) {
        kit_script(k, answers[a], a == 2);
        for (size_t split = 0; split < strlen(answers[a]); split++) {
            kit_auto_call c = {.in_head = pause_a_while,
                               .in_body = split % 2 ? pause_once : pause_a_while};
            k->server.split_at = split;
            kit_get(k, &c);
            kit_assert_ok(&c);
            assert_string_equal(c.body.data, "hello");
            gw_timer_cancel(k->loop, &c.timer);
        }
    }
}

static void pause_for_good(kit_call *c)
{
    gw_http_pause(c->call);
}

static void resume_for_good(void *arg)
{
    kit_call *c = arg;
    c->in_body = NULL;
    gw_http_resume(c->call);
}

static void a_paused_call_reads_nothing_and_its_idle_time_does_not_run(void **state)
{
    kit *k = *state;
    gw_auto_buf answer = {0};
    gw_buf_appendf(&answer, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", BIG_BYTES);
    for (size_t i = 0; i < BIG_BYTES / 8; i++)
        gw_buf_append(&answer, "12345678", 8);
    kit_script(k, answer.data, false);
    kit_auto_call c = {.in_body = pause_for_good};
    send_with(k, &c, (gw_http_timeouts){.idle_ms = 150});
    while (c.bodies == 0)
        kit_turn(k);
    gw_timer_init(&c.timer, resume_for_good, &c);
    gw_timer_set(k->loop, &c.timer, 200);
    while (gw_timer_is_armed(&c.timer)) {
        assert_int_equal(c.bodies, 1);
        assert_int_equal(c.dones, 0);
        kit_turn(k);
    }
    kit_run(k);
    kit_assert_ok(&c);
    assert_int_equal(c.body.len, BIG_BYTES);
}

/* ---- cancel ---- */

static void cancel_it(kit_call *c)
{
    gw_http_cancel(c->call);
    assert_int_equal(c->dones, 0);
    gw_http_cancel(c->call);
    gw_http_resume(c->call);
}

static void assert_cancelled(kit *k, kit_call *c)
{
    kit_run(k);
    assert_int_equal(c->dones, 1);
    assert_int_equal(c->rc, GW_ERR_CANCELLED);
}

static void a_call_can_be_cancelled_at_every_stage(void **state)
{
    kit *k = *state;
    kit_auto_call dialing = {0}, waiting = {0}, head = {.in_head = cancel_it},
                  body = {.in_body = cancel_it}, paused = {.in_body = pause_for_good}, kept = {0};
    kit_script(k, ok_answer, false);
    send_with(k, &dialing, (gw_http_timeouts){0});
    cancel_it(&dialing);
    assert_cancelled(k, &dialing);

    k->server.on_request = stay_silent;
    send_with(k, &waiting, (gw_http_timeouts){.first_byte_ms = 1000, .total_ms = 1000});
    while (k->server.requests == 0)
        kit_turn(k);
    assert_true(gw_http_call_was_sent(waiting.call));
    cancel_it(&waiting);
    assert_cancelled(k, &waiting);

    k->server.on_request = NULL;
    send_with(k, &head, (gw_http_timeouts){0});
    assert_cancelled(k, &head);
    assert_int_equal(head.bodies, 0);
    send_with(k, &body, (gw_http_timeouts){0});
    assert_cancelled(k, &body);
    assert_int_equal(body.bodies, 1);
    send_with(k, &paused, (gw_http_timeouts){0});
    while (paused.bodies == 0)
        kit_turn(k);
    cancel_it(&paused);
    assert_cancelled(k, &paused);

    kit_get(k, &kept);
    kit_assert_ok(&kept);
    gw_buf_clear(&kept.body);
    kept.dones = kept.heads = 0;
    size_t requests = k->server.requests;
    send_with(k, &kept, (gw_http_timeouts){0});
    assert_false(gw_http_call_was_sent(kept.call)); /* before the turn ends */
    cancel_it(&kept);
    assert_cancelled(k, &kept);
    assert_int_equal(k->server.requests, requests);
}

static void a_request_that_is_put_off_may_be_paused_and_resumed(void **state)
{
    kit *k = *state;
    kit_auto_call first = {0}, paused = {0};
    kit_script(k, ok_answer, false);
    kit_get(k, &first);
    kit_assert_ok(&first); /* its connection is kept: the next request has one at once */
    send_with(k, &paused, (gw_http_timeouts){0});
    gw_http_pause(paused.call);
    gw_http_resume(paused.call);
    gw_http_pause(paused.call);
    while (k->server.requests < 2)
        kit_turn(k);
    assert_int_equal(paused.heads, 0);
    gw_http_resume(paused.call);
    kit_run(k);
    kit_assert_ok(&paused);
}

static void cancel_one_that_is_put_off(kit *k)
{
    kit_auto_call first = {0}, put_off = {0};
    kit_get(k, &first);
    kit_assert_ok(&first);
    send_with(k, &put_off, (gw_http_timeouts){0});
    cancel_it(&put_off);
    assert_cancelled(k, &put_off);
}

/* Its memory is the next one's, which has another carrier or is still dialing. */
static void a_request_that_was_put_off_and_cancelled_leaves_nothing_to_the_next(void **state)
{
    kit *k = *state;
    kit_auto_call carried = {0}, dialing = {0};
    kit_script(k, ok_answer, false);
    cancel_one_that_is_put_off(k);
    k->transport = GW_HTTP_CURL;
    kit_get(k, &carried);
    kit_assert_ok(&carried);

    k->transport = GW_HTTP_OWN;
    cancel_one_that_is_put_off(k);
    send_with(k, &dialing, (gw_http_timeouts){0});
    gw_http_pause(dialing.call);
    gw_http_resume(dialing.call);
    kit_run(k);
    kit_assert_ok(&dialing);
}

static void cancelling_in_mid_upload_lets_the_body_go(void **state)
{
    kit *k = *state;
    k->server.is_deaf = true;
    char *big = calloc(1, BIG_BYTES);
    gw_str body = gw_str_n(big, BIG_BYTES);
    kit_auto_call c = {0};
    gw_http_request r = kit_request(k, "POST");
    r.body = &body;
    r.body_parts = 1;
    kit_start(k, &c, &r);
    while (!gw_http_call_was_sent(c.call))
        kit_turn(k);
    gw_http_cancel(c.call);
    assert_cancelled(k, &c);
    free(big); /* the address sanitizer sees who still reads it */
}

static void closing_the_client_cancels_what_is_in_flight(void **state)
{
    kit *k = *state;
    kit_auto_call dialing = {0}, waiting = {0};
    k->server.on_request = stay_silent;
    send_with(k, &waiting, (gw_http_timeouts){0});
    while (k->server.requests == 0)
        kit_turn(k);
    send_with(k, &dialing, (gw_http_timeouts){0});
    kit_close_client(k);
    assert_int_equal(waiting.rc, GW_ERR_CANCELLED);
    assert_int_equal(dialing.rc, GW_ERR_CANCELLED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        KIT_TEST_BOTH(a_silent_upstream_runs_into_the_first_byte_timeout),
        KIT_TEST_BOTH(interim_answers_do_not_count_as_the_answer),
        KIT_TEST_BOTH(a_stalled_answer_runs_into_the_idle_timeout),
        KIT_TEST_BOTH(the_total_timeout_covers_everything),
        KIT_TEST_BOTH(the_connect_timeout_covers_the_tls_handshake),
        KIT_TEST_BOTH(an_upstream_that_takes_no_request_bytes_times_out),
        KIT_TEST_BOTH(a_large_body_arrives_whole),
        KIT_TEST_BOTH(an_answer_may_come_before_the_request_is_sent),
        KIT_TEST_BOTH(a_paused_answer_loses_nothing),
        KIT_TEST_BOTH(a_paused_call_reads_nothing_and_its_idle_time_does_not_run),
        KIT_TEST_BOTH(a_call_can_be_cancelled_at_every_stage),
        KIT_TEST(a_request_that_is_put_off_may_be_paused_and_resumed),
        KIT_TEST(a_request_that_was_put_off_and_cancelled_leaves_nothing_to_the_next),
        KIT_TEST_BOTH(cancelling_in_mid_upload_lets_the_body_go),
        KIT_TEST_BOTH(closing_the_client_cancels_what_is_in_flight),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
