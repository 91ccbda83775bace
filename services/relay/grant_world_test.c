/*
 * The world of the ledgers, drawn at random: relays with their real grant books, keys that may share a client with limits of its own,
 * one store (in memory), a network that loses, doubles and delays commands of one statement or many, spools, usage, and faults: kill -9, partitions, data loss of the store, edits, the end of a window. Times are
 * a tenth of the real ones. What must never happen is looked for at each step; once all is quiet the books must agree to the unit.
 */
#include "grant_book.h"
#include "ledger_store_memory.h"

#include "testing/cmocka.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
enum { RUN_MS = 6000, QUIET_MS = 4000, HEART_MS = 100, SHIP_MS = 25, REQUEST_MAX_MS = 1200 };

#define START_DAY INT64_C(20452) /* 2025-12-30: a month ends soon */

typedef enum profile { NET, CRASH, PART, REDIS, MIX, PROFILES } profile;

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
    unsigned seed;
    profile profile;
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
    int64_t admitted, refused, unavailable, extended, batched;
    char violation[256];
} world;

/* What grant_mutants_test.c takes out of the world. */
enum {
    WORLD_WHOLE,
    WORLD_NO_FINAL,
    WORLD_OPEN_NOT_BILLED,
    WORLD_NO_BARRIER,
    WORLD_COUNTS_TWICE,
    WORLD_NO_QUARANTINE,
    WORLD_SLOTS_LAPSE_EARLY,
    WORLD_FORGIVEN_AT_LEASE
};
static int world_mutant;

static ledger_timers timers = {.lease_ms = 300,
                               .quarantine_ms = 700,
                               .retry_ms = 50,
                               .sweep_ms = 100,
                               .wait_ms = 100,
                               .lapse_ms = REQUEST_MAX_MS + 300 + 100};

static uint64_t draw(world *w)
{
    w->random ^= w->random << 13;
    w->random ^= w->random >> 7;
    w->random ^= w->random << 17;
    return w->random;
}

static int64_t between(world *w, int64_t from, int64_t to)
{
    /* NOLINTNEXTLINE(clang-analyzer-core.DivideZero): `from` is no more than `to` */
    return from + (int64_t)(draw(w) % (uint64_t)(to - from + 1));
}

static bool chance(world *w, double p)
{
    return (double)(draw(w) % 1000000) < p * 1000000;
}

#define VIOLATED(w, ...)                                                                           \
    do {                                                                                           \
        if (!(w)->violation[0])                                                                    \
            (void)snprintf((w)->violation, sizeof((w)->violation), __VA_ARGS__);                   \
    } while (0)

static int64_t wall(const world *w)
{
    return w->start_wall + w->now + w->skew;
}

static happening *later(world *w, int64_t delay, kind k, int r)
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

static const char *const subjects[LEDGERS] = {"k:a", "k:b", "c:app"};

static int ledger_of(const char *subject)
{
    return subject[0] == 'c' ? CLIENT : subject[2] == 'b';
}

/* Whether the run has this ledger. */
static bool is_in_use(const world *w, int ledger)
{
    return ledger == CLIENT ? w->has_client : ledger < w->key_count;
}

/* Of a request: the ledger at that level, -1 for none. */
static int ledger_at(const world *w, int key, int level)
{
    if (level == LEDGER_OF_KEY)
        return key;
    return level == LEDGER_OF_CLIENT && w->has_client ? CLIENT : -1;
}

static int day_index(int64_t day)
{
    return (int)GW_MIN(GW_MAX(day - START_DAY, 0), DAYS - 1);
}

/* The first day of the window that `day` is in, as an index. */
static int window_index(ledger_window d, int64_t day)
{
    int i = day_index(day);

    while (i > 0 && ledger_same_window(d, START_DAY + i - 1, day))
        i--;
    return i;
}

/* ---- spool and usage ---- */

static void record(world *w, relay *r, int key, const grant_mark *m, int64_t day,
                   const ledger_amounts *a)
{
    spool *s = &r->spool;

    if (s->count == EVENTS) {
        VIOLATED(w, "the test's spool is full");
        return;
    }
    s->events[s->count++] = (event){.mark = *m, .day = day, .key = key, .amounts = *a};
    for (int level = 0; level < LEDGER_LEVELS; level++)
        if (m->row[level] > 0)
            ledger_row_add(&s->rows[m->row[level] % ROWS].sums, m->row[level], m->load[level], day,
                           a);
}

