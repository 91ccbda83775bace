#include "event_row.h"

#include "event_testing.h"
#include "mongo/bson_read.h"
#include "rollup.h"

static void expect_text(const bson_t *row, const char *path, const char *expected)
{
    gw_str text;
    assert_true(gw_bson_str(row, path, &text));
    assert_true(gw_str_eq_c(text, expected));
}

static void expect_int(const bson_t *row, const char *path, bson_type_t type, int64_t expected)
{
    bson_iter_t at;
    bson_iter_t found;
    assert_true(bson_iter_init(&at, row) && bson_iter_find_descendant(&at, path, &found));
    assert_int_equal(bson_iter_type(&found), type);
    assert_int_equal(bson_iter_as_int64(&found), expected);
}

static void expect_oid(const bson_t *row, const char *path, const uint8_t expected[12])
{
    gw_object_id id;
    assert_true(gw_bson_oid(row, path, &id));
    assert_memory_equal(id.bytes, expected, sizeof(id.bytes));
}

static void a_row_has_the_fields_that_were_asked_for(void **state)
{
    test_event t;
    bson_t row;
    int64_t time_ms = 0;
    double cost = 0;
    (void)state;
    test_event_init(&t);
    test_event_row(&t, &row);
    expect_oid(&row, "_id", t.id);
    expect_oid(&row, "apiKeyId", t.key);
    assert_true(gw_bson_date_ms(&row, "timestamp", &time_ms));
    assert_int_equal(time_ms, TEST_NOW_MS);
    expect_text(&row, "request.endpoint", "/v1/chat/completions");
    expect_text(&row, "request.method", "POST");
    expect_text(&row, "request.model", "gpt-4.1");
    expect_text(&row, "request.ip", "");
    expect_text(&row, "request.userAgent", "");
    expect_text(&row, "request.headers.x-stainless%2Elang", "js");
    expect_int(&row, "response.statusCode", BSON_TYPE_INT32, 200);
    expect_int(&row, "response.duration", BSON_TYPE_INT64, 1234);
    assert_true(bson_has_field(&row, "response.error"));
    assert_false(gw_bson_has(&row, "response.error"));
    expect_int(&row, "usage.promptTokens", BSON_TYPE_INT64, 10);
    expect_int(&row, "usage.completionTokens", BSON_TYPE_INT64, 5);
    expect_int(&row, "usage.totalTokens", BSON_TYPE_INT64, 15);
    expect_int(&row, "usage.costNanoUsd", BSON_TYPE_INT64, 2500000000);
    assert_true(gw_bson_double(&row, "usage.cost", &cost));
    assert_true(cost == 2.5);
    assert_true(bson_has_field(&row, "metadata.conversationId"));
    assert_true(bson_has_field(&row, "metadata.messageId"));
    assert_true(bson_has_field(&row, "metadata.clientVersion"));
    bson_destroy(&row);
}

static void a_row_holds_what_rollups_need(void **state)
{
    test_event t;
    bson_t row;
    (void)state;
    test_event_init(&t);
    test_event_row(&t, &row);
    expect_text(&row, "route", "gpt-*");
    expect_text(&row, "provider", "openai");
    expect_text(&row, "clientId", "app.one");
    expect_oid(&row, "userId", t.user);
    expect_int(&row, "ttftMs", BSON_TYPE_INT64, 100);
    expect_int(&row, "repeatCount", BSON_TYPE_INT64, 1);
    expect_text(&row, "outcome", "complete");
    bson_destroy(&row);
}

