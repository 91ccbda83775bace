#include "fold.h"

#include "mongo/bson_read.h"
#include "testing/cmocka.h"

static void add_hour(fold *f, int64_t requests, int64_t sum_ms, const char *bucket, int64_t nano)
{
    bson_t *hour = BCON_NEW(
        "_id", BCON_UTF8("x"), "date", BCON_DATE_TIME(requests * 3600000 / 10), "metrics", "{",
        "requests", "{", "total", BCON_INT64(requests), "}", "models", "{", "gpt-4%2E1", "{",
        "requests", BCON_INT64(requests), "}", "}", "performance", "{", "sumDuration",
        BCON_INT64(sum_ms), "}", "cost", "{", "estimatedNanoUsd", BCON_INT64(nano), "billedNanoUsd",
        BCON_INT64(nano), "}", "}", "hist", "{", "dur", "{", bucket, BCON_INT64(requests), "}", "}",
        "m", "{", "s", BCON_INT64(9), "}", "rev", BCON_INT64(5));
    fold_add_hour(f, hour);
    bson_destroy(hour);
}

static void expect_double(const bson_t *d, const char *path, double expected)
{
    double v = -1;
    assert_true(gw_bson_double(d, path, &v));
    assert_true(v == expected);
}

static void expect_int(const bson_t *d, const char *path, int64_t expected)
{
    int64_t v = -1;
    assert_true(gw_bson_int64(d, path, &v));
    assert_int_equal(v, expected);
}

static void a_day_is_the_sum_of_its_hours(void **state)
{
    bson_t day = BSON_INITIALIZER;
    gw_error err;
    (void)state;
    gw_auto(fold) f = fold_new(ROLLUP_KEY);
    add_hour(f, 90, 900, "10", 1000000000);
    add_hour(f, 10, 5100, "57", 500000000);
    assert_int_equal(fold_append_day(f, &day, &err), GW_OK);
    expect_int(&day, "metrics.requests.total", 100);
    expect_int(&day, "metrics.models.gpt-4%2E1.requests", 100);
    expect_int(&day, "hist.dur.10", 90);
    expect_int(&day, "hist.dur.57", 10);
    expect_int(&day, "hours", 2);
    expect_int(&day, "byHour.09.0", 90); /* 9 and 1 o'clock */
    expect_int(&day, "byHour.01.0", 10);
    expect_int(&day, "byHour.01.9", 500000000);
    assert_false(bson_has_field(&day, "byHour.00"));
    expect_int(&day, "metrics.cost.estimatedNanoUsd", 1500000000);
    expect_double(&day, "metrics.cost.estimated", 1.5);
    expect_double(&day, "metrics.cost.billed", 1.5);
    expect_double(&day, "metrics.performance.avgResponseTime", 60);
    expect_double(&day, "metrics.performance.p95ResponseTime", 101.5);
    expect_double(&day, "metrics.performance.p99ResponseTime", 101.5);
    assert_false(bson_has_field(&day, "m"));
    assert_false(bson_has_field(&day, "rev"));
    bson_destroy(&day);
}

static void a_day_without_hours_is_zero_and_no_division(void **state)
{
    bson_t day = BSON_INITIALIZER;
    gw_error err;
    (void)state;
    gw_auto(fold) f = fold_new(ROLLUP_KEY);
    assert_int_equal(fold_append_day(f, &day, &err), GW_OK);
    expect_double(&day, "metrics.performance.avgResponseTime", 0);
    expect_double(&day, "metrics.performance.p95ResponseTime", 0);
    bson_destroy(&day);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_day_is_the_sum_of_its_hours),
        cmocka_unit_test(a_day_without_hours_is_zero_and_no_division),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
