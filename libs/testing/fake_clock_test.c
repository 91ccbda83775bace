#include "testing/fake_clock.h"

#include "testing/cmocka.h"

static void time_stands_still_until_it_is_moved(void **state)
{
    (void)state;
    gw_fake_clock time;
    gw_clock clock = gw_fake_clock_init(&time, 1764000000000);
    assert_int_equal(gw_clock_wall_ms(&clock), 1764000000000);
    assert_int_equal(gw_clock_mono_ms(&clock), 1000);
    gw_fake_clock_advance_ms(&time, 250);
    assert_int_equal(gw_clock_wall_ms(&clock), 1764000000250);
    assert_int_equal(gw_clock_mono_ms(&clock), 1250);
    gw_fake_clock_advance_ns(&time, 600000);
    gw_fake_clock_advance_ns(&time, 600000); /* parts of a millisecond add up */
    assert_int_equal(gw_clock_wall_ms(&clock), 1764000000251);
    assert_int_equal(gw_clock_mono_ns(&clock), 1251200000);
}

static void a_step_of_the_wall_clock_leaves_durations_alone(void **state)
{
    (void)state;
    gw_fake_clock time;
    gw_clock clock = gw_fake_clock_init(&time, 1764000000000);
    gw_fake_clock_set_wall_ms(&time, 5);
    assert_int_equal(gw_clock_wall_ms(&clock), 5);
    assert_int_equal(gw_clock_mono_ms(&clock), 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(time_stands_still_until_it_is_moved),
        cmocka_unit_test(a_step_of_the_wall_clock_leaves_durations_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
