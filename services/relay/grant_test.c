/* A book and one key: what is bought, cut, given back, refused; slots; without the store. */
#include "grant_desk.h"

static void a_cold_key_buys_the_single_hold_and_gives_back_what_it_did_not_need(void **state)
{
    desk *d = *state;
    ledger_limits l = requests_a_day(10);
    ledger_totals totals;
    grant_take t;

    assert_int_equal(take(d, &l, &t), GRANT_CUT);
    assert_true(ledger_memory_totals(d->store, "k:a", &totals));
    assert_int_equal(totals.taken.of[LEDGER_TOKENS_DAY], 100);
    settle(d, &t, 20);
    pass(d, 2500);
    assert_true(ledger_memory_totals(d->store, "k:a", &totals));
    assert_int_equal(totals.taken.of[LEDGER_REQUESTS_DAY], 1);
    assert_int_equal(totals.taken.of[LEDGER_TOKENS_DAY], 20);
    assert_int_equal(totals.records, 0);
    assert_true(grant_book_is_idle(d->book));
    assert_int_equal(d->closed, d->rows);
}

static void a_key_that_becomes_hot_buys_three_times_as_much_each_time(void **state)
{
    desk *d = *state;
    ledger_limits l = requests_a_day(10000);
    grant_take t[100];

    for (size_t i = 0; i < GW_ARRAY_LEN(t); i++) {
        d->now -= d->now % 1000; /* all of them before the first sweep */
        assert_int_equal(take(d, &l, &t[i]), GRANT_CUT);
    }
    assert_in_range(d->statements, 4, 7); /* 1 for the build-up, then 1, 3, 9, 27, 81 */
    for (size_t i = 0; i < GW_ARRAY_LEN(t); i++)
        settle(d, &t[i], 20);
}

static void a_hot_key_is_filled_up_at_each_sweep_before_anyone_waits(void **state)
{
    desk *d = *state;
    ledger_limits l = requests_a_day(10000);
    grant_take t;

    for (int i = 0; i < 40; i++) { /* ten a second */
        assert_int_equal(take(d, &l, &t), GRANT_CUT);
        settle(d, &t, 20);
        pass(d, 100);
    }
    int64_t bought = grant_book_get_figures(d->book)->cut_bought, statements = d->statements;
    for (int i = 0; i < 40; i++) {
        assert_int_equal(take(d, &l, &t), GRANT_CUT);
        settle(d, &t, 20);
        pass(d, 100);
    }
    assert_int_equal(grant_book_get_figures(d->book)->cut_bought, bought);
    assert_in_range(d->statements - statements, 3, 5); /* one a sweep */
    assert_true(d->last.ask);
    assert_int_equal(d->last.need.of[LEDGER_REQUESTS_DAY], 0);
    pass(d, 2500);
    assert_true(grant_book_is_idle(d->book));
}

/* What is nearly used up is left for who needs it. */
static void nothing_is_bought_beforehand_after_a_shortage(void **state)
{
    desk *d = *state;
    ledger_limits l = requests_a_day(LEDGER_UNLIMITED);
    grant_take t[5];

    l.window.of[LEDGER_TOKENS_DAY] = 450;
    for (int i = 0; i < 4; i++)
        assert_int_equal(take(d, &l, &t[i]), GRANT_CUT);
    assert_int_equal(take(d, &l, &t[4]), GRANT_WAITS);
    assert_true(grant_book_get_figures(d->book)->replies[LEDGER_SHORT] > 0);
    grant_book_forget(d->book, &t[4]);
    for (int i = 0; i < 3; i++)
        settle(d, &t[i], 20);
    int64_t statements = d->statements;
    pass(d, 2200);
    assert_true(d->statements > statements);
    assert_false(d->last.bye);
    assert_false(d->last.ask);
    settle(d, &t[3], 20);
}

