#include "histogram.h"

#include "core/macros.h"
#include "testing/cmocka.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static void known_values_fall_into_their_buckets(void **state)
{
    static const struct {
        int64_t ms;
        int bucket;
    } cases[] = {{-1, 0},      {0, 0},         {15, 15},       {16, 16},        {31, 31},
                 {32, 32},     {33, 32},       {34, 33},       {100, 57},       {1234, 115},
                 {60000, 205}, {4194303, 303}, {4194304, 303}, {INT64_MAX, 303}};
    (void)state;
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++)
        assert_int_equal(histogram_bucket(cases[i].ms), cases[i].bucket);
}

static void check_value(int64_t v)
{
    double read = histogram_bucket_value(histogram_bucket(v));
    assert_true(fabs(read - (double)v) <= (double)v / 32);
}

static void a_value_reads_back_within_a_thirty_second(void **state)
{
    (void)state;
    for (int64_t v = 0; v <= 100000; v++)
        check_value(v);
    for (int bit = 4; bit < 22; bit++) {
        for (int64_t step = -1; step <= 1; step++) {
            int64_t v = (INT64_C(1) << bit) + step;
            check_value(v);
            assert_true(histogram_bucket(v) - histogram_bucket(v - 1) <= 1);
        }
    }
    check_value(HISTOGRAM_MAX_MS);
}

/* Bucket by bucket, as the table of bounds says it. */
static void each_bucket_begins_where_the_one_before_ends(void **state)
{
    int64_t low = 0;
    (void)state;
    for (int i = 0; i < HISTOGRAM_BUCKETS; i++) {
        int64_t width = i < 16 ? 1 : INT64_C(1) << (i / 16 - 1);
        assert_int_equal(low, i < 16 ? i : (16 + i % 16) * width);
        assert_int_equal(histogram_bucket(low), i);
        assert_int_equal(histogram_bucket(low + width - 1), i);
        assert_true(histogram_bucket_value(i) == (double)low + (double)(width - 1) / 2);
        check_value(low);
        check_value(low + width - 1);
        low += width;
    }
    assert_int_equal(low, HISTOGRAM_MAX_MS + 1);
}

static void buckets_never_go_down(void **state)
{
    (void)state;
    int last = 0;
    for (int64_t v = 0; v <= HISTOGRAM_MAX_MS; v += 1 + v / 4096) {
        int bucket = histogram_bucket(v);
        assert_true(bucket == last || bucket == last + 1);
        last = bucket;
    }
}

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static uint64_t next_random(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005U + 1442695040888963407U;
    return *seed >> 33;
}

/* 5,000 values below `bound`, as often small as large when `skewed`. */
static void check_percentiles(int64_t bound, bool skewed)
{
    static int64_t values[5000];
    static const double shares[] = {0.01, 0.5, 0.95, 0.99, 1};
    histogram h = {0};
    uint64_t seed = 7;
    for (size_t i = 0; i < GW_ARRAY_LEN(values); i++) {
        values[i] = (int64_t)next_random(&seed) % bound;
        if (skewed)
            values[i] >>= next_random(&seed) % 16;
        histogram_add(&h, histogram_bucket(values[i]), 1);
    }
    qsort(values, GW_ARRAY_LEN(values), sizeof(values[0]), compare);
    for (size_t i = 0; i < GW_ARRAY_LEN(shares); i++) {
        double exact = (double)values[(size_t)ceil(shares[i] * 5000) - 1];
        assert_true(fabs(histogram_percentile(&h, shares[i]) - exact) <= exact * 0.032);
    }
}

static void percentiles_are_near_the_exact_ones(void **state)
{
    static const int64_t bounds[] = {1, 16, 900, 90000, HISTOGRAM_MAX_MS + 1};
    (void)state;
    for (size_t i = 0; i < GW_ARRAY_LEN(bounds); i++) {
        check_percentiles(bounds[i], false);
        check_percentiles(bounds[i], true);
    }
}

static void a_merge_is_the_histogram_of_the_union(void **state)
{
    histogram one = {0};
    histogram other = {0};
    histogram both = {0};
    (void)state;
    for (int64_t v = 0; v < 20000; v += 7) {
        histogram_add(v % 2 ? &one : &other, histogram_bucket(v), 1);
        histogram_add(&both, histogram_bucket(v), 1);
    }
    for (int i = 0; i < HISTOGRAM_BUCKETS; i++)
        histogram_add(&one, i, other.counts[i]);
    assert_memory_equal(&one, &both, sizeof(both));
}

static void an_empty_histogram_has_percentile_zero(void **state)
{
    histogram h = {0};
    (void)state;
    histogram_add(&h, -1, 5);
    histogram_add(&h, HISTOGRAM_BUCKETS, 5);
    assert_int_equal(histogram_count(&h), 0);
    assert_true(histogram_percentile(&h, 0.95) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_values_fall_into_their_buckets),
        cmocka_unit_test(a_value_reads_back_within_a_thirty_second),
        cmocka_unit_test(each_bucket_begins_where_the_one_before_ends),
        cmocka_unit_test(buckets_never_go_down),
        cmocka_unit_test(percentiles_are_near_the_exact_ones),
        cmocka_unit_test(a_merge_is_the_histogram_of_the_union),
        cmocka_unit_test(an_empty_histogram_has_percentile_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
