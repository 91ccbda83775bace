#include "balance_book.h"

#include "relay_metrics.h"

#include "testing/cmocka.h"
#include "testing/exhaust.h"
#include "testing/fake_clock.h"

#define USERS 6

/* A store that answers when the test says so. */
typedef struct fake_store {
    balance_store base;
    balance_query *asked[8];
    size_t count;
} fake_store;

typedef struct asker {
    shared_wait wait;
    balance_book *book;
    uint8_t user[BALANCE_USER_BYTES];
    balance_answer answer; /* BALANCE_WAITS until it was told */
    unsigned told;
} asker;

typedef struct fixture {
    gw_fake_clock time;
    gw_clock clock;
    gw_loop *loop;
    fake_store store;
    gw_metrics *metrics;
    balance_book *book;
    asker askers[USERS];
} fixture;

static void fake_find(balance_store *s, balance_query *q)
{
    fake_store *f = GW_CONTAINER_OF(s, fake_store, base);
    assert_true(f->count < GW_ARRAY_LEN(f->asked));
    f->asked[f->count++] = q;
}

static void answer(fixture *f, gw_status rc, balance_state state)
{
    gw_error err = {.code = rc};
    balance_query *q = f->store.asked[0];
    assert_true(f->store.count > 0);
    memmove(f->store.asked, f->store.asked + 1, --f->store.count * sizeof(q));
    q->state = state;
    q->done(q, rc, &err);
}

static balance_answer look(asker *a)
{
    a->answer = balance_book_check(a->book, a->user, &a->wait);
    return a->answer;
}

/* Who was told asks again. */
static void on_told(void *arg)
{
    asker *a = arg;
    a->told++;
    (void)look(a);
}

/* Of the user of that number, by the asker of the same, or of another. */
static balance_answer ask_of(fixture *f, unsigned asker_number, uint8_t user_number)
{
    asker *a = &f->askers[asker_number];
    *a =
        (asker){.wait = {.done = on_told, .arg = a}, .book = f->book, .user = {[11] = user_number}};
    return look(a);
}

static balance_answer ask(fixture *f, unsigned number)
{
    return ask_of(f, number, (uint8_t)number);
}

static void pass(fixture *f, int64_t ms)
{
    gw_fake_clock_advance_ms(&f->time, ms);
    uv_run(gw_loop_uv(f->loop), UV_RUN_NOWAIT);
}

static bool counts(fixture *f, const char *sample)
{
    gw_auto_buf out = {0};
    gw_metrics_render(f->metrics, &out);
    return gw_str_contains(gw_buf_str(&out), gw_str_of(sample));
}

static int setup(void **state)
{
    static const balance_store_ops ops = {fake_find};
    static fixture fixed;
    fixture *f = &fixed;
    *f = (fixture){.store.base.ops = &ops};
    f->clock = gw_fake_clock_init(&f->time, 1764000000000);
    f->metrics = gw_metrics_new(relay_metric_table, RELAY_METRIC_COUNT);
    if (gw_loop_new(&f->clock, &f->loop, NULL) != GW_OK)
        return -1;
    const balance_book_options o = {.store = &f->store.base,
                                    .metrics = gw_metrics_shard_new(f->metrics)};
    f->book = balance_book_new(f->loop, &o);
    *state = f;
    return f->book ? 0 : -1;
}

static int teardown(void **state)
{
    fixture *f = *state;
    balance_book_free(f->book);
    gw_metrics_free(f->metrics);
    gw_loop_free(f->loop);
    return 0;
}

static void a_read_is_shared_and_remembered(void **state)
{
    fixture *f = *state;
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(ask_of(f, i, 7), BALANCE_WAITS);
    assert_int_equal(f->store.count, 1);
    assert_int_equal(f->store.asked[0]->user[11], 7);
    answer(f, GW_OK, BALANCE_ENOUGH);
    for (unsigned i = 0; i < 3; i++)
        assert_true(f->askers[i].told == 1 && f->askers[i].answer == BALANCE_IS_ENOUGH);
    pass(f, BALANCE_KEPT_MS - 1);
    assert_int_equal(ask_of(f, 0, 7), BALANCE_IS_ENOUGH);
    pass(f, 1);
    assert_int_equal(ask_of(f, 0, 7), BALANCE_WAITS);
    answer(f, GW_OK, BALANCE_ENOUGH);
    assert_true(counts(f, "relay_balance_checks_total{answer=\"enough\"} 5"));
}

