#include "api_key_bson.h"

#include "mongo/bson_read.h"
#include "test_kit.h"

static gw_arena *arena;

static int set_up(void **state)
{
    (void)state;
    arena = gw_arena_new();
    return arena ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    gw_arena_free(arena);
    return 0;
}

static api_key_record full(void)
{
    static char *models[] = {"gpt-*"};
    api_key_record k = {.view = test_view(arena, "full"), .version = 2};
    k.view->id = "65f000000000000000000001";
    k.view->key_id = "a23456789012";
    k.view->user_id = "65f000000000000000000002";
    k.view->generation = 7;
    k.view->created_at = k.view->updated_at = message_time(arena, 1700000000123);
    k.view->last_used_at = message_time(arena, 1700000000456);
    k.view->permissions->models = models;
    k.view->permissions->n_models = 1;
    k.view->limits->cost_limit_presence_case =
        APIRELAY__AUTH__V1__KEY_LIMITS__COST_LIMIT_PRESENCE_COST_LIMIT;
    k.view->limits->cost_limit = 1.5;
    k.view->limits->requests_per_day_presence_case =
        APIRELAY__AUTH__V1__KEY_LIMITS__REQUESTS_PER_DAY_PRESENCE_REQUESTS_PER_DAY;
    k.view->limits->requests_per_day = 9;
    k.view->security->expires_at = message_time(arena, 1800000000000);
    k.current = (api_key_secret){.phc = GW_STR("$argon2id$x"),
                                 .pepper_id = 'a',
                                 .hmac = GW_STR("0123456789abcdef0123456789abcdef"),
                                 .created_ms = 1700000000123};
    k.previous[0] = k.current;
    k.previous[0].expires_ms = 1700000009999;
    k.previous_count = 1;
    k.signing_sealed = GW_STR("sealed");
    k.signing_previous_sealed = GW_STR("sealed before");
    k.signing_previous_expires_ms = 1700000008888;
    k.librechat_sealed = GW_STR("sealed LibreChat key");
    k.view->librechat = message_new(arena, &apirelay__auth__v1__key_librechat__descriptor);
    k.view->librechat->origin = "https://chat.example";
    k.view->librechat->key_prefix = "sk-01234";
    k.view->librechat->set_at = message_time(arena, 1700000007777);
    k.view->security->auto_suspend =
        message_new(arena, &apirelay__auth__v1__key_auto_suspend__descriptor);
    k.view->security->auto_suspend->limit_exceeded =
        message_new(arena, &apirelay__auth__v1__key_auto_suspend_rule__descriptor);
    k.view->security->auto_suspend->limit_exceeded->count = 5;
    k.view->security->auto_suspend->limit_exceeded->window_seconds = 60;
    return k;
}

