#include "core/clock.h"

#include "testing/cmocka.h"

#include <time.h>

static void dates_agree_with_the_c_library(void **state)
{
    (void)state;
    for (int64_t day = -700000; day < 2900000; day += 13) {
        int64_t ms = day * GW_MS_PER_DAY + day % 86400 * 997;
        time_t seconds = (time_t)(ms >= 0 ? ms / 1000 : -((-ms + 999) / 1000));
        struct tm tm;
        assert_non_null(gmtime_r(&seconds, &tm));
        gw_date d = gw_date_of_ms(ms);
        assert_int_equal(d.year, tm.tm_year + 1900);
        assert_int_equal(d.month, tm.tm_mon + 1);
        assert_int_equal(d.day, tm.tm_mday);
        assert_int_equal(d.hour, tm.tm_hour);
        assert_int_equal(d.minute, tm.tm_min);
        assert_int_equal(d.second, tm.tm_sec);
        assert_in_range(d.millisecond, 0, 999);
        assert_int_equal(gw_date_to_ms(d), ms);
    }
}

static void fields_outside_their_range_are_carried(void **state)
{
    (void)state;
    static const struct {
        gw_date from, to;
    } cases[] = {
        {{.year = 2026, .month = 13, .day = 1}, {.year = 2027, .month = 1, .day = 1}},
        {{.year = 2026, .month = 0, .day = 1}, {.year = 2025, .month = 12, .day = 1}},
        {{.year = 2026, .month = -11, .day = 1}, {.year = 2025, .month = 1, .day = 1}},
        {{.year = 2026, .month = 3, .day = 0}, {.year = 2026, .month = 2, .day = 28}},
        {{.year = 2028, .month = 3, .day = 0}, {.year = 2028, .month = 2, .day = 29}},
        {{.year = 2100, .month = 2, .day = 29}, {.year = 2100, .month = 3, .day = 1}},
        {{.year = 2026, .month = 1, .day = 1, .hour = 25, .minute = -1},
         {.year = 2026, .month = 1, .day = 2, .minute = 59}},
        {{.year = 2026, .month = 1, .day = 1, .millisecond = -1},
         {.year = 2025,
          .month = 12,
          .day = 31,
          .hour = 23,
          .minute = 59,
          .second = 59,
          .millisecond = 999}},
    };
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++)
        assert_int_equal(gw_date_to_ms(cases[i].from), gw_date_to_ms(cases[i].to));
}

static void days_and_months_start_at_midnight_utc(void **state)
{
    (void)state;
    int64_t ms = gw_date_to_ms((gw_date){2026, 11, 23, 6, 45, 21, 7});
    assert_int_equal(gw_day_start_ms(ms),
                     gw_date_to_ms((gw_date){.year = 2026, .month = 11, .day = 23}));
    assert_int_equal(gw_month_start_ms(ms),
                     gw_date_to_ms((gw_date){.year = 2026, .month = 11, .day = 1}));
    assert_int_equal(gw_day_start_ms(gw_day_start_ms(ms)), gw_day_start_ms(ms));
    assert_int_equal(gw_day_start_ms(-1), -GW_MS_PER_DAY);
    assert_int_equal(gw_month_start_ms(-1), -31 * GW_MS_PER_DAY);
}

static void timestamps_are_written_with_milliseconds(void **state)
{
    (void)state;
    static const struct {
        int64_t ms;
        const char *text;
    } cases[] = {
        {0, "1970-01-01T00:00:00.000Z"},
        {-1, "1969-12-31T23:59:59.999Z"},
        {1795416321007, "2026-11-23T06:45:21.007Z"},
        {253402300799999, "9999-12-31T23:59:59.999Z"},
        {INT64_MAX, "9999-12-31T23:59:59.999Z"},
        {-62135596800000, "0001-01-01T00:00:00.000Z"},
        {INT64_MIN, "0001-01-01T00:00:00.000Z"},
    };
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        char text[GW_RFC3339_SIZE];
        gw_rfc3339_format(cases[i].ms, text);
        assert_string_equal(text, cases[i].text);
        int64_t back;
        assert_true(gw_rfc3339_parse(gw_str_of(text), &back));
        if (cases[i].ms != INT64_MAX && cases[i].ms != INT64_MIN)
            assert_int_equal(back, cases[i].ms);
    }
}