static void apply_to(world *w, int ledger, const event *e, int64_t load)
{
    int i = day_index(e->day);

    if (load > w->usage[ledger].load[i]) {
        w->usage[ledger].load[i] = load;
        w->usage[ledger].tail[i] = (ledger_amounts){0};
    }
    for (int d = 0; d < LEDGER_WINDOWS; d++) {
        w->usage[ledger].total[i].of[d] += e->amounts.of[d];
        if (load == w->usage[ledger].load[i])
            w->usage[ledger].tail[i].of[d] += e->amounts.of[d];
    }
}

static void apply(world *w, relay *r)
{
    spool *s = &r->spool;

    for (; s->applied < s->count; s->applied++) {
        const event *e = &s->events[s->applied];
        for (int level = 0; level < LEDGER_LEVELS; level++)
            if (ledger_at(w, e->key, level) >= 0)
                apply_to(w, ledger_at(w, e->key, level), e, e->mark.load[level]);
    }
}

/* Without the events of `load`; 0: with all. */
static ledger_amounts used(world *w, int key, int64_t day, int64_t load)
{
    ledger_amounts sum = {0};

    for (int i = 0; i < DAYS; i++)
        for (int d = 0; d < LEDGER_WINDOWS; d++) {
            if (!ledger_same_window((ledger_window)d, START_DAY + i, day))
                continue;
            sum.of[d] += w->usage[key].total[i].of[d];
            if (load != 0 && w->usage[key].load[i] == load)
                sum.of[d] -= w->usage[key].tail[i].of[d];
        }
    return sum;
}

/* ---- what the books want ---- */

typedef struct book_arg {
    world *w;
    int relay;
} book_arg;
static book_arg book_args[RELAYS];

static void on_state(void *arg, const ledger_statement *st)
{
    book_arg *a = arg;
    relay *r = &a->w->relays[a->relay];

    if (r->out_count == OUT)
        VIOLATED(a->w, "more is stated at once than the test has room for");
    else
        r->out[r->out_count++] = *st;
}

/* One command: it comes whole or not at all, is done without anything between, and is answered whole or not at all. */
static void send_command(world *w, int index, const ledger_statement *first, int count,
                         int64_t delay)
{
    int64_t reply_ms = between(w, 1, 5);

    if (!w->quiet && chance(w, w->loss))
        reply_ms = -1;
    for (int i = 0; i < count; i++) {
        happening *h = later(w, delay, ARRIVE_STATE, index);
        h->reply_ms = reply_ms;
        h->u.st = first[i];
    }
    w->batched += count > 1;
}

static void send_batches(world *w, int index)
{
    relay *r = &w->relays[index];

    for (int at = 0; at < r->out_count; at += BATCH) {
        bool twice = !w->quiet && chance(w, w->doubles);
        for (int i = 0; i < 1 + twice; i++)
            if ((w->quiet || !chance(w, w->loss)) && !r->cut)
                send_command(w, index, &r->out[at], GW_MIN(r->out_count - at, BATCH),
                             between(w, 1, 4) + (i ? between(w, 0, 180) : 0));
    }
    r->out_count = 0;
}

static bool on_load(void *arg, const char *subject, int64_t load, int64_t day, bool fresh)
{
    book_arg *a = arg;
    happening *h = later(a->w, between(a->w, 1, 10), LOAD_USAGE, a->relay);

    h->key = ledger_of(subject);
    h->u.load.load = load;
    h->u.load.day = day;
    h->u.load.fresh = fresh;
    return true;
}

static int64_t on_row_open(void *arg, const char *holder, const char *subject)
{
    book_arg *a = arg;
    spool *s = &a->w->relays[a->relay].spool;

    for (int i = 0; i < ROWS; i++) {
        int64_t id = ++s->row_id;
        if (id % ROWS == 0)
            id = ++s->row_id;
        if (s->rows[id % ROWS].live)
            continue;
        s->rows[id % ROWS].live = true;
        s->rows[id % ROWS].row = (ledger_row){.id = id};
        (void)snprintf(s->rows[id % ROWS].row.subject, LEDGER_SUBJECT_SIZE, "%s", subject);
        (void)snprintf(s->rows[id % ROWS].row.holder, LEDGER_HOLDER_SIZE, "%s", holder);
        return id;
    }
    return 0;
}