static void what_was_bought_under_limits_that_were_lowered_goes_back(void **state)
{
    desk *d = *state;
    ledger_limits l = requests_a_day(1000);
    ledger_totals totals;
    grant_take t[4];

    for (int i = 0; i < 40; i++) {
        assert_int_equal(take(d, &l, &t[0]), GRANT_CUT);
        settle(d, &t[0], 20);
        pass(d, 100);
    }
    assert_true(ledger_memory_totals(d->store, "k:a", &totals));
    assert_true(totals.taken.of[LEDGER_REQUESTS_DAY] >
                50); /* it has some for the next two seconds */
    l = requests_a_day(42);
    l.generation = 2;
    d->away = true;
    assert_int_equal(take(d, &l, &t[0]), GRANT_WAITS); /* although there is enough */
    d->away = false;
    pass(d, 50);
    assert_int_equal(t[0].outcome, GRANT_CUT);
    assert_int_equal(take(d, &l, &t[1]), GRANT_CUT);
    (void)take(d, &l, &t[2]);
    pass(d, 2500);
    assert_int_equal(t[2].outcome, GRANT_REFUSED);
    settle(d, &t[0], 20);
    settle(d, &t[1], 20);
}

static void the_last_of_a_limit_is_sold_once(void **state)
{
    desk *d = *state;
    ledger_limits l = requests_a_day(3);
    grant_take t[4];

    for (int i = 0; i < 3; i++)
        assert_int_equal(take(d, &l, &t[i]), GRANT_CUT);
    (void)take(d, &l, &t[3]);
    pass(d, 3000); /* what is open may come back: it waits for one more ask */
    assert_int_equal(t[3].outcome, GRANT_REFUSED);
    assert_int_equal(t[3].short_of, LEDGER_REQUESTS_DAY);
    assert_int_equal(t[3].left, 0);
    assert_int_equal(t[3].limit, 3);
    assert_in_range(t[3].reset_ms, 1, LEDGER_DAY_MS);
    for (int i = 0; i < 3; i++)
        settle(d, &t[i], 100);
    assert_int_equal(take(d, &l, &t[3]), GRANT_REFUSED);
}

static void who_waits_is_served_by_what_a_request_of_the_same_loop_gives_back(void **state)
{
    desk *d = *state;
    ledger_limits l = requests_a_day(100);
    grant_take t[2];

    l.window.of[LEDGER_TOKENS_DAY] = 150;
    assert_int_equal(take(d, &l, &t[0]), GRANT_CUT);
    assert_int_equal(take(d, &l, &t[1]), GRANT_WAITS);
    d->told = 0;
    settle(d, &t[0], 10);
    pass(d, 1500);
    assert_int_equal(t[1].outcome, GRANT_CUT);
    assert_int_equal(d->told, 1);
}

static void a_refusal_is_remembered_so_that_a_flood_is_no_flood_of_statements(void **state)
{
    desk *d = *state;
    ledger_limits l = {.generation = 1, .per_minute = 1};
    grant_take t;

    for (int i = 0; i < LEDGER_WINDOWS; i++)
        l.window.of[i] = LEDGER_UNLIMITED;
    assert_int_equal(take(d, &l, &t), GRANT_CUT);
    assert_int_equal(take(d, &l, &t), GRANT_REFUSED);
    int64_t before = d->statements;
    for (int i = 0; i < 100; i++)
        assert_int_equal(take(d, &l, &t), GRANT_REFUSED);
    assert_int_equal(d->statements, before);
    assert_int_equal(t.short_of, LEDGER_BUCKET);
    assert_in_range(t.reset_ms, 50000, 60000);
}

static void without_the_store_windows_are_refused_after_the_lease(void **state)
{
    desk *d = *state;
    ledger_limits l = requests_a_day(100);
    grant_take t;

    d->away = true;
    assert_int_equal(take(d, &l, &t), GRANT_WAITS);
    pass(d, timers.lease_ms + 100);
    assert_int_equal(t.outcome, GRANT_UNAVAILABLE);
    assert_true(grant_book_is_lost(d->book, d->now));
    assert_int_equal(take(d, &l, &t), GRANT_UNAVAILABLE);
    d->away = false;
    pass(d, 500);
    assert_false(grant_book_is_lost(d->book, d->now));
    assert_int_equal(take(d, &l, &t), GRANT_CUT);
    settle(d, &t, 1);
}

