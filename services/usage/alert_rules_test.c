#include "alert_rules.h"

#include "testing/cmocka.h"

static char *text(const char *s)
{
    return (char *)(uintptr_t)s;
}

static void a_bad_rule_names_all_that_is_wrong(void **state)
{
    alert_rule r = APIRELAY__USAGE__V1__ALERT_RULE__INIT;
    gw_violations v = {0};
    (void)state;
    r.kind = text("planets");
    r.window_seconds = 5;
    r.api_key_id = text("x");
    r.webhook_url = text("https://example.com");
    r.id = text("65f000000000000000000001");
    alert_rule_check(&r, &v);
    static const char *const fields[] = {"name",     "kind",       "threshold", "windowSeconds",
                                         "apiKeyId", "webhookUrl", "id"};
    assert_int_equal(v.count, GW_ARRAY_LEN(fields));
    for (size_t i = 0; i < GW_ARRAY_LEN(fields); i++)
        assert_string_equal(v.items[i].field, fields[i]);
}

static void name_and_model_are_labels(void **state)
{
    static const char *const bad[] = {" ", "a\xc2\x80", "a\xe2\x80\xae", "a\xe2\x80\xa9", "a\n"};
    (void)state;
    for (size_t i = 0; i < GW_ARRAY_LEN(bad); i++) {
        alert_rule r = APIRELAY__USAGE__V1__ALERT_RULE__INIT;
        gw_violations v = {0};
        r.name = r.model = text(bad[i]);
        r.kind = text("cost");
        r.threshold = 10;
        alert_rule_check(&r, &v);
        assert_int_equal(v.count, 2);
        assert_string_equal(v.items[0].field, "name");
        assert_string_equal(v.items[1].field, "model");
    }
}

static void a_good_rule_comes_back_from_its_document(void **state)
{
    alert_rule r = APIRELAY__USAGE__V1__ALERT_RULE__INIT;
    gw_violations v = {0};
    gw_object_id id = {{1, 2, 3}};
    bson_t doc = BSON_INITIALIZER;
    (void)state;
    gw_auto(gw_arena) a = gw_arena_new();
    r.name = text("Kosten über 10");
    r.kind = text("cost");
    r.threshold = 10;
    r.model = text("gpt-4.1");
    alert_rule_check(&r, &v);
    assert_int_equal(v.count, 0);
    alert_rule_append(&r, &id, 1500, &doc);
    alert_rule *back = alert_rule_of(a, &doc);
    assert_string_equal(back->id, "010203000000000000000000");
    assert_string_equal(back->name, r.name);
    assert_int_equal(back->window_seconds, ALERT_WINDOW_DEFAULT_S);
    assert_true(back->threshold == 10);
    assert_string_equal(back->model, "gpt-4.1");
    assert_int_equal(back->created_at->seconds, 1);
    bson_destroy(&doc);
}

static void rules_measure_totals_or_one_model(void **state)
{
    static const char json[] =
        "{\"metrics\":{\"requests\":{\"total\":4,\"failed\":1},\"tokens\":{\"total\":30},"
        "\"cost\":{\"estimatedNanoUsd\":2500000000},"
        "\"models\":{\"m\":{\"requests\":2,\"failed\":1,\"tokens\":7,\"costNanoUsd\":500000000}}},"
        "\"hist\":{\"dur\":{\"57\":4}}}";
    static const struct {
        const char *kind, *model;
        double value;
    } cases[] = {{"cost", "", 2.5},          {"cost", "m", 0.5},
                 {"tokens", "", 30},         {"requests", "m", 2},
                 {"errors", "", 1},          {"error_rate", "", 0.25},
                 {"error_rate", "m", 0.5},   {"requests", "other", 0},
                 {"error_rate", "other", 0}, {"p95_response_time", "", 101.5}};
    bson_error_t e;
    (void)state;
    gw_auto(gw_arena) a = gw_arena_new();
    bson_t *hour = bson_new_from_json((const uint8_t *)json, -1, &e);
    assert_non_null(hour);
    usage_report *report = usage_report_new(a, GROUP_MODEL, NULL);
    usage_report_add(report, hour, REPORT_TOTALS, -1);
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        alert_rule r = APIRELAY__USAGE__V1__ALERT_RULE__INIT;
        r.kind = text(cases[i].kind);
        r.model = text(cases[i].model);
        double value = alert_rule_measure(&r, report);
        if (value != cases[i].value)
            fail_msg("%s of \"%s\" is %g", cases[i].kind, cases[i].model, value);
    }
    bson_destroy(hour);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bad_rule_names_all_that_is_wrong),
        cmocka_unit_test(name_and_model_are_labels),
        cmocka_unit_test(a_good_rule_comes_back_from_its_document),
        cmocka_unit_test(rules_measure_totals_or_one_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
