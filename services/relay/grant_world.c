#include "grant_world_internal.h"

#include <stdio.h>
#include <stdlib.h>

uint64_t world_draw(world *w)
{
    w->random ^= w->random << 13;
    w->random ^= w->random >> 7;
    w->random ^= w->random << 17;
    return w->random;
}

int64_t world_between(world *w, int64_t from, int64_t to)
{
    /* NOLINTNEXTLINE(clang-analyzer-core.DivideZero): `from` is no more than `to` */
    return from + (int64_t)(world_draw(w) % (uint64_t)(to - from + 1));
}

bool world_chance(world *w, double p)
{
    return (double)(world_draw(w) % 1000000) < p * 1000000;
}

int64_t world_wall_ms(const world *w)
{
    return w->start_wall + w->now + w->skew;
}

happening *world_later(world *w, int64_t delay, kind k, int r)
{
    if (w->queued == QUEUE) {
        VIOLATED(w, "the test's queue is full");
        w->queued = 0;
    }
    happening *h = &w->queue[w->queued++];
    *h = (happening){
        .at = w->now + delay, .order = w->order++, .kind = k, .relay = r, .run = w->run};
    if (r >= 0)
        h->epoch = w->relays[r].epoch;
    return h;
}

const char *const world_subjects[LEDGERS] = {"k:a", "k:b", "c:app"};

int world_ledger_of(const char *subject)
{
    return subject[0] == 'c' ? CLIENT : subject[2] == 'b';
}

bool world_has_ledger(const world *w, int ledger)
{
    return ledger == CLIENT ? w->has_client : ledger < w->key_count;
}

int world_ledger_at(const world *w, int key, int level)
{
    if (level == LEDGER_OF_KEY)
        return key;
    return level == LEDGER_OF_CLIENT && w->has_client ? CLIENT : -1;
}

int world_day_index(int64_t day)
{
    return (int)GW_MIN(GW_MAX(day - START_DAY, 0), DAYS - 1);
}

int world_window_index(ledger_window d, int64_t day)
{
    int i = world_day_index(day);

    while (i > 0 && ledger_same_window(d, START_DAY + i - 1, day))
        i--;
    return i;
}

static void load_usage(world *w, happening *h)
{
    bool ready = w->usage_up;

    if (!h->u.load.started)
        for (int i = 0; i < w->relay_count; i++)
            h->u.load.goal[i] = w->relays[i].up && !h->u.load.fresh && w->mutant != WORLD_NO_BARRIER
                                    ? w->relays[i].spool.count
                                    : 0;
    for (int i = 0; i < w->relay_count; i++)
        ready = ready && (w->relays[i].spool.applied >= h->u.load.goal[i] || w->gone);
    happening *next = world_later(w, ready ? world_between(w, 1, 10) : 20,
                                  ready ? LOAD_STORE : LOAD_USAGE, h->relay);
    next->epoch = h->epoch;
    next->key = h->key;
    next->u = h->u;
    next->u.load.started = true;
    if (ready)
        next->u.load.used = world_usage_of(w, h->key, h->u.load.day,
                                           w->mutant == WORLD_COUNTS_TWICE ? 0 : h->u.load.load);
}

static bool reaches(world *w, const happening *h)
{
    return w->store_up && !w->relays[h->relay].cut && h->run == w->run;
}

static void take_turn(world *w, int index)
{
    (void)grant_book_advance(w->relays[index].book, w->now);
    world_later(w, 5, TURN, index);
}

