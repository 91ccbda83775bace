#include "api_key_change.h"

#include "api_key_mask.h"
#include "test_kit.h"

#define NOW 1000000

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

static api_key_record stored(void)
{
    api_key_record k = {.view = test_view(arena, "stored"), .version = 3};
    k.view->id = "65f000000000000000000001";
    k.view->key_id = "a23456789012";
    k.view->client_id = "client";
    return k;
}

static gw_status update(api_key_record *k, const api_key_view *from, char **paths, size_t n,
                        gw_error *err)
{
    api_key_update u = {.plan = {.apply = api_key_update_apply, .now_ms = NOW},
                        .from = from,
                        .paths = paths,
                        .path_count = n};
    bool changed = false;
    return u.plan.apply(&u.plan, arena, k, &changed, err);
}

static api_key_view *request(void)
{
    return message_new(arena, &apirelay__auth__v1__api_key__descriptor);
}

static void without_a_mask_every_field_present_is_written(void **state)
{
    (void)state;
    api_key_record k = stored();
    api_key_view *from = request();
    from->name = "new";
    from->etag = "v3"; /* a condition, no value */
    assert_int_equal(update(&k, from, NULL, 0, NULL), GW_OK);
    assert_string_equal(k.view->name, "new");
    assert_string_equal(k.view->client_id, "client");
}

static void a_named_but_absent_field_is_cleared(void **state)
{
    (void)state;
    api_key_record k = stored();
    char *paths[] = {"clientId", "limits.requests_per_day"};
    k.view->limits->requests_per_day_presence_case =
        APIRELAY__AUTH__V1__KEY_LIMITS__REQUESTS_PER_DAY_PRESENCE_REQUESTS_PER_DAY;
    k.view->limits->requests_per_day = 5;
    assert_int_equal(update(&k, request(), paths, 2, NULL), GW_OK);
    assert_string_equal(k.view->client_id, "");
    assert_int_equal(k.view->limits->requests_per_day_presence_case, 0);
}

static void a_cleared_feature_gets_its_default_again(void **state)
{
    (void)state;
    api_key_record k = stored();
    char *paths[] = {"permissions.features.streaming"};
    k.view->permissions->features->streaming = false;
    assert_int_equal(update(&k, request(), paths, 1, NULL), GW_OK);
    assert_true(k.view->permissions->features->streaming);
}

static void a_whole_message_is_replaced(void **state)
{
    (void)state;
    api_key_record k = stored();
    api_key_view *from = request();
    char *paths[] = {"limits"};
    k.view->limits->tokens_per_day_presence_case =
        APIRELAY__AUTH__V1__KEY_LIMITS__TOKENS_PER_DAY_PRESENCE_TOKENS_PER_DAY;
    k.view->limits->tokens_per_day = 5;
    from->limits = message_new(arena, &apirelay__auth__v1__key_limits__descriptor);
    from->limits->requests_per_day_presence_case =
        APIRELAY__AUTH__V1__KEY_LIMITS__REQUESTS_PER_DAY_PRESENCE_REQUESTS_PER_DAY;
    from->limits->requests_per_day = 7;
    assert_int_equal(update(&k, from, paths, 1, NULL), GW_OK);
    assert_int_equal(k.view->limits->requests_per_day, 7);
    assert_int_equal(k.view->limits->tokens_per_day_presence_case, 0);
}

static void one_twin_of_the_cost_limit_changes_both(void **state)
{
    (void)state;
    api_key_record k = stored();
    api_key_view *from = request();
    char *usd[] = {"limits.costLimit"};
    Apirelay__Auth__V1__KeyLimits *l = k.view->limits;
    l->cost_limit_nano_usd_presence_case =
        APIRELAY__AUTH__V1__KEY_LIMITS__COST_LIMIT_NANO_USD_PRESENCE_COST_LIMIT_NANO_USD;
    l->cost_limit_nano_usd = 5;
    from->limits = message_new(arena, &apirelay__auth__v1__key_limits__descriptor);
    from->limits->cost_limit_presence_case =
        APIRELAY__AUTH__V1__KEY_LIMITS__COST_LIMIT_PRESENCE_COST_LIMIT;
    from->limits->cost_limit = 2;
    assert_int_equal(update(&k, from, usd, 1, NULL), GW_OK);
    assert_int_equal(k.view->limits->cost_limit_nano_usd, 2000000000);
    assert_int_equal(update(&k, request(), usd, 1, NULL), GW_OK); /* null clears both */
    assert_int_equal(k.view->limits->cost_limit_nano_usd_presence_case, 0);
    assert_int_equal(k.view->limits->cost_limit_presence_case, 0);
}

