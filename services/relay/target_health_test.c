#include "target_health.h"

#include "testing/cmocka.h"

#include <stdio.h>

static const target_name one = {{"p", 1}, {"one", 3}};
static const gw_str first = {"\0", 1}, second = {"\1", 1}; /* credentials */

static int setup(void **state)
{
    target_health *h = target_health_new();
    target_health_configure(h, 3, 1000);
    *state = h;
    return h ? 0 : -1;
}

static int teardown(void **state)
{
    target_health_free(*state);
    return 0;
}

static void open_it(target_health *h, int64_t now_ms)
{
    for (int i = 0; i < 2; i++)
        assert_int_equal(target_health_failed(h, one, now_ms), HEALTH_SAME);
    assert_int_equal(target_health_failed(h, one, now_ms), HEALTH_OPENED);
}

static void so_many_failures_in_a_row_open_it_once(void **state)
{
    target_health *h = *state;
    open_it(h, 100);
    assert_int_equal(target_health_closed_ms(h, one, 100), 1000);
    assert_int_equal(target_health_closed_ms(h, one, 600), 500);
    assert_int_equal(target_health_open_count(h), 1);
    assert_int_equal(target_health_failed(h, one, 200), HEALTH_SAME); /* was under way */
    assert_int_equal(target_health_closed_ms(h, one, 600), 500);
    assert_int_equal(target_health_closed_ms(h, one, 1100), 0);
}

static void an_answer_in_between_begins_anew(void **state)
{
    target_health *h = *state;
    for (int i = 0; i < 10; i++) {
        assert_int_equal(target_health_failed(h, one, 0), HEALTH_SAME);
        assert_int_equal(target_health_failed(h, one, 0), HEALTH_SAME);
        assert_int_equal(target_health_answered(h, one), HEALTH_SAME);
    }
    assert_int_equal(target_health_closed_ms(h, one, 0), 0);
}

static void models_and_providers_have_their_own(void **state)
{
    target_health *h = *state;
    open_it(h, 0);
    assert_int_equal(target_health_closed_ms(h, (target_name){GW_STR("p"), GW_STR("two")}, 0), 0);
    assert_int_equal(target_health_closed_ms(h, (target_name){GW_STR("q"), GW_STR("one")}, 0), 0);
    assert_int_equal(target_health_closed_ms(h, (target_name){GW_STR(""), GW_STR("pone")}, 0), 0);
}

static void one_request_a_period_is_let_through_and_its_answer_closes_it(void **state)
{
    target_health *h = *state;
    open_it(h, 0);
    assert_int_equal(target_health_chosen(h, one, 500), HEALTH_NO_TURN); /* not yet */
    assert_int_equal(target_health_closed_ms(h, one, 1000), 0);
    assert_int_not_equal(target_health_chosen(h, one, 1000), HEALTH_NO_TURN);
    assert_int_equal(target_health_closed_ms(h, one, 1001), 999);
    assert_int_equal(target_health_answered(h, one), HEALTH_CLOSED);
    assert_int_equal(target_health_closed_ms(h, one, 1001), 0);
    assert_int_equal(target_health_open_count(h), 0);
    open_it(h, 2000);
    assert_int_equal(target_health_closed_ms(h, one, 2000), 1000); /* the first period again */
}

static void each_one_that_fails_doubles_the_period_up_to_a_bound(void **state)
{
    static const int64_t periods[] = {2000, 4000, 8000, 8000};
    target_health *h = *state;
    int64_t now_ms = 0;
    open_it(h, now_ms);
    for (size_t i = 0; i < GW_ARRAY_LEN(periods); i++) {
        now_ms += target_health_closed_ms(h, one, now_ms);
        assert_int_not_equal(target_health_chosen(h, one, now_ms), HEALTH_NO_TURN);
        assert_int_equal(target_health_failed(h, one, now_ms), HEALTH_SAME);
        assert_int_equal(target_health_failed(h, one, now_ms), HEALTH_SAME); /* another's */
        assert_int_equal(target_health_closed_ms(h, one, now_ms), periods[i]);
    }
    assert_int_equal(target_health_open_count(h), 1);
}

static void one_that_is_let_through_and_lost_locks_nothing(void **state)
{
    target_health *h = *state;
    open_it(h, 0);
    assert_int_not_equal(target_health_chosen(h, one, 1000), HEALTH_NO_TURN);
    assert_int_equal(target_health_closed_ms(h, one, 2000), 0);
}

static void one_that_was_never_sent_gives_its_turn_to_the_next(void **state)
{
    target_health *h = *state;
    open_it(h, 0);
    target_health_give_back(h, one, HEALTH_NO_TURN, 500); /* nobody's */
    assert_int_equal(target_health_closed_ms(h, one, 500), 500);
    health_turn turn = target_health_chosen(h, one, 1000);
    target_health_give_back(h, one, turn, 1300);
    assert_int_equal(target_health_closed_ms(h, one, 1300), 0);
    assert_int_equal(target_health_failed(h, one, 1400), HEALTH_SAME); /* was under way */
    assert_int_equal(target_health_closed_ms(h, one, 1400), 0);
    assert_int_not_equal(target_health_chosen(h, one, 1500), HEALTH_NO_TURN);
    assert_int_equal(target_health_failed(h, one, 1600), HEALTH_SAME);
    assert_int_equal(target_health_closed_ms(h, one, 1600), 2000);
}

