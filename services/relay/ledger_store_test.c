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
    }
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(script_and_model_agree_on_whatever_is_stated,
                                        set_up_world_with_server, tear_down_world),
        cmocka_unit_test_setup_teardown(the_births_of_all_shards_are_one_answer,
                                        set_up_world_with_server, tear_down_world),
        cmocka_unit_test_setup_teardown(a_ledger_keeps_at_most_64_records, set_up_world_with_server,
                                        tear_down_world),
        cmocka_unit_test_setup_teardown(redis_own_clock_and_run_id_are_used_without_a_test,
                                        set_up_world_with_server, tear_down_world),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
