#include "core/violations.h"

#include "testing/cmocka.h"

static void none_is_no_error(void **state)
{
    (void)state;
    gw_violations v = {0};
    gw_error err;
    assert_int_equal(gw_violations_status(&v, &err), GW_OK);
    assert_int_equal(gw_violations_split(&v, &err, NULL), GW_OK);
}

static void one_is_the_error_itself(void **state)
{
    (void)state;
    gw_violations v = {0}, further = {.count = 9};
    gw_error err;
    gw_violations_add(&v, "name", "must be at most %d characters", 200);
    assert_int_equal(gw_violations_status(&v, &err), GW_ERR_INVALID_ARGUMENT);
    assert_string_equal(err.field, "name");
    assert_string_equal(err.message, "must be at most 200 characters");
    assert_int_equal(gw_violations_split(&v, &err, &further), GW_ERR_INVALID_ARGUMENT);
    assert_int_equal(further.count, 0);
}

static void several_are_all_named(void **state)
{
    (void)state;
    gw_violations v = {0}, further = {0};
    gw_error err;
    gw_violations_add(&v, "name", "is missing");
    gw_violations_add(&v, "env", "is wrong");
    assert_int_equal(gw_violations_status(&v, &err), GW_ERR_INVALID_ARGUMENT);
    assert_string_equal(err.message, "name: is missing; env: is wrong");
    assert_int_equal(gw_violations_split(&v, &err, &further), GW_ERR_INVALID_ARGUMENT);
    assert_string_equal(err.message, "is missing");
    assert_int_equal(further.count, 1);
    assert_string_equal(further.items[0].field, "env");
    assert_string_equal(further.items[0].description, "is wrong");
}

static void the_number_kept_is_bounded(void **state)
{
    (void)state;
    gw_violations v = {0}, further = {0};
    gw_error err;
    for (int i = 0; i < GW_VIOLATIONS_MAX + 5; i++)
        gw_violations_add(&v, "list", "entry %d", i);
    assert_int_equal(v.count, GW_VIOLATIONS_MAX);
    assert_int_equal(gw_violations_status(&v, &err), GW_ERR_INVALID_ARGUMENT);
    assert_int_equal(gw_violations_split(&v, &err, &further), GW_ERR_INVALID_ARGUMENT);
    assert_int_equal(further.count, GW_VIOLATIONS_MAX - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(none_is_no_error),
        cmocka_unit_test(one_is_the_error_itself),
        cmocka_unit_test(several_are_all_named),
        cmocka_unit_test(the_number_kept_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