static void what_is_not_enough_is_looked_at_again_sooner(void **state)
{
    static const struct {
        balance_state state;
        balance_answer answer;
    } cases[] = {{BALANCE_EMPTY, BALANCE_IS_EMPTY}, {BALANCE_MISSING, BALANCE_IS_MISSING}};
    fixture *f = *state;
    for (unsigned i = 0; i < GW_ARRAY_LEN(cases); i++) {
        assert_int_equal(ask(f, i), BALANCE_WAITS);
        answer(f, GW_OK, cases[i].state);
        assert_int_equal(f->askers[i].answer, cases[i].answer);
        pass(f, BALANCE_RETRY_MS - 1);
        assert_int_equal(ask(f, i), cases[i].answer);
        pass(f, 1);
        assert_int_equal(ask(f, i), BALANCE_WAITS);
        answer(f, GW_OK, BALANCE_ENOUGH);
        assert_int_equal(f->askers[i].answer, BALANCE_IS_ENOUGH);
    }
}

static void few_reads_are_under_way_and_the_others_follow_in_order(void **state)
{
    fixture *f = *state;
    for (unsigned i = 0; i < USERS; i++)
        assert_int_equal(ask(f, i), BALANCE_WAITS);
    assert_int_equal(f->store.count, BALANCE_READS_MAX);
    shared_wait_forget(&f->askers[2].wait); /* nobody wants to know of the third any more */
    for (unsigned i = 0; i < USERS; i++) {
        if (i == 2)
            continue;
        assert_int_equal(f->store.asked[0]->user[11], i);
        answer(f, GW_OK, BALANCE_ENOUGH);
        assert_true(f->store.count <= BALANCE_READS_MAX);
        assert_int_equal(f->askers[i].told, 1);
    }
    assert_int_equal(f->store.count, 0);
    assert_int_equal(f->askers[2].told, 0);
    assert_int_equal(ask(f, 2), BALANCE_WAITS);
    answer(f, GW_OK, BALANCE_EMPTY);
    assert_int_equal(f->askers[2].answer, BALANCE_IS_EMPTY);
}

static void a_store_that_fails_is_tried_once_a_second(void **state)
{
    fixture *f = *state;
    assert_int_equal(ask(f, 0), BALANCE_WAITS);
    answer(f, GW_ERR_UNAVAILABLE, BALANCE_ENOUGH);
    assert_int_equal(f->askers[0].answer, BALANCE_IS_UNKNOWN);
    assert_int_equal(ask(f, 0), BALANCE_IS_UNKNOWN);
    assert_int_equal(ask(f, 1), BALANCE_IS_UNKNOWN);
    pass(f, BALANCE_RETRY_MS);
    assert_int_equal(ask(f, 1), BALANCE_WAITS); /* the try */
    assert_int_equal(ask(f, 2), BALANCE_IS_UNKNOWN);
    answer(f, GW_OK, BALANCE_ENOUGH);
    assert_int_equal(ask(f, 2), BALANCE_WAITS); /* it is well again */
    answer(f, GW_OK, BALANCE_ENOUGH);
    assert_true(counts(f, "relay_balance_checks_total{answer=\"unknown\"} 4"));
}

/* What was known is still told while the store is away, until it is too old. */
static void what_is_known_outlives_a_failure(void **state)
{
    fixture *f = *state;
    assert_int_equal(ask(f, 0), BALANCE_WAITS);
    answer(f, GW_OK, BALANCE_ENOUGH);
    assert_int_equal(ask(f, 1), BALANCE_WAITS);
    answer(f, GW_ERR_UNAVAILABLE, BALANCE_ENOUGH);
    assert_int_equal(ask(f, 0), BALANCE_IS_ENOUGH);
    pass(f, BALANCE_KEPT_MS);
    assert_int_equal(ask(f, 0), BALANCE_WAITS);
    answer(f, GW_ERR_UNAVAILABLE, BALANCE_ENOUGH);
    assert_int_equal(f->askers[0].answer, BALANCE_IS_UNKNOWN);
}

