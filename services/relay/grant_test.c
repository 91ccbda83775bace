#include "grant_book.h"
#include "ledger_store_memory.h"

#include "testing/cmocka.h"

#include <stdio.h>
#include <string.h>

#define NOW  INT64_C(1000)
#define WALL (INT64_C(20452) * LEDGER_DAY_MS + LEDGER_DAY_MS / 2)

static const ledger_timers timers = {.lease_ms = 3000,
                                     .quarantine_ms = 7000,
                                     .retry_ms = 200,
                                     .sweep_ms = 1000,
                                     .wait_ms = 1000,
                                     .lapse_ms = 20000};

static ledger_limits requests_a_day(int64_t n)
{
    return (ledger_limits){.generation = 1,
                           .window = {{n, LEDGER_UNLIMITED, LEDGER_UNLIMITED, LEDGER_UNLIMITED}}};
}

/* ---- a book on a store in memory, everything answered at once ---- */

enum { STATEMENTS = 8 }; /* out at once */

typedef struct desk {
    ledger_memory *store;
    grant_book *book;
    ledger_statement last, unanswered[STATEMENTS];
    int64_t statements, answered, rows, closed;
    bool away;
    char loaded[LEDGER_SUBJECT_SIZE];
    ledger_amounts used; /* says usage */
    bool usage_fails, no_memory;
    int loads;
    int64_t now;
    int told;
} desk;

static void on_state(void *arg, const ledger_statement *st)
{
    desk *d = arg;

    d->last = d->unanswered[d->statements++ % STATEMENTS] = *st;
}

static bool on_load(void *arg, const char *subject, int64_t load, int64_t day, bool fresh)
{
    desk *d = arg;

    (void)fresh;
    d->loads++;
    if (d->no_memory)
        return false;
    if (!d->usage_fails)
        assert_int_equal(ledger_memory_load(d->store, subject, load, day, &d->used), LEDGER_LOADED);
    (void)snprintf(d->loaded, sizeof(d->loaded), "%s", subject);
    return true;
}

static int64_t on_row_open(void *arg, const char *holder, const char *subject)
{
    (void)holder;
    (void)subject;
    return ++((desk *)arg)->rows;
}

static void on_row_load(void *arg, int64_t row, int64_t load)
{
    (void)arg;
    (void)row;
    assert_true(load > 0);
}

static void on_row_close(void *arg, int64_t row)
{
    (void)row;
    ((desk *)arg)->closed++;
}

static const grant_book_ops ops = {.state = on_state,
                                   .load = on_load,
                                   .row_open = on_row_open,
                                   .row_load = on_row_load,
                                   .row_close = on_row_close};

static void on_told(void *arg)
{
    ((desk *)arg)->told++;
}

static int set_up(void **state)
{
    static desk d;
    grant_book_options o = {.ops = &ops, .arg = &d, .timers = timers, .holder = "s.1.0"};

    d = (desk){.now = NOW, .store = ledger_memory_new(&timers), .book = grant_book_new(&o)};
    ledger_memory_set_now(d.store, WALL - 60000);
    (void)ledger_memory_born(d.store);
    ledger_memory_set_now(d.store, WALL);
    *state = &d;
    return !d.store || !d.book;
}

static int tear_down(void **state)
{
    desk *d = *state;

    grant_book_free(d->book);
    ledger_memory_free(d->store);
    return 0;
}

/* The store answers what has no answer yet. */
static void answer_all(desk *d)
{
    d->answered = GW_MAX(d->answered, d->statements - STATEMENTS);
    while (d->answered < d->statements) {
        const ledger_statement st = d->unanswered[d->answered++ % STATEMENTS];
        ledger_reply r;
        ledger_memory_state(d->store, &st, &r);
        grant_book_answer(d->book, &r, d->now);
        if (d->loaded[0] != '\0') {
            char subject[LEDGER_SUBJECT_SIZE];
            memcpy(subject, d->loaded, sizeof(subject));
            d->loaded[0] = '\0';
            (d->usage_fails ? grant_book_load_failed : grant_book_loaded)(d->book, subject, d->now);
        }
    }
}