static void on_row_load(void *arg, int64_t row, int64_t load)
{
    book_arg *a = arg;

    a->w->relays[a->relay].spool.rows[row % ROWS].row.load = load;
}

static void on_row_close(void *arg, int64_t row)
{
    book_arg *a = arg;

    a->w->relays[a->relay].spool.rows[row % ROWS].live = false;
}

static const grant_book_ops book_ops = {.state = on_state,
                                        .load = on_load,
                                        .row_open = on_row_open,
                                        .row_load = on_row_load,
                                        .row_close = on_row_close};

/* ---- relays ---- */

static void start_relay(world *w, int index)
{
    relay *r = &w->relays[index];
    grant_book_options o = {.ops = &book_ops, .arg = &book_args[index], .timers = timers};

    r->up = true;
    r->epoch++;
    r->spool.boot++;
    (void)snprintf(o.holder, sizeof(o.holder), "s%d-%d.%lld.0", index, w->gone,
                   (long long)r->spool.boot);
    r->book = grant_book_new(&o);
    memcpy(r->limits, w->limits, sizeof(r->limits));
    for (request *q = r->requests; q; q = q->next) {
        if (!q->open)
            continue;
        for (int level = 0; level < LEDGER_LEVELS; level++)
            if (q->mark.row[level] > 0)
                q->mark.load[level] = r->spool.rows[q->mark.row[level] % ROWS].row.load;
        q->open = false;
        w->interrupted = true;
        if (world_mutant != WORLD_OPEN_NOT_BILLED)
            record(w, r, q->key, &q->mark, q->take.parts[0].day, &q->take.hold);
    }
    for (int i = 0; i < ROWS; i++)
        if (world_mutant != WORLD_NO_FINAL && r->spool.rows[i].live &&
            !grant_book_close_row(r->book, &r->spool.rows[i].row, &r->spool.rows[i].sums))
            abort();
    later(w, 1, TURN, index);
    later(w, between(w, 1, HEART_MS), HEART, index);
    later(w, 5, SHIP, index);
}

/* I4 */
static void count_in_flight(world *w, const request *q, int by)
{
    for (int level = 0; level < LEDGER_LEVELS; level++) {
        int l = ledger_at(w, q->key, level);
        if (l < 0)
            continue;
        w->in_flight[l] += by;
        if (w->limits[l].in_flight > 0 && w->in_flight[l] > w->limits[l].in_flight &&
            w->profile != MIX)
            VIOLATED(w, "%s: %lld in flight", subjects[l], (long long)w->in_flight[l]);
    }
}

static void kill_relay(world *w, int index, bool gone)
{
    relay *r = &w->relays[index];

    if (!r->up)
        return;
    r->up = false;
    r->epoch++;
    for (request *q = r->requests; q; q = q->next)
        if (q->open)
            count_in_flight(w, q, -1);
    grant_book_free(r->book);
    r->book = NULL;
    if (gone) {
        w->gone = true;
        for (request *q = r->requests; q; q = q->next)
            q->open = false;
        apply(w, r); /* what usage has is usage's; the rest is lost with the counted position */
        memset(&r->spool, 0, sizeof(r->spool));
        r->spool.boot = 100 + w->order;
    }
    happening *h = later(w, (int64_t[]){20, 200, 900}[between(w, 0, 2)], START, index);
    h->epoch = r->epoch;
}

/* ---- requests ---- */

static void count_spend(world *w, int ledger, const ledger_amounts *real, int64_t day)
{
    for (int d = 0; d < LEDGER_WINDOWS; d++) {
        int64_t *sum = &w->real[ledger].of_day[window_index((ledger_window)d, day)].of[d];
        *sum += real->of[d];
        if (*sum > w->limit_max[ledger].of[d])
            /* NOLINTNEXTLINE(clang-analyzer-core.CallAndMessage): the names are constants */
            VIOLATED(w, "oversold: %s window %d: %lld of %lld", subjects[ledger], d,
                     (long long)*sum, (long long)w->limit_max[ledger].of[d]);
    }
}

static void count_in_bucket(world *w, int ledger)
{
    double cap = (double)w->limits[ledger].per_minute;

    if (cap <= 0)
        return;
    double level = w->bucket[ledger] + cap * (double)(w->now - w->bucket_at[ledger]) / 60000;
    w->bucket[ledger] = GW_MIN(level, cap) - 1;
    w->bucket_at[ledger] = w->now;
    if (w->bucket[ledger] < -0.001 && w->profile != REDIS && w->profile != MIX)
        VIOLATED(w, "bucket of %s overdrawn: %f", subjects[ledger], w->bucket[ledger]);
}

