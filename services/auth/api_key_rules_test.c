#include "api_key_rules.h"

#include "money.h"
#include "test_kit.h"

#define LIMIT(l, field, FIELD, v)                                                                  \
    ((l)->field##_presence_case = APIRELAY__AUTH__V1__KEY_LIMITS__##FIELD##_PRESENCE_##FIELD,      \
     (l)->field = (v))

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

static bool names(const gw_violations *v, const char *field)
{
    for (size_t i = 0; i < v->count; i++) {
        if (strcmp(v->items[i].field, field) == 0)
            return true;
    }
    return false;
}

static void a_named_key_with_defaults_is_fine(void **state)
{
    (void)state;
    gw_violations v = {0};
    api_key_view *k = test_view(arena, "my key");
    api_key_check(k, &v);
    assert_int_equal(v.count, 0);
    assert_string_equal(k->env, "prod");
    assert_string_equal(k->status, "active");
    assert_string_equal(k->on_disconnect, "close");
    assert_string_equal(k->client->kind, "app");
    assert_true(k->permissions->features->streaming && k->permissions->features->vision &&
                k->permissions->features->function_calling);
}

static void every_mistake_is_named_at_once(void **state)
{
    (void)state;
    gw_violations v = {0};
    api_key_view *k = test_view(arena, "");
    char *models[] = {"gpt-*", "a b"}, *endpoints[] = {"/v1/chat/completions", "/admin"};
    char *addresses[] = {"10.0.0.0/8", "::1", "10.0.0.1/8"};
    char *domains[] = {"https://a.example", "http://localhost:3000", "https://a.example/x", "*"};
    k->env = "X";
    k->user_id = "123";
    k->client_id = "with space";
    k->on_disconnect = "hang";
    k->client->kind = "robot";
    k->permissions->models = models;
    k->permissions->n_models = 2;
    k->permissions->endpoints = endpoints;
    k->permissions->n_endpoints = 2;
    k->security->ip_whitelist = addresses;
    k->security->n_ip_whitelist = 3;
    k->security->domains = domains;
    k->security->n_domains = 4;
    LIMIT(k->limits, requests_per_minute, REQUESTS_PER_MINUTE, 0);
    LIMIT(k->limits, tokens_per_day, TOKENS_PER_DAY, -1);
    LIMIT(k->limits, requests_in_flight, REQUESTS_IN_FLIGHT, 0);
    k->signing->required = true;
    api_key_check(k, &v);
    const char *const fields[] = {"name",
                                  "env",
                                  "userId",
                                  "clientId",
                                  "onDisconnect",
                                  "client.kind",
                                  "permissions.models[1]",
                                  "permissions.endpoints[1]",
                                  "security.ipWhitelist[2]",
                                  "security.domains[2]",
                                  "security.domains[3]",
                                  "limits.requestsPerMinute",
                                  "limits.tokensPerDay",
                                  "limits.requestsInFlight",
                                  "signing.required"};
    for (size_t i = 0; i < GW_ARRAY_LEN(fields); i++) {
        if (!names(&v, fields[i]))
            fail_msg("not named: %s", fields[i]);
    }
    assert_int_equal(v.count, GW_ARRAY_LEN(fields));
}

static void a_rule_of_auto_suspension_needs_both_numbers(void **state)
{
    (void)state;
    static const struct {
        int64_t count, seconds;
        const char *field; /* NULL: fine */
    } cases[] = {
        {1, 1, NULL},
        {1000, 86400, NULL},
        {0, 60, "security.autoSuspend.badSignatures.count"},
        {1001, 60, "security.autoSuspend.badSignatures.count"},
        {-1, 60, "security.autoSuspend.badSignatures.count"},
        {5, 0, "security.autoSuspend.badSignatures.windowSeconds"},
        {5, 86401, "security.autoSuspend.badSignatures.windowSeconds"},
    };
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        gw_violations v = {0};
        api_key_view *k = test_view(arena, "k");
        k->security->auto_suspend =
            message_new(arena, &apirelay__auth__v1__key_auto_suspend__descriptor);
        k->security->auto_suspend->bad_signatures =
            message_new(arena, &apirelay__auth__v1__key_auto_suspend_rule__descriptor);
        k->security->auto_suspend->bad_signatures->count = cases[i].count;
        k->security->auto_suspend->bad_signatures->window_seconds = cases[i].seconds;
        api_key_check(k, &v);
        assert_int_equal(v.count, cases[i].field != NULL);
        if (cases[i].field)
            assert_true(names(&v, cases[i].field));
    }
}

