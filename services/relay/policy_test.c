#include "policy.h"

#include "testing/cmocka.h"

#include <stdlib.h>

typedef Apirelay__Auth__V1__KeyPolicy message;

/* A policy as auth would send it, round-tripped through the wire so that the policy owns its memory. */
static key_policy *policy_of(const message *m)
{
    size_t len = apirelay__auth__v1__key_policy__get_packed_size(m);
    uint8_t *bytes = malloc(len ? len : 1);
    assert_non_null(bytes);
    apirelay__auth__v1__key_policy__pack(m, bytes);
    message *copy = apirelay__auth__v1__key_policy__unpack(NULL, len, bytes);
    free(bytes);
    assert_non_null(copy);
    key_policy *p = NULL;
    gw_error err;
    assert_int_equal(key_policy_new(copy, &p, &err), GW_OK);
    return p;
}

static char id_text[] = "0123456789abcdef01234567";
static char key_id_text[] = "aKeyId000001";
static char active[] = "active";

static message plain(void)
{
    message m = APIRELAY__AUTH__V1__KEY_POLICY__INIT;
    m.key_id = key_id_text;
    m.api_key_id = id_text;
    m.status = active;
    return m;
}

static void state_and_expiry_decide_first(void **state)
{
    (void)state;
    static const struct {
        char status[12];
        int64_t expires_s; /* 0 = never */
        gw_status want;
    } cases[] = {
        {"active", 0, GW_OK},
        {"active", 101, GW_OK},
        {"active", 100, GW_ERR_KEY_INVALID},
        {"suspended", 0, GW_ERR_KEY_SUSPENDED},
        {"revoked", 0, GW_ERR_KEY_INVALID},
        {"unheard-of", 0, GW_ERR_KEY_INVALID},
    };
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        char status[12];
        memcpy(status, cases[i].status, sizeof(status));
        Google__Protobuf__Timestamp expiry = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
        expiry.seconds = cases[i].expires_s;
        message m = plain();
        m.status = status;
        m.expires_at = cases[i].expires_s ? &expiry : NULL;
        key_policy *p = policy_of(&m);
        gw_error err;
        assert_int_equal(key_policy_check_state(p, 100000, &err), cases[i].want);
        key_policy_unref(p);
    }
}

static void half_a_librechat_key_is_no_policy(void **state)
{
    (void)state;
    static const struct {
        const char *origin;
        size_t sealed_len;
        gw_status want;
    } cases[] = {
        {"", 0, GW_OK},
        {"https://chat.example", 9, GW_OK},
        {"https://chat.example", 0, GW_ERR_INVALID_ARGUMENT},
        {"", 9, GW_ERR_INVALID_ARGUMENT},
        {"https://chat.example/path", 9, GW_ERR_INVALID_ARGUMENT},
    };
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        message *m = malloc(sizeof(*m));
        apirelay__auth__v1__key_policy__init(m);
        m->key_id = strdup(key_id_text);
        m->api_key_id = strdup(id_text);
        m->librechat_origin = strdup(cases[i].origin);
        m->librechat_key_sealed.len = cases[i].sealed_len;
        m->librechat_key_sealed.data = cases[i].sealed_len ? calloc(1, 9) : NULL;
        key_policy *p = NULL;
        gw_error err;
        assert_int_equal(key_policy_new(m, &p, &err), cases[i].want);
        key_policy_unref(p);
    }
}

static void models_and_endpoints_match_exactly_or_by_glob(void **state)
{
    (void)state;
    char gpt[] = "gpt-4o*", exact[] = "o3", chat[] = "/v1/chat/*";
    char *models[] = {gpt, exact}, *endpoints[] = {chat};
    Apirelay__Auth__V1__KeyPermissions permissions = APIRELAY__AUTH__V1__KEY_PERMISSIONS__INIT;
    permissions.models = models;
    permissions.n_models = 2;
    permissions.endpoints = endpoints;
    permissions.n_endpoints = 1;
    message m = plain();
    m.permissions = &permissions;
    key_policy *p = policy_of(&m);
    gw_error err;
    assert_int_equal(key_policy_check_model(p, GW_STR("gpt-4o-mini"), &err), GW_OK);
    assert_int_equal(key_policy_check_model(p, GW_STR("o3"), &err), GW_OK);
    assert_int_equal(key_policy_check_model(p, GW_STR("o3-mini"), &err), GW_ERR_MODEL_NOT_FOUND);
    assert_string_equal(err.field, "model");
    assert_int_equal(key_policy_check_endpoint(p, GW_STR("/v1/chat/completions"), &err), GW_OK);
    assert_int_equal(key_policy_check_endpoint(p, GW_STR("/v1/embeddings"), &err),
                     GW_ERR_PERMISSION_DENIED);
    key_policy_unref(p);

    m.permissions = NULL;
    p = policy_of(&m);
    assert_int_equal(key_policy_check_model(p, GW_STR("anything"), &err), GW_OK);
    assert_int_equal(key_policy_check_endpoint(p, GW_STR("/v1/embeddings"), &err), GW_OK);
    key_policy_unref(p);
}