static void the_document_has_the_names_and_types_of_the_contract(void **state)
{
    (void)state;
    api_key_record k = full();
    bson_t doc = BSON_INITIALIZER;
    bson_iter_t it, at;
    static const struct {
        const char *path;
        bson_type_t type;
    } fields[] = {
        {"_id", BSON_TYPE_OID},
        {"key", BSON_TYPE_UTF8},
        {"keyId", BSON_TYPE_UTF8},
        {"name", BSON_TYPE_UTF8},
        {"userId", BSON_TYPE_OID},
        {"permissions.models", BSON_TYPE_ARRAY},
        {"permissions.endpoints", BSON_TYPE_ARRAY},
        {"permissions.features.streaming", BSON_TYPE_BOOL},
        {"permissions.features.functionCalling", BSON_TYPE_BOOL},
        {"permissions.features.vision", BSON_TYPE_BOOL},
        {"limits.requestsPerDay", BSON_TYPE_INT64},
        {"limits.costLimit", BSON_TYPE_DOUBLE},
        {"security.ipWhitelist", BSON_TYPE_ARRAY},
        {"security.domains", BSON_TYPE_ARRAY},
        {"security.expiresAt", BSON_TYPE_DATE_TIME},
        {"status", BSON_TYPE_UTF8},
        {"createdAt", BSON_TYPE_DATE_TIME},
        {"updatedAt", BSON_TYPE_DATE_TIME},
        {"lastUsedAt", BSON_TYPE_DATE_TIME},
        {"env", BSON_TYPE_UTF8},
        {"verifier.pepperId", BSON_TYPE_UTF8},
        {"verifier.hmacSha256", BSON_TYPE_BINARY},
        {"previous.0.key", BSON_TYPE_UTF8},
        {"previous.0.verifier.hmacSha256", BSON_TYPE_BINARY},
        {"previous.0.expiresAt", BSON_TYPE_DATE_TIME},
        {"signing.required", BSON_TYPE_BOOL},
        {"signing.secret", BSON_TYPE_BINARY},
        {"signing.previous.secret", BSON_TYPE_BINARY},
        {"signing.previous.expiresAt", BSON_TYPE_DATE_TIME},
        {"librechat.origin", BSON_TYPE_UTF8},
        {"librechat.keyPrefix", BSON_TYPE_UTF8},
        {"librechat.setAt", BSON_TYPE_DATE_TIME},
        {"librechat.secret", BSON_TYPE_BINARY},
        {"security.autoSuspend.limitExceeded.count", BSON_TYPE_INT64},
        {"security.autoSuspend.limitExceeded.windowSeconds", BSON_TYPE_INT64},
        {"onDisconnect", BSON_TYPE_UTF8},
        {"client.kind", BSON_TYPE_UTF8},
        {"cache.enabled", BSON_TYPE_BOOL},
        {"privacy.maskPii", BSON_TYPE_BOOL},
        {"privacy.storePrompts", BSON_TYPE_BOOL},
        {"generation", BSON_TYPE_INT64},
    };
    api_key_to_bson(&k, API_KEY_WHOLE, &doc);
    for (size_t i = 0; i < GW_ARRAY_LEN(fields); i++) {
        if (!bson_iter_init(&it, &doc) || !bson_iter_find_descendant(&it, fields[i].path, &at) ||
            bson_iter_type(&at) != fields[i].type)
            fail_msg("missing or of another type: %s", fields[i].path);
    }
    const char *const absent[] = {"id",
                                  "etag",
                                  "previousExpiresAt",
                                  "limits.tokensPerDay",
                                  "maxAgeDays",
                                  "clientId",
                                  "statusReason",
                                  "signing.configured",
                                  "security.autoSuspend.badSignatures"};
    for (size_t i = 0; i < GW_ARRAY_LEN(absent); i++) {
        if (gw_bson_has(&doc, absent[i]))
            fail_msg("present: %s", absent[i]);
    }
    bson_destroy(&doc);
}

static void a_document_reads_back_the_same(void **state)
{
    (void)state;
    api_key_record k = full(), back;
    bson_t doc = BSON_INITIALIZER, again = BSON_INITIALIZER;
    api_key_to_bson(&k, API_KEY_WHOLE, &doc);
    assert_int_equal(api_key_from_bson(arena, &doc, &back, NULL), GW_OK);
    api_key_to_bson(&back, API_KEY_WHOLE, &again);
    assert_true(bson_equal(&doc, &again));
    assert_string_equal(back.view->user_id, "65f000000000000000000002");
    assert_int_equal(back.previous_count, 1);
    bson_destroy(&doc);
    bson_destroy(&again);
}

static void a_key_that_has_lost_its_librechat_key_loses_it_in_the_document(void **state)
{
    (void)state;
    api_key_record k = full();
    bson_t doc = BSON_INITIALIZER, unset = BSON_INITIALIZER;
    api_key_drop_librechat(&k);
    api_key_to_bson(&k, API_KEY_POLICY, &doc);
    api_key_absent_to_bson(&k, &unset);
    assert_false(bson_has_field(&doc, "librechat"));
    assert_true(bson_has_field(&unset, "librechat"));
    bson_destroy(&doc);
    bson_destroy(&unset);
}

static void a_change_of_the_policy_touches_no_secret_and_no_use(void **state)
{
    (void)state;
    api_key_record k = full();
    bson_t doc = BSON_INITIALIZER, unset = BSON_INITIALIZER;
    api_key_to_bson(&k, API_KEY_POLICY, &doc);
    const char *const absent[] = {"_id", "key", "verifier", "previous", "lastUsedAt"};
    for (size_t i = 0; i < GW_ARRAY_LEN(absent); i++)
        assert_false(bson_has_field(&doc, absent[i]));
    api_key_absent_to_bson(&k, &unset);
    assert_true(bson_has_field(&unset, "clientId"));
    assert_true(bson_has_field(&unset, "maxAgeDays"));
    assert_false(bson_has_field(&unset, "userId"));
    assert_false(bson_has_field(&unset, "librechat"));
    bson_destroy(&doc);
    bson_destroy(&unset);
}

static gw_status read_json(const char *json, api_key_record *ret)
{
    bson_error_t e;
    bson_t *doc = bson_new_from_json((const uint8_t *)json, -1, &e);
    assert_non_null(doc);
    gw_status rc = api_key_from_bson(arena, doc, ret, NULL);
    bson_destroy(doc);
    return rc;
}

#define OTHERS "\"_id\":{\"$oid\":\"65f000000000000000000001\"},\"keyId\":\"a23456789012\""

