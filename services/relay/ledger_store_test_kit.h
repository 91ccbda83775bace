/*
 * The contract of the ledgers' store, for its tests: the script on a real Redis beside the plain model, the same statements to both. Who
 * includes it asks for GNU's extensions first (memfd_create, pipe2).
 */
#pragma once

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

static inline uint64_t draw(contract *c)
{
    c->random ^= c->random << 13;
    c->random ^= c->random >> 7;
    c->random ^= c->random << 17;
    return c->random;
}

static inline int64_t between(contract *c, int64_t from, int64_t to)
{
    return from + (int64_t)(draw(c) % (uint64_t)(to - from + 1));
}

static inline bool is_answered_now(void *arg)
{
    return ((const contract *)arg)->answered;
}

static inline void on_stated(void *arg, gw_status rc, const ledger_reply *reply)
{
    contract *c = arg;

    c->answered = true;
    c->rc = rc;
    if (reply)
        c->reply = *reply;
}

static inline void on_loaded(void *arg, gw_status rc, ledger_loaded how)
{
    contract *c = arg;

    c->answered = true;
    c->rc = rc;
    c->how = how;
}

static inline void on_looked(void *arg, gw_status rc, const ledger_standing *s)
{
    contract *c = arg;

    c->answered = true;
    c->rc = rc;
    if (s)
        c->standing = *s;
}

static inline void on_silent(void *arg, gw_status rc, const ledger_silent *found, size_t count)
{
    contract *c = arg;

    c->answered = true;
    c->rc = rc;
    c->silent_count = count;
    if (count > 0)
        memcpy(c->silent, found, count * sizeof(*found));
}

static inline void on_forgiven(void *arg, gw_status rc, ledger_forgiven how,
                               const ledger_silent *was)
{
    contract *c = arg;

    c->answered = true;
    c->rc = rc;
    c->forgiven = how;
    c->was = *was;
}

static inline void on_born(void *arg, gw_status rc, const int64_t *born, int64_t now_ms)
{
    contract *c = arg;

    c->answered = true;
    c->rc = rc;
    if (born)
        memcpy(c->born, born, sizeof(c->born));
    c->told_ms = now_ms;
}

static inline void await(contract *c)
{
    assert_true(wait_until(c->w, is_answered_now, c));
    assert_int_equal(c->rc, GW_OK);
    c->answered = false;
}

static inline void set(contract *c, const char *key, int64_t value)
{
    char text[24];
    answer a;

    (void)snprintf(text, sizeof(text), "%lld", (long long)value);
    call_and_wait(c->w, c->w->redis, &a, GW_STR("SET"), gw_str_of(key), gw_str_of(text));
    assert_int_equal(a.rc, GW_OK);
}

static inline void set_clock(contract *c)
{
    set(c, "test:now", c->now_ms);
    set(c, "test:run", c->run);
    ledger_memory_set_now(c->model, c->now_ms);
    ledger_memory_set_run(c->model, c->run);
}

static inline void start_contract(world *w, contract *c)
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

static inline void end_contract(world *w, contract *c)
{
    gw_redis_free(w->redis);
    w->redis = NULL;
    ledger_store_free(c->store);
    ledger_memory_free(c->model);
}

#define SAME(field) assert_int_equal(c->reply.field, expected.field)

static inline void state_to_both(contract *c, const ledger_statement *st)
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

static inline void draw_amounts(contract *c, int64_t most, ledger_amounts *ret)
{
    for (int d = 0; d < LEDGER_WINDOWS; d++)
        ret->of[d] = between(c, 0, 3) == 0 ? 0 : between(c, 0, most);
}

static inline void draw_statement(contract *c, int64_t seq[2][3], ledger_statement *st)
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
