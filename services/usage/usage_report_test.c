#include "usage_query.h"

#include "testing/cmocka.h"

#include <stdio.h>

#define HOUR GW_MS_PER_HOUR

static usage_query hours_query(int64_t from_ms, int64_t to_ms)
{
    return (usage_query){.from_ms = from_ms, .to_ms = to_ms};
}

static void whole_hours_need_no_rows(void **state)
{
    static usage_plan p;
    static const time_points none;
    usage_query q = hours_query(10 * HOUR, 20 * HOUR);
    (void)state;
    usage_plan_make(&q, &none, &p);
    assert_int_equal(p.count, 0);
    assert_int_equal(p.hours_from_ms, 10 * HOUR);
    assert_int_equal(p.hours_to_ms, 20 * HOUR);
}

static void edges_off_the_hour_come_from_rows(void **state)
{
    static usage_plan p;
    static const time_points none;
    usage_query q = hours_query(10 * HOUR + 5, 20 * HOUR + 7);
    (void)state;
    usage_plan_make(&q, &none, &p);
    assert_int_equal(p.count, 2);
    assert_int_equal(p.hours_from_ms, 11 * HOUR);
    assert_int_equal(p.hours_to_ms, 20 * HOUR);
    assert_int_equal(p.pieces[0].from_ms, 10 * HOUR + 5);
    assert_int_equal(p.pieces[0].to_ms, 11 * HOUR);
    assert_int_equal(p.pieces[1].from_ms, 20 * HOUR);
    assert_int_equal(p.pieces[1].to_ms, 20 * HOUR + 7);
    assert_int_equal(p.pieces[1].parts, REPORT_TOTALS | REPORT_SERIES);

    q = hours_query(10 * HOUR + 5, 10 * HOUR + 9); /* within one hour */
    usage_plan_make(&q, &none, &p);
    assert_true(p.hours_from_ms >= p.hours_to_ms);
    assert_int_equal(p.count, 1);
    assert_int_equal(p.pieces[0].from_ms, 10 * HOUR + 5);
    assert_int_equal(p.pieces[0].to_ms, 10 * HOUR + 9);
}

static void hours_in_which_an_interval_starts_are_cut(void **state)
{
    static usage_plan p;
    static time_points points = {.count = 2,
                                 .starts = {-HOUR / 2, 12 * HOUR + HOUR / 2, 36 * HOUR}};
    usage_query q = hours_query(10 * HOUR, 14 * HOUR);
    (void)state;
    usage_plan_make(&q, &points, &p);
    assert_int_equal(p.count, 2);
    assert_int_equal(p.pieces[0].from_ms, 12 * HOUR);
    assert_int_equal(p.pieces[0].to_ms, 12 * HOUR + HOUR / 2);
    assert_int_equal(p.pieces[0].point, 0);
    assert_int_equal(p.pieces[0].parts, REPORT_SERIES);
    assert_int_equal(p.pieces[1].to_ms, 13 * HOUR);
    assert_int_equal(p.pieces[1].point, 1);
    assert_true(usage_hour_is_split(&points, 12 * HOUR));
    assert_false(usage_hour_is_split(&points, 13 * HOUR));
}

static bson_t *hour_document(void)
{
    static const char json[] =
        "{\"metrics\":{\"requests\":{\"total\":5,\"successful\":3,\"failed\":2},"
        "\"tokens\":{\"prompt\":10,\"completion\":20,\"total\":30},"
        "\"cost\":{\"estimatedNanoUsd\":700,\"billedNanoUsd\":700},"
        "\"models\":{\"gpt-4%2E1\":{\"requests\":3,\"failed\":1,\"tokens\":30,\"costNanoUsd\":100},"
        "\"gpt-*\":{\"requests\":2,\"failed\":1,\"costNanoUsd\":600}},"
        "\"providers\":{\"openai\":{\"requests\":4,\"failed\":1,\"costNanoUsd\":700}},"
        "\"owners\":{\"~app\":{\"requests\":1,\"costNanoUsd\":1},"
        "\"65f000000000000000000001~app\":{\"requests\":2,\"costNanoUsd\":2},"
        "\"65f000000000000000000001~a~b\":{\"requests\":2,\"failed\":2}}},"
        "\"hist\":{\"dur\":{\"57\":4,\"115\":1}}}";
    bson_error_t e;
    bson_t *d = bson_new_from_json((const uint8_t *)json, -1, &e);
    assert_non_null(d);
    return d;
}

