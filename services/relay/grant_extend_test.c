/* A book and requests that want more than they were given. */
#include "grant_desk.h"

static grant_outcome extend(desk *d, grant_take *t, grant_take *more, int64_t tokens)
{
    *more = (grant_take){.hold = {{0, tokens, tokens, tokens * 5}}, .done = on_told, .arg = d};
    int64_t before = d->statements;
    grant_outcome o = grant_book_extend(d->book, t, more, d->now);
    if (o == GRANT_WAITS && !d->away && d->statements > before)
        answer_all(d);
    return more->outcome;
}

static ledger_limits tokens_a_day(int64_t n)
{
    ledger_limits l = requests_a_day(1);

    l.window.of[LEDGER_TOKENS_DAY] = n;
    l.per_minute = l.in_flight = 1;
    return l;
}

static void more_is_part_of_the_hold_and_takes_no_request_no_turn_and_no_slot(void **state)
{
    desk *d = *state;
    const ledger_limits l = tokens_a_day(1000);
    grant_take t, more;
    ledger_totals totals;

    assert_int_equal(take(d, &l, &t), GRANT_CUT);
    assert_int_equal(extend(d, &t, &more, 300), GRANT_CUT);
    assert_int_equal(extend(d, &t, &more, 600), GRANT_CUT);
    assert_int_equal(t.hold.of[LEDGER_REQUESTS_DAY], 1);
    assert_int_equal(t.hold.of[LEDGER_TOKENS_DAY], 1000);
    assert_int_equal(extend(d, &t, &more, 1), GRANT_REFUSED);
    assert_int_equal(more.short_of, LEDGER_TOKENS_DAY);
    assert_int_equal(more.left, 0);
    settle(d, &t, 950);
    pass(d, 3000);
    assert_true(ledger_memory_totals(d->store, "k:a", &totals));
    assert_int_equal(totals.taken.of[LEDGER_TOKENS_DAY], 950);
    assert_int_equal(totals.slots, 0);
    assert_true(grant_book_is_idle(d->book));
}

static void what_is_left_is_said_so_that_less_can_be_asked_for(void **state)
{
    desk *d = *state;
    const ledger_limits l = tokens_a_day(150);
    grant_take t, more;

    assert_int_equal(take(d, &l, &t), GRANT_CUT);
    assert_int_equal(extend(d, &t, &more, 80), GRANT_REFUSED);
    assert_int_equal(more.left, 50);
    assert_int_equal(extend(d, &t, &more, 50), GRANT_CUT);
    settle(d, &t, 150);
}

static void what_is_known_of_a_ledger_is_told_without_asking(void **state)
{
    desk *d = *state;
    const ledger_limits l = tokens_a_day(150);
    const ledger_account accounts[] = {account_of("k:a", &l), account_of("c:other", &l)};
    grant_left left[LEDGER_LEVELS];
    grant_take t;

    assert_int_equal(grant_book_known(d->book, accounts, 2, d->now, left), 2);
    assert_int_equal(left[0].wall_ms, 0);
    assert_int_equal(left[0].limits.window.of[LEDGER_TOKENS_DAY], 150);
    assert_int_equal(take(d, &l, &t), GRANT_CUT);
    settle(d, &t, 30);
    int64_t stated = d->statements;
    assert_int_equal(grant_book_known(d->book, accounts, 2, d->now, left), 2);
    assert_int_equal(left[0].left.of[LEDGER_TOKENS_DAY], 120);
    assert_true(left[0].wall_ms >= WALL);
    assert_int_equal(left[1].wall_ms, 0); /* nobody asked for it */
    assert_int_equal(d->statements, stated);
    pass(d, 2500); /* what was bought has gone back */
    assert_int_equal(grant_book_known(d->book, accounts, 1, d->now, left), 1);
    assert_int_equal(left[0].left.of[LEDGER_TOKENS_DAY], 120);
    assert_in_range(left[0].wall_ms, WALL + 2000, WALL + 4000);
    /* Kept over midnight, it tells the new day. */
    assert_int_equal(grant_book_known(d->book, accounts, 1, d->now + LEDGER_DAY_MS / 2, left), 1);
    assert_int_equal(left[0].left.of[LEDGER_TOKENS_DAY], 150);
}

static void nothing_is_bought_for_a_day_that_has_ended(void **state)
{
    desk *d = *state;
    const ledger_limits l = tokens_a_day(1000);
    grant_take t, more;

    assert_int_equal(take(d, &l, &t), GRANT_CUT);
    d->now += LEDGER_DAY_MS / 2;
    pass(d, 100);
    assert_int_equal(extend(d, &t, &more, 300), GRANT_REFUSED);
    assert_int_equal(more.short_of, LEDGER_TOKENS_DAY);
    settle(d, &t, 100);
    pass(d, 3000);
    assert_true(grant_book_is_idle(d->book));
}

static void one_that_waits_for_more_may_end_meanwhile(void **state)
{
    desk *d = *state;
    const ledger_limits l = tokens_a_day(1000);
    grant_take t, more;

    assert_int_equal(take(d, &l, &t), GRANT_CUT);
    d->away = true;
    assert_int_equal(extend(d, &t, &more, 300), GRANT_WAITS);
    int told = d->told; /* of the request itself */
    grant_book_forget(d->book, &more);
    settle(d, &t, 100);
    d->away = false;
    pass(d, 5000);
    assert_int_equal(d->told, told);
    assert_true(grant_book_is_idle(d->book));
}

static void without_the_store_there_is_no_more(void **state)
{
    desk *d = *state;
    const ledger_limits l = tokens_a_day(1000);
    grant_take t, more;

    assert_int_equal(take(d, &l, &t), GRANT_CUT);
    d->away = true;
    assert_int_equal(extend(d, &t, &more, 300), GRANT_WAITS);
    int told = d->told;
    pass(d, 3500);
    assert_int_equal(d->told, told + 1);
    assert_int_equal(more.outcome, GRANT_UNAVAILABLE);
    settle(d, &t, 100);
    d->away = false;
    pass(d, 5000);
    assert_true(grant_book_is_idle(d->book));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DESK_TEST(more_is_part_of_the_hold_and_takes_no_request_no_turn_and_no_slot),
        DESK_TEST(what_is_left_is_said_so_that_less_can_be_asked_for),
        DESK_TEST(what_is_known_of_a_ledger_is_told_without_asking),
        DESK_TEST(nothing_is_bought_for_a_day_that_has_ended),
        DESK_TEST(one_that_waits_for_more_may_end_meanwhile),
        DESK_TEST(without_the_store_there_is_no_more),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