static void pass(desk *d, int64_t ms)
{
    int64_t until = d->now + ms;

    while (d->now < until) {
        d->now += 50;
        ledger_memory_set_now(d->store, WALL + d->now - NOW);
        (void)grant_book_advance(d->book, d->now);
        if (!d->away)
            answer_all(d);
    }
}

/* Against one ledger or more; the store answers each statement at once. */
static grant_outcome take_from(desk *d, const ledger_account *accounts, size_t count, grant_take *t)
{
    *t = (grant_take){.hold = {{1, 100, 100, 500}}, .done = on_told, .arg = d};
    int64_t before = d->statements;
    grant_outcome o = grant_book_take(d->book, accounts, count, t, d->now);
    for (int i = 0; o == GRANT_WAITS && !d->away && d->statements > before && i < 5; i++) {
        before = d->statements;
        answer_all(d);
        d->now += 20;
        ledger_memory_set_now(d->store, WALL + d->now - NOW);
        (void)grant_book_advance(d->book, d->now);
    }
    return t->outcome;
}

static ledger_account account_of(const char *subject, const ledger_limits *l)
{
    ledger_account a = {.level = subject[0] == 'k' ? LEDGER_OF_KEY : LEDGER_OF_CLIENT,
                        .limits = *l};

    (void)snprintf(a.subject, sizeof(a.subject), "%s", subject);
    return a;
}

static grant_outcome take(desk *d, const ledger_limits *l, grant_take *t)
{
    const ledger_account a = account_of("k:a", l);

    return take_from(d, &a, 1, t);
}

static void settle(desk *d, grant_take *t, int64_t tokens)
{
    grant_book_settle(d->book, t, &(ledger_amounts){{1, tokens, tokens, tokens * 5}}, d->now);
}

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

/* ---- two levels ---- */

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

/* ---- more for a request that is open ---- */

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
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_cold_key_buys_the_single_hold_and_gives_back_what_it_did_not_need),
        TEST(a_key_that_becomes_hot_buys_three_times_as_much_each_time),
        TEST(a_hot_key_is_filled_up_at_each_sweep_before_anyone_waits),
        TEST(nothing_is_bought_beforehand_after_a_shortage),
        TEST(what_was_bought_under_limits_that_were_lowered_goes_back),
        TEST(the_last_of_a_limit_is_sold_once),
        TEST(who_waits_is_served_by_what_a_request_of_the_same_loop_gives_back),
        TEST(a_refusal_is_remembered_so_that_a_flood_is_no_flood_of_statements),
        TEST(without_the_store_windows_are_refused_after_the_lease),
        TEST(without_the_store_a_rate_goes_on_from_an_empty_bucket),
        TEST(what_is_given_back_may_not_be_cut_while_the_statement_is_out),
        TEST(no_more_are_in_flight_than_the_limit_and_each_end_makes_room),
        TEST(one_that_waits_for_a_slot_takes_the_first_that_is_free),
        TEST(slots_of_a_silent_relay_are_free_only_after_the_lapse),
        TEST(without_the_store_slots_go_on_by_the_share_of_the_relay),
        TEST(two_levels_are_asked_at_once_and_cut_together),
        TEST(limits_of_two_keys_of_a_client_bind_in_turn),
        TEST(what_is_held_and_what_is_free_add_up_over_all_ledgers),
        TEST(a_refusal_on_one_level_leaves_nothing_on_the_other),
        TEST(who_waits_for_its_key_is_not_in_the_way_at_the_client),
        TEST(limits_that_come_back_are_held_against_what_was_used_without_them),
        TEST(a_usage_that_fails_at_once_is_asked_ever_more_slowly),
        TEST(a_build_up_that_cannot_begin_is_tried_again_soon),
        TEST(a_dead_relays_position_is_closed_by_its_row),
        TEST(more_is_part_of_the_hold_and_takes_no_request_no_turn_and_no_slot),
        TEST(what_is_left_is_said_so_that_less_can_be_asked_for),
        TEST(what_is_known_of_a_ledger_is_told_without_asking),
        TEST(nothing_is_bought_for_a_day_that_has_ended),
        TEST(one_that_waits_for_more_may_end_meanwhile),
        TEST(without_the_store_there_is_no_more),
        cmocka_unit_test(sums_of_a_row_follow_load_use_and_window),
        cmocka_unit_test(shards_are_those_of_redis_cluster),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