static void happen(world *w, happening *h)
{
    relay *r = h->relay >= 0 ? &w->relays[h->relay] : NULL;
    bool alive = r && r->up && r->epoch == h->epoch;
    happening *next;

    /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): there is a world */
    ledger_memory_set_now(w->store, world_wall_ms(w));
    switch (h->kind) {
    case ARRIVE_STATE:
        if (!reaches(w, h))
            break; /* a connection does not outlive its Redis; a killed relay's last words may still arrive */
        next = world_later(w, h->reply_ms, REPLY_STATE, h->relay);
        next->epoch = h->epoch;
        ledger_memory_state(w->store, &h->u.st, &next->u.reply);
        for (int d = 0; d < LEDGER_WINDOWS; d++)
            w->late = w->late || h->u.st.late.of[d] > 0;
        if (h->reply_ms < 0)
            w->queued--;
        break;
    case REPLY_STATE:
        if (alive && h->run == w->run && !r->cut)
            grant_book_answer(r->book, &h->u.reply, w->now);
        break;
    case LOAD_USAGE:
        load_usage(w, h);
        break;
    case LOAD_STORE:
        if (reaches(w, h))
            (void)ledger_memory_load(w->store, world_subjects[h->key], h->u.load.load,
                                     h->u.load.day, &h->u.load.used);
        next = world_later(w, world_between(w, 1, 5), LOADED, h->relay);
        next->epoch = h->epoch;
        next->key = h->key;
        break;
    case LOADED:
        if (alive)
            grant_book_loaded(r->book, world_subjects[h->key], w->now);
        break;
    case HEART:
        if (!alive)
            break;
        world_later(w, HEART_MS, HEART, h->relay);
        if (w->store_up && !r->cut)
            world_later(w, 2, BORN, h->relay)->u.born = ledger_memory_born(w->store);
        break;
    case BORN:
        if (alive && reaches(w, h)) {
            int64_t born[LEDGER_SHARDS];
            for (int i = 0; i < LEDGER_SHARDS; i++)
                born[i] = h->u.born;
            grant_book_born(r->book, born, w->now);
        }
        break;
    case SHIP:
        if (!alive)
            break;
        world_later(w, SHIP_MS, SHIP, h->relay);
        if (w->usage_up && (w->quiet || world_chance(w, 0.8)))
            world_usage_apply(w, r);
        break;
    case TURN:
        if (alive)
            take_turn(w, h->relay);
        break;
    case EXTEND:
        if (alive)
            world_request_extend(w, h->u.request);
        break;
    case SETTLE:
        if (alive)
            world_request_settle(w, h->u.request);
        break;
    case TRAFFIC:
        world_traffic(w);
        break;
    case FAULT:
        world_fault(w);
        break;
    case START:
        if (r && !r->up)
            world_relay_start(w, h->relay);
        break;
    case HEAL:
        if (r)
            r->cut = false;
        break;
    case STORE_UP:
        w->store_up = true;
        break;
    case USAGE_UP:
        w->usage_up = true;
        break;
    case EDITED:
        if (r && r->up && r->limits[h->key].generation < h->u.limits.generation)
            r->limits[h->key] = h->u.limits;
        break;
    case SNAP:
        ledger_memory_free(w->snapshots[w->snapshot_next]);
        w->snapshots[w->snapshot_next] = ledger_memory_copy(w->store);
        w->snapshot_at[w->snapshot_next] = w->now;
        w->snapshot_next = (w->snapshot_next + 1) % SNAPSHOTS;
        if (!w->quiet)
            world_later(w, 40, SNAP, -1);
        break;
    }
}

static ledger_limits draw_limits(world *w)
{
    double per_day = (double)RUN_MS / w->demand;
    static const double sizes[] = {0.2, 0.5, 0.9, 4};
    double size = sizes[world_between(w, 0, 3)];
    static const double hold[] = {1, 40, 40, 400};
    ledger_limits l = {.generation = 1};

    for (int d = 0; d < LEDGER_WINDOWS; d++)
        l.window.of[d] = GW_MAX(
            (int64_t)(per_day * hold[d] * size * (0.7 + (double)world_between(w, 0, 9) / 10)), 10);
    l.per_minute = (int64_t[]){0, 0, 300, 3000}[world_between(w, 0, 3)];
    l.in_flight = (int64_t[]){0, 0, 3, 20}[world_between(w, 0, 3)];
    return l;
}