static void nobody_waits_longer_than_the_limit(void **state)
{
    fixture *f = *state;
    assert_int_equal(ask(f, 0), BALANCE_WAITS);
    pass(f, BALANCE_WAIT_MS - 1);
    assert_int_equal(f->askers[0].told, 0);
    pass(f, 1);
    assert_true(f->askers[0].told == 1 && f->askers[0].answer == BALANCE_IS_UNKNOWN);
    assert_int_equal(ask(f, 1), BALANCE_IS_UNKNOWN);
    pass(f, BALANCE_RETRY_MS);
    assert_int_equal(ask_of(f, 2, 0), BALANCE_WAITS); /* for the read that still runs */
    assert_int_equal(f->store.count, 1);
    answer(f, GW_OK, BALANCE_ENOUGH);
    assert_true(f->askers[0].told == 1 && f->askers[2].answer == BALANCE_IS_ENOUGH);
    assert_int_equal(ask(f, 0), BALANCE_IS_ENOUGH);
}

static void who_has_gone_is_not_told(void **state)
{
    fixture *f = *state;
    assert_int_equal(ask_of(f, 0, 1), BALANCE_WAITS);
    assert_int_equal(ask_of(f, 1, 1), BALANCE_WAITS);
    shared_wait_forget(&f->askers[0].wait);
    answer(f, GW_OK, BALANCE_ENOUGH);
    assert_int_equal(f->askers[0].told, 0);
    assert_int_equal(f->askers[1].told, 1);
    assert_int_equal(ask_of(f, 0, 2), BALANCE_WAITS);
    shared_wait_forget(&f->askers[0].wait);
    pass(f, BALANCE_WAIT_MS); /* nobody waits: this is no failure */
    assert_int_equal(ask_of(f, 1, 3), BALANCE_WAITS);
    answer(f, GW_OK, BALANCE_ENOUGH);
    answer(f, GW_OK, BALANCE_ENOUGH);
}

/* The one who was asked for longest ago makes room, not the one just asked for. */
static void users_are_bounded(void **state)
{
    fixture *f = *state;
    asker *a = &f->askers[0];
    *a = (asker){.wait = {.done = on_told, .arg = a}, .book = f->book};
    for (unsigned i = 0; i <= BALANCE_USERS_MAX; i++) {
        memset(a->user, 0, sizeof(a->user));
        if (i == BALANCE_USERS_MAX)
            assert_int_equal(look(a), BALANCE_IS_ENOUGH);
        a->user[0] = (uint8_t)i;
        a->user[1] = (uint8_t)(i >> 8);
        assert_int_equal(look(a), BALANCE_WAITS);
        answer(f, GW_OK, BALANCE_ENOUGH);
    }
    memset(a->user, 0, sizeof(a->user)); /* the first */
    assert_int_equal(look(a), BALANCE_IS_ENOUGH);
    a->user[0] = 1; /* the second */
    assert_int_equal(look(a), BALANCE_WAITS);
    answer(f, GW_OK, BALANCE_ENOUGH);
}

/* Without memory nothing is known, and nobody waits for ever. */
static gw_status look_once(void *arg)
{
    fixture *f = arg;
    const balance_book_options o = {.store = &f->store.base};
    asker *a = &f->askers[0];
    gw_auto(balance_book) book = balance_book_new(f->loop, &o);
    if (!book)
        return GW_ERR_NO_MEMORY;
    *a = (asker){.wait = {.done = on_told, .arg = a}, .book = book, .user = {9}};
    if (look(a) == BALANCE_IS_UNKNOWN)
        return GW_ERR_NO_MEMORY;
    answer(f, GW_OK, BALANCE_ENOUGH);
    return a->told == 1 ? GW_OK : GW_ERR_INTERNAL;
}

static void without_memory_it_is_not_known(void **state)
{
    fixture *f = *state;
    gw_timer first;
    gw_timer_init(&first, NULL, NULL);
    gw_timer_set(f->loop, &first, 1000); /* the loop's own memory */
    gw_timer_cancel(f->loop, &first);
    gw_exhaust(look_once, f);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_read_is_shared_and_remembered),
        TEST(what_is_not_enough_is_looked_at_again_sooner),
        TEST(few_reads_are_under_way_and_the_others_follow_in_order),
        TEST(a_store_that_fails_is_tried_once_a_second),
        TEST(what_is_known_outlives_a_failure),
        TEST(nobody_waits_longer_than_the_limit),
        TEST(who_has_gone_is_not_told),
        TEST(users_are_bounded),
        TEST(without_memory_it_is_not_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