/* Its position has been closed: there is no day of a grant, but it is known what time the store has. */
static void without_the_store_what_is_let_in_has_the_time_that_it_would_have(void **state)
{
    desk *d = *state;
    ledger_limits l = {.generation = 1, .per_minute = 6000};
    const ledger_account other = account_of("k:other", &l);
    grant_take t;

    for (int i = 0; i < LEDGER_WINDOWS; i++)
        l.window.of[i] = LEDGER_UNLIMITED;
    assert_int_equal(take(d, &l, &t), GRANT_CUT);
    settle(d, &t, 1);
    pass(d, 2 * timers.sweep_ms);
    assert_int_equal(d->closed, 1);
    d->away = true;
    assert_int_equal(take_from(d, &other, 1, &t), GRANT_WAITS);
    pass(d, timers.lease_ms + 1000);
    assert_true(grant_book_is_lost(d->book, d->now));
    grant_left left[LEDGER_LEVELS];
    assert_int_equal(take(d, &l, &t), GRANT_REFUSED); /* the bucket is empty at first */
    assert_int_equal(grant_book_left(&t, d->now, left), 1);
    assert_int_equal(left[0].bucket_left, 0);
    for (int day = 0; day < 2; day++) {
        d->now += day * LEDGER_DAY_MS + 1000;
        assert_int_equal(take(d, &l, &t), GRANT_CUT);
        assert_in_range(grant_book_mark(&t, d->now).wall_ms, WALL + d->now - NOW - 100,
                        WALL + d->now - NOW + 100);
        settle(d, &t, 1);
    }
}

static void without_the_store_a_rate_goes_on_from_an_empty_bucket(void **state)
{
    desk *d = *state;
    ledger_limits l = {.generation = 1, .per_minute = 60};
    grant_take t;
    int cut = 0;

    for (int i = 0; i < LEDGER_WINDOWS; i++)
        l.window.of[i] = LEDGER_UNLIMITED;
    d->away = true;
    (void)take(d, &l, &t);
    pass(d, timers.lease_ms + 100);
    for (int i = 0; i < 100; i++) {
        cut += take(d, &l, &t) == GRANT_CUT;
        pass(d, 100);
    }
    assert_in_range(cut, 9, 10); /* one a second */
}

static void what_is_given_back_may_not_be_cut_while_the_statement_is_out(void **state)
{
    desk *d = *state;
    ledger_limits l = requests_a_day(100);
    grant_take t, next;

    assert_int_equal(take(d, &l, &t), GRANT_CUT);
    settle(d, &t, 0);
    d->away = true;
    pass(d, 1200); /* it says goodbye, and is not heard */
    assert_true(d->last.bye);
    assert_int_equal(take(d, &l, &next), GRANT_WAITS);
    grant_book_forget(d->book, &next);
}

static void no_more_are_in_flight_than_the_limit_and_each_end_makes_room(void **state)
{
    desk *d = *state;
    ledger_limits l = requests_a_day(LEDGER_UNLIMITED);
    ledger_totals totals;
    grant_take t[4];

    l.in_flight = 3;
    for (int i = 0; i < 3; i++)
        assert_int_equal(take(d, &l, &t[i]), GRANT_CUT);
    assert_true(ledger_memory_totals(d->store, "k:a", &totals));
    assert_int_equal(totals.slots, 3);
    assert_int_equal(take(d, &l, &t[3]), GRANT_WAITS); /* one may end */
    pass(d, 1500);
    assert_int_equal(t[3].outcome, GRANT_REFUSED);
    assert_int_equal(t[3].short_of, LEDGER_SLOTS);
    assert_in_range(t[3].reset_ms, 1, 1000);
    settle(d, &t[0], 10);
    assert_int_equal(take(d, &l, &t[3]), GRANT_CUT);
    for (int i = 1; i < 4; i++)
        settle(d, &t[i], 10);
    pass(d, 2500);
    assert_true(ledger_memory_totals(d->store, "k:a", &totals));
    assert_int_equal(totals.slots, 0);
    assert_int_equal(totals.records, 0);
}

