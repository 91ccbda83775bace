/* The contract of the ledgers' store: the script on a real Redis beside the plain model, the same statements to both. */
#define _GNU_SOURCE /* memfd_create, pipe2 */
#include "ledger_store_memory.h"
#include "ledger_store_redis.h"

#include "redis/test_server.h"

static const ledger_timers timers = {.lease_ms = 3000, .quarantine_ms = 7000, .lapse_ms = 20000};

/* Time and process are what the test says. */
static const char test_clock[] =
    "local function clock()\n"
    "  return tonumber(redis.call('GET', 'test:now')), redis.call('GET', 'test:run')\n"
    "end\n";

/* Of one shard, as the model is. */
static const char *const subjects[] = {"k:0", "k:105"};

typedef struct contract {
    world *w;
    ledger_store *store;
    ledger_memory *model;
    int64_t now_ms, run, loads[2];
    uint64_t random;
    bool answered;
    gw_status rc;
    ledger_reply reply;
    ledger_loaded how;
    ledger_standing standing;
    ledger_silent silent[LEDGER_RECORDS_MAX], was;
    size_t silent_count;
    ledger_forgiven forgiven;
    int64_t born[LEDGER_SHARDS], told_ms;
} contract;

static uint64_t draw(contract *c)
{
    c->random ^= c->random << 13;
    c->random ^= c->random >> 7;
    c->random ^= c->random << 17;
    return c->random;
}

static int64_t between(contract *c, int64_t from, int64_t to)
{
    return from + (int64_t)(draw(c) % (uint64_t)(to - from + 1));
}

static bool is_answered_now(void *arg)
{
    return ((const contract *)arg)->answered;
}

static void on_stated(void *arg, gw_status rc, const ledger_reply *reply)
{
    contract *c = arg;

    c->answered = true;
    c->rc = rc;
    if (reply)
        c->reply = *reply;
}

static void on_loaded(void *arg, gw_status rc, ledger_loaded how)
{
    contract *c = arg;

    c->answered = true;
    c->rc = rc;
    c->how = how;
}

static void on_looked(void *arg, gw_status rc, const ledger_standing *s)
{
    contract *c = arg;

    c->answered = true;
    c->rc = rc;
    if (s)
        c->standing = *s;
}

static void on_silent(void *arg, gw_status rc, const ledger_silent *found, size_t count)
{
    contract *c = arg;

    c->answered = true;
    c->rc = rc;
    c->silent_count = count;
    if (count > 0)
        memcpy(c->silent, found, count * sizeof(*found));
}

static void on_forgiven(void *arg, gw_status rc, ledger_forgiven how, const ledger_silent *was)
{
    contract *c = arg;

    c->answered = true;
    c->rc = rc;
    c->forgiven = how;
    c->was = *was;
}

static void on_born(void *arg, gw_status rc, const int64_t *born, int64_t now_ms)
{
    contract *c = arg;

    c->answered = true;
    c->rc = rc;
    if (born)
        memcpy(c->born, born, sizeof(c->born));
    c->told_ms = now_ms;
}

static void await(contract *c)
{
    assert_true(wait_until(c->w, is_answered_now, c));
    assert_int_equal(c->rc, GW_OK);
    c->answered = false;
}

static void set(contract *c, const char *key, int64_t value)
{
    char text[24];
    answer a;

    (void)snprintf(text, sizeof(text), "%lld", (long long)value);
    call_and_wait(c->w, c->w->redis, &a, GW_STR("SET"), gw_str_of(key), gw_str_of(text));
    assert_int_equal(a.rc, GW_OK);
}

static void set_clock(contract *c)
{
    set(c, "test:now", c->now_ms);
    set(c, "test:run", c->run);
    ledger_memory_set_now(c->model, c->now_ms);
    ledger_memory_set_run(c->model, c->run);
}

static void start_contract(world *w, contract *c)
{
    gw_auto_buf url = {0};
    gw_redis_options o = options_of(w, &url);

    *c = (contract){.w = w, .random = 88172645463325252U, .run = 1};
    c->now_ms =
        INT64_C(20452) * LEDGER_DAY_MS + LEDGER_DAY_MS - 200000; /* the last days of a month */
    assert_int_equal(gw_redis_new(w->loop, w->log, &o, &w->redis, NULL), GW_OK);
    assert_int_equal(ledger_store_redis_new(w->redis, &timers, test_clock, &c->store, NULL), GW_OK);
    c->model = ledger_memory_new(&timers);
    set_clock(c);
}

