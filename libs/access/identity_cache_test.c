#include "access/identity_cache.h"

#include "testing/cmocka.h"

static const gw_caller caller = {
    .kind = GW_CALLER_ADMIN, .name = {"ann", 3}, .id = {"1", 1}, .role = GW_ROLE_ADMIN};

static void an_answer_is_kept_until_its_time(void **state)
{
    (void)state;
    gw_auto(gw_identity_cache) c = gw_identity_cache_new(10);
    gw_identity_cache_put(c, GW_STR("k"), &caller, 1000, 2000);
    const gw_caller *found = gw_identity_cache_get(c, GW_STR("k"), 1999);
    assert_non_null(found);
    assert_true(gw_str_eq_c(found->name, "ann"));
    assert_int_equal(found->role, GW_ROLE_ADMIN);
    assert_null(gw_identity_cache_get(c, GW_STR("k"), 2000));
    assert_int_equal(gw_identity_cache_count(c), 0);
    assert_null(gw_identity_cache_get(c, GW_STR("other"), 1000));
}

static void a_newer_answer_replaces_the_old_one_and_an_ended_one_only_removes_it(void **state)
{
    (void)state;
    gw_auto(gw_identity_cache) c = gw_identity_cache_new(10);
    gw_caller changed = caller;
    changed.role = GW_ROLE_VIEWER;
    gw_identity_cache_put(c, GW_STR("k"), &caller, 1000, 2000);
    gw_identity_cache_put(c, GW_STR("k"), &changed, 1000, 2000);
    assert_int_equal(gw_identity_cache_get(c, GW_STR("k"), 1000)->role, GW_ROLE_VIEWER);
    gw_identity_cache_put(c, GW_STR("k"), &caller, 1000, 1000);
    assert_null(gw_identity_cache_get(c, GW_STR("k"), 1000));
}

static void a_full_cache_drops_the_oldest(void **state)
{
    (void)state;
    gw_auto(gw_identity_cache) c = gw_identity_cache_new(2);
    gw_identity_cache_put(c, GW_STR("a"), &caller, 1000, 2000);
    gw_identity_cache_put(c, GW_STR("b"), &caller, 1001, 2001);
    gw_identity_cache_put(c, GW_STR("c"), &caller, 1002, 2002);
    assert_int_equal(gw_identity_cache_count(c), 2);
    assert_null(gw_identity_cache_get(c, GW_STR("a"), 1002));
    assert_non_null(gw_identity_cache_get(c, GW_STR("b"), 1002));
    assert_non_null(gw_identity_cache_get(c, GW_STR("c"), 1002));
    gw_identity_cache_put(c, GW_STR("d"), &caller, 3000, 4000); /* the others are over */
    assert_int_equal(gw_identity_cache_count(c), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_is_kept_until_its_time),
        cmocka_unit_test(a_newer_answer_replaces_the_old_one_and_an_ended_one_only_removes_it),
        cmocka_unit_test(a_full_cache_drops_the_oldest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
