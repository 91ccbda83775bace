#include "log_query.h"

#include "testing/cmocka.h"

static void statuses_are_codes_classes_and_outcomes(void **state)
{
    static const struct {
        const char *text;
        int64_t least, most;
        const char *outcome;
    } good[] = {{"", 0, 0, NULL},
                {"429", 429, 429, NULL},
                {"4xx", 400, 499, NULL},
                {"partial", 0, 0, "partial"}};
    static const char *const bad[] = {"4XX", "42", "600", "0xx", "ok", "-12", "4x9", "2000"};
    (void)state;
    for (size_t i = 0; i < GW_ARRAY_LEN(good); i++) {
        log_status s;
        assert_true(log_status_parse(good[i].text, &s));
        assert_int_equal(s.least, good[i].least);
        assert_int_equal(s.most, good[i].most);
        assert_true((s.outcome == NULL) == (good[i].outcome == NULL));
    }
    for (size_t i = 0; i < GW_ARRAY_LEN(bad); i++) {
        log_status s;
        if (log_status_parse(bad[i], &s))
            fail_msg("%s is taken", bad[i]);
    }
}

static void bad_filters_are_all_named(void **state)
{
    log_request r = APIRELAY__USAGE__V1__LIST_LOGS_REQUEST__INIT;
    log_query q = {0};
    gw_violations v = {0};
    (void)state;
    r.api_key_id = (char *)(uintptr_t) "nope";
    r.status = (char *)(uintptr_t) "bad";
    log_query_of(&r, 1000, &q, &v);
    assert_int_equal(v.count, 2);
    assert_string_equal(v.items[0].field, "apiKeyId");
    assert_string_equal(v.items[1].field, "status");
}

static void positions_come_back(void **state)
{
    log_position p = {1763884800123, {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}}}, back;
    char text[LOG_POSITION_SIZE];
    (void)state;
    log_position_format(&p, text);
    assert_true(log_position_parse(gw_str_of(text), &back));
    assert_memory_equal(&p.id, &back.id, sizeof(p.id));
    assert_int_equal(p.timestamp_ms, back.timestamp_ms);
    assert_false(log_position_parse(GW_STR("12"), &back));
    assert_false(log_position_parse(GW_STR("x:010203040506070809101112"), &back));
}

static void a_row_is_its_message(void **state)
{
    static const char json[] =
        "{\"_id\":{\"$oid\":\"65f000000000000000000001\"},"
        "\"apiKeyId\":{\"$oid\":\"65f000000000000000000002\"},\"timestamp\":{\"$date\":1500},"
        "\"request\":{\"model\":\"m\",\"headers\":{\"x-a%2Eb\":\"1\"}},"
        "\"response\":{\"statusCode\":200,\"duration\":12,\"error\":null},"
        "\"usage\":{\"totalTokens\":7,\"cost\":0.5},\"ttftMs\":0,\"outcome\":\"complete\","
        "\"ceilingIgnored\":true}";
    bson_error_t e;
    (void)state;
    gw_auto(gw_arena) a = gw_arena_new();
    bson_t *d = bson_new_from_json((const uint8_t *)json, -1, &e);
    Apirelay__Usage__V1__UsageRow *m = log_row_of(a, d);
    assert_string_equal(m->id, "65f000000000000000000001");
    assert_string_equal(m->api_key_id, "65f000000000000000000002");
    assert_int_equal(m->timestamp->seconds, 1);
    assert_int_equal(m->timestamp->nanos, 500000000);
    assert_string_equal(m->request->headers[0]->key, "x-a.b");
    assert_true(m->response->duration == 12);
    assert_string_equal(m->response->error, "");
    assert_int_equal(m->usage->total_tokens, 7);
    assert_int_equal(m->ttft_ms_presence_case,
                     APIRELAY__USAGE__V1__USAGE_ROW__TTFT_MS_PRESENCE_TTFT_MS);
    assert_int_equal(m->repeat_count, 1);
    assert_true(m->ceiling_ignored && !m->truncated);
    bson_destroy(d);
}

static void a_row_shows_what_librechat_booked(void **state)
{
    static const struct {
        const char *json;
        bool shown, booked;
    } rows[] = {
        {"{\"upstreamResponseId\":\"chatcmpl-1\",\"librechat\":{\"lookAt\":{\"$date\":1500}}}",
         false, false},
        {"{\"upstreamResponseId\":\"chatcmpl-1\",\"librechat\":{\"booked\":false,\"at\":{\"$date\":"
         "2500}}}",
         true, false},
        {"{\"upstreamResponseId\":\"chatcmpl-1\",\"librechat\":{\"booked\":true,\"credits\":1.5,"
         "\"costNanoUsd\":1500,\"differenceNanoUsd\":-7,\"model\":\"o3\",\"at\":{\"$date\":2500},"
         "\"userId\":{\"$oid\":\"65f000000000000000000009\"}}}",
         true, true},
    };
    (void)state;
    for (size_t i = 0; i < GW_ARRAY_LEN(rows); i++) {
        bson_error_t e;
        gw_auto(gw_arena) a = gw_arena_new();
        bson_t *d = bson_new_from_json((const uint8_t *)rows[i].json, -1, &e);
        Apirelay__Usage__V1__UsageRow *m = log_row_of(a, d);
        bson_destroy(d);
        assert_string_equal(m->upstream_response_id, "chatcmpl-1");
        assert_int_equal(m->librechat != NULL, rows[i].shown);
        if (!m->librechat)
            continue;
        assert_int_equal(m->librechat->booked, rows[i].booked);
        assert_int_equal(m->librechat->at->seconds, 2);
        assert_int_equal(m->librechat->cost_nano_usd, rows[i].booked ? 1500 : 0);
        assert_int_equal(m->librechat->difference_nano_usd, rows[i].booked ? -7 : 0);
        assert_string_equal(m->librechat->model, rows[i].booked ? "o3" : "");
        assert_string_equal(m->librechat->user_id,
                            rows[i].booked ? "65f000000000000000000009" : "");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(statuses_are_codes_classes_and_outcomes),
        cmocka_unit_test(bad_filters_are_all_named),
        cmocka_unit_test(positions_come_back),
        cmocka_unit_test(a_row_is_its_message),
        cmocka_unit_test(a_row_shows_what_librechat_booked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