static void admitted(world *w, request *q)
{
    int64_t today = ledger_day_of(wall(w));

    w->admitted++;
    count_in_flight(w, q, 1);
    for (size_t i = 0; i < q->take.part_count; i++) {
        int64_t day = q->take.parts[i].day;
        int ledger = ledger_at(w, q->key, (int)q->take.parts[i].level);
        if (day != q->take.parts[0].day)
            VIOLATED(w, "cut in two days");
        if (w->skew == 0 && day != today)
            VIOLATED(w, "cut in day %lld, it is %lld", (long long)day, (long long)today);
        count_spend(w, ledger, &q->real, day);
        count_in_bucket(w, ledger);
    }
}

/* It has more now, and uses all of it. */
static void extended(world *w, request *q)
{
    w->extended++;
    for (size_t i = 0; i < q->take.part_count; i++) {
        int64_t day = q->take.parts[i].day;
        if (w->skew == 0 && day != ledger_day_of(wall(w))) /* each day has limits */
            VIOLATED(w, "more for day %lld, which has ended", (long long)day);
        count_spend(w, ledger_at(w, q->key, (int)q->take.parts[i].level), &q->more.hold, day);
    }
    for (int d = 0; d < LEDGER_WINDOWS; d++)
        q->real.of[d] += q->more.hold.of[d];
}

static void on_more(void *arg)
{
    request *q = arg;

    q->more_waits = false;
    if (q->more.outcome == GRANT_CUT)
        extended(book_args[q->relay].w, q);
}

static void extend(world *w, request *q)
{
    int64_t tokens = between(w, 5, 80), cost = between(w, 20, 900);

    q->more = (grant_take){.hold = {{0, tokens, tokens, cost}}, .done = on_more, .arg = q};
    q->more_waits =
        grant_book_extend(w->relays[q->relay].book, &q->take, &q->more, w->now) == GRANT_WAITS;
    if (q->more.outcome == GRANT_CUT)
        extended(w, q);
}

static void start_request(world *w, request *q)
{
    relay *r = &w->relays[q->relay];

    q->open = true;
    q->mark = grant_book_mark(&q->take, w->now);
    admitted(w, q);
    happening *h = later(w, q->duration_ms, SETTLE, q->relay);
    h->epoch = r->epoch;
    h->u.request = q;
    if (!chance(w, 0.3))
        return;
    h = later(w, q->duration_ms / 2, EXTEND, q->relay);
    h->epoch = r->epoch;
    h->u.request = q;
}

static void on_taken(void *arg)
{
    request *q = arg;
    world *w = book_args[q->relay].w;

    if (q->take.outcome == GRANT_CUT)
        start_request(w, q);
    else if (q->take.outcome == GRANT_REFUSED)
        w->refused++;
    else
        w->unavailable++;
}

static grant_outcome take(world *w, relay *r, request *q)
{
    ledger_account accounts[LEDGER_LEVELS];
    size_t count = 0;

    for (int level = 0; level < LEDGER_LEVELS; level++) {
        int l = ledger_at(w, q->key, level);
        if (l < 0)
            continue;
        accounts[count].level = (ledger_level)level;
        accounts[count].limits = r->limits[l];
        (void)snprintf(accounts[count].subject, LEDGER_SUBJECT_SIZE, "%s", subjects[l]);
        count++;
    }
    return grant_book_take(r->book, accounts, count, &q->take, w->now);
}

static void traffic(world *w)
{
    int first = (int)between(w, 0, w->relay_count - 1);
    int index = chance(w, 0.6) ? 0 : first;
    relay *r = &w->relays[index];

    if (w->quiet)
        return;
    if (r->up) {
        request *q = calloc(1, sizeof(*q));
        static const double parts[] = {0, 0, 0.1, 0.5, 1, 1};
        double part = parts[between(w, 0, 5)];
        q->relay = index;
        q->epoch = r->epoch;
        q->key = (int)between(w, 0, w->key_count - 1);
        int64_t tokens = between(w, 10, 80), cost = between(w, 50, 900);
        q->take.hold = (ledger_amounts){{1, tokens, tokens, cost}};
        q->real =
            (ledger_amounts){{1, (int64_t)((double)tokens * part), (int64_t)((double)tokens * part),
                              (int64_t)((double)cost * part)}};
        q->duration_ms = (int64_t[]){5, 30, 30, 100, 400, REQUEST_MAX_MS}[between(w, 0, 5)];
        q->take.done = on_taken;
        q->take.arg = q;
        q->next = r->requests;
        r->requests = q;
        if (take(w, r, q) != GRANT_WAITS)
            on_taken(q);
    }
    later(w, chance(w, 0.003) ? between(w, 400, 900) : between(w, 1, INT64_C(2) * w->demand),
          TRAFFIC, -1);
}

