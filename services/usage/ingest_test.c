/*
 * A stream of a relay end to end: over loopback into a real server, which MONGO_URI names; without
 * it these tests are skipped.
 */
#include "ingest_test_kit.h"

#define SKIP_WITHOUT_MONGO(f)                                                                      \
    fixture *f = (fixture *)*state;                                                                \
    if (!f) {                                                                                      \
        skip();                                                                                    \
        return;                                                                                    \
    }

static void events_become_rows_hours_and_days(void **state)
{
    SKIP_WITHOUT_MONGO(f)
    send_hello(f, 0, 1, false);
    gw_test_run_until(&f->until, first_is_welcomed);
    assert_int_equal(f->relays[0].n, 0);
    send_events(&f->relays[0], 1, 10);
    gw_test_run_until(&f->until, ten_are_acked);
    expect_requests(f, 10);
}

static void repeated_frames_count_once(void **state)
{
    SKIP_WITHOUT_MONGO(f)
    send_hello(f, 0, 1, false);
    gw_test_run_until(&f->until, first_is_welcomed);
    send_events(&f->relays[0], 1, 6);
    send_events(&f->relays[0], 1, 6);
    send_events(&f->relays[0], 4, 10);
    gw_test_run_until(&f->until, ten_are_acked);
    send_events(&f->relays[0], 1, 10);
    send_hello(f, 1, 1, true);
    gw_test_run_until(&f->until, second_is_welcomed);
    assert_int_equal(f->relays[1].n, 10);
    send_events(&f->relays[1], 1, 10);
    expect_requests(f, 10);
}

static void two_streams_of_one_spool_count_each_event_once(void **state)
{
    SKIP_WITHOUT_MONGO(f)
    send_hello(f, 0, 1, false);
    gw_test_run_until(&f->until, first_is_welcomed);
    send_hello(f, 1, 1, true);
    gw_test_run_until(&f->until, second_is_welcomed);
    for (int64_t seq = 1; seq <= 10; seq++) {
        send_events(&f->relays[0], seq, seq);
        send_events(&f->relays[1], seq, seq);
    }
    gw_test_run_until(&f->until, both_have_ten_or_ended);
    expect_requests(f, 10);
}

static void expect_refusal(fixture *f, Apirelay__Usage__V1__ErrorCode code)
{
    gw_test_run_until(&f->until, first_has_ended);
    assert_int_equal(f->relays[0].error, code);
}

static void a_copy_of_a_spool_is_refused(void **state)
{
    SKIP_WITHOUT_MONGO(f)
    send_hello(f, 1, 1, false);
    gw_test_run_until(&f->until, second_is_welcomed);
    send_hello(f, 0, 2, false);
    expect_refusal(f, APIRELAY__USAGE__V1__ERROR_CODE__ERROR_CODE_CONFLICT);
}

static void a_copy_is_not_told_that_its_events_are_claimed_when_others_are(void **state)
{
    SKIP_WITHOUT_MONGO(f)
    send_hello(f, 0, 1, false);
    gw_test_run_until(&f->until, first_is_welcomed);
    send_hello(f, 1, 1, true);
    gw_test_run_until(&f->until, second_is_welcomed);
    f->relays[1].salt = 1;
    send_events(&f->relays[0], 1, 2);
    gw_test_run_until(&f->until, first_has_two);
    send_events(&f->relays[1], 1, 3);
    gw_test_run_until(&f->until, second_has_ended);
    assert_int_equal(f->relays[1].error, APIRELAY__USAGE__V1__ERROR_CODE__ERROR_CODE_CONFLICT);
    assert_int_equal(f->relays[1].n, 0);
    expect_requests(f, 2);
}

static void a_spool_that_was_forgotten_is_told_so(void **state)
{
    SKIP_WITHOUT_MONGO(f)
    send_hello(f, 0, 1, true);
    expect_refusal(f, APIRELAY__USAGE__V1__ERROR_CODE__ERROR_CODE_GONE);
}

static void a_gap_ends_the_stream_and_skips_nothing(void **state)
{
    SKIP_WITHOUT_MONGO(f)
    send_hello(f, 0, 1, false);
    gw_test_run_until(&f->until, first_is_welcomed);
    send_events(&f->relays[0], 2, 5);
    expect_refusal(f, APIRELAY__USAGE__V1__ERROR_CODE__ERROR_CODE_PROTOCOL);
    (void)total(f, COLLECTION_ROWS, "x");
    assert_int_equal(f->documents, 0);
}

static void events_before_the_welcome_end_the_stream(void **state)
{
    SKIP_WITHOUT_MONGO(f)
    send_hello(f, 0, 1, false);
    send_events(&f->relays[0], 1, 1);
    expect_refusal(f, APIRELAY__USAGE__V1__ERROR_CODE__ERROR_CODE_PROTOCOL);
}

static void a_relay_that_has_sent_all_gets_its_ack_first(void **state)
{
    SKIP_WITHOUT_MONGO(f)
    send_hello(f, 0, 1, false);
    gw_test_run_until(&f->until, first_is_welcomed);
    send_events(&f->relays[0], 1, 10);
    gw_rpc_stream_close_send(f->relays[0].call);
    gw_test_run_until(&f->until, first_has_ended);
    assert_int_equal(f->relays[0].n, 10);
    assert_int_equal(total(f, COLLECTION_SPOOLS, "done"), 10);
    expect_requests(f, 10);
}

static void live_counters_are_handed_on(void **state)
{
    SKIP_WITHOUT_MONGO(f)
    Apirelay__Usage__V1__Live live = APIRELAY__USAGE__V1__LIVE__INIT;
    Apirelay__Usage__V1__StreamRequest q = APIRELAY__USAGE__V1__STREAM_REQUEST__INIT;
    send_hello(f, 0, 1, false);
    live.second = 77;
    q.frame_case = APIRELAY__USAGE__V1__STREAM_REQUEST__FRAME_LIVE;
    q.live = &live;
    gw_rpc_stream_send(f->relays[0].call, &q.base);
    gw_test_run_until(&f->until, a_live_frame_came);
}

static int setup_group(void **state)
{
    (void)state;
    gw_rpc_init();
    return 0;
}

static int teardown_group(void **state)
{
    (void)state;
    gw_rpc_shutdown();
    return 0;
}

int main(void)
{
#define STREAM_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        STREAM_TEST(events_become_rows_hours_and_days),
        STREAM_TEST(repeated_frames_count_once),
        STREAM_TEST(two_streams_of_one_spool_count_each_event_once),
        STREAM_TEST(a_copy_of_a_spool_is_refused),
        STREAM_TEST(a_copy_is_not_told_that_its_events_are_claimed_when_others_are),
        STREAM_TEST(a_spool_that_was_forgotten_is_told_so),
        STREAM_TEST(a_gap_ends_the_stream_and_skips_nothing),
        STREAM_TEST(events_before_the_welcome_end_the_stream),
        STREAM_TEST(a_relay_that_has_sent_all_gets_its_ack_first),
        STREAM_TEST(live_counters_are_handed_on),
    };
    return cmocka_run_group_tests(tests, setup_group, teardown_group);
}
