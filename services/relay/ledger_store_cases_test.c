/* What the store of the ledgers does case by case, on a real Redis. */
#define _GNU_SOURCE /* memfd_create, pipe2 */
#include "ledger_store_test_kit.h"

static void the_births_of_all_shards_are_one_answer(void **state)
{
    world *w = *state;
    contract c;

    start_contract(w, &c);
    for (int i = 0; i < 2; i++) {
        c.store->ops->born(c.store, on_born, &c);
        await(&c);
        for (int k = 0; k < LEDGER_SHARDS; k++)
            assert_int_equal(c.born[k], ledger_memory_born(c.model));
        assert_int_equal(c.told_ms, c.now_ms);
        c.now_ms += 5000;
        c.run += i == 0 ? 0 : 1;
        set_clock(&c);
    }
    end_contract(w, &c);
}

static void a_ledger_keeps_at_most_64_records(void **state)
{
    world *w = *state;
    contract c;

    start_contract(w, &c);
    for (int i = 0; i < 80; i++) {
        ledger_statement st = {.seq = 1,
                               .first = true,
                               .subject = "k:0",
                               .day = ledger_day_of(c.now_ms),
                               .floor = {{1, 1, 1, 1}},
                               .bucket_floor = 1,
                               .slot_floor = 1};
        (void)snprintf(st.holder, sizeof(st.holder), "s.%d.0", i);
        state_to_both(&c, &st);
        c.now_ms += 10;
        set_clock(&c);
    }
    assert_int_equal(c.reply.records, LEDGER_RECORDS_MAX);
    end_contract(w, &c);
}

static ledger_statement first_of(const contract *c, const char *holder, int64_t need)
{
    ledger_statement st = {
        .seq = 1,
        .first = true,
        .ask = true,
        .day = ledger_day_of(c->now_ms),
        .need = {{need}},
        .want = {{need}},
        .limits = {.generation = 1,
                   .window = {{10, LEDGER_UNLIMITED, LEDGER_UNLIMITED, LEDGER_UNLIMITED}}}};

    (void)snprintf(st.subject, sizeof(st.subject), "%s", subjects[0]);
    (void)snprintf(st.holder, sizeof(st.holder), "%s", holder);
    return st;
}

static void a_shortage_tells_of_relays_that_are_silent(void **state)
{
    world *w = *state;
    contract c;
    const ledger_amounts nothing = {0};

    start_contract(w, &c);
    c.store->ops->born(c.store, on_born, &c);
    await(&c);
    (void)ledger_memory_born(c.model);
    c.now_ms += timers.quarantine_ms;
    set_clock(&c);
    ledger_statement lost = first_of(&c, "s.1.0", 10), other = first_of(&c, "s.1.1", 1);
    state_to_both(&c, &lost);
    assert_int_equal(c.reply.state, LEDGER_LOAD);
    (void)ledger_memory_load(c.model, lost.subject, c.reply.load, lost.day, &nothing);
    c.store->ops->load(c.store, lost.subject, c.reply.load, lost.day, &nothing, on_loaded, &c);
    await(&c);
    lost.seq++;
    lost.load = other.load = c.reply.load;
    state_to_both(&c, &lost);
    assert_int_equal(c.reply.lent.of[LEDGER_REQUESTS_DAY], 10);
    for (int i = 0; i < 2; i++) {
        state_to_both(&c, &other);
        assert_int_equal(c.reply.state, LEDGER_SHORT);
        assert_int_equal(c.reply.others, 10);
        assert_int_equal(c.reply.silent, i);
        c.now_ms += timers.lapse_ms + 1;
        set_clock(&c);
        other.seq++;
    }
    end_contract(w, &c);
}

/* What one holds in a window without a limit is no shortage for others. */
static void a_window_without_a_limit_is_never_short(void **state)
{
    world *w = *state;
    contract c;

    start_contract(w, &c);
    c.store->ops->born(c.store, on_born, &c);
    await(&c);
    (void)ledger_memory_born(c.model);
    c.now_ms += timers.quarantine_ms;
    set_clock(&c);
    ledger_statement greedy = first_of(&c, "s.1.0", 1), other = first_of(&c, "s.1.1", 1);
    greedy.limits.window.of[LEDGER_REQUESTS_DAY] = LEDGER_UNLIMITED;
    other.limits = greedy.limits;
    greedy.need.of[LEDGER_TOKENS_DAY] = greedy.want.of[LEDGER_TOKENS_DAY] = LEDGER_UNLIMITED;
    other.need.of[LEDGER_TOKENS_DAY] = other.want.of[LEDGER_TOKENS_DAY] = 1000;
    state_to_both(&c, &greedy);
    assert_int_equal(c.reply.state, LEDGER_OK);
    state_to_both(&c, &other);
    assert_int_equal(c.reply.state, LEDGER_OK);
    end_contract(w, &c);
}

typedef struct many {
    contract *c;
    ledger_reply expected[100];
    size_t count, answered;
} many;

