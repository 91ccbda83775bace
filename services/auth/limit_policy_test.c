#include "limit_policy.h"

#include "api_key_rules.h"
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

static change_subject client(const char *id)
{
    return change_subject_of(CHANGE_OF_CLIENT_LIMITS, gw_str_of(id));
}

static limit_policy none_of(const char *id)
{
    const change_subject s = client(id);
    return limit_policy_none(arena, &s);
}

static limit_policy_view *asked(void)
{
    limit_policy_view *v = message_new(arena, &apirelay__auth__v1__limit_policy__descriptor);
    v->limits = message_new(arena, &apirelay__auth__v1__key_limits__descriptor);
    return v;
}

#define SET(v, field, FIELD, value)                                                                \
    ((v)->limits->field##_presence_case =                                                          \
         APIRELAY__AUTH__V1__KEY_LIMITS__##FIELD##_PRESENCE_##FIELD,                               \
     (v)->limits->field = (value))

static gw_status update(limit_policy *p, const limit_policy_view *from, char **paths, size_t n,
                        limit_policy_update *ret)
{
    gw_error err = {0};
    bool changed = false;
    *ret = (limit_policy_update){
        .plan.apply = limit_policy_update_apply, .from = from, .paths = paths, .path_count = n};
    gw_status rc = ret->plan.apply(&ret->plan, arena, p, &changed, &err);
    assert_true(changed);
    return rc;
}

static void a_subject_is_a_client_or_a_user(void **state)
{
    (void)state;
    char long_id[CLIENT_ID_MAX_BYTES + 2];
    memset(long_id, 'x', sizeof(long_id) - 1);
    long_id[sizeof(long_id) - 1] = '\0';
    const struct {
        const char *kind, *id, *wrong;
        change_kind as;
        const char *stored;
    } cases[] = {
        {"clients", "mobile/app%2", NULL, CHANGE_OF_CLIENT_LIMITS, "mobile/app%2"},
        {"clients", long_id + 1, NULL, CHANGE_OF_CLIENT_LIMITS, long_id + 1},
        {"users", "65A1B2C3D4E5F60718293A4B", NULL, CHANGE_OF_OWNER_LIMITS,
         "65a1b2c3d4e5f60718293a4b"},
        {"clients", "", "id", CHANGE_OF_KEY, NULL},
        {"clients", "with space", "id", CHANGE_OF_KEY, NULL},
        {"clients", long_id, "id", CHANGE_OF_KEY, NULL},
        {"users", "alice", "id", CHANGE_OF_KEY, NULL},
        {"user", "65a1b2c3d4e5f60718293a4b", "kind", CHANGE_OF_KEY, NULL},
        {"", "", "kind", CHANGE_OF_KEY, NULL},
    };
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        gw_violations v = {0};
        change_subject s = {0};
        limit_policy_subject(cases[i].kind, cases[i].id, &s, &v);
        assert_int_equal(v.count, cases[i].wrong != NULL);
        if (cases[i].wrong) {
            assert_string_equal(v.items[0].field, cases[i].wrong);
            continue;
        }
        assert_int_equal(s.kind, cases[i].as);
        assert_string_equal(s.id, cases[i].stored);
    }
}

static void the_first_update_sets_limits_up(void **state)
{
    (void)state;
    limit_policy p = none_of("mobile");
    limit_policy_view *from = asked();
    limit_policy_update u;
    SET(from, requests_per_day, REQUESTS_PER_DAY, 100);
    SET(from, cost_limit, COST_LIMIT, 1.5);
    assert_int_equal(update(&p, from, NULL, 0, &u), GW_OK);
    assert_int_equal(p.view->limits->requests_per_day, 100);
    assert_int_equal(p.view->limits->cost_limit_nano_usd, 1500000000);
    assert_true(p.view->limits->cost_limit_nano_usd_presence_case);
}