static void end_contract(world *w, contract *c)
{
    gw_redis_free(w->redis);
    w->redis = NULL;
    ledger_store_free(c->store);
    ledger_memory_free(c->model);
}

#define SAME(field) assert_int_equal(c->reply.field, expected.field)

static void state_to_both(contract *c, const ledger_statement *st)
{
    ledger_reply expected;

    ledger_memory_state(c->model, st, &expected);
    c->store->ops->state(c->store, st, on_stated, c);
    c->store->ops->flush(c->store);
    await(c);
    SAME(state);
    SAME(seq);
    SAME(load);
    SAME(born);
    SAME(day);
    SAME(ready);
    SAME(fresh);
    SAME(midnight_ms);
    SAME(now_ms);
    SAME(wait_ms);
    SAME(bucket_lent);
    SAME(bucket_left);
    SAME(slots_lent);
    SAME(slots_left);
    SAME(records);
    SAME(dimension);
    SAME(others);
    SAME(silent);
    for (int d = 0; d < LEDGER_WINDOWS; d++) {
        SAME(lent.of[d]);
        SAME(left.of[d]);
    }
    assert_string_equal(c->reply.subject, st->subject);
    assert_string_equal(c->reply.holder, st->holder);
}

static void draw_amounts(contract *c, int64_t most, ledger_amounts *ret)
{
    for (int d = 0; d < LEDGER_WINDOWS; d++)
        ret->of[d] = between(c, 0, 3) == 0 ? 0 : between(c, 0, most);
}

static void draw_statement(contract *c, int64_t seq[2][3], ledger_statement *st)
{
    int ledger = (int)between(c, 0, 1), holder = (int)between(c, 0, 2);
    int64_t kind = between(c, 0, 20);

    *st = (ledger_statement){.first = between(c, 0, 2) == 0,
                             .bye = kind == 0,
                             .final = kind == 1,
                             .ask = between(c, 0, 2) != 0};
    st->bye = st->bye || st->final;
    (void)snprintf(st->subject, sizeof(st->subject), "%s", subjects[ledger]);
    (void)snprintf(st->holder, sizeof(st->holder), "s.1.%d", holder);
    if (between(c, 0, 9) != 0)
        seq[ledger][holder]++;
    st->seq = seq[ledger][holder] - (between(c, 0, 9) == 0);
    st->load = between(c, 0, 6) == 0 ? between(c, 0, 5) : c->loads[ledger];
    if (st->first && between(c, 0, 1))
        st->load = 0;
    st->day = ledger_day_of(c->now_ms) + between(c, -1, 1) * (between(c, 0, 5) == 0);
    draw_amounts(c, 900, &st->spent);
    draw_amounts(c, 60, &st->need);
    if (!st->bye)
        draw_amounts(c, 100, &st->floor);
    for (int d = 0; d < LEDGER_WINDOWS; d++)
        st->want.of[d] = st->need.of[d] + between(c, 0, 300);
    if (between(c, 0, 9) == 0)
        draw_amounts(c, 50, &st->late);
    st->cuts = between(c, 0, 20);
    st->bucket_floor = st->bye ? 0 : between(c, 0, 4);
    st->bucket_need = between(c, 0, 2);
    st->bucket_want = st->bucket_need + between(c, 0, 5);
    st->slot_floor = st->bye ? 0 : between(c, 0, 3);
    st->slot_need = between(c, 0, 1);
    st->slot_want = st->slot_need + between(c, 0, 4);
    st->limits.generation = st->final ? -1 : between(c, 1, 1 + c->now_ms % 7);
    st->limits.per_minute = (st->limits.generation % 3) * 40;
    st->limits.in_flight = (st->limits.generation % 4) * 3;
    for (int d = 0; d < LEDGER_WINDOWS; d++)
        st->limits.window.of[d] =
            (st->limits.generation + d) % 3 ? 1500 * st->limits.generation : LEDGER_UNLIMITED;
}

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
        call_and_wait(c->w, c->w->redis, &a, GW_STR("SCRIPT"), GW_STR("FLUSH"));
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
        cmocka_unit_test_setup_teardown(script_and_model_agree_on_whatever_is_stated,
                                        set_up_world_with_server, tear_down_world),
        cmocka_unit_test_setup_teardown(the_births_of_all_shards_are_one_answer,
                                        set_up_world_with_server, tear_down_world),
        cmocka_unit_test_setup_teardown(a_ledger_keeps_at_most_64_records, set_up_world_with_server,
                                        tear_down_world),
        cmocka_unit_test_setup_teardown(a_shortage_tells_of_relays_that_are_silent,
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
