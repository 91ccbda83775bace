#include "counted_models.h"

#include "testing/cmocka.h"

#include "core/clock.h"

#include <stdio.h>

#define NOON_MS (20000 * GW_MS_PER_DAY + GW_MS_PER_DAY / 2)

static const gw_str listed[] = {{"gpt-4o", 6}};
static const model_route glob = {
    .pattern = {"gpt-*", 5}, .listed_models = listed, .listed_count = 1};
static const model_route exact = {.pattern = {"gpt-exact", 9}, .is_exact = true};

static int setup(void **state)
{
    *state = counted_models_new();
    return *state ? 0 : -1;
}

static int teardown(void **state)
{
    counted_models_free(*state);
    return 0;
}

static bool take(counted_models *m, int number, int64_t at_ms)
{
    char name[32];
    int len = snprintf(name, sizeof(name), "gpt-made-up-%d", number);
    return counted_models_take(m, &glob, gw_str_n(name, (size_t)len), at_ms);
}

/* How many names of a flood of them are counted by themselves. */
static int flood(counted_models *m, int64_t at_ms)
{
    int taken = 0;
    for (int i = 0; i < 100000; i++)
        taken += take(m, i, at_ms);
    return taken;
}

static void a_flood_of_names_is_bounded_and_those_that_came_first_stay(void **state)
{
    counted_models *m = *state;
    int taken = flood(m, NOON_MS);

    assert_in_range(taken, 4000, COUNTED_MODELS_BYTES / 150);
    assert_true(take(m, 0, NOON_MS + 1));
    assert_true(take(m, taken - 1, NOON_MS + 1));
    assert_false(take(m, taken + 1, NOON_MS + 1));
}

static void names_that_were_configured_need_no_room(void **state)
{
    counted_models *m = *state;

    (void)flood(m, NOON_MS);
    assert_true(counted_models_take(m, &glob, GW_STR("gpt-4o"), NOON_MS));
    assert_true(counted_models_take(m, &exact, GW_STR("gpt-exact"), NOON_MS));
}

static void another_day_begins_anew(void **state)
{
    counted_models *m = *state;
    int taken = flood(m, NOON_MS);

    assert_false(take(m, taken, NOON_MS + GW_MS_PER_DAY / 2 - 1));
    assert_true(take(m, taken, NOON_MS + GW_MS_PER_DAY / 2));
    assert_int_equal(flood(m, NOON_MS + GW_MS_PER_DAY), taken);
}

static void characters_that_are_escaped_count_as_they_are_stored(void **state)
{
    counted_models *m = *state;
    char name[250];
    int dotted = 0;

    for (int i = 0; i < 10000; i++) {
        memset(name, '.', sizeof(name));
        (void)snprintf(name, sizeof(name), "%06d", i);
        name[6] = '$';
        dotted += counted_models_take(m, &glob, gw_str_n(name, sizeof(name)), NOON_MS);
    }
    assert_in_range(dotted, 1, COUNTED_MODELS_BYTES / (3 * 244));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_flood_of_names_is_bounded_and_those_that_came_first_stay,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(names_that_were_configured_need_no_room, setup, teardown),
        cmocka_unit_test_setup_teardown(another_day_begins_anew, setup, teardown),
        cmocka_unit_test_setup_teardown(characters_that_are_escaped_count_as_they_are_stored, setup,
                                        teardown),
    };
    return cmocka_run_group_tests_name("counted_models", tests, NULL, NULL);
}