static void a_missing_feature_is_named(void **state)
{
    (void)state;
    Apirelay__Auth__V1__KeyFeatures features = APIRELAY__AUTH__V1__KEY_FEATURES__INIT;
    features.streaming_presence_case =
        APIRELAY__AUTH__V1__KEY_FEATURES__STREAMING_PRESENCE_STREAMING;
    features.vision_presence_case = APIRELAY__AUTH__V1__KEY_FEATURES__VISION_PRESENCE_VISION;
    features.vision = true;
    Apirelay__Auth__V1__KeyPermissions permissions = APIRELAY__AUTH__V1__KEY_PERMISSIONS__INIT;
    permissions.features = &features;
    permissions.max_tokens_presence_case =
        APIRELAY__AUTH__V1__KEY_PERMISSIONS__MAX_TOKENS_PRESENCE_MAX_TOKENS;
    permissions.max_tokens = 50;
    message m = plain();
    m.permissions = &permissions;
    key_policy *p = policy_of(&m);
    gw_error err;
    assert_int_equal(key_policy_check_needs(p, &(request_needs){.streaming = true}, &err),
                     GW_ERR_PERMISSION_DENIED);
    assert_non_null(strstr(err.message, "features.streaming"));
    assert_int_equal(key_policy_check_needs(p, &(request_needs){.vision = true}, &err), GW_OK);
    assert_int_equal(key_policy_check_needs(p, &(request_needs){.function_calling = true}, &err),
                     GW_OK);
    assert_int_equal(key_policy_check_needs(p, &(request_needs){.max_tokens = 50}, &err), GW_OK);
    const request_needs greedy = {.max_tokens = 51, .max_tokens_field = "max_completion_tokens"};
    assert_int_equal(key_policy_check_needs(p, &greedy, &err), GW_ERR_MAX_TOKENS_EXCEEDED);
    assert_string_equal(err.field, "max_completion_tokens");
    assert_int_equal(key_policy_max_tokens(p), 50);
    key_policy_unref(p);
}

static void who_is_bounded_may_not_leave_the_choice_of_models_to_a_provider(void **state)
{
    const request_needs asks = {.other_models_field = "fallbacks"};
    char *models[] = {"claude-*"};
    Apirelay__Auth__V1__KeyPermissions permissions = APIRELAY__AUTH__V1__KEY_PERMISSIONS__INIT;
    message m = plain();
    gw_error err;

    (void)state;
    m.permissions = &permissions;
    key_policy *p = policy_of(&m);
    assert_int_equal(key_policy_check_needs(p, &asks, &err), GW_OK);
    p->has_budget = true;
    assert_int_equal(key_policy_check_needs(p, &asks, &err), GW_ERR_UNSUPPORTED_PARAMETER);
    assert_string_equal(err.field, "fallbacks");
    assert_int_equal(key_policy_check_needs(p, &(request_needs){0}, &err), GW_OK);
    key_policy_unref(p);
    permissions.models = models;
    permissions.n_models = 1;
    p = policy_of(&m);
    assert_int_equal(key_policy_check_needs(p, &asks, &err), GW_ERR_UNSUPPORTED_PARAMETER);
    key_policy_unref(p);
}