static void unknown_and_read_only_paths_are_refused(void **state)
{
    (void)state;
    char *bad[] = {"status",
                   "keyId",
                   "key_id",
                   "id",
                   "generation",
                   "env",
                   "created_at",
                   "limits.nope",
                   "nope",
                   "",
                   "name.x",
                   "signing.configured",
                   "security.expires_at.seconds",
                   "lastUsedAt"};
    for (size_t i = 0; i < GW_ARRAY_LEN(bad); i++) {
        api_key_record k = stored();
        gw_error err = {0};
        char *paths[] = {"name", bad[i]};
        api_key_view *from = request();
        from->name = "not written";
        if (update(&k, from, paths, 2, &err) != GW_ERR_INVALID_ARGUMENT)
            fail_msg("accepted: %s", bad[i]);
        assert_string_equal(k.view->name, "stored");
    }
    api_key_record k = stored();
    api_key_view *from = request();
    gw_error err = {0};
    from->status = "active";
    assert_int_equal(update(&k, from, NULL, 0, &err), GW_ERR_INVALID_ARGUMENT);
    assert_string_equal(err.field, "status");
}

static void an_old_expiry_does_not_hinder_other_updates(void **state)
{
    (void)state;
    api_key_record k = stored();
    api_key_view *from = request();
    k.view->security->expires_at = message_time(arena, NOW - 1);
    from->name = "new";
    assert_int_equal(update(&k, from, NULL, 0, NULL), GW_OK);
    from->security = message_new(arena, &apirelay__auth__v1__key_security__descriptor);
    from->security->expires_at = message_time(arena, NOW - 1);
    assert_int_equal(update(&k, from, NULL, 0, NULL), GW_ERR_INVALID_ARGUMENT);
}

static bool update_changes(api_key_record *k, const api_key_view *from, char **paths, size_t n)
{
    api_key_update u = {.plan = {.apply = api_key_update_apply, .now_ms = NOW},
                        .from = from,
                        .paths = paths,
                        .path_count = n};
    bool changed = false;
    assert_int_equal(u.plan.apply(&u.plan, arena, k, &changed, NULL), GW_OK);
    return changed;
}

static void an_update_to_what_is_there_changes_nothing(void **state)
{
    (void)state;
    api_key_record k = stored();
    api_key_view *from = request();
    char *cleared[] = {"userId", "limits.requests_per_day"}, *usd[] = {"limits.costLimit"};
    char *signing[] = {"signing"};
    from->name = "stored";
    assert_false(update_changes(&k, request(), NULL, 0));
    assert_false(update_changes(&k, from, NULL, 0));
    assert_false(update_changes(&k, request(), cleared, 2));
    from->name = "other";
    assert_true(update_changes(&k, from, NULL, 0));
    assert_false(update_changes(&k, from, NULL, 0));
    from->limits = message_new(arena, &apirelay__auth__v1__key_limits__descriptor);
    from->limits->cost_limit_presence_case =
        APIRELAY__AUTH__V1__KEY_LIMITS__COST_LIMIT_PRESENCE_COST_LIMIT;
    from->limits->cost_limit = 2;
    assert_true(update_changes(&k, from, usd, 1));
    assert_false(update_changes(&k, from, usd, 1));
    k.signing_sealed = GW_STR("sealed");
    from->signing = message_new(arena, &apirelay__auth__v1__key_signing__descriptor);
    assert_false(update_changes(&k, from, signing, 1)); /* that there is a secret is shown only */
    from->signing->required = true;
    assert_true(update_changes(&k, from, signing, 1));
}

static gw_status set_status_for(api_key_record *k, const char *status, const char *reason,
                                bool is_given, bool *changed)
{
    api_key_status_change c = {.plan = {.apply = api_key_status_apply, .now_ms = NOW},
                               .status = status,
                               .reason = gw_str_of(reason),
                               .reason_is_given = is_given};
    return c.plan.apply(&c.plan, arena, k, changed, NULL);
}

static gw_status set_status(api_key_record *k, const char *status, bool *changed)
{
    return set_status_for(k, status, "why", true, changed);
}