static void the_row_of_a_librechats_answer_waits_for_its_books(void **state)
{
    test_event t;
    bson_t row;
    int64_t look_ms = 0;
    (void)state;
    test_event_init(&t);
    t.e.upstream_response_id = TEXT("chatcmpl-1");
    test_event_row(&t, &row);
    expect_text(&row, "upstreamResponseId", "chatcmpl-1");
    assert_true(gw_bson_date_ms(&row, "librechat.lookAt", &look_ms));
    assert_int_equal(look_ms, TEST_NOW_MS + 1234);
    bson_destroy(&row);

    char longer[EVENT_RESPONSE_ID_MAX + 2];
    memset(longer, 'x', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';
    t.e.upstream_response_id = longer;
    test_event_row(&t, &row);
    assert_false(bson_has_field(&row, "librechat"));
    bson_destroy(&row);
}

static void the_tier_that_a_request_was_billed_by_stands_in_its_row(void **state)
{
    test_event t;
    bson_t row;
    (void)state;
    test_event_init(&t);
    test_event_row(&t, &row);
    assert_false(bson_has_field(&row, "serviceTier")); /* the standard one */
    bson_destroy(&row);
    t.e.service_tier = TEXT("priority");
    test_event_row(&t, &row);
    expect_text(&row, "serviceTier", "priority");
    bson_destroy(&row);
}

static void what_an_event_does_not_say_is_left_out(void **state)
{
    test_event t;
    bson_t row;
    (void)state;
    test_event_init(&t);
    t.e.ttft_ms_presence_case = APIRELAY__USAGE__V1__USAGE_EVENT__TTFT_MS_PRESENCE__NOT_SET;
    t.e.user_id.len = 0;
    t.e.provider = TEXT("");
    test_event_row(&t, &row);
    assert_false(bson_has_field(&row, "ttftMs"));
    assert_false(bson_has_field(&row, "userId"));
    assert_false(bson_has_field(&row, "provider"));
    assert_false(bson_has_field(&row, "truncated"));
    assert_false(bson_has_field(&row, "upstreamResponseId"));
    assert_false(bson_has_field(&row, "librechat"));
    bson_destroy(&row);
}

/* ---- judging: each case spoils one thing of a good event ---- */

static void spoil_id(test_event *t)
{
    t->e.event_id.len = 11;
}
static void spoil_key(test_event *t)
{
    t->e.api_key_id.len = 0;
}
static void spoil_user(test_event *t)
{
    t->e.user_id.len = 5;
}
static void spoil_cost(test_event *t)
{
    t->e.cost_nano_usd = -1;
}
static void spoil_tokens(test_event *t)
{
    t->e.reasoning_tokens = EVENT_TOKENS_MAX + 1;
}
static void spoil_status(test_event *t)
{
    t->e.status_code = 0;
}
static void spoil_duration(test_event *t)
{
    t->e.duration_ms = -5;
}
static void spoil_ttft(test_event *t)
{
    t->e.ttft_ms = -1;
}
static void spoil_outcome(test_event *t)
{
    t->e.outcome = TEXT("no word");
}
static void spoil_text(test_event *t)
{
    t->e.model = TEXT("\xff\xfe");
}
static void put_ahead(test_event *t)
{
    t->e.timestamp_ms += EVENT_AHEAD_MS + 1;
}
static void put_back(test_event *t)
{
    t->e.timestamp_ms -= TEST_RETENTION_MS + 1;
}
static char long_name[258];
static void lengthen_model(test_event *t)
{
    memset(long_name, 'a', sizeof(long_name) - 1);
    t->e.model = long_name;
}
static void spoil_load(test_event *t)
{
    t->e.owner_load_id = -1;
}
static void put_before_time(test_event *t)
{
    t->e.timestamp_ms = INT64_MIN;
}
static void put_after_time(test_event *t)
{
    t->e.timestamp_ms = INT64_MAX;
}
static void overdo_everything(test_event *t)
{
    t->e.prompt_tokens = t->e.completion_tokens = t->e.cost_nano_usd = INT64_MAX;
}
static void keep_strange_names(test_event *t)
{
    /* NOLINTNEXTLINE(misc-misleading-bidirectional): callers may send it */
    t->e.model = TEXT("a.b$c%d\n\x01\x7f \xe2\x80\xae");
    t->e.client_id = TEXT("$.");
    t->e.error = TEXT("a.$ text\r\n that is no type");
}
static void keep_at_the_edges(test_event *t)
{
    t->e.timestamp_ms += EVENT_AHEAD_MS;
    t->e.outcome = TEXT("a_new_word");
    t->e.user_id.len = 0;
    t->e.cost_nano_usd = EVENT_COST_NANO_USD_MAX;
    t->e.ttft_ms = 0;
}

static void what_no_row_can_be_made_of_is_rejected_by_name(void **state)
{
    static const struct {
        void (*spoil)(test_event *t);
        const char *reason;
    } cases[] = {{spoil_id, "bad_id"},
                 {spoil_key, "bad_id"},
                 {spoil_user, "bad_id"},
                 {spoil_cost, "bad_figure"},
                 {spoil_tokens, "bad_figure"},
                 {spoil_status, "bad_figure"},
                 {spoil_duration, "bad_figure"},
                 {spoil_ttft, "bad_figure"},
                 {spoil_outcome, "bad_word"},
                 {spoil_text, "malformed"},
                 {put_ahead, "in_the_future"},
                 {put_back, "too_old"},
                 {lengthen_model, "name_too_long"},
                 {spoil_load, "bad_figure"},
                 {put_before_time, "too_old"},
                 {put_after_time, "in_the_future"},
                 {overdo_everything, "bad_figure"},
                 {keep_strange_names, NULL},
                 {keep_at_the_edges, NULL}};
    gw_auto_buf packed = {0};
    (void)state;
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        test_event t;
        test_event_init(&t);
        cases[i].spoil(&t);
        const char *reason =
            event_judge(test_event_pack(&t, &packed), TEST_NOW_MS, TEST_RETENTION_MS);
        if (cases[i].reason) {
            assert_string_equal(reason, cases[i].reason);
            assert_true(event_reason_is_known(gw_str_of(reason)));
        } else {
            assert_null(reason);
        }
    }
    assert_false(event_reason_is_known(GW_STR("")));
    assert_false(event_reason_is_known(GW_STR("too")));
}

static void garbage_and_giants_are_rejected(void **state)
{
    static char giant[EVENT_BYTES_MAX + 1];
    (void)state;
    assert_string_equal(event_judge(GW_STR("\xff\xff\xff"), TEST_NOW_MS, TEST_RETENTION_MS),
                        "malformed");
    assert_string_equal(event_judge(GW_STR(""), TEST_NOW_MS, TEST_RETENTION_MS), "bad_id");
    assert_string_equal(event_judge(gw_str_n(giant, sizeof(giant)), TEST_NOW_MS, TEST_RETENTION_MS),
                        "too_large");
}