static void settle(world *w, request *q)
{
    relay *r = &w->relays[q->relay];
    grant_mark mark = grant_book_mark(&q->take, w->now);

    if (q->more_waits)
        grant_book_forget(r->book, &q->more);
    q->more_waits = false;
    q->open = false;
    count_in_flight(w, q, -1);
    record(w, r, q->key, &mark, q->take.parts[0].day, &q->real);
    grant_book_settle(r->book, &q->take, &q->real, w->now);
}

/* ---- faults ---- */

static void lose_data(world *w, int how)
{
    ledger_memory *from = NULL;
    int64_t before = w->now - between(w, 0, how == 0 ? 100 : 300), best = -1;

    if (how == 2 && chance(w, 0.5)) {
        ledger_memory_flush(w->store);
        return; /* the same process */
    }
    for (int i = 0; i < SNAPSHOTS; i++)
        if (w->snapshots[i] && w->snapshot_at[i] <= before && w->snapshot_at[i] > best) {
            best = w->snapshot_at[i];
            from = w->snapshots[i];
        }
    if (how == 2 || !from)
        ledger_memory_flush(w->store);
    else
        ledger_memory_restore(w->store, from);
    for (int i = 0; i < SNAPSHOTS; i++) {
        ledger_memory_free(w->snapshots[i]);
        w->snapshots[i] = NULL;
    }
    ledger_memory_set_run(w->store, ++w->run);
    if (how == 1)
        w->skew += between(w, -200, 200);
    w->store_up = false;
    later(w, between(w, 5, 60), STORE_UP, -1);
    if (chance(w, 0.4) && w->usage_up) { /* slow or away meanwhile */
        w->usage_up = false;
        later(w, between(w, 100, timers.quarantine_ms + 500), USAGE_UP, -1);
    }
}

static void edit(world *w)
{
    int key = w->has_client && chance(w, 0.3) ? CLIENT : (int)between(w, 0, w->key_count - 1);
    static const double factors[] = {0.3, 0.8, 1.3, 2};

    w->limits[key].generation++;
    for (int d = 0; d < LEDGER_WINDOWS; d++) {
        int64_t *l = &w->limits[key].window.of[d];
        *l = GW_MAX((int64_t)((double)*l * factors[between(w, 0, 3)]), 1);
        w->limit_max[key].of[d] = GW_MAX(w->limit_max[key].of[d], *l);
    }
    for (int i = 0; i < w->relay_count; i++) {
        happening *h = later(w, between(w, 1, 100), EDITED, i);
        h->key = key;
        h->u.limits = w->limits[key];
    }
}

enum { KILL, KILL_GONE, EDIT, NOTHING, USAGE_AWAY, AOF, FAILOVER, FLUSH, DOWN, CUT };

static void fault(world *w)
{
    static const int kinds[PROFILES][8] = {
        [NET] = {EDIT, NOTHING, USAGE_AWAY, -1},
        [CRASH] = {KILL, KILL, KILL_GONE, EDIT, -1},
        [PART] = {CUT, CUT, DOWN, -1},
        [REDIS] = {AOF, FLUSH, FAILOVER, DOWN, USAGE_AWAY, -1},
        [MIX] = {KILL, AOF, FLUSH, FAILOVER, CUT, DOWN, USAGE_AWAY, -1},
    };
    int64_t gap = between(w, 300, 900);
    int count = 0;

    if (w->quiet)
        return;
    while (kinds[w->profile][count] >= 0)
        count++;
    int which = kinds[w->profile][between(w, 0, count - 1)];
    int index = (int)between(w, 0, w->relay_count - 1);
    int64_t ms = (int64_t[]){50, 400, 1200}[between(w, 0, 2)];
    switch (which) {
    case KILL:
    case KILL_GONE:
        kill_relay(w, index, which == KILL_GONE);
        gap = w->profile == MIX ? between(w, 1300, 1800) : gap;
        break;
    case CUT:
        w->relays[index].cut = true;
        later(w, ms, HEAL, index)->epoch = -1;
        gap = ms + 300;
        break;
    case DOWN:
        w->store_up = false;
        later(w, ms, STORE_UP, -1);
        gap = ms + 500;
        break;
    case USAGE_AWAY:
        w->usage_up = false;
        later(w, ms, USAGE_UP, -1);
        gap = ms + 200;
        break;
    case EDIT:
        edit(w);
        break;
    case AOF:
    case FAILOVER:
    case FLUSH:
        lose_data(w, which - AOF);
        gap = timers.quarantine_ms + between(w, 900, 1500);
        break;
    default:
        break;
    }
    later(w, gap, FAULT, -1);
}

