/* A book and what it gets ledgers from: usage, and rows of relays that died. */
#include "grant_desk.h"

/* What was used while there were no limits stands in usage only. */
static void limits_that_come_back_are_held_against_what_was_used_without_them(void **state)
{
    desk *d = *state;
    ledger_limits l = requests_a_day(5);
    grant_take t;

    assert_int_equal(take(d, &l, &t), GRANT_CUT);
    settle(d, &t, 1);
    pass(d, 2500);
    assert_true(grant_book_is_idle(d->book));
    d->used = (ledger_amounts){{5, 500, 500, 500}};
    l.generation++;
    (void)take(d, &l, &t);
    pass(d, 1500);
    assert_int_equal(t.outcome, GRANT_REFUSED);
}

static void a_usage_that_fails_at_once_is_asked_ever_more_slowly(void **state)
{
    desk *d = *state;
    ledger_limits l = requests_a_day(10);
    const ledger_account a = account_of("k:a", &l);
    grant_take t = {.hold = {{1, 100, 100, 500}}, .done = on_told, .arg = d};

    d->usage_fails = true;
    assert_int_equal(grant_book_take(d->book, &a, 1, &t, d->now), GRANT_WAITS);
    pass(d, 10000);
    assert_int_equal(t.outcome, GRANT_WAITS);
    assert_in_range(d->loads, 5, 10); /* after 100, 200, 400 ms, …, then every two seconds */
    assert_true(d->statements <= INT64_C(2) * d->loads);
    assert_int_equal(grant_book_get_figures(d->book)->failed_loads, d->loads);
    d->usage_fails = false;
    pass(d, 2500);
    assert_int_equal(t.outcome, GRANT_CUT);
    assert_int_equal(d->told, 1);
    settle(d, &t, 20);
}

static void a_build_up_that_cannot_begin_is_tried_again_soon(void **state)
{
    desk *d = *state;
    ledger_limits l = requests_a_day(10);
    const ledger_account a = account_of("k:a", &l);
    grant_take t = {.hold = {{1, 100, 100, 500}}, .done = on_told, .arg = d};

    d->no_memory = true;
    assert_int_equal(grant_book_take(d->book, &a, 1, &t, d->now), GRANT_WAITS);
    pass(d, 10000);
    assert_int_equal(t.outcome, GRANT_WAITS);
    assert_in_range(d->loads, 5, 10);
    assert_int_equal(grant_book_get_figures(d->book)->failed_loads, d->loads);
    d->no_memory = false;
    pass(d, 2500);
    assert_int_equal(t.outcome, GRANT_CUT);
    settle(d, &t, 20);
}

static void a_dead_relays_position_is_closed_by_its_row(void **state)
{
    desk *d = *state;
    ledger_limits l = requests_a_day(100);
    ledger_row_sums sums = {0};
    ledger_totals totals;
    ledger_reply r;
    grant_take t;

    assert_int_equal(take(d, &l, &t), GRANT_CUT);
    assert_true(ledger_memory_totals(d->store, "k:a", &totals));
    int64_t load = grant_book_mark(&t, d->now).load[LEDGER_OF_KEY];
    ledger_row row = {.id = 7, .subject = "k:a", .holder = "s.1.0", .load = load};
    ledger_row_add(&sums, 7, load, totals.day, &(ledger_amounts){{1, 30, 30, 150}});
    assert_true(grant_book_close_row(d->book, &row, &sums));
    (void)grant_book_advance(d->book, d->now);
    assert_true(d->last.final);
    ledger_memory_state(d->store, &d->last, &r);
    grant_book_answer(d->book, &r, d->now);
    assert_true(ledger_memory_totals(d->store, "k:a", &totals));
    assert_int_equal(totals.taken.of[LEDGER_TOKENS_DAY], 30);
    assert_int_equal(totals.records, 0);
    assert_int_equal(d->closed, 1);
}

static void sums_of_a_row_follow_load_use_and_window(void **state)
{
    ledger_row_sums s = {0};
    const ledger_amounts one = {{1, 10, 10, 5}};
    const int64_t last_of_year = 20453; /* 2025-12-31 */

    (void)state;
    ledger_row_add(&s, 5, 100, last_of_year - 1, &one);
    ledger_row_add(&s, 5, 100, last_of_year, &one);
    assert_int_equal(s.spent.of[LEDGER_REQUESTS_DAY], 1);
    assert_int_equal(s.spent.of[LEDGER_TOKENS_MONTH], 20);
    ledger_row_add(&s, 5, 100, last_of_year - 1, &one); /* late: of the month only */
    assert_int_equal(s.spent.of[LEDGER_REQUESTS_DAY], 1);
    assert_int_equal(s.spent.of[LEDGER_TOKENS_MONTH], 30);
    ledger_row_add(&s, 5, 99, last_of_year, &one); /* of an older build-up */
    assert_int_equal(s.spent.of[LEDGER_TOKENS_MONTH], 30);
    ledger_row_add(&s, 5, 100, last_of_year + 1, &one);
    assert_int_equal(s.spent.of[LEDGER_TOKENS_MONTH], 10);
    ledger_row_add(&s, 5, 101, last_of_year + 1, &one);
    assert_int_equal(s.spent.of[LEDGER_REQUESTS_DAY], 1);
    ledger_row_add(&s, 4, 200, last_of_year + 1, &one); /* of an earlier use of the row */
    assert_int_equal(s.load, 101);
}

static void shards_are_those_of_redis_cluster(void **state)
{
    (void)state;
    assert_int_equal(ledger_shard_of(GW_STR("123456789")), 0x31c3 % LEDGER_SHARDS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DESK_TEST(limits_that_come_back_are_held_against_what_was_used_without_them),
        DESK_TEST(a_usage_that_fails_at_once_is_asked_ever_more_slowly),
        DESK_TEST(a_build_up_that_cannot_begin_is_tried_again_soon),
        DESK_TEST(a_dead_relays_position_is_closed_by_its_row),
        cmocka_unit_test(sums_of_a_row_follow_load_use_and_window),
        cmocka_unit_test(shards_are_those_of_redis_cluster),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
