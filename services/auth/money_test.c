#include "money.h"

#include "testing/cmocka.h"

#include <math.h>

static void usd_are_rounded_half_to_even_as_people_write_them(void **state)
{
    (void)state;
    static const struct {
        double usd;
        int64_t nano;
    } cases[] = {
        {0, 0},
        {-0.0, 0},
        {0.1, 100000000},
        {1.5, 1500000000},
        {0.000000001, 1},
        {0.0000000005, 0},
        {0.00000000051, 1},
        {0.0000000015, 2},
        {0.0000000025, 2},
        {0.0000000035, 4},
        {0.3, 300000000},
        {1.0000000005, 1000000000},
        {1.0000000015, 1000000002},
        {1234567.123456789, 1234567123456789},
        {9007199, NANO_USD_MAX},
        {1e-300, 0},
    };
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        int64_t nano = -1;
        assert_true(money_nano_of_usd(cases[i].usd, &nano));
        assert_int_equal(nano, cases[i].nano);
    }
}

static void what_is_no_amount_is_refused(void **state)
{
    (void)state;
    const double bad[] = {-1, -1e-12, 9007199.000000002, 9e9, NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < GW_ARRAY_LEN(bad); i++) {
        int64_t nano = -1;
        assert_false(money_nano_of_usd(bad[i], &nano));
        assert_int_equal(nano, -1);
    }
}

static void nano_and_back_agree_while_doubles_are_finer_than_nanos(void **state)
{
    (void)state;
    for (int64_t nano = 1; nano < 4194304000000000; /* 2^22 USD */ nano = nano * 7 + 3) {
        int64_t back = 0;
        assert_true(money_nano_of_usd(money_usd_of_nano(nano), &back));
        assert_int_equal(back, nano);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(usd_are_rounded_half_to_even_as_people_write_them),
        cmocka_unit_test(what_is_no_amount_is_refused),
        cmocka_unit_test(nano_and_back_agree_while_doubles_are_finer_than_nanos),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
