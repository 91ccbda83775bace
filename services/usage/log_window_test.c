#include "log_window.h"

#include "core/clock.h"
#include "testing/cmocka.h"

#define NOW_MS (1800000000000LL)

/* Walks through all windows, `found` rows of 51 in each: they join from the newest to the oldest. */
static size_t walk(const log_query *q, size_t found, log_window *ret_last)
{
    log_windows windows;
    log_window w;
    size_t count = 0;
    int64_t to_ms = q->has_after ? q->after.timestamp_ms : q->to_ms;
    log_windows_start(&windows, q);
    for (; log_windows_next(&windows, found, 51, &w); count++) {
        if (w.is_tie) {
            assert_int_equal(count, 0);
            assert_int_equal(w.from_ms, to_ms);
            continue;
        }
        assert_int_equal(w.to_ms, to_ms);
        assert_true(w.is_open || w.from_ms < w.to_ms);
        to_ms = w.from_ms;
        *ret_last = w;
        assert_true(count < 100);
    }
    return count;
}

static void windows_join_and_cover_the_whole_range(void **state)
{
    static const int64_t from[] = {NOW_MS - 1, NOW_MS - 10000, NOW_MS - 10001,
                                   NOW_MS - 30 * GW_MS_PER_DAY, -GW_MS_PER_DAY};
    static const size_t found[] = {0, 1, 50, 51};
    (void)state;
    for (size_t i = 0; i < GW_ARRAY_LEN(from); i++) {
        for (size_t k = 0; k < GW_ARRAY_LEN(found); k++) {
            log_query q = {.has_from = true, .from_ms = from[i], .to_ms = NOW_MS, .now_ms = NOW_MS};
            log_window last = {0};
            (void)walk(&q, found[k], &last);
            assert_false(last.is_open);
            assert_int_equal(last.from_ms, from[i]);
        }
    }
}

static void without_a_start_the_last_window_is_open_and_comes_soon(void **state)
{
    log_query q = {.to_ms = NOW_MS, .now_ms = NOW_MS};
    log_window last = {0};
    (void)state;
    assert_true(walk(&q, 0, &last) < 25);
    assert_true(last.is_open);
}

static void before_all_rows_there_is_one_window_without_a_start(void **state)
{
    static const int64_t to[] = {-62135596800000 /* 0001-01-01 */, 0, 5000};
    (void)state;
    for (size_t i = 0; i < GW_ARRAY_LEN(to); i++) {
        log_query q = {.to_ms = to[i], .now_ms = NOW_MS};
        log_window last = {0};
        assert_int_equal(walk(&q, 0, &last), 1);
        assert_true(last.is_open);
        assert_int_equal(last.to_ms, to[i]);
    }
}

static void a_page_that_continues_starts_with_the_rest_of_its_millisecond(void **state)
{
    log_query q = {.to_ms = NOW_MS,
                   .now_ms = NOW_MS,
                   .has_after = true,
                   .after = {NOW_MS - GW_MS_PER_HOUR, {{1}}}};
    log_windows windows;
    log_window w, last = {0};
    (void)state;
    log_windows_start(&windows, &q);
    assert_true(log_windows_next(&windows, 0, 51, &w));
    assert_true(w.is_tie);
    assert_true(walk(&q, 0, &last) > 2);
}

static void what_is_to_come_is_one_window(void **state)
{
    log_query q = {.to_ms = NOW_MS + 300 * GW_MS_PER_DAY, .now_ms = NOW_MS};
    log_windows windows;
    log_window w;
    (void)state;
    log_windows_start(&windows, &q);
    assert_true(log_windows_next(&windows, 0, 51, &w));
    assert_int_equal(w.from_ms, NOW_MS + 1);
    assert_int_equal(w.to_ms, q.to_ms);
    assert_true(log_windows_next(&windows, 0, 51, &w));
    assert_int_equal(w.to_ms, NOW_MS + 1);
    assert_int_equal(w.to_ms - w.from_ms, 10000);
}

