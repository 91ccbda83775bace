#include "histogram.h"

#include "testing/cmocka.h"

#include <stdlib.h>

static void an_empty_histogram_says_zero(void **state)
{
    (void)state;
    histogram h = {0};
    assert_int_equal(histogram_percentile(&h, 0.5), 0);
    assert_int_equal(histogram_percentile(&h, 1), 0);
}

static void small_values_are_exact(void **state)
{
    (void)state;
    histogram h = {0};
    for (int64_t v = 1; v <= 100; v++)
        histogram_add(&h, v);
    assert_int_equal(histogram_percentile(&h, 0.5), 50);
    assert_int_equal(histogram_percentile(&h, 0.99), 99);
    assert_int_equal(histogram_percentile(&h, 1), 100);
}

static void a_percentile_is_never_too_low_and_little_too_high(void **state)
{
    (void)state;
    for (int64_t v = 1; v < (int64_t)1 << 39; v += 1 + v / 7) {
        histogram h = {0};
        histogram_add(&h, v);
        h.max_ns = INT64_MAX; /* shows the bucket's own bound */
        int64_t p = histogram_percentile(&h, 0.5);
        assert_true(p >= v);
        assert_true(p - v <= v / 64 + 1);
    }
}

static void what_is_out_of_range_counts_at_the_ends(void **state)
{
    (void)state;
    histogram h = {0};
    histogram_add(&h, -5);
    histogram_add(&h, INT64_MAX);
    assert_int_equal(h.count, 2);
    assert_int_equal(histogram_percentile(&h, 0.5), 0);
    assert_int_equal(h.max_ns, INT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_histogram_says_zero),
        cmocka_unit_test(small_values_are_exact),
        cmocka_unit_test(a_percentile_is_never_too_low_and_little_too_high),
        cmocka_unit_test(what_is_out_of_range_counts_at_the_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
