/* What happens next, and what fails: one seed, one course of events. */
#include "model.h"

#include "log/log.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#define STEPS_MAX       1400
#define DRAIN_STEPS_MAX 40000
#define LOOK_EVERY      32

static world *running;

/* ---- chance ---- */

static uint64_t mix(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

uint64_t world_random(world *w)
{
    return mix(&w->random);
}

unsigned world_below(world *w, unsigned bound)
{
    assert(bound > 0);
    return (unsigned)(world_random(w) % bound);
}

bool world_chance(world *w, unsigned per_mille)
{
    return world_below(w, 1000) < per_mille;
}

/* What the services draw comes from the seed too. */
/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name): the header's are reserved */
ssize_t getrandom(void *out, size_t len, unsigned flags)
{
    static uint64_t before_any_world = 1;
    uint8_t *at = out;
    (void)flags;
    for (size_t i = 0; i < len; i++)
        at[i] = (uint8_t)mix(running ? &running->random : &before_any_world);
    return (ssize_t)len;
}

/* ---- time ---- */

static int64_t mono_ns_of(void *self)
{
    return ((node_clock *)self)->w->mono_ms * 1000000;
}

static int64_t wall_ms_of(void *self)
{
    const node_clock *c = self;
    return c->w->wall_ms + c->wall_offset_ms;
}

void node_clock_init(node_clock *c, world *w)
{
    *c = (node_clock){.w = w, .clock = {.mono_ns = mono_ns_of, .wall_ms = wall_ms_of, .self = c}};
}

/*
 * Mostly a little, for a handshake takes some hundred steps and may last 5 s; now and then a leap, so that what waits for long (sweeps,
 * acknowledgements that do not come) has its turn.
 */
static void pass_time(world *w, bool idle)
{
    unsigned which = world_below(w, 1000);
    int64_t ms = world_below(w, 4);
    if (which >= (w->slow_journal && !w->draining ? 985U : 994U))
        ms = world_below(w, w->slow_journal ? 16000 : 6000);
    else if (which >= 970 && !w->draining)
        ms = world_below(w, 200);
    else if (idle && !w->draining)
        ms += world_below(w, 30);
    w->mono_ms += ms;
    w->wall_ms += ms;
}

void model_loop_turn(gw_loop *l)
{
    uv_run(gw_loop_uv(l), UV_RUN_NOWAIT);
}

/* ---- requests ---- */

request *world_find_request(world *w, const uint8_t id[EVENT_ID])
{
    for (size_t i = 0; i < w->request_count; i++)
        if (memcmp(w->requests[i].id, id, EVENT_ID) == 0)
            return &w->requests[i];
    return NULL;
}

void world_excuse(world *w, const uint8_t id[EVENT_ID])
{
    request *q = world_find_request(w, id);
    if (q)
        q->may_be_lost = true;
}

/* ---- telling ---- */

void world_fail(world *w, const char *format, ...)
{
    va_list args;
    if (w->failure[0])
        return;
    va_start(args, format);
    (void)vsnprintf(w->failure, sizeof(w->failure), format, args);
    va_end(args);
    world_trace(w, "FAILS: %s", w->failure);
}

void world_trace(world *w, const char *format, ...)
{
    va_list args;
    if (!w->traced)
        return;
    va_start(args, format);
    (void)printf("%8lld ms  ", (long long)w->mono_ms);
    (void)vprintf(format, args);
    (void)printf("\n");
    va_end(args);
}

/* ---- faults ---- */

static relay_node *any_relay(world *w)
{
    return w->relays[world_below(w, (unsigned)w->relay_count)];
}

static replica *any_replica(world *w)
{
    return w->replicas[world_below(w, (unsigned)w->replica_count)];
}

static void kill_relay(world *w)
{
    relay_node_kill(w, any_relay(w), world_chance(w, 800));
}

static void kill_replica(world *w)
{
    replica_kill(w, any_replica(w));
}

/* A process that is stopped loses its streams to keepalive, in the end. */
static void stop_replica(world *w)
{
    replica *u = any_replica(w);
    replica_stop(u);
    if (world_chance(w, 600))
        net_cut_of_replica(w, u);
}