static void windows_grow_as_much_as_the_page_lacks(void **state)
{
    static const struct {
        size_t found;
        int64_t times;
    } cases[] = {{0, 4}, {50, 2}, {13, 4}, {1, 8}};
    log_query q = {.to_ms = NOW_MS, .now_ms = NOW_MS};
    (void)state;
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        log_windows windows;
        log_window first, second;
        log_windows_start(&windows, &q);
        assert_true(log_windows_next(&windows, 0, 51, &first));
        assert_true(log_windows_next(&windows, cases[i].found, 51, &second));
        assert_int_equal(second.to_ms - second.from_ms,
                         cases[i].times * (first.to_ms - first.from_ms));
    }
}

static void a_request_is_looked_for_at_once(void **state)
{
    log_query q = {.to_ms = NOW_MS, .now_ms = NOW_MS, .request_id = GW_STR("req_1")};
    log_window last = {0};
    (void)state;
    assert_int_equal(walk(&q, 0, &last), 1);
    assert_true(last.is_open);
}

static void assert_filter(const log_query *q, const log_window *w, const char *json)
{
    bson_t filter = BSON_INITIALIZER;
    log_window_append_filter(w, q, &filter);
    char *text = bson_as_relaxed_extended_json(&filter, NULL);
    assert_string_equal(text, json);
    bson_free(text);
    bson_destroy(&filter);
}

static void filters_become_a_query(void **state)
{
    log_request r = APIRELAY__USAGE__V1__LIST_LOGS_REQUEST__INIT;
    log_query q = {0};
    gw_violations v = {0};
    (void)state;
    r.api_key_id = (char *)(uintptr_t) "65f000000000000000000001";
    r.model = (char *)(uintptr_t) "gpt-4.1";
    r.status = (char *)(uintptr_t) "5xx";
    log_query_of(&r, 1000, &q, &v);
    assert_int_equal(v.count, 0);
    q.after = (log_position){500, {{1}}};
    assert_filter(&q, &(log_window){.from_ms = 500, .to_ms = 1001},
                  "{ \"apiKeyId\" : { \"$oid\" : \"65f000000000000000000001\" }, "
                  "\"timestamp\" : { \"$gte\" : { \"$date\" : \"1970-01-01T00:00:00.500Z\" }, "
                  "\"$lt\" : { \"$date\" : \"1970-01-01T00:00:01.001Z\" } }, "
                  "\"request.model\" : \"gpt-4.1\", "
                  "\"response.statusCode\" : { \"$gte\" : 500, \"$lte\" : 599 } }");
    q = (log_query){.after = q.after, .status = {.outcome = "partial"}};
    assert_filter(&q, &(log_window){.is_tie = true, .from_ms = 500, .to_ms = 501},
                  "{ \"timestamp\" : { \"$date\" : \"1970-01-01T00:00:00.500Z\" }, "
                  "\"_id\" : { \"$lt\" : { \"$oid\" : \"010000000000000000000000\" } }, "
                  "\"outcome\" : \"partial\" }");
    assert_filter(&q, &(log_window){.is_open = true, .to_ms = 500},
                  "{ \"timestamp\" : { \"$lt\" : { \"$date\" : \"1970-01-01T00:00:00.500Z\" } }, "
                  "\"outcome\" : \"partial\" }");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(windows_join_and_cover_the_whole_range),
        cmocka_unit_test(without_a_start_the_last_window_is_open_and_comes_soon),
        cmocka_unit_test(before_all_rows_there_is_one_window_without_a_start),
        cmocka_unit_test(a_page_that_continues_starts_with_the_rest_of_its_millisecond),
        cmocka_unit_test(what_is_to_come_is_one_window),
        cmocka_unit_test(windows_grow_as_much_as_the_page_lacks),
        cmocka_unit_test(a_request_is_looked_for_at_once),
        cmocka_unit_test(filters_become_a_query),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