/* ---- what happens ---- */

static void load_usage(world *w, happening *h)
{
    bool ready = w->usage_up;

    if (!h->u.load.started)
        for (int i = 0; i < w->relay_count; i++)
            h->u.load.goal[i] =
                w->relays[i].up && !h->u.load.fresh && world_mutant != WORLD_NO_BARRIER
                    ? w->relays[i].spool.count
                    : 0;
    for (int i = 0; i < w->relay_count; i++)
        ready = ready && (w->relays[i].spool.applied >= h->u.load.goal[i] || w->gone);
    happening *next =
        later(w, ready ? between(w, 1, 10) : 20, ready ? LOAD_STORE : LOAD_USAGE, h->relay);
    next->epoch = h->epoch;
    next->key = h->key;
    next->u = h->u;
    next->u.load.started = true;
    if (ready)
        next->u.load.used =
            used(w, h->key, h->u.load.day, world_mutant == WORLD_COUNTS_TWICE ? 0 : h->u.load.load);
}

static bool reaches(world *w, const happening *h)
{
    return w->store_up && !w->relays[h->relay].cut && h->run == w->run;
}

static void take_turn(world *w, int index)
{
    (void)grant_book_advance(w->relays[index].book, w->now);
    later(w, 5, TURN, index);
}

static void happen(world *w, happening *h)
{
    relay *r = h->relay >= 0 ? &w->relays[h->relay] : NULL;
    bool alive = r && r->up && r->epoch == h->epoch;
    happening *next;

    /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): there is a world */
    ledger_memory_set_now(w->store, wall(w));
    switch (h->kind) {
    case ARRIVE_STATE:
        if (!reaches(w, h))
            break; /* a connection does not outlive its Redis; a killed relay's last words may still arrive */
        next = later(w, h->reply_ms, REPLY_STATE, h->relay);
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
            (void)ledger_memory_load(w->store, subjects[h->key], h->u.load.load, h->u.load.day,
                                     &h->u.load.used);
        next = later(w, between(w, 1, 5), LOADED, h->relay);
        next->epoch = h->epoch;
        next->key = h->key;
        break;
    case LOADED:
        if (alive)
            grant_book_loaded(r->book, subjects[h->key], w->now);
        break;
    case HEART:
        if (!alive)
            break;
        later(w, HEART_MS, HEART, h->relay);
        if (w->store_up && !r->cut)
            later(w, 2, BORN, h->relay)->u.born = ledger_memory_born(w->store);
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
        later(w, SHIP_MS, SHIP, h->relay);
        if (w->usage_up && (w->quiet || chance(w, 0.8)))
            apply(w, r);
        break;
    case TURN:
        if (alive)
            take_turn(w, h->relay);
        break;
    case EXTEND:
        if (alive)
            extend(w, h->u.request);
        break;
    case SETTLE:
        if (alive)
            settle(w, h->u.request);
        break;
    case TRAFFIC:
        traffic(w);
        break;
    case FAULT:
        fault(w);
        break;
    case START:
        if (r && !r->up)
            start_relay(w, h->relay);
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
            later(w, 40, SNAP, -1);
        break;
    }
}

/* I1: what was really used is never above what the store counts; but for rebuilt ledgers, which learn of it. */
static void check_counted(world *w)
{
    for (int k = 0; k < LEDGERS && w->profile <= PART; k++) {
        ledger_totals t;
        if (!is_in_use(w, k) || !ledger_memory_totals(w->store, subjects[k], &t) || !t.ready ||
            t.day != ledger_day_of(wall(w)))
            continue;
        for (int d = 0; d < LEDGER_WINDOWS; d++) {
            int64_t real = w->real[k].of_day[window_index((ledger_window)d, t.day)].of[d];
            if (t.taken.of[d] < real)
                VIOLATED(w, "%s window %d: taken %lld, real %lld", subjects[k], d,
                         (long long)t.taken.of[d], (long long)real);
        }
    }
}

