#include "key_match.h"

#include "test_kit.h"

#include <stdlib.h>

#define NOW 1000000

typedef struct fixture {
    gw_arena *arena;
    peppers *peppers;
    api_key_record record;
} fixture;

static int set_up(void **state)
{
    fixture *f = calloc(1, sizeof(*f));
    f->arena = gw_arena_new();
    f->peppers = test_peppers(TEST_PEPPERS);
    f->record.view = test_view(f->arena, "key");
    assert_true(key_mint_secret(f->arena, f->peppers, GW_STR(TEST_KEY), 1, &f->record.current));
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    fixture *f = *state;
    peppers_free(f->peppers);
    gw_arena_free(f->arena);
    free(f);
    return 0;
}

static void the_current_secret_fits(void **state)
{
    fixture *f = *state;
    key_match m = key_match_secrets(f->peppers, &f->record, GW_STR(TEST_KEY), NOW);
    assert_ptr_equal(m.secret, &f->record.current);
    assert_int_equal(m.slow_count, 0);
}

static void another_secret_and_an_unknown_key_fit_nothing(void **state)
{
    fixture *f = *state;
    char other[] = TEST_KEY;
    other[30] = 'Q';
    assert_null(key_match_secrets(f->peppers, &f->record, gw_str_of(other), NOW).secret);
    assert_null(key_match_secrets(f->peppers, NULL, GW_STR(TEST_KEY), NOW).secret);
    assert_int_equal(key_match_secrets(f->peppers, NULL, GW_STR(TEST_KEY), NOW).slow_count, 0);
}

static void whatever_is_presented_costs_the_same_comparisons(void **state)
{
    fixture *f = *state;
    char other[] = TEST_KEY;
    other[30] = 'Q';
    const size_t all = 1 + API_KEY_PREVIOUS_MAX;
    const gw_str good = GW_STR(TEST_KEY), wrong = gw_str_of(other);
    assert_int_equal(key_match_secrets(f->peppers, NULL, good, NOW).compared, all);
    assert_int_equal(key_match_secrets(f->peppers, &f->record, good, NOW).compared, all);
    assert_int_equal(key_match_secrets(f->peppers, &f->record, wrong, NOW).compared, all);
    api_key_retire_secret(&f->record, NOW, NOW + 10);
    f->record.current = f->record.previous[0];
    assert_int_equal(key_match_secrets(f->peppers, &f->record, wrong, NOW).compared, all);
    f->record.current.hmac = GW_STR("");
    f->record.current.phc = GW_STR("$argon2id$");
    assert_int_equal(key_match_secrets(f->peppers, &f->record, wrong, NOW).compared, all);
}

static void a_previous_secret_fits_until_its_grace_ends(void **state)
{
    fixture *f = *state;
    api_key_retire_secret(&f->record, NOW, NOW + 10);
    assert_ptr_equal(key_match_secrets(f->peppers, &f->record, GW_STR(TEST_KEY), NOW + 9).secret,
                     &f->record.previous[0]);
    assert_null(key_match_secrets(f->peppers, &f->record, GW_STR(TEST_KEY), NOW + 10).secret);
}

static void a_missing_verifier_asks_for_argon2(void **state)
{
    fixture *f = *state;
    f->record.current.hmac = GW_STR("");
    f->record.current.phc = GW_STR("$argon2id$");
    key_match m = key_match_secrets(f->peppers, &f->record, GW_STR(TEST_KEY), NOW);
    assert_null(m.secret);
    assert_int_equal(m.slow_count, 1);
    assert_ptr_equal(m.slow[0], &f->record.current);
}

static void a_retired_pepper_asks_for_argon2(void **state)
{
    fixture *f = *state;
    gw_auto(peppers) only_b = test_peppers(TEST_ONLY_B);
    f->record.current.phc = GW_STR("$argon2id$");
    key_match m = key_match_secrets(only_b, &f->record, GW_STR(TEST_KEY), NOW);
    assert_null(m.secret);
    assert_int_equal(m.slow_count, 1);
}

static void a_key_without_any_hash_fits_nothing(void **state)
{
    fixture *f = *state;
    f->record.current = (api_key_secret){0};
    key_match m = key_match_secrets(f->peppers, &f->record, GW_STR(TEST_KEY), NOW);
    assert_null(m.secret);
    assert_int_equal(m.slow_count, 0);
}

static void the_end_of_a_secret_is_its_earliest_reason(void **state)
{
    fixture *f = *state;
    api_key_record *k = &f->record;
    assert_int_equal(api_key_secret_end_ms(k, &k->current), 0);
    k->view->security->expires_at = message_time(f->arena, 5 * GW_MS_PER_DAY);
    assert_int_equal(api_key_secret_end_ms(k, &k->current), 5 * GW_MS_PER_DAY);
    k->view->max_age_days_presence_case =
        APIRELAY__AUTH__V1__API_KEY__MAX_AGE_DAYS_PRESENCE_MAX_AGE_DAYS;
    k->view->max_age_days = 3;
    assert_int_equal(api_key_secret_end_ms(k, &k->current), 1 + 3 * GW_MS_PER_DAY);
    api_key_retire_secret(k, 10, 20);
    assert_int_equal(api_key_secret_end_ms(k, &k->previous[0]), 20);
}

static void retiring_keeps_the_newest_previous_secrets(void **state)
{
    fixture *f = *state;
    for (int i = 0; i < API_KEY_PREVIOUS_MAX + 2; i++) {
        f->record.current.created_ms = i;
        api_key_retire_secret(&f->record, NOW, NOW + 100);
    }
    assert_int_equal(f->record.previous_count, API_KEY_PREVIOUS_MAX);
    assert_int_equal(f->record.previous[0].created_ms, API_KEY_PREVIOUS_MAX + 1);
    api_key_retire_secret(&f->record, NOW + 200, NOW + 200); /* no grace, the others have ended */
    assert_int_equal(f->record.previous_count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_current_secret_fits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(another_secret_and_an_unknown_key_fit_nothing, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(whatever_is_presented_costs_the_same_comparisons, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_previous_secret_fits_until_its_grace_ends, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_missing_verifier_asks_for_argon2, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_retired_pepper_asks_for_argon2, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_key_without_any_hash_fits_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_end_of_a_secret_is_its_earliest_reason, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(retiring_keeps_the_newest_previous_secrets, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
