#include "credential_loads.h"

#include "testing/cmocka.h"

#define ALL 0xFFU

static int setup(void **state)
{
    *state = credential_loads_new();
    return *state ? 0 : -1;
}

static int teardown(void **state)
{
    credential_loads_free(*state);
    return 0;
}

static void equals_take_turns(void **state)
{
    for (unsigned i = 0; i < 9; i++) {
        unsigned at = credential_loads_take(*state, GW_STR("p"), 3, ALL);
        assert_int_equal(at, i % 3);
        credential_loads_give_back(*state, GW_STR("p"), at);
    }
}

static void the_one_with_the_fewest_is_taken(void **state)
{
    for (unsigned i = 0; i < 6; i++)
        (void)credential_loads_take(*state, GW_STR("p"), 3, ALL);
    credential_loads_give_back(*state, GW_STR("p"), 1);
    credential_loads_give_back(*state, GW_STR("p"), 1);
    assert_int_equal(credential_loads_take(*state, GW_STR("p"), 3, ALL), 1);
    assert_int_equal(credential_loads_take(*state, GW_STR("p"), 3, ALL), 1);
}

static void providers_are_counted_apart(void **state)
{
    assert_int_equal(credential_loads_take(*state, GW_STR("p"), 2, ALL), 0);
    assert_int_equal(credential_loads_take(*state, GW_STR("q"), 2, ALL), 0);
}

static void one_that_is_not_usable_is_left_out_unless_none_is(void **state)
{
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(credential_loads_take(*state, GW_STR("p"), 2, 2), 1);
    assert_int_equal(credential_loads_take(*state, GW_STR("p"), 2, 0), 0);
    assert_int_equal(credential_loads_take(*state, GW_STR("p"), 2, 4), 0);
}

static void what_was_never_taken_is_not_given_back(void **state)
{
    credential_loads_give_back(*state, GW_STR("p"), 0);
    (void)credential_loads_take(*state, GW_STR("p"), 2, 1);
    credential_loads_give_back(*state, GW_STR("p"), 0);
    credential_loads_give_back(*state, GW_STR("p"), 0);
    assert_int_equal(credential_loads_take(*state, GW_STR("p"), 2, ALL), 1);
    assert_int_equal(credential_loads_take(*state, GW_STR("p"), 2, ALL), 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(equals_take_turns),
        TEST(the_one_with_the_fewest_is_taken),
        TEST(providers_are_counted_apart),
        TEST(one_that_is_not_usable_is_left_out_unless_none_is),
        TEST(what_was_never_taken_is_not_given_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