static void every_cut_of_an_event_is_judged(void **state)
{
    test_event t;
    gw_auto_buf packed = {0};
    (void)state;
    test_event_init(&t);
    gw_str whole = test_event_pack(&t, &packed);
    for (size_t len = 0; len < whole.len; len++) {
        char *copy = gw_str_dup(gw_str_slice(whole, 0, len)); /* the sanitizer sees its end */
        (void)event_judge(gw_str_n(copy, len), TEST_NOW_MS, TEST_RETENTION_MS);
        free(copy);
    }
}

/* What is not set aside has to make a row and sums that a document can hold. */
static void check_row_of(gw_str packed)
{
    gw_error err;
    if (event_judge(packed, TEST_NOW_MS, TEST_RETENTION_MS))
        return;
    usage_event *e = event_unpack(packed);
    bson_t row = BSON_INITIALIZER;
    gw_auto(rollup) sums_of_it = rollup_new();
    event_append_row(e, SUMS_FORMAT, &row);
    assert_true(bson_validate(&row, BSON_VALIDATE_UTF8, NULL));
    assert_int_equal(rollup_add_row(sums_of_it, &row, &err), GW_OK);
    for (size_t i = 0; i < rollup_count(sums_of_it); i++) {
        bson_t hour = BSON_INITIALIZER;
        sums_append_nested(rollup_at(sums_of_it, i)->sums, &hour);
        assert_true(bson_validate(
            &hour, BSON_VALIDATE_UTF8 | BSON_VALIDATE_DOLLAR_KEYS | BSON_VALIDATE_DOT_KEYS, NULL));
        bson_destroy(&hour);
    }
    bson_destroy(&row);
    event_free(e);
}

static void an_event_with_any_bit_flipped_is_set_aside_or_makes_a_sound_row(void **state)
{
    test_event t;
    gw_auto_buf packed = {0};
    (void)state;
    test_event_init(&t);
    t.e.key_load_id = 77;
    gw_str whole = test_event_pack(&t, &packed);
    for (size_t bit = 0; bit < 8 * whole.len; bit++) {
        char *copy = gw_str_dup(whole);
        copy[bit / 8] = (char)(copy[bit / 8] ^ (1 << bit % 8));
        check_row_of(gw_str_n(copy, whole.len));
        free(copy);
    }
}

static void strange_names_make_a_sound_row(void **state)
{
    test_event t;
    gw_auto_buf packed = {0};
    (void)state;
    test_event_init(&t);
    keep_strange_names(&t);
    t.e.outcome = TEXT("failed");
    check_row_of(test_event_pack(&t, &packed));
    t.e.upstream_accepted = false;
    t.e.route = TEXT("");
    check_row_of(test_event_pack(&t, &packed));
}

static void an_error_of_a_megabyte_is_set_aside_whole(void **state)
{
    test_event t;
    gw_auto_buf packed = {0};
    char *text = (char *)malloc((1 << 20) + 1);
    (void)state;
    assert_non_null(text);
    memset(text, 'e', 1 << 20);
    text[1 << 20] = '\0';
    test_event_init(&t);
    t.e.error = text;
    assert_string_equal(event_judge(test_event_pack(&t, &packed), TEST_NOW_MS, TEST_RETENTION_MS),
                        "too_large");
    free(text);
}

static void an_event_without_id_gets_the_same_one_each_time(void **state)
{
    gw_object_id one;
    gw_object_id again;
    gw_object_id next;
    (void)state;
    event_id_of(GW_STR("\xff"), GW_STR("0102030405"), 7, &one);
    event_id_of(GW_STR("\xff"), GW_STR("0102030405"), 7, &again);
    event_id_of(GW_STR("\xff"), GW_STR("0102030405"), 8, &next);
    assert_memory_equal(one.bytes, again.bytes, sizeof(one.bytes));
    assert_memory_not_equal(one.bytes, next.bytes, sizeof(one.bytes));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_row_has_the_fields_that_were_asked_for),
        cmocka_unit_test(a_row_holds_what_rollups_need),
        cmocka_unit_test(the_row_of_a_librechats_answer_waits_for_its_books),
        cmocka_unit_test(the_tier_that_a_request_was_billed_by_stands_in_its_row),
        cmocka_unit_test(what_an_event_does_not_say_is_left_out),
        cmocka_unit_test(what_no_row_can_be_made_of_is_rejected_by_name),
        cmocka_unit_test(garbage_and_giants_are_rejected),
        cmocka_unit_test(every_cut_of_an_event_is_judged),
        cmocka_unit_test(an_event_with_any_bit_flipped_is_set_aside_or_makes_a_sound_row),
        cmocka_unit_test(strange_names_make_a_sound_row),
        cmocka_unit_test(an_error_of_a_megabyte_is_set_aside_whole),
        cmocka_unit_test(an_event_without_id_gets_the_same_one_each_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
