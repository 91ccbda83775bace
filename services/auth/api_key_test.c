/* What a key shows of its secrets. */
#include "test_kit.h"

#define NOW 1700000000000

static gw_arena *arena;

static api_key_record stored(void)
{
    api_key_record k = {.view = test_view(arena, "a key"), .version = 1};

    k.current.created_ms = NOW;
    k.previous[0] = (api_key_secret){.created_ms = NOW - GW_MS_PER_DAY, .expires_ms = NOW + 60000};
    k.previous[1] =
        (api_key_secret){.created_ms = NOW - 2 * GW_MS_PER_DAY, .expires_ms = NOW + 50000};
    k.previous_count = 2;
    k.signing_sealed = GW_STR("new");
    k.signing_previous_sealed = GW_STR("old");
    k.signing_previous_expires_ms = NOW + 40000;
    return k;
}

static void assert_shown(api_key_record *k, int64_t now_ms, int64_t key_ms, int64_t signing_ms)
{
    api_key_refresh_view(arena, k, now_ms);
    assert_int_equal(message_time_ms(k->view->previous_expires_at), key_ms);
    assert_int_equal(message_time_ms(k->view->signing->previous_expires_at), signing_ms);
}

static void a_grace_is_shown_until_it_is_over(void **state)
{
    (void)state;
    api_key_record k = stored();

    assert_shown(&k, NOW, NOW + 60000, NOW + 40000);
    assert_shown(&k, NOW + 40000, NOW + 60000, 0);
    assert_shown(&k, NOW + 60000, 0, 0);
}

static void a_grace_ends_with_the_secrets_age_and_with_the_key(void **state)
{
    (void)state;
    api_key_record k = stored();

    k.view->max_age_days = 1; /* the first one's is over now, the second one's was */
    k.view->max_age_days_presence_case =
        APIRELAY__AUTH__V1__API_KEY__MAX_AGE_DAYS_PRESENCE_MAX_AGE_DAYS;
    assert_shown(&k, NOW - 1000, NOW, NOW + 40000);
    assert_shown(&k, NOW, 0, NOW + 40000);
    k = stored();
    k.view->security->expires_at = message_time(arena, NOW + 30000);
    assert_shown(&k, NOW, NOW + 30000, NOW + 30000);
    assert_shown(&k, NOW + 30000, 0, 0);
}

static void a_revoked_key_has_no_grace_but_a_suspended_one_has(void **state)
{
    (void)state;
    api_key_record k = stored();

    k.view->status = message_text(arena, GW_STR("suspended"));
    assert_shown(&k, NOW, NOW + 60000, NOW + 40000);
    k.view->status = message_text(arena, GW_STR("revoked"));
    assert_shown(&k, NOW, 0, 0);
}

static int setup(void **state)
{
    (void)state;
    arena = gw_arena_new();
    return arena ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    gw_arena_free(arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_grace_is_shown_until_it_is_over),
        cmocka_unit_test(a_grace_ends_with_the_secrets_age_and_with_the_key),
        cmocka_unit_test(a_revoked_key_has_no_grace_but_a_suspended_one_has),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
