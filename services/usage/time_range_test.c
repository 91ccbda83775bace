#include "time_range.h"

#include "testing/cmocka.h"

#include <stdio.h>

static int64_t at(const char *text)
{
    int64_t ms = 0;
    assert_true(gw_rfc3339_parse(gw_str_of(text), &ms));
    return ms;
}

static time_zone *zone_of(const char *name)
{
    time_zone *z = NULL;
    gw_error err = {0};
    if (time_zone_load(gw_str_of(name), &z, &err) != GW_OK)
        fail_msg("%s: %s", name, err.message);
    return z;
}

static void offsets_follow_the_clocks_of_a_place(void **state)
{
    static const struct {
        const char *zone, *utc;
        int minutes;
    } cases[] = {
        {"", "2026-07-01T00:00:00Z", 0},
        {"UTC", "2026-07-01T00:00:00Z", 0},
        {"+05:30", "2026-07-01T00:00:00Z", 330},
        {"-03:00", "2026-07-01T00:00:00Z", -180},
        {"Europe/Berlin", "2026-03-29T00:59:59Z", 60},
        {"Europe/Berlin", "2026-03-29T01:00:00Z", 120},
        {"Europe/Berlin", "2026-10-25T00:59:59Z", 120},
        {"Europe/Berlin", "2026-10-25T01:00:00Z", 60},
        {"Europe/Berlin", "2050-07-01T00:00:00Z", 120}, /* past the table: by its rule */
        {"Europe/Berlin", "2050-12-01T00:00:00Z", 60},
        {"Australia/Sydney", "2050-01-01T00:00:00Z", 660}, /* summer over new year */
        {"Australia/Sydney", "2050-07-01T00:00:00Z", 600},
        {"Asia/Kolkata", "2050-07-01T00:00:00Z", 330},
        {"America/New_York", "2026-07-01T00:00:00Z", -240},
    };
    (void)state;
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        gw_auto(time_zone) z = zone_of(cases[i].zone);
        int64_t offset_ms = time_zone_offset_ms(z, at(cases[i].utc));
        if (offset_ms != cases[i].minutes * 60000LL)
            fail_msg("%s at %s: %lld ms", cases[i].zone, cases[i].utc, (long long)offset_ms);
    }
}

static void what_is_no_zone_is_refused(void **state)
{
    static const char *const names[] = {"Nowhere/City",   "../etc/passwd", "Europe/../../passwd",
                                        "/etc/localtime", "+5:30",         "+25:00",
                                        "+05:60",         "europe",        "Europe",
                                        "zone.tab"};
    (void)state;
    for (size_t i = 0; i < GW_ARRAY_LEN(names); i++) {
        time_zone *z = NULL;
        gw_error err = {0};
        if (time_zone_load(gw_str_of(names[i]), &z, &err) != GW_ERR_INVALID_ARGUMENT)
            fail_msg("%s is taken", names[i]);
        assert_string_equal(err.field, "timeZone");
    }
}

static void torn_zone_files_are_refused(void **state)
{
    char bytes[4096];
    gw_error err;
    FILE *f = fopen("/usr/share/zoneinfo/Europe/Berlin", "rb");
    (void)state;
    if (!f)
        skip();
    size_t len = fread(bytes, 1, sizeof(bytes), f);
    (void)fclose(f);
    for (size_t n = 0; n < len; n++) { /* any prefix either parses or is refused */
        time_zone *z = NULL;
        if (time_zone_parse(gw_str_n(bytes, n), &z, &err) == GW_OK)
            time_zone_free(z);
    }
}

static time_range range_of(const char *from, const char *to, const char *interval)
{
    Google__Protobuf__Timestamp a = GOOGLE__PROTOBUF__TIMESTAMP__INIT, b = a;
    gw_violations v = {0};
    a.seconds = from ? at(from) / 1000 : 0;
    b.seconds = to ? at(to) / 1000 : 0;
    time_range r =
        time_range_of(from ? &a : NULL, to ? &b : NULL, interval, at("2026-11-23T08:00:00Z"), &v);
    assert_int_equal(v.count, 0);
    return r;
}

static void the_default_is_this_utc_month(void **state)
{
    (void)state;
    time_range r = range_of(NULL, NULL, "");
    assert_int_equal(r.from_ms, at("2026-11-01T00:00:00Z"));
    assert_int_equal(r.to_ms, at("2026-12-01T00:00:00Z"));
    assert_int_equal(r.interval, INTERVAL_NONE);
}