static void a_mask_writes_and_clears_what_it_names_only(void **state)
{
    (void)state;
    limit_policy p = none_of("mobile");
    limit_policy_view *from = asked();
    limit_policy_update u;
    char day[] = "limits.requestsPerDay", cost[] = "limits.cost_limit", *paths[] = {day, cost};
    SET(from, requests_per_day, REQUESTS_PER_DAY, 100);
    SET(from, tokens_per_day, TOKENS_PER_DAY, 7);
    SET(from, cost_limit_nano_usd, COST_LIMIT_NANO_USD, 5);
    assert_int_equal(update(&p, from, NULL, 0, &u), GW_OK);
    from = asked();
    SET(from, cost_limit, COST_LIMIT, 2);
    assert_int_equal(update(&p, from, paths, GW_ARRAY_LEN(paths), &u), GW_OK);
    assert_false(p.view->limits->requests_per_day_presence_case);
    assert_int_equal(p.view->limits->tokens_per_day, 7);
    assert_int_equal(p.view->limits->cost_limit_nano_usd, 2000000000);
}

static void limits_of_many_keys_follow_the_rules_of_one(void **state)
{
    (void)state;
    limit_policy p = none_of("mobile");
    limit_policy_view *from = asked();
    limit_policy_update u;
    SET(from, requests_per_minute, REQUESTS_PER_MINUTE, -1);
    SET(from, requests_per_day, REQUESTS_PER_DAY, 0);
    SET(from, tokens_per_month, TOKENS_PER_MONTH, INT64_MAX);
    SET(from, cost_limit, COST_LIMIT, 9007200);
    assert_int_equal(update(&p, from, NULL, 0, &u), GW_ERR_INVALID_ARGUMENT);
    assert_int_equal(u.violations.count, 4);
    from = asked();
    SET(from, cost_limit, COST_LIMIT, 1);
    SET(from, cost_limit_nano_usd, COST_LIMIT_NANO_USD, 1);
    assert_int_equal(update(&p, from, NULL, 0, &u), GW_ERR_INVALID_ARGUMENT);
    assert_string_equal(u.violations.items[0].field, "limits.costLimit");
}

static void what_is_not_a_limit_is_read_only(void **state)
{
    (void)state;
    limit_policy p = none_of("mobile");
    limit_policy_view *from = asked();
    limit_policy_update u;
    char id[] = "id", generation[] = "generation", made_up[] = "limits.madeUp";
    char *paths[] = {id, generation, made_up};
    assert_int_equal(update(&p, from, paths, GW_ARRAY_LEN(paths), &u), GW_ERR_INVALID_ARGUMENT);
    assert_int_equal(u.violations.count, 3);
    assert_string_equal(u.violations.items[0].description, "is read only");
    assert_string_equal(u.violations.items[2].description, "no such field");
}

static void lifting_is_repeatable(void **state)
{
    (void)state;
    limit_policy p = none_of("mobile");
    limit_policy_plan plan = {.apply = limit_policy_lift_apply};
    limit_policy_update u;
    limit_policy_view *from = asked();
    bool changed = true;
    assert_int_equal(plan.apply(&plan, arena, &p, &changed, NULL), GW_OK);
    assert_false(changed);
    SET(from, tokens_per_day, TOKENS_PER_DAY, 7);
    assert_int_equal(update(&p, from, NULL, 0, &u), GW_OK);
    assert_int_equal(plan.apply(&plan, arena, &p, &changed, NULL), GW_OK);
    assert_true(changed);
    assert_null(p.view->limits);
}

static void the_view_names_its_subject_in_the_words_of_its_path(void **state)
{
    (void)state;
    limit_policy p = none_of("mobile");
    p.version = 3;
    limit_policy_refresh_view(arena, &p);
    assert_string_equal(p.view->kind, "clients");
    assert_string_equal(p.view->id, "mobile");
    assert_string_equal(p.view->etag, "v3");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_subject_is_a_client_or_a_user),
        cmocka_unit_test(the_first_update_sets_limits_up),
        cmocka_unit_test(a_mask_writes_and_clears_what_it_names_only),
        cmocka_unit_test(limits_of_many_keys_follow_the_rules_of_one),
        cmocka_unit_test(what_is_not_a_limit_is_read_only),
        cmocka_unit_test(lifting_is_repeatable),
        cmocka_unit_test(the_view_names_its_subject_in_the_words_of_its_path),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
