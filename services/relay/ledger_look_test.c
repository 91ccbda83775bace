#include "ledger_look.h"
#include "ledger_usage.h"

#include "testing/cmocka.h"

#include <string.h>

/* ---- a store and a usage that answer when the test says so ---- */

static struct {
    ledger_looked_fn looked;
    void *look_arg;
    bool has_no_memory;
    ledger_used_fn used;
    void *used_arg;
    ledger_question question;
    size_t looks, questions, told;
    gw_status rc;
    ledger_seen seen;
} world;

static bool look(ledger_store *s, const char *subject, ledger_looked_fn done, void *arg)
{
    (void)s;
    (void)subject;
    if (world.has_no_memory)
        return false;
    world.looks++;
    world.looked = done;
    world.look_arg = arg;
    return true;
}

bool ledger_usage_ask(gw_rpc_channel *usage, gw_str service_token, const ledger_question *q,
                      ledger_used_fn done, void *arg)
{
    (void)usage;
    (void)service_token;
    world.questions++;
    world.question = *q;
    world.used = done;
    world.used_arg = arg;
    return true;
}

static void on_seen(void *arg, gw_status rc, const ledger_seen *seen, size_t count)
{
    (void)arg;
    world.told++;
    world.rc = rc;
    assert_int_equal(count, 1);
    if (seen)
        world.seen = *seen;
}

static ledger_look *begin_beside(ledger_unstated unstated)
{
    static const ledger_store_ops ops = {.look = look};
    static ledger_store store = {.ops = &ops};
    ledger_account account = {.subject = "k:1", .limits = {.per_minute = 60}};
    const ledger_look_options o = {.store = &store,
                                   .accounts = &account,
                                   .count = 1,
                                   .unstated = {unstated},
                                   .now_ms = 5 * LEDGER_DAY_MS,
                                   .done = on_seen};

    for (int d = 0; d < LEDGER_WINDOWS; d++)
        account.limits.window.of[d] = 1000;
    return ledger_look_begin(&o);
}

static ledger_look *begin(void)
{
    return begin_beside((ledger_unstated){0});
}

static int set_up(void **state)
{
    (void)state;
    memset(&world, 0, sizeof(world));
    return 0;
}

static void a_ledger_that_is_built_up_says_it_all(void **state)
{
    const ledger_standing s = {.found = true,
                               .ready = true,
                               .load = 9,
                               .now_ms = 6 * LEDGER_DAY_MS,
                               .taken = {{5, 500, 500, 50}},
                               .lent = {{2, 100, 100, 10}},
                               .bucket_left = 40500000,
                               .bucket_lent = 3,
                               .slots_lent = 4};

    (void)state;
    assert_non_null(begin());
    world.looked(world.look_arg, GW_OK, &s);
    assert_int_equal(world.told, 1);
    assert_int_equal(world.rc, GW_OK);
    assert_int_equal(world.questions, 0);
    assert_int_equal(world.seen.used.of[LEDGER_TOKENS_DAY], 400);
    assert_int_equal(world.seen.held.of[LEDGER_TOKENS_DAY], 100);
    assert_int_equal(world.seen.bucket_left, 40);
    assert_int_equal(world.seen.bucket_held, 3);
    assert_int_equal(world.seen.slots_held, 4);
    assert_int_equal(world.seen.now_ms, 6 * LEDGER_DAY_MS);
}