static void statuses_change_and_repeat(void **state)
{
    (void)state;
    api_key_record k = stored();
    bool changed = false;
    assert_int_equal(set_status(&k, "suspended", &changed), GW_OK);
    assert_true(changed);
    assert_string_equal(k.view->status_reason, "why");
    assert_int_equal(set_status(&k, "suspended", &changed), GW_OK);
    assert_false(changed);
    assert_int_equal(set_status(&k, "active", &changed), GW_OK);
    assert_true(changed);
}

static void a_reason_that_is_given_takes_the_place_of_another_until_it_is_final(void **state)
{
    (void)state;
    api_key_record k = stored();
    bool changed = false;
    assert_int_equal(set_status_for(&k, "suspended", "by the rule", false, &changed), GW_OK);
    assert_int_equal(set_status_for(&k, "suspended", "leaked", true, &changed), GW_OK);
    assert_true(changed);
    assert_string_equal(k.view->status_reason, "leaked");
    assert_int_equal(set_status_for(&k, "suspended", "by somebody", false, &changed), GW_OK);
    assert_false(changed);
    assert_string_equal(k.view->status_reason, "leaked");
    assert_int_equal(set_status_for(&k, "revoked", "old", true, &changed), GW_OK);
    assert_int_equal(set_status_for(&k, "revoked", "older", true, &changed), GW_OK);
    assert_false(changed);
    assert_string_equal(k.view->status_reason, "old");
}

static void revoked_is_final(void **state)
{
    (void)state;
    api_key_record k = stored();
    api_key_view *from = request();
    api_key_regeneration g = {.plan = {.apply = api_key_regenerate_apply, .now_ms = NOW}};
    bool changed = false;
    from->name = "x";
    assert_int_equal(set_status(&k, "revoked", &changed), GW_OK);
    assert_int_equal(set_status(&k, "revoked", &changed), GW_OK);
    assert_false(changed);
    assert_int_equal(set_status(&k, "active", &changed), GW_ERR_FAILED_PRECONDITION);
    assert_int_equal(set_status(&k, "suspended", &changed), GW_ERR_FAILED_PRECONDITION);
    assert_int_equal(update(&k, from, NULL, 0, NULL), GW_ERR_FAILED_PRECONDITION);
    assert_int_equal(g.plan.apply(&g.plan, arena, &k, &changed, NULL), GW_ERR_FAILED_PRECONDITION);
}

static void regenerate_keeps_the_old_secret_for_its_grace(void **state)
{
    (void)state;
    api_key_record k = stored();
    api_key_regeneration g = {.plan = {.apply = api_key_regenerate_apply, .now_ms = NOW},
                              .grace_s = 60,
                              .secret = {.phc = GW_STR("new")}};
    bool changed = false;
    k.current.phc = GW_STR("old");
    assert_int_equal(g.plan.apply(&g.plan, arena, &k, &changed, NULL), GW_OK);
    assert_true(gw_str_eq_c(k.current.phc, "new"));
    assert_int_equal(k.previous_count, 1);
    assert_int_equal(k.previous[0].expires_ms, NOW + 60000);
    api_key_refresh_view(arena, &k, NOW);
    assert_int_equal(message_time_ms(k.view->previous_expires_at), NOW + 60000);
    g.grace_s = 0;
    assert_int_equal(g.plan.apply(&g.plan, arena, &k, &changed, NULL), GW_OK);
    assert_int_equal(k.previous_count, 0); /* the first one's grace ends too */
    api_key_refresh_view(arena, &k, NOW);
    assert_null(k.view->previous_expires_at);
}

static void rotate_signing(api_key_record *k, const char *sealed, int64_t grace_s)
{
    api_key_signing_rotation r = {.plan = {.apply = api_key_signing_rotation_apply, .now_ms = NOW},
                                  .grace_s = grace_s,
                                  .sealed = gw_str_of(sealed)};
    bool changed = false;
    assert_int_equal(r.plan.apply(&r.plan, arena, k, &changed, NULL), GW_OK);
    assert_true(changed);
    api_key_refresh_view(arena, k, NOW);
}

static gw_status remove_signing(api_key_record *k, bool *changed)
{
    key_change_plan p = {.apply = api_key_signing_removal_apply, .now_ms = NOW};
    return p.apply(&p, arena, k, changed, NULL);
}