static void bad_ranges_are_named(void **state)
{
    Google__Protobuf__Timestamp t = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    gw_violations v = {0};
    (void)state;
    t.seconds = at("2027-01-01T00:00:00Z") / 1000;
    (void)time_range_of(&t, NULL, "year", at("2026-11-23T08:00:00Z"), &v);
    assert_int_equal(v.count, 2);
    assert_string_equal(v.items[0].field, "interval");
    assert_string_equal(v.items[1].field, "from");
    t.seconds = INT64_MAX;
    v = (gw_violations){0};
    (void)time_range_of(NULL, &t, "", at("2026-11-23T08:00:00Z"), &v);
    assert_string_equal(v.items[0].field, "to");
}

static void intervals_start_where_the_zone_says(void **state)
{
    static const struct {
        const char *zone, *interval, *from, *to;
        size_t count;
        const char *first, *second;
    } cases[] = {
        {"", "day", "2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z", 30, "2026-11-01T00:00:00Z",
         "2026-11-02T00:00:00Z"},
        {"", "hour", "2026-11-01T00:30:00Z", "2026-11-01T02:00:00Z", 2, "2026-11-01T00:00:00Z",
         "2026-11-01T01:00:00Z"},
        {"", "week", "2026-11-01T00:00:00Z", "2026-11-09T00:00:00Z", 2, "2026-10-26T00:00:00Z",
         "2026-11-02T00:00:00Z"},
        {"", "month", "2026-01-31T00:00:00Z", "2026-12-31T00:00:00Z", 12, "2026-01-01T00:00:00Z",
         "2026-02-01T00:00:00Z"},
        {"Europe/Berlin", "day", "2026-03-28T23:00:00Z", "2026-03-30T22:00:00Z", 2,
         "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"},
        {"Europe/Berlin", "day", "2026-10-24T22:00:00Z", "2026-10-26T23:00:00Z", 2,
         "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"},
        {"+05:30", "day", "2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z", 2, "2026-10-31T18:30:00Z",
         "2026-11-01T18:30:00Z"},
        {"+05:30", "hour", "2026-11-01T00:00:00Z", "2026-11-01T01:00:00Z", 2,
         "2026-10-31T23:30:00Z", "2026-11-01T00:30:00Z"},
        /* clocks leapt from 00:00 to 01:00: the day begins at 01:00 */
        {"America/Sao_Paulo", "day", "2018-11-04T03:00:00Z", "2018-11-06T02:00:00Z", 2,
         "2018-11-04T03:00:00Z", "2018-11-05T02:00:00Z"},
    };
    (void)state;
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        gw_auto(time_zone) z = zone_of(cases[i].zone);
        time_range r = range_of(cases[i].from, cases[i].to, cases[i].interval);
        time_points p;
        assert_int_equal(time_points_make(&r, z, &p, NULL), GW_OK);
        if (p.count != cases[i].count || p.starts[0] != at(cases[i].first) ||
            p.starts[1] != at(cases[i].second))
            fail_msg("case %zu: %zu points", i, p.count);
        assert_true(p.starts[p.count] >= r.to_ms);
        assert_int_equal(time_points_find(&p, p.starts[1]), 1);
        assert_int_equal(time_points_find(&p, p.starts[1] - 1), 0);
        assert_int_equal(time_points_find(&p, p.starts[0] - 1), -1);
        assert_int_equal(time_points_find(&p, p.starts[p.count]), -1);
    }
}

static void too_many_points_are_refused(void **state)
{
    (void)state;
    gw_auto(time_zone) z = zone_of("");
    time_range r = range_of("2020-01-01T00:00:00Z", "2026-01-01T00:00:00Z", "day");
    time_points p;
    gw_error err = {0};
    assert_int_equal(time_points_make(&r, z, &p, &err), GW_ERR_INVALID_ARGUMENT);
    assert_string_equal(err.field, "interval");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(offsets_follow_the_clocks_of_a_place),
        cmocka_unit_test(what_is_no_zone_is_refused),
        cmocka_unit_test(torn_zone_files_are_refused),
        cmocka_unit_test(the_default_is_this_utc_month),
        cmocka_unit_test(bad_ranges_are_named),
        cmocka_unit_test(intervals_start_where_the_zone_says),
        cmocka_unit_test(too_many_points_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