/* By the windows that are the same ones still, of the same build-up. */
static void what_this_relay_has_not_stated_yet_is_used_and_not_held(void **state)
{
    const ledger_standing s = {.found = true,
                               .ready = true,
                               .load = 9,
                               .now_ms = 6 * LEDGER_DAY_MS,
                               .taken = {{5, 500, 500, 50}},
                               .lent = {{2, 100, 100, 10}},
                               .bucket_left = 40500000,
                               .bucket_lent = 3};
    static const struct {
        ledger_unstated own;
        int64_t day, month, bucket;
    } cases[] = {
        {{.load = 9, .day = 6, .spent = {{1, 30, 30, 4}}, .cuts = 1}, 30, 30, 1},
        {{.load = 9, .day = 5, .spent = {{1, 30, 30, 4}}, .cuts = 1}, 0, 30, 1},
        {{.load = 8, .day = 6, .spent = {{1, 30, 30, 4}}, .cuts = 1}, 0, 0, 0},
        {{.load = 0, .day = 6, .spent = {{1, 30, 30, 4}}, .cuts = 1}, 0, 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        assert_non_null(begin_beside(cases[i].own));
        world.looked(world.look_arg, GW_OK, &s);
        assert_int_equal(world.seen.used.of[LEDGER_TOKENS_DAY], 400 + cases[i].day);
        assert_int_equal(world.seen.held.of[LEDGER_TOKENS_DAY], 100 - cases[i].day);
        assert_int_equal(world.seen.used.of[LEDGER_TOKENS_MONTH], 400 + cases[i].month);
        assert_int_equal(world.seen.bucket_held, 3 - cases[i].bucket);
        assert_int_equal(world.seen.bucket_left, 40);
    }
}

static void of_one_that_nobody_used_usage_is_asked(void **state)
{
    const ledger_standing none = {.now_ms = 6 * LEDGER_DAY_MS};

    (void)state;
    assert_non_null(begin());
    world.looked(world.look_arg, GW_OK, &none);
    assert_int_equal(world.told, 0);
    assert_int_equal(world.question.day, 6);
    assert_true(world.question.fresh);
    world.used(world.used_arg, GW_OK, &(ledger_amounts){{7, 70, 700, 7}}, NULL);
    assert_int_equal(world.told, 1);
    assert_int_equal(world.seen.used.of[LEDGER_REQUESTS_DAY], 7);
    assert_int_equal(world.seen.held.of[LEDGER_REQUESTS_DAY], 0);
    assert_int_equal(world.seen.bucket_left, 60);
}

/* What positions have stated since is in the store, what was before is usage's. */
static void of_one_that_is_being_built_up_both_are_added(void **state)
{
    const ledger_standing s = {.found = true,
                               .load = 9,
                               .now_ms = 6 * LEDGER_DAY_MS,
                               .taken = {{3, 300, 300, 30}},
                               .lent = {{1, 100, 100, 10}}};

    (void)state;
    assert_non_null(begin());
    world.looked(world.look_arg, GW_OK, &s);
    assert_int_equal(world.question.load, 9);
    world.used(world.used_arg, GW_OK, &(ledger_amounts){{7, 70, 700, 7}}, NULL);
    assert_int_equal(world.seen.used.of[LEDGER_REQUESTS_DAY], 9);
    assert_int_equal(world.seen.held.of[LEDGER_REQUESTS_DAY], 1);
}

static void without_the_store_usage_is_asked_and_without_both_it_fails(void **state)
{
    (void)state;
    assert_non_null(begin());
    world.looked(world.look_arg, GW_ERR_UNAVAILABLE, NULL);
    assert_int_equal(world.question.day, 5);
    world.used(world.used_arg, GW_ERR_UNAVAILABLE, NULL, NULL);
    assert_int_equal(world.told, 1);
    assert_int_equal(world.rc, GW_ERR_UNAVAILABLE);
}

static void who_has_cancelled_is_not_told(void **state)
{
    (void)state;
    ledger_look *l = begin();
    assert_non_null(l);
    ledger_look_cancel(l);
    world.looked(world.look_arg, GW_ERR_UNAVAILABLE, NULL);
    assert_int_equal(world.questions, 0);
    assert_int_equal(world.told, 0);
}

static void without_memory_nothing_is_begun(void **state)
{
    (void)state;
    world.has_no_memory = true;
    assert_null(begin());
    assert_int_equal(world.told, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, set_up)
    const struct CMUnitTest tests[] = {
        TEST(a_ledger_that_is_built_up_says_it_all),
        TEST(what_this_relay_has_not_stated_yet_is_used_and_not_held),
        TEST(of_one_that_nobody_used_usage_is_asked),
        TEST(of_one_that_is_being_built_up_both_are_added),
        TEST(without_the_store_usage_is_asked_and_without_both_it_fails),
        TEST(who_has_cancelled_is_not_told),
        TEST(without_memory_nothing_is_begun),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
