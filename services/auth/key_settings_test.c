#include "key_settings.h"

#include "api_key_new.h"
#include "test_kit.h"

#define LIMIT(l, field, FIELD, value)                                                              \
    ((l)->field##_presence_case = APIRELAY__AUTH__V1__KEY_LIMITS__##FIELD##_PRESENCE_##FIELD,      \
     (l)->field = (value))

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

static Apirelay__Auth__V1__KeyDefaults *defaults(void)
{
    Apirelay__Auth__V1__KeyDefaults *d =
        message_new(arena, &apirelay__auth__v1__key_defaults__descriptor);
    d->permissions = message_new(arena, &apirelay__auth__v1__key_permissions__descriptor);
    d->permissions->features = message_new(arena, &apirelay__auth__v1__key_features__descriptor);
    d->limits = message_new(arena, &apirelay__auth__v1__key_limits__descriptor);
    d->security = message_new(arena, &apirelay__auth__v1__key_security__descriptor);
    return d;
}

static key_settings settings_with(Apirelay__Auth__V1__KeyDefaults *d)
{
    key_settings s = key_settings_none(arena);
    s.view->key_defaults = d;
    return s;
}

static void add_environment(key_settings_view *v, const char *env, int64_t days)
{
    Apirelay__Auth__V1__EnvironmentSettings **all =
        gw_arena_array(arena, Apirelay__Auth__V1__EnvironmentSettings *, v->n_environments + 1);
    for (size_t i = 0; i < v->n_environments; i++)
        all[i] = v->environments[i];
    Apirelay__Auth__V1__EnvironmentSettings *e =
        message_new(arena, &apirelay__auth__v1__environment_settings__descriptor);
    e->env = message_text(arena, gw_str_of(env));
    if (days) {
        e->max_age_days_presence_case =
            APIRELAY__AUTH__V1__ENVIRONMENT_SETTINGS__MAX_AGE_DAYS_PRESENCE_MAX_AGE_DAYS;
        e->max_age_days = days;
    }
    all[v->n_environments++] = e;
    v->environments = all;
}

/* A key as a request names it, read and completed. */
static api_key_view *made(const key_settings *s, api_key_view *wanted)
{
    gw_violations v = {0};
    api_key_view *k = message_new(arena, &apirelay__auth__v1__api_key__descriptor);
    wanted->name = message_text(arena, GW_STR("new"));
    assert_int_equal(api_key_new_read(arena, wanted, 0, false, k, &v, NULL), GW_OK);
    assert_int_equal(v.count, 0);
    assert_int_equal(api_key_new_complete(arena, s, k, NULL), GW_OK);
    return k;
}

static api_key_view *asked(void)
{
    return message_new(arena, &apirelay__auth__v1__api_key__descriptor);
}

static void a_request_that_names_nothing_gets_the_defaults(void **state)
{
    (void)state;
    Apirelay__Auth__V1__KeyDefaults *d = defaults();
    char gpt[] = "gpt-*", *models[] = {gpt}, net[] = "10.0.0.0/8", *nets[] = {net};
    d->permissions->models = models;
    d->permissions->n_models = 1;
    d->permissions->features->vision_presence_case =
        APIRELAY__AUTH__V1__KEY_FEATURES__VISION_PRESENCE_VISION;
    d->security->ip_whitelist = nets;
    d->security->n_ip_whitelist = 1;
    LIMIT(d->limits, requests_per_day, REQUESTS_PER_DAY, 100);
    const key_settings s = settings_with(d);
    const api_key_view *k = made(&s, asked());
    assert_string_equal(k->permissions->models[0], "gpt-*");
    assert_string_equal(k->security->ip_whitelist[0], "10.0.0.0/8");
    assert_int_equal(k->limits->requests_per_day, 100);
    assert_false(k->permissions->features->vision);
    assert_true(k->permissions->features->streaming); /* of neither: DATA's */
    assert_string_equal(k->env, "prod");
}

