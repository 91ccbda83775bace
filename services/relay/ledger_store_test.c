/* Whatever is stated, the script on a real Redis and the plain model agree. */
#define _GNU_SOURCE /* memfd_create, pipe2 */
#include "ledger_store_test_kit.h"

static void load_both(contract *c, int ledger)
{
    const char *subject = subjects[ledger];
    ledger_amounts used;
    int64_t load = c->loads[ledger] + (between(c, 0, 4) == 0);
    int64_t day = ledger_day_of(c->now_ms) - (between(c, 0, 4) == 0);

    draw_amounts(c, 300, &used);
    ledger_loaded expected = ledger_memory_load(c->model, subject, load, day, &used);
    c->store->ops->load(c->store, subject, load, day, &used, on_loaded, c);
    await(c);
    assert_int_equal(c->how, expected);
}

static void look_at_both(contract *c, int ledger)
{
    ledger_standing expected;

    ledger_memory_look(c->model, subjects[ledger], &expected);
    assert_true(c->store->ops->look(c->store, subjects[ledger], on_looked, c));
    await(c);
    assert_int_equal(c->standing.found, expected.found);
    assert_int_equal(c->standing.ready, expected.ready);
    assert_int_equal(c->standing.load, expected.load);
    assert_int_equal(c->standing.now_ms, expected.now_ms);
    assert_int_equal(c->standing.bucket_left, expected.bucket_left);
    assert_int_equal(c->standing.bucket_lent, expected.bucket_lent);
    assert_int_equal(c->standing.slots_lent, expected.slots_lent);
    assert_memory_equal(&c->standing.taken, &expected.taken, sizeof(expected.taken));
    assert_memory_equal(&c->standing.lent, &expected.lent, sizeof(expected.lent));
}

static void same_silent(const ledger_silent *a, const ledger_silent *b)
{
    assert_string_equal(a->holder, b->holder);
    assert_int_equal(a->heard_ms, b->heard_ms);
    assert_int_equal(a->slots, b->slots);
    assert_memory_equal(&a->held, &b->held, sizeof(a->held));
}

/* Who is silent, and one of those forgiven, or one that is not. */
static void forgive_both(contract *c, int ledger, int seen[LEDGER_NOT_SILENT + 1])
{
    const char *subject = subjects[ledger];
    ledger_silent expected[LEDGER_RECORDS_MAX], was = {0};
    size_t count = ledger_memory_silent(c->model, subject, expected);
    char holder[LEDGER_HOLDER_SIZE];

    assert_true(c->store->ops->silent(c->store, subject, on_silent, c));
    await(c);
    assert_int_equal(c->silent_count, count);
    for (size_t i = 0; i < count; i++) { /* Redis has an order of its own */
        size_t at = 0;
        while (at < count && strcmp(c->silent[at].holder, expected[i].holder) != 0)
            at++;
        assert_true(at < count);
        same_silent(&c->silent[at], &expected[i]);
    }
    (void)snprintf(holder, sizeof(holder), "s.1.%d", (int)between(c, 0, 3));
    ledger_forgiven how = ledger_memory_forgive(c->model, subject, holder, &was);
    assert_true(c->store->ops->forgive(c->store, subject, holder, on_forgiven, c));
    await(c);
    assert_int_equal(c->forgiven, how);
    if (how == LEDGER_FORGIVEN)
        same_silent(&c->was, &was);
    seen[how]++;
}

static void disturb(contract *c)
{
    answer a;

    switch (between(c, 0, 5)) {
    case 0:
        c->run++; /* restarted with its data */
        break;
    case 1:
        call_and_wait(c->w, c->w->redis, &a, GW_STR("FLUSHALL"));
        ledger_memory_flush(c->model);
        break;
    case 2:
        call_and_wait(c->w, c->w->redis, &a, GW_STR("FUNCTION"), GW_STR("FLUSH"));
        break;
    case 3:
        c->now_ms += between(c, 0, LEDGER_DAY_MS);
        break;
    default:
        c->now_ms -= between(c, 0, 500); /* a clock that steps back */
        break;
    }
    set_clock(c);
}

static void script_and_model_agree_on_whatever_is_stated(void **state)
{
    world *w = *state;
    contract c;
    int64_t seq[2][3] = {{0}};
    ledger_state seen[LEDGER_SHORT + 1] = {0};
    int forgiven[LEDGER_NOT_SILENT + 1] = {0};

    start_contract(w, &c);
    for (int i = 0; i < 3000; i++) {
        ledger_statement st;
        draw_statement(&c, seq, &st);
        state_to_both(&c, &st);
        seen[c.reply.state]++;
        int ledger = strcmp(st.subject, subjects[1]) == 0;
        c.loads[ledger] = c.reply.load;
        if (c.reply.state == LEDGER_LOAD || between(&c, 0, 20) == 0)
            load_both(&c, ledger);
        c.now_ms += between(&c, 0, i % 50 ? 900 : 9000);
        set_clock(&c);
        if (between(&c, 0, 99) == 0)
            disturb(&c);
        if (between(&c, 0, 9) == 0)
            look_at_both(&c, ledger);
        if (between(&c, 0, 19) == 0)
            forgive_both(&c, ledger, forgiven);
    }
    for (size_t i = 0; i < GW_ARRAY_LEN(forgiven); i++)
        assert_true(forgiven[i] > 0);
    for (size_t i = 0; i <= LEDGER_SHORT; i++)
        assert_true(seen[i] > 0); /* each answer was among them */
    end_contract(w, &c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(script_and_model_agree_on_whatever_is_stated,
                                        set_up_world_with_server, tear_down_world),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
