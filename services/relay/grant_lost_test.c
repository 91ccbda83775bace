/* A book that lets requests in while the store is away: what they cost is stated when it is back, once. */
#include "grant_desk.h"

static int set_up_allowing(void **state)
{
    int rc = set_up(state);
    desk *d = *state;
    grant_book_options o = {
        .ops = &ops, .arg = d, .timers = timers, .holder = "s.1.0", .allow_when_lost = true};

    grant_book_free(d->book);
    d->book = grant_book_new(&o);
    return rc || !d->book;
}

/* Another relay over the same store, which has heard nothing of it yet. */
static void start_again(desk *d)
{
    grant_book_options o = {
        .ops = &ops, .arg = d, .timers = timers, .holder = "s.2.0", .allow_when_lost = true};

    grant_book_free(d->book);
    d->book = grant_book_new(&o);
    assert_non_null(d->book);
    d->rows = d->closed = 0;
}

static ledger_amounts taken(const desk *d)
{
    ledger_totals totals;

    assert_true(ledger_memory_totals(d->store, "k:a", &totals));
    return totals.taken;
}

static void lose_store(desk *d)
{
    const ledger_limits l = requests_a_day(1000);
    const ledger_account other = account_of("k:other", &l);
    static grant_take t;

    d->away = true;
    if (take_from(d, &other, 1, &t) == GRANT_CUT) /* who waits tells that nobody answers */
        settle(d, &t, 1);
    pass(d, timers.lease_ms + 1000);
    assert_true(grant_book_is_lost(d->book, d->now));
    if (t.outcome == GRANT_CUT)
        settle(d, &t, 1);
}

static void get_store_back(desk *d)
{
    d->away = false;
    pass(d, 5000);
    assert_false(grant_book_is_lost(d->book, d->now));
}

static void use(desk *d, const ledger_limits *l, int count)
{
    grant_take t;

    for (int i = 0; i < count; i++) {
        assert_int_equal(take(d, l, &t), GRANT_CUT);
        settle(d, &t, 20);
    }
}

static void all_is_closed(const desk *d)
{
    ledger_totals totals;

    assert_true(ledger_memory_totals(d->store, "k:a", &totals));
    assert_int_equal(totals.records, 0);
    assert_int_equal(totals.slots, 0);
    assert_true(grant_book_is_idle(d->book));
    assert_int_equal(d->closed, d->rows);
}

static void what_a_closed_position_lets_in_is_stated(void **state)
{
    desk *d = *state;
    const ledger_limits l = requests_a_day(100);

    use(d, &l, 1);
    pass(d, 2500);
    assert_int_equal(taken(d).of[LEDGER_TOKENS_DAY], 20);
    lose_store(d);
    use(d, &l, 7);
    get_store_back(d);
    assert_int_equal(taken(d).of[LEDGER_REQUESTS_DAY], 8);
    assert_int_equal(taken(d).of[LEDGER_TOKENS_DAY], 160);
    assert_int_equal(taken(d).of[LEDGER_COST_MONTH], 800);
    all_is_closed(d);
}

/* The goodbye is repeated until it is answered: what comes meanwhile is of the position after it. */
static void what_comes_behind_a_goodbye_is_stated(void **state)
{
    desk *d = *state;
    const ledger_limits l = requests_a_day(100);
    grant_take open;

    use(d, &l, 1);
    d->away = true;
    pass(d, 2500);
    assert_true(d->last.bye);
    pass(d, timers.lease_ms);
    assert_true(grant_book_is_lost(d->book, d->now));
    use(d, &l, 3);
    assert_int_equal(take(d, &l, &open), GRANT_CUT);
    get_store_back(d);
    assert_int_equal(taken(d).of[LEDGER_TOKENS_DAY], 80);
    settle(d, &open, 20);
    pass(d, 5000);
    assert_int_equal(taken(d).of[LEDGER_REQUESTS_DAY], 5);
    assert_int_equal(taken(d).of[LEDGER_TOKENS_DAY], 100);
    all_is_closed(d);
    use(d, &l, 1);
    pass(d, 5000);
    assert_int_equal(taken(d).of[LEDGER_TOKENS_DAY], 120);
    all_is_closed(d);
}

static void what_an_open_position_lets_in_is_stated(void **state)
{
    desk *d = *state;
    const ledger_limits l = requests_a_day(100);
    grant_take open;

    assert_int_equal(take(d, &l, &open), GRANT_CUT);
    lose_store(d);
    use(d, &l, 3);
    settle(d, &open, 20);
    get_store_back(d);
    assert_int_equal(taken(d).of[LEDGER_TOKENS_DAY], 80);
    all_is_closed(d);
}

static void it_is_of_the_day_on_which_it_was_let_in(void **state)
{
    for (int closed = 0; closed < 2; closed++) {
        desk *d = *state;
        const ledger_limits l = requests_a_day(100);
        grant_take open;

        assert_int_equal(take(d, &l, &open), GRANT_CUT);
        if (closed) {
            settle(d, &open, 20);
            pass(d, 2500);
        }
        lose_store(d);
        use(d, &l, 2);
        d->now += LEDGER_DAY_MS / 2; /* it was noon */
        use(d, &l, 3);
        if (!closed)
            settle(d, &open, 20);
        get_store_back(d);
        assert_int_equal(taken(d).of[LEDGER_TOKENS_DAY], 60);
        assert_int_equal(taken(d).of[LEDGER_TOKENS_MONTH], 120);
        all_is_closed(d);
        (void)tear_down(state);
        assert_int_equal(set_up_allowing(state), 0);
    }
}