static void cut_relay_from_power(world *w)
{
    relay_node_lose_power(w, any_relay(w));
}

static void step_a_clock(world *w)
{
    if (world_chance(w, 500))
        relay_node_step_clock(w, any_relay(w));
    else
        replica_step_clock(w, any_replica(w));
}

static void lose_disk(world *w)
{
    if (world_chance(w, 400))
        relay_node_lose_disk(w, any_relay(w));
}

static void copy_disk(world *w)
{
    char name[16];
    if (w->relay_count == RELAYS_MAX)
        return;
    (void)snprintf(name, sizeof(name), "relay-%c", (char)('a' + w->relay_count));
    relay_node *copy = relay_node_copy(w, any_relay(w), name);
    if (!copy)
        return;
    w->relays[w->relay_count++] = copy;
    w->copied = true;
}

static void roll_disk_back(world *w)
{
    relay_node *r = any_relay(w);
    if (world_chance(w, 500))
        relay_node_remember(w, r);
    else
        relay_node_roll_back(w, r);
}

static void restore_database(world *w)
{
    if (world_chance(w, 700)) {
        store_back_up(w);
        return;
    }
    for (size_t i = 0; i < w->replica_count; i++)
        replica_kill(w, w->replicas[i]);
    usage_excuse_all(w);
    (void)store_restore(w);
}

/* A rebuild takes it that the oldest rows go first. */
static void expire_a_row(world *w)
{
    if (!w->rebuilds)
        store_expire_one(w);
}

static void come_back(world *w, unsigned per_mille)
{
    if (world_chance(w, per_mille))
        store_restart(w);
    for (size_t i = 0; i < w->replica_count; i++) {
        if (!world_chance(w, per_mille))
            continue;
        if (!replica_is_up(w->replicas[i]))
            replica_start(w, w->replicas[i]);
        replica_continue(w->replicas[i]);
    }
    for (size_t i = 0; i < w->relay_count; i++)
        if (!relay_node_is_up(w->relays[i]) && world_chance(w, per_mille))
            relay_node_start(w, w->relays[i]);
}

static void come_back_half(world *w)
{
    come_back(w, 500);
}

typedef struct fault {
    const char *name;
    void (*happen)(world *w);
    unsigned weight;
    unsigned
        weight_of_slow_journal; /* in the courses that are about it: what is read and not durable */
    bool rare; /* of these a course has one kind at most */
} fault;

static const fault faults[] = {
    {"relay killed", kill_relay, 3, 0, false},
    {"replica killed", kill_replica, 3, 0, false},
    {"replica stopped", stop_replica, 3, 2, false},
    {"stream cut", net_cut_one, 2, 3, false},
    {"write timed out", store_time_out_one, 3, 2, false},
    {"store crashed", store_crash, 2, 3, false},
    {"journal stuck", store_stick, 2, 5, false},
    {"crash behind a sweep", store_crash_behind_a_sweep, 1, 4, false},
    {"row expired", expire_a_row, 1, 0, false},
    {"power lost", cut_relay_from_power, 2, 0, false},
    {"clock stepped", step_a_clock, 1, 0, false},
    {"what is down comes back", come_back_half, 8, 5, false},
    {"disk lost", lose_disk, 4, 0, true},
    {"disk copied", copy_disk, 4, 0, true},
    {"disk rolled back", roll_disk_back, 4, 0, true},
    {"database restored", restore_database, 4, 0, true},
};

typedef struct mix {
    unsigned weights[GW_ARRAY_LEN(faults)], sum;
    unsigned per_mille; /* steps that are a fault */
} mix_of_faults;

/* Each course has faults of its own, so that rare meetings of two have their turn. */
static mix_of_faults choose_faults(world *w)
{
    static const unsigned rates[] = {4, 12, 30};
    mix_of_faults m = {.per_mille = rates[world_below(w, GW_ARRAY_LEN(rates))]};
    unsigned rare = world_below(w, 6);
    w->slow_reads = world_chance(w, 300);
    if (w->slow_reads)
        m.per_mille = rates[0]; /* two folds have to come to their ends */
    w->slow_journal = world_chance(w, 350);
    w->rebuilds = world_chance(w, 300);
    for (size_t i = 0; i < GW_ARRAY_LEN(faults); i++) {
        bool has = faults[i].rare ? rare-- == 0 : world_chance(w, 800);
        has = has || faults[i].happen == come_back_half;
        m.weights[i] = w->slow_journal ? faults[i].weight_of_slow_journal
                       : has           ? faults[i].weight
                                       : 0;
        m.sum += m.weights[i];
    }
    return m;
}