static void a_signing_secret_lives_on_for_its_grace(void **state)
{
    (void)state;
    api_key_record k = stored();
    rotate_signing(&k, "one", 60);
    assert_true(k.view->signing->configured);
    assert_null(k.view->signing->previous_expires_at); /* there was none before */
    rotate_signing(&k, "two", 60);
    assert_true(gw_str_eq_c(k.signing_sealed, "two"));
    assert_true(gw_str_eq_c(k.signing_previous_sealed, "one"));
    assert_int_equal(message_time_ms(k.view->signing->previous_expires_at), NOW + 60000);
    rotate_signing(&k, "three", 0);
    assert_int_equal(k.signing_previous_sealed.len, 0);
    assert_null(k.view->signing->previous_expires_at);
}

static void signing_secrets_are_removed_unless_they_are_required(void **state)
{
    (void)state;
    api_key_record k = stored();
    bool changed = true;
    assert_int_equal(remove_signing(&k, &changed), GW_OK);
    assert_false(changed);
    rotate_signing(&k, "one", 0);
    rotate_signing(&k, "two", 60);
    k.view->signing->required = true;
    assert_int_equal(remove_signing(&k, &changed), GW_ERR_FAILED_PRECONDITION);
    k.view->signing->required = false;
    assert_int_equal(remove_signing(&k, &changed), GW_OK);
    assert_true(changed);
    assert_int_equal(k.signing_sealed.len + k.signing_previous_sealed.len, 0);
}

static void an_update_leaves_what_is_said_of_signing_secrets(void **state)
{
    (void)state;
    api_key_record k = stored();
    api_key_view *from = request();
    char *paths[] = {"signing"};
    rotate_signing(&k, "one", 0);
    from->signing = message_new(arena, &apirelay__auth__v1__key_signing__descriptor);
    from->signing->required = true;
    assert_int_equal(update(&k, from, paths, 1, NULL), GW_OK);
    assert_true(k.view->signing->required && k.view->signing->configured);
    from->signing->previous_expires_at = message_time(arena, NOW);
    assert_int_equal(update(&k, from, NULL, 0, NULL), GW_ERR_INVALID_ARGUMENT);
}

static gw_status set_librechat(api_key_record *k, const char *sealed)
{
    api_key_librechat_setting s = {
        .plan = {.apply = api_key_librechat_setting_apply, .now_ms = NOW},
        .origin = GW_STR("https://chat.example"),
        .key_prefix = GW_STR("sk-01234"),
        .sealed = gw_str_of(sealed)};
    bool changed = false;
    gw_status rc = s.plan.apply(&s.plan, arena, k, &changed, NULL);
    assert_int_equal(changed, rc == GW_OK);
    return rc;
}

static gw_status remove_librechat(api_key_record *k, bool *changed)
{
    key_change_plan p = {.apply = api_key_librechat_removal_apply, .now_ms = NOW};
    return p.apply(&p, arena, k, changed, NULL);
}

static void a_librechat_key_is_set_replaced_and_removed(void **state)
{
    (void)state;
    api_key_record k = stored();
    bool changed = true;
    assert_int_equal(remove_librechat(&k, &changed), GW_OK);
    assert_false(changed);
    assert_int_equal(set_librechat(&k, "one"), GW_OK);
    assert_int_equal(set_librechat(&k, "two"), GW_OK);
    assert_true(gw_str_eq_c(k.librechat_sealed, "two"));
    assert_string_equal(k.view->librechat->origin, "https://chat.example");
    assert_string_equal(k.view->librechat->key_prefix, "sk-01234");
    assert_int_equal(message_time_ms(k.view->librechat->set_at), NOW);
    assert_int_equal(remove_librechat(&k, &changed), GW_OK);
    assert_true(changed);
    assert_int_equal(k.librechat_sealed.len, 0);
    assert_null(k.view->librechat);
}

static void a_librechat_key_outlives_all_but_the_revoking_of_its_key(void **state)
{
    (void)state;
    api_key_record k = stored();
    api_key_view *from = request();
    api_key_regeneration g = {.plan = {.apply = api_key_regenerate_apply, .now_ms = NOW}};
    bool changed;
    from->name = "new";
    assert_int_equal(set_librechat(&k, "one"), GW_OK);
    assert_int_equal(update(&k, from, NULL, 0, NULL), GW_OK);
    assert_int_equal(g.plan.apply(&g.plan, arena, &k, &changed, NULL), GW_OK);
    assert_int_equal(set_status(&k, "suspended", &changed), GW_OK);
    assert_true(gw_str_eq_c(k.librechat_sealed, "one") && k.view->librechat);
    assert_int_equal(set_status(&k, "revoked", &changed), GW_OK);
    assert_true(k.librechat_sealed.len == 0 && !k.view->librechat);
    assert_int_equal(set_librechat(&k, "two"), GW_ERR_FAILED_PRECONDITION);
    assert_int_equal(remove_librechat(&k, &changed), GW_ERR_FAILED_PRECONDITION);
}

