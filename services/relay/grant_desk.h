/*
 * For tests of a grant book alone: a desk with the book, its time, and a store in memory that answers each statement when the test says so
 * (answer_all(), pass(), take()), or is away.
 */
#pragma once

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

static inline ledger_limits requests_a_day(int64_t n)
{
    return (ledger_limits){.generation = 1,
                           .window = {{n, LEDGER_UNLIMITED, LEDGER_UNLIMITED, LEDGER_UNLIMITED}}};
}

enum { STATEMENTS = 8 }; /* out at once */

typedef struct desk {
    ledger_memory *store;
    grant_book *book;
    ledger_statement last, unanswered[STATEMENTS];
    int64_t statements, answered, rows, closed;
    int64_t row_load; /* of the last row, when it was told */
    bool away;
    char loaded[LEDGER_SUBJECT_SIZE];
    ledger_amounts used; /* says usage */
    bool usage_fails, no_memory;
    int loads;
    bool load_is_fresh; /* of the last one */
    int64_t now;
    int told;
} desk;

static inline void on_state(void *arg, const ledger_statement *st)
{
    desk *d = arg;

    d->last = d->unanswered[d->statements++ % STATEMENTS] = *st;
}

static bool on_load(void *arg, const char *subject, int64_t load, int64_t day, bool fresh)
{
    desk *d = arg;

    d->load_is_fresh = fresh;
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
    desk *d = arg;

    (void)holder;
    (void)subject;
    d->row_load = 0;
    return ++d->rows;
}

static inline void on_row_load(void *arg, int64_t row, int64_t load)
{
    desk *d = arg;

    assert_true(load > 0);
    if (row == d->rows)
        d->row_load = load;
}

static inline void on_row_close(void *arg, int64_t row)
{
    (void)row;
    ((desk *)arg)->closed++;
}

static const grant_book_ops ops = {.state = on_state,
                                   .load = on_load,
                                   .row_open = on_row_open,
                                   .row_load = on_row_load,
                                   .row_close = on_row_close};

static inline void on_told(void *arg)
{
    ((desk *)arg)->told++;
}

static inline int set_up(void **state)
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

static inline int tear_down(void **state)
{
    desk *d = *state;

    grant_book_free(d->book);
    ledger_memory_free(d->store);
    return 0;
}

/* The store answers what has no answer yet. */
static inline void answer_all(desk *d)
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

static inline void pass(desk *d, int64_t ms)
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
static inline grant_outcome take_from(desk *d, const ledger_account *accounts, size_t count,
                                      grant_take *t)
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

static inline ledger_account account_of(const char *subject, const ledger_limits *l)
{
    ledger_account a = {.level = subject[0] == 'k' ? LEDGER_OF_KEY : LEDGER_OF_CLIENT,
                        .limits = *l};

    (void)snprintf(a.subject, sizeof(a.subject), "%s", subject);
    return a;
}

static inline grant_outcome take(desk *d, const ledger_limits *l, grant_take *t)
{
    const ledger_account a = account_of("k:a", l);

    return take_from(d, &a, 1, t);
}

static inline void settle(desk *d, grant_take *t, int64_t tokens)
{
    grant_book_settle(d->book, t, &(ledger_amounts){{1, tokens, tokens, tokens * 5}}, d->now);
}

#define DESK_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