static void what_others_left_out_gets_its_default(void **state)
{
    (void)state;
    api_key_record k;
    assert_int_equal(read_json("{" OTHERS ",\"limits\":{\"requestsPerDay\":5.0}}", &k), GW_OK);
    assert_string_equal(k.view->status, "active");
    assert_int_equal(k.view->limits->requests_per_day, 5);
    assert_true(k.view->permissions->features->vision);
}

static void what_narrows_a_key_must_be_readable(void **state)
{
    (void)state;
    static const char *const docs[] = {
        "{\"keyId\":\"x\"}",
        "{\"_id\":{\"$oid\":\"65f000000000000000000001\"}}",
        "{\"_id\":{\"$oid\":\"65f000000000000000000001\"},\"keyId\":\"\"}",
        "{" OTHERS ",\"status\":5}",
        "{" OTHERS ",\"security\":{\"expiresAt\":\"2020-01-01\"}}",
        "{" OTHERS ",\"security\":{\"ipWhitelist\":\"10.0.0.1\"}}",
        "{" OTHERS ",\"security\":{\"ipWhitelist\":[5]}}",
        "{" OTHERS ",\"security\":{\"expiresAt\":{\"$date\":{\"$numberLong\":\"0\"}}}}",
        "{" OTHERS ",\"permissions\":{\"models\":\"gpt-4o\"}}",
        "{" OTHERS ",\"permissions\":{\"models\":[\"gpt-\\u0000x\"]}}",
        "{" OTHERS ",\"permissions\":{\"endpoints\":[null]}}",
        "{" OTHERS ",\"permissions\":{\"maxTokens\":\"100\"}}",
        "{" OTHERS ",\"permissions\":{\"features\":{\"vision\":\"false\"}}}",
        "{" OTHERS ",\"limits\":{\"tokensPerDay\":\"1000\"}}",
        "{" OTHERS ",\"limits\":{\"costLimit\":\"5\"}}",
        "{" OTHERS ",\"limits\":5}",
        "{" OTHERS ",\"security\":{\"domains\":\"https://a.example\"}}",
        "{" OTHERS ",\"maxAgeDays\":\"30\"}",
        "{" OTHERS ",\"signing\":{\"required\":\"true\"}}",
        "{" OTHERS ",\"librechat\":5}",
        "{" OTHERS ",\"librechat\":{\"origin\":\"https://a.example\"}}",
        "{" OTHERS
        ",\"librechat\":{\"secret\":{\"$binary\":{\"base64\":\"eA==\",\"subType\":\"00\"}}}}",
        "{" OTHERS ",\"librechat\":{\"origin\":5,\"secret\":{\"$binary\":{\"base64\":\"eA==\","
        "\"subType\":\"00\"}}}}",
    };
    for (size_t i = 0; i < GW_ARRAY_LEN(docs); i++) {
        api_key_record k;
        if (read_json(docs[i], &k) != GW_ERR_DATA_LOSS)
            fail_msg("accepted: %s", docs[i]);
    }
}

/* Found by fuzzing: the multiplication overflowed, and a negative end is an ended key. */
static void an_age_past_all_time_ends_a_secret_at_the_end_of_time(void **state)
{
    (void)state;
    api_key_record k = full();
    k.view->security->expires_at = NULL;
    k.view->max_age_days_presence_case =
        APIRELAY__AUTH__V1__API_KEY__MAX_AGE_DAYS_PRESENCE_MAX_AGE_DAYS;
    static const struct {
        int64_t created_ms, days, end_ms;
    } cases[] = {
        {1700000000123, 30, 1700000000123 + 30 * GW_MS_PER_DAY},
        {1700000000123, INT64_MAX, INT64_MAX},
        {1700000000123, INT64_MAX / GW_MS_PER_DAY, INT64_MAX},
        {1700000000123, INT64_MIN, 1},
        {INT64_MIN, -1, 1},
        {-GW_MS_PER_DAY, 1, 1}, /* 0 would be never */
    };
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        k.current.created_ms = cases[i].created_ms;
        k.view->max_age_days = cases[i].days;
        assert_int_equal(api_key_secret_end_ms(&k, &k.current), cases[i].end_ms);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_document_has_the_names_and_types_of_the_contract),
        cmocka_unit_test(a_document_reads_back_the_same),
        cmocka_unit_test(a_key_that_has_lost_its_librechat_key_loses_it_in_the_document),
        cmocka_unit_test(a_change_of_the_policy_touches_no_secret_and_no_use),
        cmocka_unit_test(what_others_left_out_gets_its_default),
        cmocka_unit_test(an_age_past_all_time_ends_a_secret_at_the_end_of_time),
        cmocka_unit_test(what_narrows_a_key_must_be_readable),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
