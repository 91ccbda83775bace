#include "rollup_names.h"

#include "testing/cmocka.h"

static void each_subject_has_its_collections(void **state)
{
    static const struct {
        const char *subject;
        rollup_kind kind;
        const char *hours, *days;
    } subjects[] = {
        {"a00200000000000000000000", ROLLUP_KEY, "api_metrics_hourly", "api_metrics"},
        {"*", ROLLUP_ALL_KEYS, "api_metrics_hourly", "api_metrics_total"},
        {"*00", ROLLUP_OWNERS, "api_metrics_owners_hourly", "api_metrics_owners"},
        {"*63", ROLLUP_OWNERS, "api_metrics_owners_hourly", "api_metrics_owners"},
    };
    (void)state;
    for (size_t i = 0; i < GW_ARRAY_LEN(subjects); i++) {
        char hour[ROLLUP_ID_SIZE], day[ROLLUP_ID_SIZE];
        gw_str subject = gw_str_of(subjects[i].subject);
        rollup_hour_id(subject, 1763861159000, hour);
        rollup_day_id(subject, 1763861159000, day);
        assert_string_equal(hour + subject.len, "|2025-11-23T01");
        assert_string_equal(day + subject.len, "|2025-11-23");
        assert_int_equal(rollup_kind_of(subject), subjects[i].kind);
        assert_int_equal(rollup_kind_of_id(gw_str_of(hour)), subjects[i].kind);
        assert_int_equal(rollup_kind_of_id(gw_str_of(day)), subjects[i].kind);
        assert_string_equal(rollup_hours_collection(subjects[i].kind), subjects[i].hours);
        assert_string_equal(rollup_days_collection(subjects[i].kind), subjects[i].days);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_subject_has_its_collections),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