static void names_are_labels(void **state)
{
    (void)state;
    static const char *const bad[] = {"  ",
                                      "a\xc2\x9b"
                                      "2J",
                                      "a\xe2\x80\xae",
                                      "a\xe2\x80\xa8"
                                      "b",
                                      "a\n"};
    for (size_t i = 0; i < GW_ARRAY_LEN(bad); i++) {
        gw_violations v = {0};
        api_key_check(test_view(arena, bad[i]), &v);
        assert_true(v.count == 1 && names(&v, "name"));
    }
}

static void names_are_counted_in_characters(void **state)
{
    (void)state;
    char name[401];
    for (size_t i = 0; i < 200; i++)
        memcpy(name + 2 * i, "\xc3\xa9", 2);
    name[400] = '\0';
    gw_violations v = {0};
    api_key_check(test_view(arena, name), &v);
    assert_int_equal(v.count, 0);
    memcpy(name, "xx", 2); /* one more */
    api_key_check(test_view(arena, name), &v);
    assert_true(names(&v, "name"));
}

static void an_expiry_must_be_ahead(void **state)
{
    (void)state;
    gw_violations v = {0};
    api_key_view *k = test_view(arena, "k");
    api_key_check_expiry_is_ahead(k, 1000, &v);
    k->security->expires_at = message_time(arena, 1001);
    api_key_check_expiry_is_ahead(k, 1000, &v);
    assert_int_equal(v.count, 0);
    k->security->expires_at = message_time(arena, 1000);
    api_key_check_expiry_is_ahead(k, 1000, &v);
    assert_true(names(&v, "security.expiresAt"));
}

static void an_expiry_must_be_a_time_that_json_can_say(void **state)
{
    (void)state;
    static const struct {
        int64_t seconds;
        int32_t nanos;
    } wrong[] = {{253402300800, 0}, {253402300799, 1000000000}, {2, -1}, {INT64_MAX, INT32_MAX}};
    api_key_view *k = test_view(arena, "k");
    for (size_t i = 0; i < GW_ARRAY_LEN(wrong); i++) {
        gw_violations v = {0};
        k->security->expires_at = message_time(arena, 1001);
        k->security->expires_at->seconds = wrong[i].seconds;
        k->security->expires_at->nanos = wrong[i].nanos;
        api_key_check_expiry_is_ahead(k, 1000, &v);
        assert_true(names(&v, "security.expiresAt"));
        assert_true(message_time_ms(k->security->expires_at) <= 253402300799999);
    }
}

static void one_form_of_the_cost_limit_gives_the_other(void **state)
{
    (void)state;
    gw_violations v = {0};
    Apirelay__Auth__V1__KeyLimits usd = APIRELAY__AUTH__V1__KEY_LIMITS__INIT, nano = usd;
    LIMIT(&usd, cost_limit, COST_LIMIT, 1.5);
    api_key_pair_cost_limit(&usd, &v);
    assert_true(usd.cost_limit_nano_usd_presence_case != 0);
    assert_int_equal(usd.cost_limit_nano_usd, 1500000000);
    LIMIT(&nano, cost_limit_nano_usd, COST_LIMIT_NANO_USD, 250000000);
    api_key_pair_cost_limit(&nano, &v);
    assert_true(nano.cost_limit_presence_case != 0);
    assert_true(nano.cost_limit == 0.25);
    assert_int_equal(v.count, 0);
    api_key_pair_cost_limit(NULL, &v);
}

