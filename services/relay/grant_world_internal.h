/*
 * The parts of the world of the ledgers, and what they share: grant_world.c (time, what happens, a run), grant_world_relay.c (relays, their
 * books, spools and usage), grant_world_request.c, grant_world_fault.c and grant_world_check.c (what must hold).
 *
 * Thread: one.
 */
#pragma once

#include "grant_book.h"
#include "grant_world.h"
#include "ledger_store_memory.h"

enum {
    RELAYS = 3,
    KEYS = 2,
    CLIENT = KEYS,
    LEDGERS,
    EVENTS = 4096,
    ROWS = 64,
    QUEUE = 4096,
    SNAPSHOTS = 12,
    DAYS = 4,
    OUT = 128,
    BATCH = 32 /* statements a command (ledger_store_redis.c) */
};
enum {
    RUN_MS = 6000,
    QUIET_MS = 4000,
    HEART_MS = 100,
    SHIP_MS = 25,
    REQUEST_MAX_MS = 1200,
    LEASE_MS = 300
};

#define START_DAY INT64_C(20452) /* 2025-12-30: a month ends soon */

typedef struct event {
    grant_mark mark;
    int64_t day;
    int key;
    ledger_amounts amounts;
} event;

typedef struct spool {
    int64_t boot, row_id;
    event events[EVENTS];
    int count, applied; /* applied: by usage */
    struct {
        bool live;
        ledger_row row;
        ledger_row_sums sums;
    } rows[ROWS];
} spool;

typedef struct request {
    struct world *world;
    grant_take take;
    int relay, epoch, key;
    ledger_amounts real;
    int64_t duration_ms;
    bool open;
    grant_mark mark; /* of the cut */
    grant_take more; /* it outlives its hold */
    bool more_waits;
    struct request *next;
} request;

typedef struct book_arg {
    struct world *world;
    int relay;
} book_arg;

typedef struct relay {
    bool up, cut;
    int epoch;
    grant_book *book;
    spool spool;
    ledger_limits limits[LEDGERS];
    request *requests;
    ledger_statement out[OUT]; /* leave together when what happens is over */
    int out_count;
} relay;

typedef enum kind {
    ARRIVE_STATE,
    REPLY_STATE,
    LOAD_USAGE,
    LOAD_STORE,
    LOADED,
    HEART,
    BORN,
    SHIP,
    TURN,
    EXTEND,
    SETTLE,
    TRAFFIC,
    FAULT,
    START,
    HEAL,
    STORE_UP,
    USAGE_UP,
    EDITED,
    SNAP
} kind;

typedef struct happening {
    int64_t at, order;
    kind kind;
    int relay, epoch, key;
    int64_t run;
    int64_t reply_ms; /* of a statement: until it is answered; -1: the answer is lost */
    union {
        ledger_statement st;
        ledger_reply reply;
        struct {
            int64_t load, day;
            bool fresh, started;
            int64_t goal[RELAYS];
            ledger_amounts used;
        } load;
        int64_t born;
        request *request;
        ledger_limits limits;
    } u;
} happening;

typedef struct world {
    uint64_t random;
    grant_world_profile profile;
    grant_world_mutant mutant;
    ledger_timers timers;
    int64_t now, order, skew, run, start_wall;
    happening *queue;
    int queued;
    ledger_memory *store;
    bool store_up, usage_up, quiet, gone, interrupted, late;
    relay relays[RELAYS];
    int relay_count, key_count;
    bool has_client; /* the keys are of one that has limits, too */
    double loss, doubles;
    int demand;
    ledger_limits limits[LEDGERS];
    ledger_amounts limit_max[LEDGERS];
    struct {
        ledger_amounts of_day[DAYS]; /* [d] of its window's first day */
    } real[LEDGERS];
    double bucket[LEDGERS];
    int64_t bucket_at[LEDGERS], in_flight[LEDGERS];
    struct {
        ledger_amounts total[DAYS], tail[DAYS];
        int64_t load[DAYS];
    } usage[LEDGERS];
    ledger_memory *snapshots[SNAPSHOTS];
    int64_t snapshot_at[SNAPSHOTS];
    int snapshot_next;
    book_arg book_args[RELAYS];
    grant_world_result result;
} world;

/* ---- chance and time ---- */

uint64_t world_draw(world *w);
int64_t world_between(world *w, int64_t from, int64_t to); /* both may come */
bool world_chance(world *w, double p);
int64_t world_wall_ms(const world *w);
/* What happens `delay` ms from now, to relay `r` as it is (-1: to none). Never NULL; the caller fills in the rest. */
happening *world_later(world *w, int64_t delay, kind k, int r);

/* ---- ledgers ---- */

extern const char *const world_subjects[LEDGERS];
int world_ledger_of(const char *subject);
bool world_has_ledger(const world *w, int ledger); /* the run may be without it */
/* Of a request: the ledger at that level, -1 for none. */
int world_ledger_at(const world *w, int key, int level);
int world_day_index(int64_t day);
/* The first day of the window that `day` is in. */
int world_window_index(ledger_window d, int64_t day);

/* ---- relays, spools, usage ---- */

void world_relay_start(world *w, int index);
void world_relay_kill(world *w, int index, bool gone); /* gone: with its disk */
void world_relay_send(world *w, int index); /* what it has to state, in commands */
/* The event of a request that ended, with the mark of its cut. */
void world_spool_record(world *w, relay *r, int key, const grant_mark *m, int64_t day,
                        const ledger_amounts *a);
void world_usage_apply(world *w, relay *r); /* all that the spool has */
/* What usage has of a ledger, without the events of `load`; 0: with all. */
ledger_amounts world_usage_of(const world *w, int ledger, int64_t day, int64_t load);

/* ---- requests ---- */

void world_traffic(world *w);
void world_request_extend(world *w, request *q);
void world_request_settle(world *w, request *q);

/* ---- faults ---- */

void world_fault(world *w);
void world_forgive_the_silent(world *w);

/* ---- what must hold ---- */

void world_count_in_flight(world *w, const request *q, int by);
void world_count_spend(world *w, int ledger, const ledger_amounts *real, int64_t day);
void world_count_in_bucket(world *w, int ledger);
void world_check_counted(world *w);
void world_check_at_rest(world *w);

/* The first is kept, and ends the run. */
#define VIOLATED(w, ...)                                                                           \
    do {                                                                                           \
        if (!(w)->result.violation[0])                                                             \
            (void)snprintf((w)->result.violation, sizeof((w)->result.violation), __VA_ARGS__);     \
    } while (0)
