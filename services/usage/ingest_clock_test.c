/* The clock that events are judged by. */
#include "ingest_internal.h"

#include "event_testing.h"
#include "testing/fake_clock.h"

static void a_clock_that_steps_back_a_day_sets_no_event_aside(void **state)
{
    gw_fake_clock time;
    gw_clock clock = gw_fake_clock_init(&time, TEST_NOW_MS);
    gw_auto(gw_loop) loop = NULL;
    gw_auto(ingest) in = NULL;
    gw_auto_buf packed = {0};
    test_event t;
    (void)state;
    assert_int_equal(gw_loop_new(&clock, &loop, NULL), GW_OK);
    const ingest_options options = {.loop = loop};
    assert_int_equal(ingest_new(&options, &in, NULL), GW_OK);
    test_event_init(&t);
    gw_str event = test_event_pack(&t, &packed);
    assert_int_equal(ingest_now_ms(in), TEST_NOW_MS);
    gw_fake_clock_set_wall_ms(&time, TEST_NOW_MS - GW_MS_PER_DAY);
    assert_string_equal(
        event_judge(event, gw_clock_wall_ms(gw_loop_clock(loop)), TEST_RETENTION_MS),
        "in_the_future");
    assert_null(event_judge(event, ingest_now_ms(in), TEST_RETENTION_MS));
    gw_fake_clock_advance_ms(&time, 5000); /* and it goes on from where it was */
    assert_int_equal(ingest_now_ms(in), TEST_NOW_MS + 5000);
    gw_fake_clock_set_wall_ms(&time, TEST_NOW_MS + 60000); /* forward it follows */
    assert_int_equal(ingest_now_ms(in), TEST_NOW_MS + 60000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_clock_that_steps_back_a_day_sets_no_event_aside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