static void a_turn_that_is_over_is_not_given_back(void **state)
{
    target_health *h = *state;
    open_it(h, 0);
    health_turn late = target_health_chosen(h, one, 1000);
    health_turn next = target_health_chosen(h, one, 2000);
    assert_int_not_equal(next, HEALTH_NO_TURN);
    target_health_give_back(h, one, late, 2100); /* the next one is under way */
    assert_int_equal(target_health_closed_ms(h, one, 2100), 900);
    assert_int_equal(target_health_failed(h, one, 2200), HEALTH_SAME);
    target_health_give_back(h, one, next, 2300); /* it has failed */
    assert_int_equal(target_health_closed_ms(h, one, 2200), 2000);
    assert_int_equal(target_health_answered(h, one), HEALTH_CLOSED);
    target_health_give_back(h, one, next, 2400);
    assert_true(target_health_is_quiet(h));
}

static void zero_failures_never_open_it(void **state)
{
    target_health *h = *state;
    target_health_configure(h, 0, 1000);
    for (int i = 0; i < 100; i++)
        assert_int_equal(target_health_failed(h, one, 0), HEALTH_SAME);
    assert_int_equal(target_health_closed_ms(h, one, 0), 0);
}

static void a_limit_is_of_one_credential_and_one_model_and_ends(void **state)
{
    target_health *h = *state;
    target_health_limit(h, one, second, 100, 200);
    assert_true(target_health_is_limited(h, one, second, 199));
    assert_false(target_health_is_limited(h, one, first, 199));
    assert_false(
        target_health_is_limited(h, (target_name){GW_STR("p"), GW_STR("two")}, second, 199));
    assert_false(target_health_is_quiet(h));
    assert_false(target_health_is_limited(h, one, second, 200)); /* and is forgotten */
    assert_true(target_health_is_quiet(h));
    target_health_limit(h, one, second, 300, 300); /* none */
    assert_false(target_health_is_limited(h, one, second, 300));
    assert_int_equal(target_health_closed_ms(h, one, 150), 0);
}

/* Names are the callers' to make up. */
static void what_is_known_is_bounded(void **state)
{
    target_health *h = *state;
    char name[16];
    for (int i = 0; i < 20000; i++) {
        snprintf(name, sizeof(name), "m%d", i);
        target_name t = {GW_STR("p"), gw_str_of(name)};
        (void)!target_health_failed(h, t, 0);
        target_health_limit(h, t, first, 0, 1000);
        assert_true(target_health_is_limited(h, t, first, 1));
    }
    assert_int_equal(target_health_open_count(h), 0);
}

static void what_has_no_news_for_long_is_forgotten(void **state)
{
    target_health *h = *state;
    const target_name other = {GW_STR("p"), GW_STR("other")};
    open_it(h, 1000);
    target_health_limit(h, one, first, 1000, 2000);
    assert_int_equal(target_health_failed(h, other, 500000), HEALTH_SAME);
    assert_int_equal(target_health_closed_ms(h, other, 600000), 0);
    assert_int_equal(target_health_open_count(h), 1);
    assert_int_equal(target_health_closed_ms(h, other, 661000), 0);
    assert_int_equal(target_health_open_count(h), 0);
    assert_false(target_health_is_quiet(h)); /* of the other one there was news */
    assert_int_equal(target_health_closed_ms(h, other, 1200000), 0);
    assert_true(target_health_is_quiet(h));
}

static void without_one_nothing_is_known(void **state)
{
    (void)state;
    assert_true(target_health_is_quiet(NULL));
    assert_int_equal(target_health_closed_ms(NULL, one, 0), 0);
    assert_int_equal(target_health_failed(NULL, one, 0), HEALTH_SAME);
    assert_int_equal(target_health_answered(NULL, one), HEALTH_SAME);
    assert_int_equal(target_health_chosen(NULL, one, 0), HEALTH_NO_TURN);
    target_health_give_back(NULL, one, 1, 0);
    target_health_limit(NULL, one, first, 0, 1);
    assert_false(target_health_is_limited(NULL, one, first, 0));
    assert_int_equal(target_health_open_count(NULL), 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(so_many_failures_in_a_row_open_it_once),
        TEST(an_answer_in_between_begins_anew),
        TEST(models_and_providers_have_their_own),
        TEST(one_request_a_period_is_let_through_and_its_answer_closes_it),
        TEST(each_one_that_fails_doubles_the_period_up_to_a_bound),
        TEST(one_that_is_let_through_and_lost_locks_nothing),
        TEST(one_that_was_never_sent_gives_its_turn_to_the_next),
        TEST(a_turn_that_is_over_is_not_given_back),
        TEST(zero_failures_never_open_it),
        TEST(a_limit_is_of_one_credential_and_one_model_and_ends),
        TEST(what_is_known_is_bounded),
        TEST(what_has_no_news_for_long_is_forgotten),
        TEST(without_one_nothing_is_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
