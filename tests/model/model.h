/*
 * The model of accounting: relays, replicas of usage, the streams between them and the store, as one program in one thread. The code of
 * the services runs in it as it is; what lies around them (store, streams, clocks, disks, processes) is played by the files here, and a
 * seeded scheduler decides what happens next and what fails.
 *
 *     model_relay.c ═ model_net.c ═ model_usage.c ─ model_store.c
 *                          model_world.c: what happens next
 *
 * Thread: one.
 */
#pragma once

#include "core/clock.h"
#include "core/list.h"
#include "core/str.h"
#include "loop/loop.h"

#define RELAYS_MAX   4
#define REPLICAS_MAX 3
#define REQUESTS_MAX 256
#define CLAIMS_MAX   64
#define EVENT_ID     12

#define MODEL_WALL_MS                                                                              \
    1763944200000LL /* 2025-11-24T00:30:00Z: an hour, a day and, with the hours before, their ends */

#define MODEL_RETENTION_MS (90 * GW_MS_PER_DAY)

typedef struct world world;
typedef struct relay_node relay_node;
typedef struct replica replica;

/* A process's view of time. */
typedef struct node_clock {
    world *w;
    int64_t wall_offset_ms;
    gw_clock clock;
} node_clock;
void node_clock_init(node_clock *c, world *w);

/* One request of a client, and so one event. */
typedef struct request {
    uint8_t id[EVENT_ID];
    bool answered; /* its client has seen the end */
    bool may_be_lost; /* a disk or the database was lost with it */
    bool may_be_cut; /* power failed: an older state of its slot may be what is left */
} request;

/* A claim that was there while the course came to its end. */
typedef struct claim_seen {
    char spool[11]; /* hex */
    int64_t n, since_ms;
} claim_seen;

struct world {
    uint64_t seed, random;
    int64_t mono_ms;
    int64_t wall_ms;
    bool draining;
    bool slow_journal, slow_reads, rebuilds; /* what this course is about */
    bool taken_back; /* by a crash or a restore, and not done again yet: see usage_look() */
    bool traced;
    struct gw_log *log; /* of the services; NULL: none */
    bool copied; /* two disks hold one spool: each may be behind what the other sent */
    relay_node *relays[RELAYS_MAX];
    size_t relay_count;
    replica *replicas[REPLICAS_MAX];
    size_t replica_count;
    request requests[REQUESTS_MAX];
    size_t request_count;
    size_t requests_left;
    claim_seen claims[CLAIMS_MAX];
    size_t claim_count;
    char failure[512]; /* the first, "" when none */
    int64_t lost, rejected, interrupted; /* at the end, for the record */
};

uint64_t world_random(world *w);
unsigned world_below(world *w, unsigned bound);
bool world_chance(world *w, unsigned per_mille);
void world_fail(world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
void world_trace(world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
request *world_find_request(world *w, const uint8_t id[EVENT_ID]);
void world_excuse(world *w, const uint8_t id[EVENT_ID]); /* it may be lost */

/* Runs what is due on a loop; never blocks. */
void model_loop_turn(gw_loop *l);

/* ---- streams (model_net.c): gw_rpc's client and server in here ---- */
void net_reset(void); /* no stream is left */
bool net_step(world *w); /* false: nothing to do */
void net_cut_of_relay(world *w, relay_node *r);
void net_cut_of_replica(world *w, replica *u);
void net_cut_one(world *w);
bool net_is_quiet(void);
bool net_has_calls(const replica *u); /* that its handlers still hold */
void net_finish_calls(replica *u); /* the process dies */

/* ---- the store (model_store.c) ---- */
typedef struct doc_pool doc_pool;
typedef struct memory_db memory_db;
void store_reset(world *w);
void store_end(void);
doc_pool *store_pool_new(world *w, replica *u);
void store_pool_free(doc_pool *p);
bool store_step(world *w); /* one operation goes on */
bool store_run_jobs(world *w, replica *u); /* one job of this replica goes on */
void store_kill_jobs(world *w, replica *u); /* operations under way may still happen */
void store_time_out_one(world *w); /* its caller gives up; it happens later */
void store_crash(world *w);
void store_restart(world *w);
void store_stick(world *w); /* the journal's disk hangs */
/* Some time soon: the journal hangs as of a claim, until a sweep has read that claim; then a crash takes it back. */
void store_crash_behind_a_sweep(world *w);
void store_reach_point(const char *name); /* a fault point, passed by the job that runs */
void store_back_up(world *w);
bool store_restore(world *w); /* false: there is no backup */
void store_expire_one(world *w); /* as a TTL index does */
bool store_is_quiet(void);
memory_db *store_db(void);
memory_db *store_expired(void); /* rows that the TTL index took */
bool store_is_up(void);

/* ---- usage (model_usage.c), and what must hold of it (model_look.c, model_audit.c) ---- */
replica *replica_new(world *w);
void replica_free(world *w, replica *u);
void replica_step(world *w, replica *u);
void replica_kill(world *w, replica *u);
void replica_start(world *w, replica *u);
bool replica_is_up(const replica *u);
bool replica_runs(const replica *u); /* up and not stopped */
void replica_stop(replica *u); /* SIGSTOP */
void replica_continue(replica *u);
bool replica_is_quiet(const replica *u);
void *replica_ingest(const replica *u);
void replica_step_clock(world *w, replica *u);
bool usage_is_quiet(void); /* no claim is left, no hour dirty */
void usage_check(world *w); /* the invariants, at rest */
void usage_look(world *w); /* those that hold at any time */
void usage_look_for_old_claims(world *w); /* while all is up: none is left behind */
void usage_check_requests(world *w); /* of each that it is one row or one reject */
/* n of a spool, -1 when it is not known. */
int64_t usage_claimed(const uint8_t spool_id[5]);
void usage_excuse_all(world *w); /* everything the store knows of may be lost */

/* ---- relays (model_relay.c) ---- */
relay_node *relay_node_new(world *w, const char *name);
void relay_node_free(world *w, relay_node *r);
void relay_node_step(world *w, relay_node *r);
void relay_node_kill(world *w, relay_node *r, bool at_a_point); /* its disk stays */
void relay_node_lose_power(world *w, relay_node *r);
void relay_node_lose_disk(world *w, relay_node *r);
relay_node *relay_node_copy(world *w, relay_node *r,
                            const char *name); /* NULL: it is not at rest */
void relay_node_remember(world *w, relay_node *r); /* the disk as it is now */
void relay_node_roll_back(world *w, relay_node *r);
void relay_node_start(world *w, relay_node *r);
bool relay_node_is_up(const relay_node *r);
bool relay_node_is_quiet(const relay_node *r);
void relay_node_check(world *w, const relay_node *r);
void relay_node_step_clock(world *w, relay_node *r);
const char *relay_node_name(const relay_node *r);

/* One seed from its beginning to its end; "" in w->failure when all held. */
void world_run(world *w, uint64_t seed, bool traced);