static void fail_something(world *w, const mix_of_faults *m)
{
    unsigned at = world_below(w, m->sum);
    size_t i = 0;
    while (at >= m->weights[i])
        at -= m->weights[i++];
    world_trace(w, "%s", faults[i].name);
    faults[i].happen(w);
}

/* ---- one course ---- */

static void step(world *w)
{
    bool idle = false;
    switch (world_below(w, 8)) {
    case 0:
    case 1:
    case 2:
        idle = !store_step(w);
        break;
    case 3:
    case 4:
        replica_step(w, any_replica(w));
        break;
    case 5:
        idle = !net_step(w);
        break;
    default:
        relay_node_step(w, any_relay(w));
    }
    pass_time(w, idle);
}

/* What is not at rest; NULL when all is. */
static const char *restless(const world *w)
{
    if (!store_is_quiet())
        return "the store";
    if (!usage_is_quiet())
        return "a claim or an hour";
    for (size_t i = 0; i < w->relay_count; i++)
        if (!relay_node_is_quiet(w->relays[i]))
            return relay_node_name(w->relays[i]);
    return net_is_quiet() ? NULL : "a stream";
}

static void drain(world *w)
{
    w->draining = true;
    for (unsigned n = 0; n < DRAIN_STEPS_MAX && !w->failure[0]; n++) {
        if (n % 64 == 0)
            come_back(w, n > 512 ? 1000 : 300);
        if (n % 64 == 32)
            usage_look(w);
        if (n > 512 && n % 64 == 32) { /* all has been up since 512 */
            usage_look_for_old_claims(w);
            if (!restless(w))
                return;
        }
        step(w);
    }
    usage_check_requests(w); /* tells which has no row */
    const char *what = restless(w);
    world_fail(w, "not at rest after the drain: %s", what ? what : "it was not looked at");
}

void world_run(world *w, uint64_t seed, bool traced)
{
    *w = (world){.seed = seed,
                 .random = seed * 0x2545f4914f6cdd1dULL + 1,
                 .mono_ms = 1000,
                 .wall_ms = MODEL_WALL_MS,
                 .traced = traced};
    if (traced)
        w->log = gw_log_new("model", 1, GW_LOG_INFO, &gw_system_clock);
    running = w;
    net_reset();
    store_reset(w);
    mix_of_faults m = choose_faults(w);
    w->requests_left = (w->slow_reads ? 40 : 8) + world_below(w, 24);
    w->replica_count = 2 + world_below(w, 2);
    w->relay_count = 1 + (w->slow_reads || world_below(w, 3) == 0);
    for (size_t i = 0; i < w->replica_count; i++)
        w->replicas[i] = replica_new(w);
    for (size_t i = 0; i < w->relay_count; i++)
        w->relays[i] = relay_node_new(w, i ? "relay-b" : "relay-a");
    for (unsigned n = 0; n < STEPS_MAX && !w->failure[0]; n++) {
        if (world_chance(w, m.per_mille))
            fail_something(w, &m);
        step(w);
        if (n % LOOK_EVERY == 0)
            usage_look(w);
        if (w->requests_left == 0 && n > 300 && world_chance(w, 4))
            break;
    }
    drain(w);
    for (size_t i = 0; i < w->relay_count && !w->failure[0]; i++)
        relay_node_check(w, w->relays[i]);
    if (!w->failure[0])
        usage_check(w);
    for (size_t i = 0; i < w->relay_count; i++)
        relay_node_free(w, w->relays[i]);
    for (size_t i = 0; i < w->replica_count; i++)
        replica_free(w, w->replicas[i]);
    store_end();
    gw_log_free(w->log);
    running = NULL;
}