static void one_that_waits_for_a_slot_takes_the_first_that_is_free(void **state)
{
    desk *d = *state;
    ledger_limits l = requests_a_day(LEDGER_UNLIMITED);
    grant_take t[2];

    l.in_flight = 1;
    assert_int_equal(take(d, &l, &t[0]), GRANT_CUT);
    assert_int_equal(take(d, &l, &t[1]), GRANT_WAITS);
    settle(d, &t[0], 10);
    assert_int_equal(t[1].outcome, GRANT_CUT);
    settle(d, &t[1], 10);
}

static void slots_of_a_silent_relay_are_free_only_after_the_lapse(void **state)
{
    desk *d = *state;
    ledger_limits l = requests_a_day(LEDGER_UNLIMITED);
    grant_take t;

    l.in_flight = 1;
    ledger_statement gone = {.subject = "k:a",
                             .holder = "s.0.0",
                             .seq = 1,
                             .first = true,
                             .ask = true,
                             .day = WALL / LEDGER_DAY_MS,
                             .slot_need = 1,
                             .slot_want = 1,
                             .limits = l};
    ledger_reply r;
    ledger_memory_state(d->store, &gone, &r);
    assert_int_equal(r.state, LEDGER_OK);
    (void)take(d, &l, &t);
    pass(d, timers.lapse_ms - 3000);
    assert_int_equal(t.outcome, GRANT_REFUSED);
    pass(d, 5000);
    assert_int_equal(take(d, &l, &t), GRANT_CUT);
    settle(d, &t, 1);
}

static void without_the_store_slots_go_on_by_the_share_of_the_relay(void **state)
{
    desk *d = *state;
    ledger_limits l = requests_a_day(LEDGER_UNLIMITED);
    grant_take t[3];

    l.in_flight = 2;
    d->away = true;
    (void)take(d, &l, &t[0]);
    pass(d, timers.lease_ms + 100);
    assert_int_equal(t[0].outcome, GRANT_CUT);
    assert_int_equal(take(d, &l, &t[1]), GRANT_CUT);
    assert_int_equal(take(d, &l, &t[2]), GRANT_REFUSED);
    assert_int_equal(t[2].short_of, LEDGER_SLOTS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DESK_TEST(a_cold_key_buys_the_single_hold_and_gives_back_what_it_did_not_need),
        DESK_TEST(a_key_that_becomes_hot_buys_three_times_as_much_each_time),
        DESK_TEST(a_hot_key_is_filled_up_at_each_sweep_before_anyone_waits),
        DESK_TEST(nothing_is_bought_beforehand_after_a_shortage),
        DESK_TEST(what_was_bought_under_limits_that_were_lowered_goes_back),
        DESK_TEST(the_last_of_a_limit_is_sold_once),
        DESK_TEST(who_waits_is_served_by_what_a_request_of_the_same_loop_gives_back),
        DESK_TEST(a_refusal_is_remembered_so_that_a_flood_is_no_flood_of_statements),
        DESK_TEST(without_the_store_windows_are_refused_after_the_lease),
        DESK_TEST(without_the_store_what_is_let_in_has_the_time_that_it_would_have),
        DESK_TEST(without_the_store_a_rate_goes_on_from_an_empty_bucket),
        DESK_TEST(what_is_given_back_may_not_be_cut_while_the_statement_is_out),
        DESK_TEST(no_more_are_in_flight_than_the_limit_and_each_end_makes_room),
        DESK_TEST(one_that_waits_for_a_slot_takes_the_first_that_is_free),
        DESK_TEST(slots_of_a_silent_relay_are_free_only_after_the_lapse),
        DESK_TEST(without_the_store_slots_go_on_by_the_share_of_the_relay),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