static void on_one_of_many(void *arg, gw_status rc, const ledger_reply *reply)
{
    many *m = arg;
    const ledger_reply *e = &m->expected[m->answered++];

    assert_int_equal(rc, GW_OK);
    assert_string_equal(reply->subject, e->subject);
    assert_string_equal(reply->holder, e->holder);
    assert_int_equal(reply->seq, e->seq);
    assert_int_equal(reply->state, e->state);
    assert_memory_equal(&reply->lent, &e->lent, sizeof(e->lent));
    assert_memory_equal(&reply->left, &e->left, sizeof(e->left));
    m->c->answered = m->answered == m->count;
    m->c->rc = rc;
}

/* More than a command takes, and two of one position: as if one after the other. */
static void statements_that_leave_together_are_done_in_their_order(void **state)
{
    world *w = *state;
    contract c;
    int64_t seq[2][3] = {{0}};

    start_contract(w, &c);
    for (int round = 0; round < 30; round++) {
        many m = {.c = &c, .count = round == 0 ? 1 : (size_t)between(&c, 2, 100)};
        int64_t commands = c.store->state_commands;
        for (size_t i = 0; i < m.count; i++) {
            ledger_statement st;
            draw_statement(&c, seq, &st);
            ledger_memory_state(c.model, &st, &m.expected[i]);
            c.store->ops->state(c.store, &st, on_one_of_many, &m);
        }
        c.store->ops->flush(c.store);
        await(&c);
        assert_int_equal(c.store->state_commands - commands, (m.count + 31) / 32);
        c.now_ms += 4000;
        set_clock(&c);
    }
    end_contract(w, &c);
}

static void redis_own_clock_and_run_id_are_used_without_a_test(void **state)
{
    world *w = *state;
    contract c;
    ledger_store *store;

    start_contract(w, &c);
    assert_int_equal(ledger_store_redis_new(w->redis, &timers, NULL, &store, NULL), GW_OK);
    store->ops->born(store, on_born, &c);
    await(&c);
    assert_in_range(c.born[0], INT64_C(1600000000000), INT64_C(9000000000000));
    int64_t first = c.born[0];
    store->ops->born(store, on_born, &c);
    await(&c);
    assert_int_equal(c.born[0], first);
    gw_redis_free(w->redis);
    w->redis = NULL;
    ledger_store_free(store);
    ledger_store_free(c.store);
    ledger_memory_free(c.model);
}

/* What stands before the script answers in its place. */
static void an_answer_that_is_none_is_an_error(void **state)
{
    static const char *const cases[] = {
        "'OK'",
        "{}",
        "{ 'OK' }",
        "{ 1 }",
        "{ string.rep('x', 25 * 8 - 1) }",
        "{ struct.pack('<d', 8) .. string.rep('\\0', 24 * 8) }", /* no such state */
        "{ struct.pack('<d', -1) .. string.rep('\\0', 24 * 8) }",
        "{ string.rep('\\0', 22 * 8) .. struct.pack('<d', 9) .. string.rep('\\0', 2 * "
        "8) }", /* dimension */
        "{ string.rep('\\0', 8) .. struct.pack('<d', 1e300) .. string.rep('\\0', 23 * "
        "8) }",
        "{ string.rep('\\0', 8) .. struct.pack('<d', 0/0) .. string.rep('\\0', 23 * 8) "
        "}",
        "{ string.rep('\\0', 25 * 8), string.rep('\\0', 25 * 8) }", /* one was asked */
    };
    world *w = *state;
    contract c;

    start_contract(w, &c);
    ledger_store_free(c.store);
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        char text[200];
        const ledger_statement st = first_of(&c, "s.1.0", 1);
        (void)snprintf(text, sizeof(text), "do return %s end\n", cases[i]);
        assert_int_equal(ledger_store_redis_new(w->redis, &timers, text, &c.store, NULL), GW_OK);
        c.store->ops->state(c.store, &st, on_stated, &c);
        c.store->ops->flush(c.store);
        assert_true(wait_until(w, is_answered_now, &c));
        if (c.rc != GW_ERR_INTERNAL)
            fail_msg("%s is an answer", cases[i]);
        c.answered = false;
        ledger_store_free(c.store);
    }
    c.store = NULL;
    end_contract(w, &c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_births_of_all_shards_are_one_answer,
                                        set_up_world_with_server, tear_down_world),
        cmocka_unit_test_setup_teardown(a_ledger_keeps_at_most_64_records, set_up_world_with_server,
                                        tear_down_world),
        cmocka_unit_test_setup_teardown(a_shortage_tells_of_relays_that_are_silent,
                                        set_up_world_with_server, tear_down_world),
        cmocka_unit_test_setup_teardown(a_window_without_a_limit_is_never_short,
                                        set_up_world_with_server, tear_down_world),
        cmocka_unit_test_setup_teardown(statements_that_leave_together_are_done_in_their_order,
                                        set_up_world_with_server, tear_down_world),
        cmocka_unit_test_setup_teardown(an_answer_that_is_none_is_an_error,
                                        set_up_world_with_server, tear_down_world),
        cmocka_unit_test_setup_teardown(redis_own_clock_and_run_id_are_used_without_a_test,
                                        set_up_world_with_server, tear_down_world),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