static void what_the_request_names_wins_member_by_member(void **state)
{
    (void)state;
    Apirelay__Auth__V1__KeyDefaults *d = defaults();
    char gpt[] = "gpt-*", *models[] = {gpt}, mini[] = "gpt-4o-mini", *own[] = {mini};
    d->permissions->models = models;
    d->permissions->n_models = 1;
    LIMIT(d->limits, requests_per_day, REQUESTS_PER_DAY, 100);
    LIMIT(d->limits, tokens_per_day, TOKENS_PER_DAY, 1000);
    LIMIT(d->limits, cost_limit, COST_LIMIT, 1);
    LIMIT(d->limits, cost_limit_nano_usd, COST_LIMIT_NANO_USD, 1000000000);
    const key_settings s = settings_with(d);
    api_key_view *wanted = asked();
    wanted->permissions = message_new(arena, &apirelay__auth__v1__key_permissions__descriptor);
    wanted->permissions->models = own;
    wanted->permissions->n_models = 1;
    wanted->limits = message_new(arena, &apirelay__auth__v1__key_limits__descriptor);
    LIMIT(wanted->limits, requests_per_day, REQUESTS_PER_DAY, 5000);
    LIMIT(wanted->limits, cost_limit_nano_usd, COST_LIMIT_NANO_USD, 2000000000);
    const api_key_view *k = made(&s, wanted);
    assert_int_equal(k->permissions->n_models, 1);
    assert_string_equal(k->permissions->models[0], "gpt-4o-mini");
    assert_int_equal(k->limits->requests_per_day, 5000);
    assert_int_equal(k->limits->tokens_per_day, 1000);
    assert_true(k->limits->cost_limit > 1.99 && k->limits->cost_limit < 2.01);
    assert_int_equal(k->limits->cost_limit_nano_usd, 2000000000);
}

static void one_key_does_not_change_what_the_next_gets(void **state)
{
    (void)state;
    Apirelay__Auth__V1__KeyDefaults *d = defaults();
    LIMIT(d->limits, cost_limit, COST_LIMIT, 1);
    LIMIT(d->limits, cost_limit_nano_usd, COST_LIMIT_NANO_USD, 1000000000);
    const key_settings s = settings_with(d);
    api_key_view *wanted = asked();
    wanted->limits = message_new(arena, &apirelay__auth__v1__key_limits__descriptor);
    LIMIT(wanted->limits, cost_limit, COST_LIMIT, 3);
    (void)made(&s, wanted);
    assert_int_equal(made(&s, asked())->limits->cost_limit_nano_usd, 1000000000);
}

static void an_environment_gives_its_greatest_age(void **state)
{
    (void)state;
    key_settings s = key_settings_none(arena);
    add_environment(s.view, "prod", 90);
    add_environment(s.view, "test", 0);
    assert_int_equal(made(&s, asked())->max_age_days, 90);
    api_key_view *wanted = asked();
    wanted->env = message_text(arena, GW_STR("test"));
    assert_false(made(&s, wanted)->max_age_days_presence_case);
    wanted = asked();
    wanted->max_age_days_presence_case =
        APIRELAY__AUTH__V1__API_KEY__MAX_AGE_DAYS_PRESENCE_MAX_AGE_DAYS;
    wanted->max_age_days = 7;
    assert_int_equal(made(&s, wanted)->max_age_days, 7);
}

static void rotation_is_due_after_the_stated_share_of_the_greatest_age(void **state)
{
    (void)state;
    key_settings s = key_settings_none(arena);
    api_key_view *k = test_view(arena, "old");
    const int64_t made_ms = 1000, day = GW_MS_PER_DAY;
    assert_false(key_settings_rotation_is_due(&s, k, made_ms, made_ms + 10000 * day));
    add_environment(s.view, "prod", 100);
    assert_false(key_settings_rotation_is_due(&s, k, made_ms, made_ms + 80 * day - 1));
    assert_true(key_settings_rotation_is_due(&s, k, made_ms, made_ms + 80 * day));
    s.view->rotation_due_percent_presence_case =
        APIRELAY__AUTH__V1__SETTINGS__ROTATION_DUE_PERCENT_PRESENCE_ROTATION_DUE_PERCENT;
    s.view->rotation_due_percent = 100;
    assert_false(key_settings_rotation_is_due(&s, k, made_ms, made_ms + 80 * day));
    assert_true(key_settings_rotation_is_due(&s, k, made_ms, made_ms + 100 * day));
    k->max_age_days_presence_case = APIRELAY__AUTH__V1__API_KEY__MAX_AGE_DAYS_PRESENCE_MAX_AGE_DAYS;
    k->max_age_days = 10; /* the key's own goes before the environment's */
    assert_true(key_settings_rotation_is_due(&s, k, made_ms, made_ms + 10 * day));
    k->max_age_days = INT64_MAX; /* as a stored document may have it */
    assert_false(key_settings_rotation_is_due(&s, k, made_ms, made_ms + 100 * day));
    k->max_age_days = 10;
    k->status = message_text(arena, GW_STR("revoked"));
    assert_false(key_settings_rotation_is_due(&s, k, made_ms, made_ms + 10 * day));
}

static gw_status apply(key_settings *s, const key_settings_view *from, gw_str etag,
                       key_settings_update *ret)
{
    gw_error err = {0};
    *ret = (key_settings_update){.from = from, .etag = etag};
    return key_settings_apply(ret, arena, s, &err);
}