static void check_at_rest(world *w)
{
    for (int i = 0; i < w->relay_count; i++) {
        const relay *r = &w->relays[i];
        if (!r->up || !grant_book_is_idle(r->book))
            VIOLATED(w, "relay %d has not come to rest", i);
        else if (r->spool.applied != r->spool.count)
            VIOLATED(w, "relay %d has events that usage has not", i);
    }
    for (int k = 0; k < LEDGERS; k++) {
        ledger_totals t;
        if (!is_in_use(w, k) || !ledger_memory_totals(w->store, subjects[k], &t) || !t.ready)
            continue;
        ledger_amounts rows = used(w, k, t.day, 0);
        for (int d = 0; d < LEDGER_WINDOWS; d++) {
            int64_t real = w->real[k].of_day[window_index((ledger_window)d, t.day)].of[d];
            if (t.taken.of[d] < (w->gone ? real : rows.of[d]))
                VIOLATED(w, "%s window %d: taken %lld, rows %lld, real %lld", subjects[k], d,
                         (long long)t.taken.of[d], (long long)rows.of[d], (long long)real);
            if (!w->gone && !w->late && t.taken.of[d] != rows.of[d])
                VIOLATED(w, "%s window %d: taken %lld, rows %lld: a leak", subjects[k], d,
                         (long long)t.taken.of[d], (long long)rows.of[d]);
            if (!w->gone && rows.of[d] < real)
                VIOLATED(w, "%s window %d: rows %lld, real %lld: lost", subjects[k], d,
                         (long long)rows.of[d], (long long)real);
            if (!w->gone && !w->interrupted && rows.of[d] != real)
                VIOLATED(w, "%s window %d: rows %lld, real %lld", subjects[k], d,
                         (long long)rows.of[d], (long long)real);
        }
        if (!w->gone && (t.records != 0 || t.bucket_lent != 0 || t.slots != 0))
            VIOLATED(w, "%s: %lld records, %lld bucket tokens, %lld slots are left", subjects[k],
                     (long long)t.records, (long long)t.bucket_lent, (long long)t.slots);
        if (t.all_records > LEDGER_RECORDS_MAX)
            VIOLATED(w, "too many records");
    }
}

static ledger_limits draw_limits(world *w)
{
    double per_day = (double)RUN_MS / w->demand;
    static const double sizes[] = {0.2, 0.5, 0.9, 4};
    double size = sizes[between(w, 0, 3)];
    static const double hold[] = {1, 40, 40, 400};
    ledger_limits l = {.generation = 1};

    for (int d = 0; d < LEDGER_WINDOWS; d++)
        l.window.of[d] =
            GW_MAX((int64_t)(per_day * hold[d] * size * (0.7 + (double)between(w, 0, 9) / 10)), 10);
    l.per_minute = (int64_t[]){0, 0, 300, 3000}[between(w, 0, 3)];
    l.in_flight = (int64_t[]){0, 0, 3, 20}[between(w, 0, 3)];
    return l;
}

/* What no clock may do: a relay that is only cut off has spent what the store does not know of. */
static void forgive_the_silent(world *w)
{
    ledger_silent found[LEDGER_RECORDS_MAX], was;

    for (int k = 0; k < LEDGERS; k++) {
        size_t count = ledger_memory_silent(w->store, subjects[k], found);
        for (size_t i = 0; i < count; i++)
            (void)ledger_memory_forgive(w->store, subjects[k], found[i].holder, &was);
    }
}