static void addresses_and_origins_are_held_to_their_lists(void **state)
{
    (void)state;
    char block[] = "10.1.0.0/16", origin[] = "https://app.example.com";
    char *blocks[] = {block}, *origins[] = {origin};
    Apirelay__Auth__V1__KeySecurity security = APIRELAY__AUTH__V1__KEY_SECURITY__INIT;
    security.ip_whitelist = blocks;
    security.n_ip_whitelist = 1;
    security.domains = origins;
    security.n_domains = 1;
    message m = plain();
    m.security = &security;
    key_policy *p = policy_of(&m);
    gw_error err;
    gw_ip inside, outside;
    assert_true(gw_ip_parse(GW_STR("10.1.2.3"), &inside));
    assert_true(gw_ip_parse(GW_STR("10.2.0.1"), &outside));
    assert_int_equal(key_policy_check_address(p, &inside, &err), GW_OK);
    assert_int_equal(key_policy_check_address(p, &outside, &err), GW_ERR_PERMISSION_DENIED);
    assert_non_null(strstr(err.message, "10.2.0.1"));
    assert_true(key_policy_allows_origin(p, GW_STR("https://app.example.com")));
    assert_false(key_policy_allows_origin(p, GW_STR("https://evil.example.com")));
    key_policy_unref(p);

    m.security = NULL;
    p = policy_of(&m);
    assert_int_equal(key_policy_check_address(p, &outside, &err), GW_OK);
    assert_false(key_policy_allows_origin(p, GW_STR("https://app.example.com")));
    key_policy_unref(p);
}

static void a_policy_that_cannot_be_used_is_refused(void **state)
{
    (void)state;
    message *m = malloc(sizeof(*m));
    assert_non_null(m);
    apirelay__auth__v1__key_policy__init(m);
    key_policy *p = NULL;
    gw_error err;
    assert_int_equal(key_policy_new(m, &p, &err), GW_ERR_INVALID_ARGUMENT);
    assert_null(p);
}

static char client_text[] = "app", user_text[] = "65f0000000000000000000aa";

static key_policy *policy_with(Apirelay__Auth__V1__KeyLimits *own,
                               Apirelay__Auth__V1__KeyLimits *of_client,
                               Apirelay__Auth__V1__KeyLimits *of_owner)
{
    message m = plain();
    Apirelay__Auth__V1__SharedLimits client = APIRELAY__AUTH__V1__SHARED_LIMITS__INIT,
                                     owner = APIRELAY__AUTH__V1__SHARED_LIMITS__INIT;

    m.client_id = client_text;
    m.user_id = user_text;
    m.generation = 7;
    m.limits = own;
    client.limits = of_client;
    client.generation = 11;
    owner.limits = of_owner;
    owner.generation = 12;
    m.client_limits = of_client ? &client : NULL;
    m.owner_limits = of_owner ? &owner : NULL;
    return policy_of(&m);
}

static void a_key_has_limits_when_it_its_client_or_its_owner_has_any(void **state)
{
    (void)state;
    Apirelay__Auth__V1__KeyLimits none = APIRELAY__AUTH__V1__KEY_LIMITS__INIT, some = none;
    some.requests_in_flight_presence_case =
        APIRELAY__AUTH__V1__KEY_LIMITS__REQUESTS_IN_FLIGHT_PRESENCE_REQUESTS_IN_FLIGHT;
    some.requests_in_flight = 5;
    key_policy *p = policy_with(&none, &none, NULL);
    assert_false(key_policy_has_limits(p));
    key_policy_unref(p);
    p = policy_with(&none, &some, NULL);
    assert_int_equal(p->ledger_count, 1);
    key_policy_unref(p);
    p = policy_with(&some, &some, &some);
    const char *const subjects[] = {"k:0123456789abcdef01234567", "c:app",
                                    "o:65f0000000000000000000aa"};
    const int64_t generations[] = {7, 11, 12};
    assert_int_equal(p->ledger_count, LEDGER_LEVELS);
    for (int i = 0; i < LEDGER_LEVELS; i++) {
        assert_int_equal(p->ledgers[i].level, i);
        assert_string_equal(p->ledgers[i].subject, subjects[i]);
        assert_int_equal(p->ledgers[i].limits.generation, generations[i]);
        assert_int_equal(p->ledgers[i].limits.in_flight, 5);
        assert_int_equal(p->ledgers[i].limits.window.of[LEDGER_COST_MONTH], LEDGER_UNLIMITED);
    }
    key_policy_unref(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(state_and_expiry_decide_first),
        cmocka_unit_test(half_a_librechat_key_is_no_policy),
        cmocka_unit_test(models_and_endpoints_match_exactly_or_by_glob),
        cmocka_unit_test(a_missing_feature_is_named),
        cmocka_unit_test(who_is_bounded_may_not_leave_the_choice_of_models_to_a_provider),
        cmocka_unit_test(addresses_and_origins_are_held_to_their_lists),
        cmocka_unit_test(a_policy_that_cannot_be_used_is_refused),
        cmocka_unit_test(a_key_has_limits_when_it_its_client_or_its_owner_has_any),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
