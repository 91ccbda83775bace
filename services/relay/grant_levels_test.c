/* A book and ledgers of a key, its client and its owner, which bind together. */
#include "grant_desk.h"

static void two_levels_are_asked_at_once_and_cut_together(void **state)
{
    desk *d = *state;
    const ledger_limits l = requests_a_day(10);
    const ledger_account accounts[] = {account_of("k:a", &l), account_of("c:app", &l)};
    ledger_totals totals;
    grant_take t;

    t = (grant_take){.hold = {{1, 100, 100, 500}}, .done = on_told, .arg = d};
    assert_int_equal(grant_book_take(d->book, accounts, 2, &t, d->now), GRANT_WAITS);
    assert_int_equal(d->statements, 2); /* in the same turn */
    answer_all(d);
    pass(d, 400);
    assert_int_equal(t.outcome, GRANT_CUT);
    grant_mark m = grant_book_mark(&t, d->now);
    assert_true(m.load[LEDGER_OF_KEY] > 0 && m.load[LEDGER_OF_CLIENT] > 0);
    assert_true(m.row[LEDGER_OF_KEY] != m.row[LEDGER_OF_CLIENT]);
    assert_int_equal(m.row[LEDGER_OF_OWNER], 0);
    settle(d, &t, 30);
    pass(d, 2500);
    for (size_t i = 0; i < 2; i++) {
        assert_true(ledger_memory_totals(d->store, accounts[i].subject, &totals));
        assert_int_equal(totals.taken.of[LEDGER_TOKENS_DAY], 30);
        assert_int_equal(totals.records, 0);
    }
    assert_int_equal(d->closed, d->rows);
}

static void limits_of_two_keys_of_a_client_bind_in_turn(void **state)
{
    desk *d = *state;
    const ledger_limits of_key = requests_a_day(3), of_client = requests_a_day(4);
    const ledger_account a[] = {account_of("k:a", &of_key), account_of("c:app", &of_client)};
    const ledger_account b[] = {account_of("k:b", &of_key), account_of("c:app", &of_client)};
    grant_take t;
    int cut[2] = {0};

    for (int i = 0; i < 5; i++)
        if (take_from(d, a, 2, &t) == GRANT_CUT) {
            settle(d, &t, 1);
            cut[0]++;
        }
    pass(d, 1500);
    assert_int_equal(cut[0], 3);
    assert_int_equal(t.outcome, GRANT_REFUSED);
    assert_int_equal(t.short_level, LEDGER_OF_KEY);
    for (int i = 0; i < 5; i++)
        if (take_from(d, b, 2, &t) == GRANT_CUT) {
            settle(d, &t, 1);
            cut[1]++;
        }
    pass(d, 1500);
    assert_int_equal(cut[1], 1);
    assert_int_equal(t.outcome, GRANT_REFUSED);
    assert_int_equal(t.short_level, LEDGER_OF_CLIENT);
    const grant_book_figures *f = grant_book_get_figures(d->book);
    assert_int_equal(f->refused[LEDGER_OF_KEY][LEDGER_REQUESTS_DAY], 2);
    assert_int_equal(f->refused[LEDGER_OF_CLIENT][LEDGER_REQUESTS_DAY], 4);
    assert_true(f->replies[LEDGER_SHORT] > 0 && f->replies[LEDGER_OK] > 0);
}

/* For whoever looks at the relay from outside. */
static void what_is_held_and_what_is_free_add_up_over_all_ledgers(void **state)
{
    desk *d = *state;
    const ledger_limits limits = requests_a_day(10);
    const ledger_account accounts[] = {account_of("k:a", &limits), account_of("c:app", &limits)};
    grant_book_standing s;
    grant_take t;

    assert_int_equal(take_from(d, accounts, 2, &t), GRANT_CUT);
    grant_book_stand(d->book, &s);
    assert_int_equal(s.positions, 2);
    assert_int_equal(s.rows, 2);
    assert_int_equal(s.open_nano_usd, 2 * t.hold.of[LEDGER_COST_MONTH]);
    settle(d, &t, 1);
    grant_book_stand(d->book, &s);
    assert_int_equal(s.open_nano_usd, 0);
    assert_true(s.free_nano_usd > 0);
    pass(d, 3000);
    grant_book_stand(d->book, &s);
    assert_memory_equal(&s, &(grant_book_standing){0}, sizeof(s));
}

static void a_refusal_on_one_level_leaves_nothing_on_the_other(void **state)
{
    desk *d = *state;
    const ledger_limits of_key = requests_a_day(100), of_client = requests_a_day(0);
    const ledger_account accounts[] = {account_of("k:a", &of_key), account_of("c:app", &of_client)};
    ledger_totals totals;
    grant_take t;

    (void)take_from(d, accounts, 2, &t);
    pass(d, 1500);
    assert_int_equal(t.outcome, GRANT_REFUSED);
    pass(d, 2000);
    assert_true(ledger_memory_totals(d->store, "k:a", &totals));
    for (int w = 0; w < LEDGER_WINDOWS; w++)
        assert_int_equal(totals.taken.of[w], 0);
    assert_int_equal(totals.records, 0);
    assert_true(grant_book_is_idle(d->book));
}

/* A key at its end does not keep the others of its client waiting behind it. */
static void who_waits_for_its_key_is_not_in_the_way_at_the_client(void **state)
{
    desk *d = *state;
    const ledger_limits of_key = requests_a_day(1), of_client = requests_a_day(10);
    const ledger_account a[] = {account_of("k:a", &of_key), account_of("c:app", &of_client)};
    const ledger_account b[] = {account_of("k:b", &of_key), account_of("c:app", &of_client)};
    grant_take first, waits, other;

    assert_int_equal(take_from(d, a, 2, &first), GRANT_CUT);
    assert_int_equal(take_from(d, a, 2, &waits),
                     GRANT_WAITS); /* the first may turn out a refusal */
    assert_int_equal(take_from(d, b, 2, &other), GRANT_CUT);
    grant_book_forget(d->book, &waits);
    settle(d, &first, 1);
    settle(d, &other, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DESK_TEST(two_levels_are_asked_at_once_and_cut_together),
        DESK_TEST(limits_of_two_keys_of_a_client_bind_in_turn),
        DESK_TEST(what_is_held_and_what_is_free_add_up_over_all_ledgers),
        DESK_TEST(a_refusal_on_one_level_leaves_nothing_on_the_other),
        DESK_TEST(who_waits_for_its_key_is_not_in_the_way_at_the_client),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
