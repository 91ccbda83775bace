#include "rpc/rpc_fixture.h"

#define MANY 2000

static void a_server_stream_arrives_whole_and_in_order(void **state)
{
    fixture *f = *state;
    start_watch(f, MANY);
    run_until_done(f, 1);
    assert_int_equal(f->rc, GW_OK);
    assert_int_equal(f->messages, MANY);
    assert_int_equal(f->last_value, 1); /* it counts down */
    assert_in_range(f->most_queued, 1, QUEUE_MAX);
}

static void a_stream_without_messages_ends_well(void **state)
{
    fixture *f = *state;
    start_watch(f, 0);
    run_until_done(f, 1);
    assert_int_equal(f->rc, GW_OK);
    assert_int_equal(f->messages, 0);
}

static void resume_later(void *arg)
{
    fixture *f = arg;
    assert_int_equal(f->messages, 5); /* nothing came meanwhile */
    assert_int_equal(f->done, 0);
    gw_rpc_stream_resume(f->stream);
}

static void a_paused_client_holds_the_stream_back(void **state)
{
    fixture *f = *state;
    f->pause_after = f->stop_when_messages = 5;
    start_watch(f, 200);
    gw_loop_run(f->loop);
    gw_timer t;
    gw_timer_init(&t, resume_later, f);
    gw_timer_set(f->loop, &t, 30);
    run_until_done(f, 1);
    assert_int_equal(f->rc, GW_OK);
    assert_int_equal(f->messages, 200);
}

static void a_bidi_stream_echoes_with_backpressure_until_the_half_close(void **state)
{
    fixture *f = *state;
    start_stream(f);
    for (int64_t i = 1; i <= MANY; i++)
        send_events(f, i, 100);
    assert_in_range(gw_rpc_stream_queued(f->stream), 1, MANY);
    gw_rpc_stream_close_send(f->stream);
    run_until_done(f, 1);
    assert_int_equal(f->rc, GW_OK);
    assert_int_equal(f->messages, MANY);
    assert_int_equal(f->last_value, MANY);
    assert_int_equal(f->half_closed, 1);
    assert_in_range(f->most_queued, 1, QUEUE_MAX + 1);
}

static void a_client_is_told_when_it_may_send_more(void **state)
{
    fixture *f = *state;
    start_stream(f);
    send_events(f, 1, 10);
    send_events(f, 2, 10);
    f->stop_when_messages = 2;
    gw_loop_run(f->loop);
    assert_int_equal(f->messages, 2);
    assert_int_equal(f->writables, 1);
    gw_rpc_cancel(f->stream);
    run_until_done(f, 1);
    assert_int_equal(f->rc, GW_ERR_CANCELLED);
}

static void a_cancelled_stream_is_seen_by_the_handler(void **state)
{
    fixture *f = *state;
    start_watch(f, -1);
    f->stop_when_started = 1;
    gw_loop_run(f->loop);
    gw_rpc_cancel(f->stream);
    f->stop_when_cancelled = 1;
    while (f->cancelled == 0 || f->done == 0)
        gw_loop_run(f->loop);
    assert_int_equal(f->rc, GW_ERR_CANCELLED);
}

static void the_handler_may_fail_a_stream_at_any_time(void **state)
{
    fixture *f = *state;
    start_watch(f, -1);
    f->stop_when_started = 1;
    gw_loop_run(f->loop);
    gw_error err;
    (void)gw_fail(&err, GW_ERR_SPOOL_BUSY, "another one has it");
    gw_rpc_fail(f->hanging, &err);
    run_until_done(f, 1);
    assert_int_equal(f->rc, GW_ERR_SPOOL_BUSY);
    assert_string_equal(f->err.message, "another one has it");
}

static void a_message_over_the_methods_bound_ends_the_stream(void **state)
{
    fixture *f = *state;
    start_stream(f);
    send_events(f, 1, 10);
    send_events(f, 2, 65 << 10);
    f->stop_when_done = 99;
    f->stop_when_cancelled = 1;
    gw_loop_run(f->loop);
    assert_int_equal(f->cancelled, 1);
    run_until_done(f, 1);
    assert_int_equal(f->rc, GW_ERR_BODY_TOO_LARGE);
}

static void a_channel_may_be_freed_while_a_stream_runs(void **state)
{
    fixture *f = *state;
    start_watch(f, 100000);
    f->stop_when_messages = 10;
    gw_loop_run(f->loop);
    gw_rpc_channel_free(gw_steal(&f->channel));
    assert_int_equal(f->done, 1);
    assert_int_equal(f->rc, GW_ERR_CANCELLED);
    size_t messages = f->messages;
    f->stop_when_cancelled = 1;
    while (f->cancelled == 0)
        gw_loop_run(f->loop);
    assert_int_equal(f->messages, messages);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        CASE(a_server_stream_arrives_whole_and_in_order),
        CASE(a_stream_without_messages_ends_well),
        CASE(a_paused_client_holds_the_stream_back),
        CASE(a_bidi_stream_echoes_with_backpressure_until_the_half_close),
        CASE(a_client_is_told_when_it_may_send_more),
        CASE(a_cancelled_stream_is_seen_by_the_handler),
        CASE(the_handler_may_fail_a_stream_at_any_time),
        CASE(a_message_over_the_methods_bound_ends_the_stream),
        CASE(a_channel_may_be_freed_while_a_stream_runs),
    };
    return cmocka_run_group_tests(tests, setup_group, teardown_group);
}