static void run_world(world *w, unsigned seed, profile p)
{
    timers.lapse_ms =
        world_mutant == WORLD_SLOTS_LAPSE_EARLY || world_mutant == WORLD_FORGIVEN_AT_LEASE
            ? timers.lease_ms
            : REQUEST_MAX_MS + timers.lease_ms + 100;
    timers.quarantine_ms = world_mutant == WORLD_NO_QUARANTINE ? 0 : 700;
    *w = (world){.random = seed * UINT64_C(2654435761) + 88172645463325252U,
                 .seed = seed,
                 .profile = p,
                 .run = 1};
    for (int i = 0; i < 8; i++)
        (void)draw(w);
    w->queue = malloc(sizeof(*w->queue) * QUEUE);
    w->store = ledger_memory_new(&timers);
    w->store_up = w->usage_up = true;
    w->start_wall = (START_DAY + 2) * LEDGER_DAY_MS -
                    (chance(w, 0.5) ? between(w, 1000, 5000) : LEDGER_DAY_MS / 2);
    w->relay_count = (int)between(w, p == REDIS ? 2 : 1, RELAYS);
    w->key_count = (int)between(w, 1, KEYS);
    w->has_client = chance(w, 0.5);
    w->demand = (int[]){6, 12, 25}[between(w, 0, 2)];
    w->doubles = (double[]){0, .05, .2}[between(w, 0, 2)];
    w->loss = (double[]){0, .02, .1}[between(w, 0, 2)];
    ledger_memory_set_now(w->store, wall(w) - 10 * timers.quarantine_ms);
    (void)ledger_memory_born(w->store);
    for (int k = 0; k < LEDGERS; k++) {
        w->limits[k] = draw_limits(w);
        w->limit_max[k] = w->limits[k].window;
        w->bucket[k] = (double)w->limits[k].per_minute;
    }
    for (int i = 0; i < w->relay_count; i++) {
        book_args[i] = (book_arg){w, i};
        start_relay(w, i);
    }
    later(w, 1, TRAFFIC, -1);
    later(w, between(w, 200, 1200), FAULT, -1);
    if (p == REDIS || p == MIX)
        later(w, 1, SNAP, -1);
    while (w->queued > 0 && !w->violation[0]) {
        int first = 0;
        for (int i = 1; i < w->queued; i++)
            if (w->queue[i].at < w->queue[first].at ||
                (w->queue[i].at == w->queue[first].at && w->queue[i].order < w->queue[first].order))
                first = i;
        happening h = w->queue[first];
        w->queue[first] = w->queue[--w->queued];
        if (h.at > RUN_MS + QUIET_MS)
            break;
        w->now = h.at;
        w->quiet = w->now >= RUN_MS;
        happen(w, &h);
        for (int i = 0; i < w->relay_count; i++)
            send_batches(w, i);
        if (world_mutant == WORLD_FORGIVEN_AT_LEASE)
            forgive_the_silent(w);
        check_counted(w);
    }
    if (!w->violation[0])
        check_at_rest(w);
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

#ifndef GRANT_MUTANTS
#ifdef __SANITIZE_THREAD__
#define RUNS_BY_DEFAULT 100 /* twenty times as slow, and there is one thread */
#else
#define RUNS_BY_DEFAULT 1000
#endif

static unsigned wanted(const char *variable, unsigned otherwise)
{
    const char *text = getenv(variable);
    int64_t n = otherwise;

    if (text)
        assert_true(gw_str_to_int64(gw_str_of(text), &n) && n > 0 && n <= UINT_MAX);
    return (unsigned)n;
}

static void no_world_oversells_or_leaks(void **state)
{
    unsigned runs = wanted("GRANT_WORLD_RUNS", RUNS_BY_DEFAULT);
    unsigned from = wanted("GRANT_WORLD_SEED", 1);
    static const char *names[] = {"net", "crash", "part", "redis", "mix"};
    unsigned bad = 0;
    int64_t cut = 0, refused = 0, unavailable = 0, extended_times = 0, batched = 0;
    static world the_world; /* too large for the stack */
    world *w = &the_world;

    (void)state;
    for (unsigned seed = from; seed < from + runs; seed++) {
        run_world(w, seed, (profile)(seed % PROFILES));
        cut += w->admitted;
        refused += w->refused;
        unavailable += w->unavailable;
        extended_times += w->extended;
        batched += w->batched;
        if (w->violation[0] && bad++ < 10)
            print_message("seed %u (%s) at %lld ms: %s\n", seed, names[seed % PROFILES],
                          (long long)w->now, w->violation);
    }
    print_message("%u runs: %lld cut, %lld extended, %lld refused, %lld unavailable, %lld batches, "
                  "%u violations\n",
                  runs, (long long)cut, (long long)extended_times, (long long)refused,
                  (long long)unavailable, (long long)batched, bad);
    assert_int_equal(bad, 0);
    assert_true(cut > 100 * (int64_t)runs);
    assert_true(extended_times > 5 * (int64_t)runs);
    assert_true(batched > 20 * (int64_t)runs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(no_world_oversells_or_leaks)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
#endif