static void nobody_writes_a_librechat_key_as_a_field(void **state)
{
    (void)state;
    api_key_record k = stored();
    api_key_view *from = request();
    gw_error err = {0};
    from->librechat = message_new(arena, &apirelay__auth__v1__key_librechat__descriptor);
    from->librechat->origin = "https://chat.example";
    assert_int_equal(update(&k, from, NULL, 0, &err), GW_ERR_INVALID_ARGUMENT);
    assert_true(gw_str_starts_with(gw_str_of(err.field), GW_STR("librechat")));
    assert_null(k.view->librechat);
}

static Apirelay__Auth__V1__KeyAutoSuspendRule *rule(int64_t count, int64_t seconds)
{
    Apirelay__Auth__V1__KeyAutoSuspendRule *r =
        message_new(arena, &apirelay__auth__v1__key_auto_suspend_rule__descriptor);
    r->count = count;
    r->window_seconds = seconds;
    return r;
}

static void a_rule_suspends_the_key_it_belongs_to_as_it_was_counted(void **state)
{
    (void)state;
    static const struct {
        const char *rule, *status;
        int64_t generation;
        bool suspends;
    } cases[] = {
        {"bad_signatures", "active", 7, true},   {"limit_exceeded", "active", 7, false},
        {"bad_signatures", "active", 6, false},  {"bad_signatures", "suspended", 7, false},
        {"bad_signatures", "revoked", 7, false},
    };
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        api_key_record k = stored();
        bool changed = !cases[i].suspends;
        k.view->generation = 7;
        k.view->status = (char *)(uintptr_t)cases[i].status;
        k.view->security->auto_suspend =
            message_new(arena, &apirelay__auth__v1__key_auto_suspend__descriptor);
        k.view->security->auto_suspend->bad_signatures = rule(5, 60);
        api_key_rule_suspension s = {
            .plan = {.apply = api_key_rule_suspension_apply, .now_ms = NOW},
            .rule = gw_str_of(cases[i].rule),
            .generation = cases[i].generation};
        assert_int_equal(s.plan.apply(&s.plan, arena, &k, &changed, NULL), GW_OK);
        assert_int_equal(changed, cases[i].suspends);
        if (!changed)
            continue;
        assert_string_equal(k.view->status, "suspended");
        assert_string_equal(k.view->status_reason,
                            "by the rule security.autoSuspend.badSignatures: "
                            "a signature did not hold 5 times within 60 s");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_mask_every_field_present_is_written),
        cmocka_unit_test(a_named_but_absent_field_is_cleared),
        cmocka_unit_test(a_cleared_feature_gets_its_default_again),
        cmocka_unit_test(a_whole_message_is_replaced),
        cmocka_unit_test(one_twin_of_the_cost_limit_changes_both),
        cmocka_unit_test(unknown_and_read_only_paths_are_refused),
        cmocka_unit_test(an_old_expiry_does_not_hinder_other_updates),
        cmocka_unit_test(an_update_to_what_is_there_changes_nothing),
        cmocka_unit_test(statuses_change_and_repeat),
        cmocka_unit_test(a_reason_that_is_given_takes_the_place_of_another_until_it_is_final),
        cmocka_unit_test(revoked_is_final),
        cmocka_unit_test(regenerate_keeps_the_old_secret_for_its_grace),
        cmocka_unit_test(a_signing_secret_lives_on_for_its_grace),
        cmocka_unit_test(signing_secrets_are_removed_unless_they_are_required),
        cmocka_unit_test(an_update_leaves_what_is_said_of_signing_secrets),
        cmocka_unit_test(a_librechat_key_is_set_replaced_and_removed),
        cmocka_unit_test(a_librechat_key_outlives_all_but_the_revoking_of_its_key),
        cmocka_unit_test(nobody_writes_a_librechat_key_as_a_field),
        cmocka_unit_test(a_rule_suspends_the_key_it_belongs_to_as_it_was_counted),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