static ledger_timers timers_of(grant_world_mutant m)
{
    bool is_hasty = m == WORLD_SLOTS_LAPSE_EARLY || m == WORLD_FORGIVEN_AT_LEASE;

    return (ledger_timers){.lease_ms = LEASE_MS,
                           .quarantine_ms = m == WORLD_NO_QUARANTINE ? 0 : 700,
                           .retry_ms = 50,
                           .sweep_ms = 100,
                           .wait_ms = 100,
                           .lapse_ms = is_hasty ? LEASE_MS : REQUEST_MAX_MS + LEASE_MS + 100};
}

static void begin(world *w, unsigned seed, grant_world_profile p, grant_world_mutant m)
{
    *w = (world){.random = seed * UINT64_C(2654435761) + 88172645463325252U,
                 .profile = p,
                 .mutant = m,
                 .timers = timers_of(m),
                 .run = 1};
    for (int i = 0; i < 8; i++)
        (void)world_draw(w);
    w->queue = malloc(sizeof(*w->queue) * QUEUE);
    w->store = ledger_memory_new(&w->timers);
    w->store_up = w->usage_up = true;
    w->start_wall = (START_DAY + 2) * LEDGER_DAY_MS -
                    (world_chance(w, 0.5) ? world_between(w, 1000, 5000) : LEDGER_DAY_MS / 2);
    w->relay_count = (int)world_between(w, p == WORLD_REDIS ? 2 : 1, RELAYS);
    w->key_count = (int)world_between(w, 1, KEYS);
    w->has_client = world_chance(w, 0.5);
    w->demand = (int[]){6, 12, 25}[world_between(w, 0, 2)];
    w->doubles = (double[]){0, .05, .2}[world_between(w, 0, 2)];
    w->loss = (double[]){0, .02, .1}[world_between(w, 0, 2)];
    ledger_memory_set_now(w->store, world_wall_ms(w) - 10 * w->timers.quarantine_ms);
    (void)ledger_memory_born(w->store);
    for (int k = 0; k < LEDGERS; k++) {
        w->limits[k] = draw_limits(w);
        w->limit_max[k] = w->limits[k].window;
        w->bucket[k] = (double)w->limits[k].per_minute;
    }
    for (int i = 0; i < w->relay_count; i++) {
        w->book_args[i] = (book_arg){w, i};
        world_relay_start(w, i);
    }
    world_later(w, 1, TRAFFIC, -1);
    world_later(w, world_between(w, 200, 1200), FAULT, -1);
    if (p == WORLD_REDIS || p == WORLD_MIX)
        world_later(w, 1, SNAP, -1);
}

static happening take_first(world *w)
{
    int first = 0;

    for (int i = 1; i < w->queued; i++)
        if (w->queue[i].at < w->queue[first].at ||
            (w->queue[i].at == w->queue[first].at && w->queue[i].order < w->queue[first].order))
            first = i;
    happening h = w->queue[first];
    w->queue[first] = w->queue[--w->queued];
    return h;
}

static void end(world *w)
{
    for (int i = 0; i < w->relay_count; i++) {
        grant_book_free(w->relays[i].book);
        for (request *q; (q = w->relays[i].requests);) {
            w->relays[i].requests = q->next;
            free(q);
        }
    }
    for (int i = 0; i < SNAPSHOTS; i++)
        ledger_memory_free(w->snapshots[i]);
    ledger_memory_free(w->store);
    free(w->queue);
}

void grant_world_run(unsigned seed, grant_world_profile p, grant_world_mutant m,
                     grant_world_result *ret)
{
    static world the_world; /* too large for the stack */
    world *w = &the_world;

    begin(w, seed, p, m);
    while (w->queued > 0 && !w->result.violation[0]) {
        happening h = take_first(w);
        if (h.at > RUN_MS + QUIET_MS)
            break;
        w->now = h.at;
        w->quiet = w->now >= RUN_MS;
        happen(w, &h);
        for (int i = 0; i < w->relay_count; i++)
            world_relay_send(w, i);
        if (m == WORLD_FORGIVEN_AT_LEASE)
            world_forgive_the_silent(w);
        world_check_counted(w);
    }
    if (!w->result.violation[0])
        world_check_at_rest(w);
    w->result.now_ms = w->now;
    *ret = w->result;
    end(w);
}
