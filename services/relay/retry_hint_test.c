#include "retry_hint.h"

#include "testing/cmocka.h"

#include <string.h>

#define WALL_MS (INT64_C(784111777) * 1000) /* Sun, 06 Nov 1994 08:49:37 GMT */

static void heads_say_it_in_three_ways(void **state)
{
    static const struct {
        const char *ms, *after, *date;
        int64_t want;
    } cases[] = {
        {"", "", "", RETRY_HINT_NONE},
        {"1500", "9", "", 1500},
        {"1.2", "9", "", 2},
        {"soon", "9", "", 9000},
        {"", "0", "", 0},
        {"", "2.5", "", 2500},
        {"", "0.0001", "", 1},
        {"", "86400", "", 86400000},
        {"", "99999999999999999999999", "", RETRY_HINT_MAX_MS},
        {"", "-1", "", RETRY_HINT_NONE},
        {"", "1e3", "", RETRY_HINT_NONE},
        {"", "10 s", "", RETRY_HINT_NONE},
        {"", ".", "", RETRY_HINT_NONE},
        {"", "Sun, 06 Nov 1994 08:50:07 GMT", "", 30000},
        {"", "Sun, 06 Nov 1994 08:50:07 GMT", "Sun, 06 Nov 1994 08:50:02 GMT", 5000},
        {"", "Sun, 06 Nov 1994 08:50:07 GMT", "no date", 30000},
        {"", "Sun, 06 Nov 1994 08:00:00 GMT", "", 0},
        {"", "Sun, 06 Nov 2094 08:00:00 GMT", "", RETRY_HINT_MAX_MS},
        {"", "in a while", "", RETRY_HINT_NONE},
    };

    (void)state;
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        retry_heads h = {gw_str_of(cases[i].ms), gw_str_of(cases[i].after),
                         gw_str_of(cases[i].date)};
        assert_int_equal(retry_hint_of_heads(&h, WALL_MS), cases[i].want);
    }
    assert_int_equal(retry_hint_of_heads(&(retry_heads){0}, WALL_MS), RETRY_HINT_NONE);
}

static void googles_errors_say_it_in_a_detail(void **state)
{
#define INFO(delay)                                                                                \
    "{\"@type\":\"type.googleapis.com/google.rpc.RetryInfo\",\"retryDelay\":" delay "}"
    static const struct {
        const char *json;
        int64_t want;
    } cases[] = {
        {"{\"code\":429,\"details\":[{\"@type\":\"type.googleapis.com/"
         "google.rpc.QuotaFailure\"}," INFO("\"34.074824224s\"") "]}",
         34075},
        {"{\"details\":[" INFO("\"7s\"") "]}", 7000},
        {"{\"details\":[" INFO("\"0s\"") "]}", 0},
        {"{\"details\":[" INFO("\"7\"") "]}", RETRY_HINT_NONE},
        {"{\"details\":[" INFO("\"-7s\"") "]}", RETRY_HINT_NONE},
        {"{\"details\":[" INFO("\"s\"") "]}", RETRY_HINT_NONE},
        {"{\"details\":[" INFO("7") "]}", RETRY_HINT_NONE},
        {"{\"details\":[{\"retryDelay\":\"7s\"}]}", RETRY_HINT_NONE},
        {"{\"details\":{\"error_code\":\"x\"}}", RETRY_HINT_NONE},
        {"{\"details\":[1,null,[]]}", RETRY_HINT_NONE},
        {"[]", RETRY_HINT_NONE},
    };

    (void)state;
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        yyjson_doc *doc = yyjson_read(cases[i].json, strlen(cases[i].json), YYJSON_READ_NOFLAG);
        assert_non_null(doc);
        assert_int_equal(retry_hint_of_error(yyjson_doc_get_root(doc)), cases[i].want);
        yyjson_doc_free(doc);
    }
    assert_int_equal(retry_hint_of_error(NULL), RETRY_HINT_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heads_say_it_in_three_ways),
        cmocka_unit_test(googles_errors_say_it_in_a_detail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