static void timestamps_of_other_forms_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *text, *same;
    } cases[] = {
        {"2026-11-23T06:45:21Z", "2026-11-23T06:45:21.000Z"},
        {"2026-11-23t06:45:21z", "2026-11-23T06:45:21.000Z"},
        {"2026-11-23T06:45:21.5Z", "2026-11-23T06:45:21.500Z"},
        {"2026-11-23T06:45:21.123999999Z", "2026-11-23T06:45:21.123Z"},
        {"2026-11-23T06:45:21+01:30", "2026-11-23T05:15:21.000Z"},
        {"2026-11-23T06:45:21-00:00", "2026-11-23T06:45:21.000Z"},
        {"2026-12-31T23:30:00-08:00", "2027-01-01T07:30:00.000Z"},
        {"1969-12-31T23:59:59.9999Z", "1969-12-31T23:59:59.999Z"},
        {"2016-12-31T23:59:60Z", "2017-01-01T00:00:00.000Z"},
        {"2016-12-31T23:59:60.25Z", "2017-01-01T00:00:00.250Z"},
        {"2017-01-01T00:59:60+01:00", "2017-01-01T00:00:00.000Z"},
        {"1968-12-31T23:59:60.5Z", "1969-01-01T00:00:00.500Z"},
        {"2024-02-29T00:00:00Z", "2024-02-29T00:00:00.000Z"},
        {"2000-02-29T00:00:00Z", "2000-02-29T00:00:00.000Z"},
    };
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        int64_t ms;
        char text[GW_RFC3339_SIZE];
        if (!gw_rfc3339_parse(gw_str_of(cases[i].text), &ms))
            fail_msg("refused %s", cases[i].text);
        gw_rfc3339_format(ms, text);
        assert_string_equal(text, cases[i].same);
    }
}

static void malformed_timestamps_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "2026",
        "2026-11-23",
        "2026-11-23T06:45Z",
        "2026-11-23T06:45:21",
        "2026-11-23 06:45:21Z",
        "2026-11-23T06:45:21.Z",
        "2026-11-23T06:45:21.1234567890Z",
        "2026-11-23T06:45:21,5Z",
        "2026-11-23T06:45:21+1:00",
        "2026-11-23T06:45:21+0100",
        "2026-11-23T06:45:21+24:00",
        "2026-11-23T06:45:21+01:60",
        "2026-11-23T06:45:21Z ",
        " 2026-11-23T06:45:21Z",
        "2026-11-23T06:45:21ZZ",
        "2026-00-23T06:45:21Z",
        "2026-13-23T06:45:21Z",
        "2026-11-00T06:45:21Z",
        "2026-11-31T06:45:21Z",
        "2026-02-29T00:00:00Z",
        "2100-02-29T00:00:00Z",
        "2026-11-23T24:00:00Z",
        "2026-11-23T06:60:00Z",
        "2026-11-23T06:45:61Z",
        "2026-11-23T06:45:60Z",
        "2026-11-23T23:59:60+01:00",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
        "9999-12-31T23:59:60Z",
        "-026-11-23T06:45:21Z",
        "20261-11-23T06:45:21Z",
        "2026-1-23T06:45:21Z",
    };
    for (size_t i = 0; i < GW_ARRAY_LEN(bad); i++) {
        int64_t ms = 4711;
        if (gw_rfc3339_parse(gw_str_of(bad[i]), &ms))
            fail_msg("accepted %s", bad[i]);
        assert_int_equal(ms, 4711);
    }
}

static void the_system_clock_runs_forward(void **state)
{
    (void)state;
    int64_t before = gw_clock_mono_ns(&gw_system_clock);
    assert_true(gw_clock_mono_ns(&gw_system_clock) >= before);
    assert_true(gw_clock_mono_ms(&gw_system_clock) >= before / 1000000);
    assert_true(gw_clock_wall_ms(&gw_system_clock) > 1700000000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dates_agree_with_the_c_library),
        cmocka_unit_test(fields_outside_their_range_are_carried),
        cmocka_unit_test(days_and_months_start_at_midnight_utc),
        cmocka_unit_test(timestamps_are_written_with_milliseconds),
        cmocka_unit_test(timestamps_of_other_forms_are_read),
        cmocka_unit_test(malformed_timestamps_are_refused),
        cmocka_unit_test(the_system_clock_runs_forward),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
