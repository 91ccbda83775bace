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
    f->stop_when_writables = 1; /* that what was sent has left may be told after the answer to it */
    while (f->writables == 0)
        gw_loop_run(f->loop);
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

/* ---- client streaming ---- */

static void many_messages_get_one_answer(void **state)
{
    fixture *f = *state;
    start_import(f, "good", 20000);
    send_key(f, "one");
    send_key(f, "two");
    send_key(f, "three");
    gw_rpc_stream_close_send(f->stream);
    run_until_done(f, 1);
    assert_int_equal(f->rc, GW_OK);
    assert_string_equal(f->text, "one two three ");
    assert_int_equal(f->half_closed, 1);
    assert_int_equal(f->cancelled, 0);
}

static void no_messages_get_one_answer_too(void **state)
{
    fixture *f = *state;
    start_import(f, "good", 20000);
    gw_rpc_stream_close_send(f->stream);
    run_until_done(f, 1);
    assert_int_equal(f->rc, GW_OK);
    assert_string_equal(f->text, "");
}

static void the_answer_may_come_before_the_last_message(void **state)
{
    fixture *f = *state;
    start_import(f, "good", 20000);
    send_key(f, "one");
    send_key(f, "enough");
    run_until_done(f, 1);
    assert_int_equal(f->rc, GW_OK);
    assert_string_equal(f->text, "one enough ");
    assert_int_equal(f->half_closed, 0);
}

static void a_bad_message_fails_a_client_stream_with_its_field(void **state)
{
    fixture *f = *state;
    start_import(f, "good", 20000);
    send_key(f, "one");
    send_key(f, "bad");
    send_key(f, "three");
    run_until_done(f, 1);
    assert_int_equal(f->rc, GW_ERR_INVALID_ARGUMENT);
    assert_string_equal(f->err.field, "api_key.name");
    assert_string_equal(f->names, "one bad ");
}

static void every_message_of_a_client_stream_is_walked(void **state)
{
    fixture *f = *state;
    start_import(f, "good", 20000);
    send_key(f, "one");
    send_key(f, "\xff\xfe is no UTF-8");
    f->stop_when_done = 99;
    f->stop_when_cancelled = 1;
    while (f->cancelled == 0)
        gw_loop_run(f->loop);
    run_until_done(f, 1);
    assert_int_equal(f->rc, GW_ERR_INVALID_ARGUMENT);
    assert_string_equal(f->names, "one ");
}

static void a_client_stream_needs_its_credential_before_any_message(void **state)
{
    fixture *f = *state;
    start_import(f, "low", 20000);
    send_key(f, "one");
    run_until_done(f, 1);
    assert_int_equal(f->rc, GW_ERR_PERMISSION_DENIED);
    assert_int_equal(f->started, 0);
    start_import(f, "slow", 20000); /* messages wait for the verdict */
    send_key(f, "two");
    gw_rpc_stream_close_send(f->stream);
    run_until_done(f, 2);
    assert_int_equal(f->rc, GW_OK);
    assert_string_equal(f->text, "two ");
}

static void a_client_stream_that_never_ends_is_ended_by_its_deadline(void **state)
{
    fixture *f = *state;
    f->stop_when_cancelled = 1;
    for (int64_t deadline_ms = 50; f->started == 0; deadline_ms *= 2) {
        start_import(f, "good", deadline_ms);
        send_key(f, "one");
        run_until_done(f, f->done + 1);
        assert_int_equal(f->rc, GW_ERR_DEADLINE_EXCEEDED);
    }
    while (f->cancelled == 0)
        gw_loop_run(f->loop);
}

static void a_client_stream_may_be_cancelled(void **state)
{
    fixture *f = *state;
    start_import(f, "good", 20000);
    send_key(f, "one");
    f->stop_when_started = 1;
    gw_loop_run(f->loop);
    gw_rpc_cancel(f->stream);
    f->stop_when_cancelled = 1;
    while (f->cancelled == 0 || f->done == 0)
        gw_loop_run(f->loop);
    assert_int_equal(f->rc, GW_ERR_CANCELLED);
}

/* ---- a reader that does not read ---- */

static void fill(void *arg)
{
    fixture *f = arg;
    gw_rpc_call *c = f->hanging;
    for (int i = 0; i < 1000 && !gw_rpc_call_is_cancelled(c) && f->cancelled == 0; i++) {
        char text[32 << 10];
        memset(text, 'x', sizeof text - 1);
        text[sizeof text - 1] = '\0';
        Apirelay__Auth__V1__WatchResponse__Change change =
            APIRELAY__AUTH__V1__WATCH_RESPONSE__CHANGE__INIT;
        Apirelay__Auth__V1__WatchResponse r = APIRELAY__AUTH__V1__WATCH_RESPONSE__INIT;
        change.key_id = text;
        r.event_case = APIRELAY__AUTH__V1__WATCH_RESPONSE__EVENT_CHANGE;
        r.change = &change;
        gw_rpc_send(c, &r.base);
    }
}

static void answers_that_nobody_reads_end_the_stream(void **state)
{
    fixture *f = *state;
    start_watch(f, -1);
    gw_rpc_stream_pause(f->stream);
    f->stop_when_started = 1;
    gw_loop_run(f->loop);
    f->stop_when_cancelled = 1;
    fill(f);
    assert_int_equal(f->cancelled, 1);
    gw_rpc_stream_resume(f->stream);
    f->stop_when_done = 1;
    while (f->done == 0)
        gw_loop_run(f->loop);
    assert_int_equal(f->rc, GW_ERR_OVERLOADED);
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
        CASE(many_messages_get_one_answer),
        CASE(no_messages_get_one_answer_too),
        CASE(the_answer_may_come_before_the_last_message),
        CASE(a_bad_message_fails_a_client_stream_with_its_field),
        CASE(every_message_of_a_client_stream_is_walked),
        CASE(a_client_stream_needs_its_credential_before_any_message),
        CASE(a_client_stream_that_never_ends_is_ended_by_its_deadline),
        CASE(a_client_stream_may_be_cancelled),
        CASE(answers_that_nobody_reads_end_the_stream),
        CASE(a_channel_may_be_freed_while_a_stream_runs),
    };
    return cmocka_run_group_tests(tests, setup_group, teardown_group);
}
