/*
 * What of a limit can be used at its end: relays that share a hot key whose holds are five times what is spent, on a store in memory that
 * answers at once. What one of them bought beforehand must not be what the others lack.
 */
#include "grant_test_kit.h"

#include <stdio.h>
#include <string.h>

#define REQUEST_MS 200

enum {
    RELAYS = 3,
    OUT_MAX = 64,
    OPEN_MAX = 4096,
    HOLD = 500,
    SPENT = 100,
    LIMIT = 400 * HOLD,
};

typedef struct request {
    grant_take take;
    int64_t since_ms;
    bool over;
} request;

typedef struct relay {
    grant_book *book;
    ledger_statement out[OUT_MAX];
    size_t out_count;
    bool loaded;
    request requests[OPEN_MAX]; /* in the order in which they came */
    size_t first, next;
} relay;

typedef struct room {
    ledger_memory *store;
    relay relays[RELAYS];
    int64_t now, used, rows;
} room;

static room the_room; /* too large for the stack */

static void on_state(void *arg, const ledger_statement *st)
{
    relay *r = arg;

    assert_true(r->out_count < OUT_MAX);
    r->out[r->out_count++] = *st;
}

static bool on_load(void *arg, const char *subject, int64_t load, int64_t day, bool fresh)
{
    const ledger_amounts nothing = {0};

    (void)fresh;
    (void)ledger_memory_load(the_room.store, subject, load, day, &nothing);
    return ((relay *)arg)->loaded = true;
}

static int64_t on_row_open(void *arg, const char *holder, const char *subject)
{
    (void)arg;
    (void)holder;
    (void)subject;
    return ++the_room.rows;
}

static int set_up(void **state)
{
    static const grant_book_ops ops = {.state = on_state,
                                       .load = on_load,
                                       .row_open = on_row_open,
                                       .row_load = on_row_load,
                                       .row_close = on_row_close};
    room *m = &the_room;

    *m = (room){.now = NOW, .store = new_store()};
    if (!m->store)
        return -1;
    for (int i = 0; i < RELAYS; i++) {
        grant_book_options o = {.ops = &ops, .arg = &m->relays[i], .timers = timers};
        (void)snprintf(o.holder, sizeof(o.holder), "s%d.1.0", i);
        m->relays[i].book = grant_book_new(&o);
        if (!m->relays[i].book)
            return -1;
    }
    *state = m;
    return 0;
}

static int tear_down(void **state)
{
    room *m = *state;

    for (int i = 0; i < RELAYS; i++)
        grant_book_free(m->relays[i].book);
    ledger_memory_free(m->store);
    return 0;
}

static void answer_all(room *m, relay *r)
{
    static ledger_statement out[OUT_MAX];
    size_t count = r->out_count;

    memcpy(out, r->out, count * sizeof(*out));
    r->out_count = 0;
    for (size_t i = 0; i < count; i++) {
        ledger_reply reply;
        ledger_memory_state(m->store, &out[i], &reply);
        grant_book_answer(r->book, &reply, m->now);
        if (r->loaded)
            grant_book_loaded(r->book, out[i].subject, m->now);
        r->loaded = false;
    }
}

static void settle_old(room *m, relay *r)
{
    const ledger_amounts real = {{1, 10, 10, SPENT}};

    for (; r->first != r->next; r->first++) {
        request *q = &r->requests[r->first];
        if (q->take.outcome == GRANT_WAITS || m->now - q->since_ms < REQUEST_MS)
            return;
        if (q->take.outcome != GRANT_CUT)
            continue;
        grant_book_settle(r->book, &q->take, &real, m->now);
        m->used += SPENT;
    }
}

static void ask(room *m, relay *r)
{
    ledger_account a = {
        .level = LEDGER_OF_KEY,
        .subject = "k:hot",
        .limits = {.generation = 1,
                   .window = {{LEDGER_UNLIMITED, LEDGER_UNLIMITED, LEDGER_UNLIMITED, LIMIT}}}};
    assert_true(r->next < OPEN_MAX);
    request *q = &r->requests[r->next++];

    *q = (request){.take = {.hold = {{1, 50, 50, HOLD}}, .done = on_told}, .since_ms = m->now};
    (void)grant_book_take(r->book, &a, 1, &q->take, m->now);
}

/* Each relay is asked once every so many ms; 0: not any more. */
static void run(room *m, const int64_t every_ms[RELAYS], int64_t for_ms)
{
    for (int64_t until = m->now + for_ms; m->now < until; m->now += TICK_MS) {
        ledger_memory_set_now(m->store, WALL + m->now - NOW);
        for (int i = 0; i < RELAYS; i++) {
            relay *r = &m->relays[i];
            settle_old(m, r);
            (void)grant_book_advance(r->book, m->now);
            answer_all(m, r);
            if (every_ms[i] && (m->now + 7 * i) % every_ms[i] < TICK_MS)
                ask(m, r);
            assert_true(m->used <= LIMIT);
        }
    }
}

/* 300 requests a second use it up in seven seconds; the last of it, ever smaller shares of what is left. */
static void of_a_shared_limit_all_but_one_hold_is_used(void **state)
{
    static const int64_t often[RELAYS] = {10, 10, 10}, unlike[RELAYS] = {5, 20, 100},
                         never[RELAYS] = {0};
    room *m = *state;

    run(m, often, 6000);
    run(m, unlike, 14000);
    print_message("used %lld of %d\n", (long long)m->used, LIMIT);
    assert_true(m->used > LIMIT - HOLD);
    run(m, never, 5000);
    for (int i = 0; i < RELAYS; i++)
        assert_true(grant_book_is_idle(m->relays[i].book));
}

/* What was bought beforehand goes back when nobody asks any more: another relay has all of the rest. */
static void the_rest_is_for_whoever_is_still_asked(void **state)
{
    static const int64_t one[RELAYS] = {10, 0, 0}, other[RELAYS] = {0, 0, 500};
    room *m = *state;

    run(m, one, 19000);
    assert_true(m->used < LIMIT - 10 * HOLD);
    run(m, other, 70000);
    print_message("used %lld of %d\n", (long long)m->used, LIMIT);
    assert_true(m->used > LIMIT - HOLD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(of_a_shared_limit_all_but_one_hold_is_used, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(the_rest_is_for_whoever_is_still_asked, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