static void a_relay_that_has_never_heard_of_the_store_states_it(void **state)
{
    desk *d = *state;
    const ledger_limits l = requests_a_day(100);

    use(d, &l, 1);
    pass(d, 2500);
    start_again(d);
    lose_store(d);
    use(d, &l, 4);
    get_store_back(d);
    assert_int_equal(taken(d).of[LEDGER_TOKENS_DAY], 100);
    all_is_closed(d);
}

/* The ledger is built up after it: usage says what was used, that which came without the store with it. */
static void what_usage_has_is_not_counted_twice(void **state)
{
    desk *d = *state;
    const ledger_limits l = requests_a_day(100);

    lose_store(d);
    use(d, &l, 4);
    get_store_back(d);
    d->used = (ledger_amounts){{4, 80, 80, 400}};
    use(d, &l, 1);
    pass(d, 5000);
    assert_int_equal(taken(d).of[LEDGER_TOKENS_DAY], 100);
    all_is_closed(d);
}

/* Else a relay that is killed later would take back all that the position has stated. */
static void the_row_after_a_goodbye_knows_the_load_of_its_position(void **state)
{
    desk *d = *state;
    const ledger_limits l = requests_a_day(100);
    grant_take open;

    use(d, &l, 1);
    const int64_t load = d->row_load;
    assert_true(load > 0);
    d->away = true;
    pass(d, 2500);
    assert_true(d->last.bye);
    pass(d, timers.lease_ms);
    assert_int_equal(take(d, &l, &open), GRANT_CUT);
    get_store_back(d);
    assert_int_equal(d->closed, 1);
    settle(d, &open, 20);
    pass(d, 5000);
    assert_int_equal(d->rows, 2);
    assert_int_equal(d->row_load, load);
    all_is_closed(d);
}

static void what_follows_a_goodbye_over_midnight_is_stated(void **state)
{
    desk *d = *state;
    const ledger_limits l = requests_a_day(100);

    use(d, &l, 1);
    d->away = true;
    pass(d, 2500);
    assert_true(d->last.bye);
    pass(d, timers.lease_ms);
    d->now += LEDGER_DAY_MS / 2; /* it was noon */
    use(d, &l, 3);
    get_store_back(d);
    assert_int_equal(taken(d).of[LEDGER_TOKENS_DAY], 60);
    assert_int_equal(taken(d).of[LEDGER_TOKENS_MONTH], 80);
    all_is_closed(d);
    const int64_t statements = d->statements;
    pass(d, 5000);
    assert_int_equal(d->statements, statements);
}

/* A ledger that begins with it may not be built up from what usage has by now. */
static void usage_waits_for_what_was_used_meanwhile(void **state)
{
    desk *d = *state;
    const ledger_limits l = requests_a_day(100);

    use(d, &l, 1);
    assert_true(d->load_is_fresh);
    const ledger_account b = account_of("k:b", &l);
    grant_take t;
    lose_store(d);
    assert_int_equal(take_from(d, &b, 1, &t), GRANT_CUT);
    settle(d, &t, 20);
    get_store_back(d);
    assert_int_equal(take_from(d, &b, 1, &t), GRANT_CUT);
    settle(d, &t, 20);
    assert_false(d->load_is_fresh);
}

static void what_usage_has_of_the_next_day_is_not_counted_twice(void **state)
{
    desk *d = *state;
    const ledger_limits l = requests_a_day(100);
    grant_take open;

    assert_int_equal(take(d, &l, &open), GRANT_CUT);
    lose_store(d);
    d->now += LEDGER_DAY_MS / 2; /* it was noon */
    use(d, &l, 3);
    ledger_memory_flush(d->store);
    d->used = (ledger_amounts){{3, 60, 60, 300}};
    get_store_back(d);
    pass(d, timers.quarantine_ms + 5000);
    use(d, &l, 1);
    settle(d, &open, 20);
    pass(d, 5000);
    assert_int_equal(taken(d).of[LEDGER_TOKENS_DAY], 80);
    all_is_closed(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up_allowing, tear_down)
        TEST(what_a_closed_position_lets_in_is_stated),
        TEST(what_comes_behind_a_goodbye_is_stated),
        TEST(what_an_open_position_lets_in_is_stated),
        TEST(it_is_of_the_day_on_which_it_was_let_in),
        TEST(a_relay_that_has_never_heard_of_the_store_states_it),
        TEST(what_usage_has_is_not_counted_twice),
        TEST(the_row_after_a_goodbye_knows_the_load_of_its_position),
        TEST(what_follows_a_goodbye_over_midnight_is_stated),
        TEST(usage_waits_for_what_was_used_meanwhile),
        TEST(what_usage_has_of_the_next_day_is_not_counted_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