static void groups_are_the_slices_of_the_hours(void **state)
{
    static const struct {
        usage_group_by by;
        const char *text; /* name:requests:successful:cost, most expensive first */
    } cases[] = {
        {GROUP_NONE, ""},
        {GROUP_MODEL, "gpt-*:4:2:1200 gpt-4.1:6:4:200 "},
        {GROUP_PROVIDER, "openai:8:6:1400 :2:0:0 "},
        {GROUP_CLIENT, "app:6:6:6 a~b:4:0:0 "},
        {GROUP_USER, "65f000000000000000000001:8:4:4 :2:2:2 "},
    };
    (void)state;
    bson_t *hour = hour_document();
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        gw_auto(gw_arena) a = gw_arena_new();
        usage_report *r = usage_report_new(a, cases[i].by, NULL);
        usage_group *groups = NULL;
        size_t n = 0;
        gw_auto_buf text = {0};
        usage_report_add(r, hour, REPORT_TOTALS, -1);
        usage_report_add(r, hour, REPORT_TOTALS, -1);
        assert_int_equal(usage_report_groups(r, &groups, &n, NULL), GW_OK);
        for (size_t g = 0; g < n; g++)
            gw_buf_appendf(&text, GW_STR_FMT ":%lld:%lld:%lld ", GW_STR_ARG(groups[g].name),
                           (long long)groups[g].figures.requests,
                           (long long)groups[g].figures.successful,
                           (long long)groups[g].figures.cost_nano_usd);
        assert_string_equal(text.data ? text.data : "", cases[i].text);
        assert_int_equal(usage_report_totals(r)->requests, 10);
        assert_int_equal(usage_report_totals(r)->total_tokens, 60);
        assert_int_equal(histogram_count(usage_report_durations(r)), 10);
    }
    bson_destroy(hour);
}

static void a_request_that_names_no_model_is_in_the_group_without_a_name(void **state)
{
    static const char json[] =
        "{\"metrics\":{\"requests\":{\"total\":5,\"successful\":4,\"failed\":1},"
        "\"models\":{\"gpt-4o\":{\"requests\":3,\"failed\":1}}}}";
    bson_error_t e;
    usage_group *groups = NULL;
    size_t n = 0;
    (void)state;
    gw_auto(gw_arena) a = gw_arena_new();
    bson_t *hour = bson_new_from_json((const uint8_t *)json, -1, &e);
    usage_report *r = usage_report_new(a, GROUP_MODEL, NULL);
    usage_report_add(r, hour, REPORT_TOTALS, -1);
    assert_int_equal(usage_report_groups(r, &groups, &n, NULL), GW_OK);
    assert_int_equal(n, 2);
    assert_int_equal(groups[0].figures.requests, 3);
    assert_int_equal(groups[1].name.len, 0);
    assert_int_equal(groups[1].figures.requests, 2);
    assert_int_equal(groups[1].figures.successful, 2);
    bson_destroy(hour);
}

static void a_point_gets_what_is_its_own(void **state)
{
    static const time_points points = {.count = 2, .starts = {0, 24 * HOUR, 48 * HOUR}};
    (void)state;
    gw_auto(gw_arena) a = gw_arena_new();
    bson_t *hour = hour_document();
    usage_report *r = usage_report_new(a, GROUP_NONE, &points);
    usage_report_add(r, hour, REPORT_TOTALS | REPORT_SERIES, 1);
    usage_report_add(r, hour, REPORT_SERIES, 0);
    usage_report_add(r, hour, REPORT_TOTALS | REPORT_SERIES, -1);
    assert_int_equal(usage_report_totals(r)->requests, 10);
    assert_int_equal(usage_report_points(r)[0].requests, 5);
    assert_int_equal(usage_report_points(r)[1].cost_nano_usd, 700);
    bson_destroy(hour);
}

static void groups_beyond_the_bound_are_other(void **state)
{
    (void)state;
    gw_auto(gw_arena) a = gw_arena_new();
    usage_report *r = usage_report_new(a, GROUP_KEY, NULL);
    usage_group *groups = NULL;
    size_t n = 0;
    for (int i = 0; i < USAGE_GROUPS_MAX + 5; i++) {
        gw_object_id key = {{(uint8_t)i, (uint8_t)(i >> 8)}};
        usage_figures f = {.requests = 1, .cost_nano_usd = i};
        usage_report_add_key(r, &key, &f);
    }
    assert_int_equal(usage_report_groups(r, &groups, &n, NULL), GW_OK);
    assert_int_equal(n, USAGE_GROUPS_MAX);
    assert_int_equal(groups[0].figures.cost_nano_usd, USAGE_GROUPS_MAX + 4);
    assert_true(gw_str_eq_c(groups[n - 1].name, "other"));
    assert_int_equal(groups[n - 1].figures.requests, 6);
}

static void groupings_have_several_spellings(void **state)
{
    gw_violations v = {0};
    (void)state;
    assert_int_equal(usage_group_by_of("key", false, &v), GROUP_KEY);
    assert_int_equal(usage_group_by_of("apiKeyId", false, &v), GROUP_KEY);
    assert_int_equal(usage_group_by_of("client_id", false, &v), GROUP_CLIENT);
    assert_int_equal(usage_group_by_of("model", true, &v), GROUP_MODEL);
    assert_int_equal(v.count, 0);
    (void)usage_group_by_of("key", true, &v);
    (void)usage_group_by_of("planet", false, &v);
    assert_int_equal(v.count, 2);
    assert_string_equal(v.items[0].field, "groupBy");
    assert_string_equal(v.items[0].description, "must be one of model|provider");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_hours_need_no_rows),
        cmocka_unit_test(edges_off_the_hour_come_from_rows),
        cmocka_unit_test(hours_in_which_an_interval_starts_are_cut),
        cmocka_unit_test(groups_are_the_slices_of_the_hours),
        cmocka_unit_test(a_request_that_names_no_model_is_in_the_group_without_a_name),
        cmocka_unit_test(a_point_gets_what_is_its_own),
        cmocka_unit_test(groups_beyond_the_bound_are_other),
        cmocka_unit_test(groupings_have_several_spellings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
