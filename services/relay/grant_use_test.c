/*
 * How many commands to Redis the ledgers cost, counted and not timed: keys at a steady rate on one loop, every limit set, the store in
 * memory.
 */
#include "grant_test_kit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REQUEST_MS 400

enum {
    KEYS_MAX = 100,
    CLIENTS = 10,
    OWNER = KEYS_MAX + CLIENTS,
    LEDGERS,
    OUT_MAX = 4096,
    OPEN_MAX = 16384,
    BATCH = 32, /* statements a command (ledger_store_redis.c) */
};

/* A store for each ledger: so none is full. */
typedef struct desk {
    ledger_memory *stores[LEDGERS];
    grant_book *book;
    ledger_statement out[OUT_MAX]; /* without an answer */
    size_t out_count;
    char loaded[OUT_MAX][LEDGER_SUBJECT_SIZE];
    size_t loaded_count;
    grant_take open[OPEN_MAX]; /* a ring: each request takes as long */
    int64_t opened_ms[OPEN_MAX];
    size_t first, next;
    int64_t now, requests, refused, rows;
    int64_t commands; /* what is stated in a turn leaves together */
    int64_t statements;
    uint64_t random;
} desk;

static ledger_memory *store_of(desk *d, const char *subject)
{
    int64_t i = 0;

    assert_true(gw_str_to_int64(gw_str_of(subject + 2), &i));
    return d->stores[i];
}

static void on_state(void *arg, const ledger_statement *st)
{
    desk *d = arg;

    assert_true(d->out_count < OUT_MAX);
    d->out[d->out_count++] = *st;
}

static bool on_load(void *arg, const char *subject, int64_t load, int64_t day, bool fresh)
{
    desk *d = arg;
    const ledger_amounts nothing = {0};

    (void)fresh;
    (void)ledger_memory_load(store_of(d, subject), subject, load, day, &nothing);
    (void)snprintf(d->loaded[d->loaded_count++], LEDGER_SUBJECT_SIZE, "%s", subject);
    return true;
}

static int64_t on_row_open(void *arg, const char *holder, const char *subject)
{
    (void)holder;
    (void)subject;
    return ++((desk *)arg)->rows;
}

static int set_up(void **state)
{
    static const grant_book_ops ops = {.state = on_state,
                                       .load = on_load,
                                       .row_open = on_row_open,
                                       .row_load = on_row_load,
                                       .row_close = on_row_close};
    desk *d = calloc(1, sizeof(*d));

    if (!d)
        return -1;
    const grant_book_options o = {.ops = &ops, .arg = d, .timers = timers, .holder = "s.1.0"};
    d->now = NOW;
    d->book = grant_book_new(&o);
    d->random = 88172645463325252U;
    for (int i = 0; i < LEDGERS; i++) {
        d->stores[i] = new_store();
        if (!d->stores[i])
            return -1;
    }
    *state = d;
    return d->book ? 0 : -1;
}

static int tear_down(void **state)
{
    desk *d = *state;

    grant_book_free(d->book);
    for (int i = 0; i < LEDGERS; i++)
        ledger_memory_free(d->stores[i]);
    free(d);
    return 0;
}

static void answer_all(desk *d)
{
    size_t count = d->out_count;
    static ledger_statement out[OUT_MAX];

    memcpy(out, d->out, count * sizeof(*out));
    d->out_count = 0;
    d->commands += (int64_t)(count + BATCH - 1) / BATCH;
    d->statements += (int64_t)count;
    for (size_t i = 0; i < count; i++) {
        ledger_reply r;
        ledger_memory *m = store_of(d, out[i].subject);
        ledger_memory_set_now(m, WALL + d->now - NOW);
        ledger_memory_state(m, &out[i], &r);
        grant_book_answer(d->book, &r, d->now);
    }
    for (size_t i = 0; i < d->loaded_count; i++)
        grant_book_loaded(d->book, d->loaded[i], d->now);
    d->loaded_count = 0;
}

static void settle_old(desk *d, int64_t request_ms)
{
    const ledger_amounts real = {{1, 60, 60, 300}};

    for (; d->first != d->next && d->now - d->opened_ms[d->first] >= request_ms;
         d->first = (d->first + 1) % OPEN_MAX) {
        grant_take *t = &d->open[d->first];
        if (t->outcome == GRANT_CUT)
            grant_book_settle(d->book, t, &real, d->now);
        else if (t->outcome == GRANT_WAITS)
            grant_book_forget(d->book, t);
        d->refused += t->outcome != GRANT_CUT;
    }
}

static ledger_account account_of(ledger_level level, int index)
{
    static const char kinds[LEDGER_LEVELS] = {'k', 'c', 'o'};
    ledger_account a = {.level = level,
                        .limits = {.generation = 1,
                                   .window = {{1000000000, INT64_C(1000000000000),
                                               INT64_C(10000000000000), INT64_C(1000000000000000)}},
                                   .per_minute = LEDGER_PER_MINUTE_MAX,
                                   .in_flight = 10000}};

    (void)snprintf(a.subject, sizeof(a.subject), "%c:%d", kinds[level], index);
    return a;
}