static void cost_limits_that_cannot_be_are_named(void **state)
{
    (void)state;
    static const struct {
        double usd;
        int64_t nano;
        const char *field;
    } cases[] = {
        {1, 5, "limits.costLimit"},          {0, INT64_MIN, "limits.costLimit"},
        {-1, INT64_MIN, "limits.costLimit"}, {1e10, INT64_MIN, "limits.costLimit"},
        {-2, -1, "limits.costLimit"},        {9007199.01, INT64_MIN, "limits.costLimit"},
    };
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        gw_violations v = {0};
        Apirelay__Auth__V1__KeyLimits l = APIRELAY__AUTH__V1__KEY_LIMITS__INIT;
        LIMIT(&l, cost_limit, COST_LIMIT, cases[i].usd);
        if (cases[i].nano != INT64_MIN)
            LIMIT(&l, cost_limit_nano_usd, COST_LIMIT_NANO_USD, cases[i].nano);
        api_key_pair_cost_limit(&l, &v);
        assert_true(names(&v, cases[i].field));
    }
    gw_violations v = {0};
    Apirelay__Auth__V1__KeyLimits l = APIRELAY__AUTH__V1__KEY_LIMITS__INIT;
    LIMIT(&l, cost_limit_nano_usd, COST_LIMIT_NANO_USD, 0);
    api_key_pair_cost_limit(&l, &v);
    assert_true(names(&v, "limits.costLimitNanoUsd"));
}

static void a_stored_pair_may_be_written_back(void **state)
{
    (void)state;
    const int64_t stored[] = {1, 1500000000, 123456789012345LL, NANO_USD_MAX - 1, NANO_USD_MAX};
    for (size_t i = 0; i < GW_ARRAY_LEN(stored); i++) {
        gw_violations v = {0};
        Apirelay__Auth__V1__KeyLimits l = APIRELAY__AUTH__V1__KEY_LIMITS__INIT;
        LIMIT(&l, cost_limit_nano_usd, COST_LIMIT_NANO_USD, stored[i]);
        api_key_pair_cost_limit(&l, &v);
        api_key_pair_cost_limit(&l, &v);
        assert_int_equal(v.count, 0);
        assert_int_equal(l.cost_limit_nano_usd, stored[i]);
    }
}

static void a_librechat_key_has_an_origin_and_the_form_of_librechats(void **state)
{
    (void)state;
    static const char key[] = "sk-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    static const struct {
        const char *origin, *key;
        const char *field; /* NULL: fine */
    } cases[] = {
        {"https://chat.example", key, NULL},
        {"http://librechat:3080", key, NULL},
        {"https://chat.example/", key, "origin"},
        {"https://chat.example/api/agents/v1", key, "origin"},
        {"chat.example", key, "origin"},
        {"", key, "origin"},
        {"https://chat.example", "", "key"},
        {"https://chat.example", "sk-short", "key"},
        {"https://chat.example", "pk-0123456789abcdef0123456789abcdef0123", "key"},
        {"https://chat.example", "sk-0123456789abcdef0123456789abcdef 123", "key"},
        {"https://chat.example", "sk-0123456789abcdef0123456789abcdef\r\nx", "key"},
        {"https://chat.example", "sk-0123456789abcdef0123456789abcdef\xc3\xbc", "key"},
    };
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        gw_violations v = {0};
        api_key_check_librechat(gw_str_of(cases[i].origin), gw_str_of(cases[i].key), &v);
        if (v.count != (cases[i].field ? 1 : 0) || (cases[i].field && !names(&v, cases[i].field)))
            fail_msg("%s %s", cases[i].origin, cases[i].key);
        if (v.count && *cases[i].key)
            assert_null(strstr(v.items[0].description, cases[i].key));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_named_key_with_defaults_is_fine),
        cmocka_unit_test(every_mistake_is_named_at_once),
        cmocka_unit_test(a_rule_of_auto_suspension_needs_both_numbers),
        cmocka_unit_test(names_are_labels),
        cmocka_unit_test(names_are_counted_in_characters),
        cmocka_unit_test(an_expiry_must_be_ahead),
        cmocka_unit_test(an_expiry_must_be_a_time_that_json_can_say),
        cmocka_unit_test(one_form_of_the_cost_limit_gives_the_other),
        cmocka_unit_test(cost_limits_that_cannot_be_are_named),
        cmocka_unit_test(a_stored_pair_may_be_written_back),
        cmocka_unit_test(a_librechat_key_has_an_origin_and_the_form_of_librechats),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