static bool names(const gw_violations *v, const char *field)
{
    for (size_t i = 0; i < v->count; i++) {
        if (strcmp(v->items[i].field, field) == 0)
            return true;
    }
    return false;
}

static void defaults_follow_the_rules_of_keys(void **state)
{
    (void)state;
    key_settings s = key_settings_none(arena);
    key_settings_update u;
    key_settings_view *from = message_new(arena, &apirelay__auth__v1__settings__descriptor);
    char bad[] = "a b", *list[] = {bad};
    from->key_defaults = defaults();
    from->key_defaults->permissions->models = list;
    from->key_defaults->permissions->n_models = 1;
    from->key_defaults->security->ip_whitelist = list;
    from->key_defaults->security->n_ip_whitelist = 1;
    from->key_defaults->security->expires_at = message_time(arena, INT64_C(4102444800000));
    LIMIT(from->key_defaults->limits, requests_per_day, REQUESTS_PER_DAY, 0);
    LIMIT(from->key_defaults->limits, cost_limit, COST_LIMIT, -1);
    add_environment(from, "prod", 4000);
    add_environment(from, "prod", 1);
    add_environment(from, "", 1);
    from->rotation_due_percent_presence_case =
        APIRELAY__AUTH__V1__SETTINGS__ROTATION_DUE_PERCENT_PRESENCE_ROTATION_DUE_PERCENT;
    from->rotation_due_percent = 101;
    assert_int_equal(apply(&s, from, GW_STR(""), &u), GW_ERR_INVALID_ARGUMENT);
    const char *const wrong[] = {"keyDefaults.permissions.models[0]",
                                 "keyDefaults.security.ipWhitelist[0]",
                                 "keyDefaults.security.expiresAt",
                                 "keyDefaults.limits.requestsPerDay",
                                 "keyDefaults.limits.costLimit",
                                 "environments[0].maxAgeDays",
                                 "environments[1].env",
                                 "environments[2].env",
                                 "rotationDuePercent"};
    for (size_t i = 0; i < GW_ARRAY_LEN(wrong); i++)
        assert_true(names(&u.violations, wrong[i]));
    assert_int_equal(u.violations.count, GW_ARRAY_LEN(wrong));
}

static void a_write_keeps_what_it_does_not_name_and_pairs_the_cost(void **state)
{
    (void)state;
    key_settings s = key_settings_none(arena);
    key_settings_update u;
    key_settings_view *from = message_new(arena, &apirelay__auth__v1__settings__descriptor);
    add_environment(from, "prod", 90);
    assert_int_equal(apply(&s, from, GW_STR("v0"), &u), GW_OK);
    from = message_new(arena, &apirelay__auth__v1__settings__descriptor);
    from->key_defaults = defaults();
    LIMIT(from->key_defaults->limits, cost_limit, COST_LIMIT, 1.5);
    assert_int_equal(apply(&s, from, GW_STR(""), &u), GW_OK);
    assert_int_equal(s.view->n_environments, 1);
    assert_int_equal(s.view->key_defaults->limits->cost_limit_nano_usd, 1500000000);
    from->key_defaults = defaults();
    LIMIT(from->key_defaults->limits, cost_limit, COST_LIMIT, 2);
    assert_int_equal(apply(&s, from, GW_STR(""), &u), GW_OK); /* not against the twin of before */
    assert_int_equal(s.view->key_defaults->limits->cost_limit_nano_usd, 2000000000);
    assert_int_equal(apply(&s, from, GW_STR("v7"), &u), GW_ERR_ABORTED);
}

static void what_is_shown_states_the_defaults(void **state)
{
    (void)state;
    key_settings s = key_settings_none(arena);
    s.version = 3;
    const key_settings_view *v = key_settings_shown(arena, &s);
    assert_int_equal(v->rotation_due_percent, ROTATION_DUE_PERCENT_DEFAULT);
    assert_non_null(v->key_defaults);
    assert_string_equal(v->etag, "v3");
    assert_false(s.view->rotation_due_percent_presence_case);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_that_names_nothing_gets_the_defaults),
        cmocka_unit_test(what_the_request_names_wins_member_by_member),
        cmocka_unit_test(one_key_does_not_change_what_the_next_gets),
        cmocka_unit_test(an_environment_gives_its_greatest_age),
        cmocka_unit_test(rotation_is_due_after_the_stated_share_of_the_greatest_age),
        cmocka_unit_test(defaults_follow_the_rules_of_keys),
        cmocka_unit_test(a_write_keeps_what_it_does_not_name_and_pairs_the_cost),
        cmocka_unit_test(what_is_shown_states_the_defaults),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