static void take(desk *d, const ledger_account *accounts, size_t count)
{
    grant_take *t = &d->open[d->next];

    *t = (grant_take){.hold = {{1, 300, 300, 1500}}, .done = on_told, .arg = d};
    d->opened_ms[d->next] = d->now;
    d->next = (d->next + 1) % OPEN_MAX;
    assert_true(d->next != d->first);
    (void)grant_book_take(d->book, accounts, count, t, d->now);
    d->requests++;
}

static void ask(desk *d, int key)
{
    const ledger_account a = account_of(LEDGER_OF_KEY, key);

    take(d, &a, 1);
}

/* `keys` keys with one request each `every_ms`, not all at once. */
static void run(desk *d, int keys, int64_t every_ms, int64_t for_ms)
{
    for (int64_t until = d->now + for_ms; d->now < until; d->now += TICK_MS) {
        settle_old(d, REQUEST_MS);
        (void)grant_book_advance(d->book, d->now);
        answer_all(d);
        for (int k = 0; k < keys; k++)
            if ((d->now + INT64_C(7) * k) % every_ms < TICK_MS)
                ask(d, k);
    }
}

static void a_hundred_hot_keys_cost_hardly_a_command_a_request(void **state)
{
    static const struct {
        int64_t every_ms;
        double most; /* commands a request */
    } cases[] = {{1000, 1.1}, {250, 0.02}, {100, 0.01}, {50, 0.004}, {25, 0.002}, {10, 0.001}};
    desk *d = *state;

    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        run(d, KEYS_MAX, cases[i].every_ms, 5000); /* until the grants are of the size */
        int64_t requests = d->requests, commands = d->commands;
        run(d, KEYS_MAX, cases[i].every_ms, 10000);
        double each = (double)(d->commands - commands) / (double)(d->requests - requests);
        print_message("%lld requests a second: %.4f commands a request\n",
                      (long long)(INT64_C(1000) * KEYS_MAX / cases[i].every_ms), each);
        assert_true(each <= cases[i].most);
    }
    assert_int_equal(d->refused, 0);
}

static double zipf_weights(double *ret)
{
    double sum = 0;

    for (int k = 0; k < KEYS_MAX; k++)
        ret[k] = sum += 1.0 / (k + 1);
    return sum;
}

static int draw_key(desk *d, const double *upto, double sum)
{
    int k = 0;

    d->random ^= d->random << 13;
    d->random ^= d->random >> 7;
    d->random ^= d->random << 17;
    double at = (double)(d->random >> 11) / (double)(UINT64_C(1) << 53) * sum;
    while (k < KEYS_MAX - 1 && upto[k] <= at)
        k++;
    return k;
}

enum { TURNS_A_MS = 5, SHORT_REQUEST_MS = 4 };

/* Keys by Zipf's law, their clients and their owner have limits too. Turns are short: little leaves together by chance. */
static void run_zipf(desk *d, int per_turn, int64_t for_ms)
{
    double upto[KEYS_MAX], sum = zipf_weights(upto);

    for (int64_t until = d->now + for_ms; d->now < until; d->now++)
        for (int turn = 0; turn < TURNS_A_MS; turn++) {
            settle_old(d, SHORT_REQUEST_MS);
            (void)grant_book_advance(d->book, d->now);
            answer_all(d);
            for (int i = 0; i < per_turn; i++) {
                int key = draw_key(d, upto, sum);
                const ledger_account a[] = {
                    account_of(LEDGER_OF_KEY, key),
                    account_of(LEDGER_OF_CLIENT, KEYS_MAX + key % CLIENTS),
                    account_of(LEDGER_OF_OWNER, OWNER),
                };
                take(d, a, GW_ARRAY_LEN(a));
            }
        }
}

static void keys_clients_and_an_owner_become_hot_with_few_commands(void **state)
{
    desk *d = *state;

    static const double most[] = {0.1, 0.02, 0.01, 0.001, 0.001}; /* commands a request */

    for (size_t second = 0; second < GW_ARRAY_LEN(most); second++) {
        int64_t requests = d->requests, commands = d->commands, statements = d->statements;
        run_zipf(d, 2, 1000);
        double each = (double)(d->commands - commands) / (double)(d->requests - requests);
        print_message("second %zu: %.4f commands, %.4f statements a request\n", second + 1, each,
                      (double)(d->statements - statements) / (double)(d->requests - requests));
        assert_true(each <= most[second]);
    }
    assert_true((double)d->commands / (double)d->requests <= 0.03);
    assert_int_equal(d->refused, 0);
}

/* One on its path, and a share of the sweeps that take its spend and its goodbye along; one more when its ledger is first built. */
static void a_cold_key_costs_one_command_and_a_share_of_the_sweeps(void **state)
{
    desk *d = *state;

    run(d, KEYS_MAX, 10000, 10000);
    run(d, 0, 10000, 3000);
    assert_true(d->commands <= 22 * d->requests / 10);
    int64_t requests = d->requests, commands = d->commands;
    run(d, KEYS_MAX, 10000, 20000);
    run(d, 0, 10000, 3000);
    double each = (double)(d->commands - commands) / (double)(d->requests - requests);
    print_message("cold: %.4f commands a request\n", each);
    assert_true(each <= 1.1);
    assert_int_equal(d->refused, 0);
    assert_true(grant_book_is_idle(d->book));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_hundred_hot_keys_cost_hardly_a_command_a_request, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(keys_clients_and_an_owner_become_hot_with_few_commands,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_cold_key_costs_one_command_and_a_share_of_the_sweeps,
                                        set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
