#include "key_feed.h"

#include "key_ring.h"
#include "key_tail.h"

#include <stdlib.h>

#define POLL_MS        200
#define BATCH          512
#define HISTORY        8000 /* changes looked back on at start */
#define TRIM_EVERY_MS  60000
#define HISTORY_AGE_MS GW_MS_PER_HOUR

struct key_feed {
    gw_loop *loop;
    gw_mongo *mongo;
    gw_log *log;
    gw_timer timer;
    gw_list watchers;
    key_ring ring;
    bool ready, reading, poked, stopped, failing;
    int64_t wait_for, wait_since_ms, trim_due_ms;
    /* One reading at a time; what it found. */
    gw_mongo_job job;
    bool first, trim;
    int64_t wall_ms, from, lost_until, hold_for;
    key_tail_wait wait;
    key_change changes[BATCH];
    size_t count, passed;
};

/* ---- on a worker ---- */

static gw_status find_start(key_feed *f, const gw_db *d, gw_error *err)
{
    int64_t newest = 0, oldest = 0;
    gw_status rc = key_changes_newest(d, &newest, err);
    int64_t after = GW_MAX(newest - HISTORY, 0);
    if (rc == GW_OK)
        rc = key_changes_oldest(d, after, &oldest, err);
    if (rc == GW_OK)
        f->from = oldest ? oldest - 1 : newest;
    return rc;
}

static gw_status pass_changes(key_feed *f, const gw_db *d, gw_error *err)
{
    int64_t applied = f->from;
    for (size_t i = 0; i < f->count; i++) {
        const key_change *c = &f->changes[i];
        gw_status rc = GW_OK;
        key_tail_step step = key_tail_decide(applied, c, f->wait, f->wall_ms, &f->hold_for);
        if (step == KEY_TAIL_HOLD)
            return GW_OK;
        if (step == KEY_TAIL_FENCE)
            rc = key_changes_fence(d, &c->subject, c->generation, err);
        if (rc != GW_OK)
            return rc;
        if (step == KEY_TAIL_LOST) {
            f->lost_until = c->generation - 1;
            return GW_OK; /* the next reading goes on from there */
        }
        f->hold_for = 0;
        f->passed++;
        applied = c->generation;
    }
    return GW_OK;
}

static gw_status read_log(gw_mongo_job *j, mongoc_client_t *client, mongoc_database_t *database,
                          gw_error *err)
{
    (void)client;
    key_feed *f = GW_CONTAINER_OF(j, key_feed, job);
    const gw_db d = {database, f->mongo};
    gw_status rc = f->first ? find_start(f, &d, err) : GW_OK;
    if (rc == GW_OK)
        rc = key_changes_read(&d, f->from, f->changes, BATCH, &f->count, err);
    if (rc == GW_OK)
        rc = pass_changes(f, &d, err);
    if (rc == GW_OK && f->trim)
        rc = key_changes_trim(&d, f->wall_ms - HISTORY_AGE_MS, HISTORY, err);
    return rc;
}

/* ---- on the loop ---- */

static void serve(key_feed *f, key_watcher *w)
{
    if (!w->started) {
        w->started = true;
        if (w->sent == 0)
            w->sent = f->ring.applied;
    }
    if (!key_ring_reaches(&f->ring, w->sent)) {
        w->sent = f->ring.applied;
        if (!w->reset(w, w->sent))
            return;
    }
    while (w->sent < f->ring.applied) {
        w->sent++;
        if (!w->changed(w, key_ring_at(&f->ring, w->sent), w->sent))
            return;
    }
    (void)w->heartbeat(w, w->sent);
}

static void serve_all(key_feed *f)
{
    gw_list_each_safe (node, &f->watchers) {
        serve(f, GW_CONTAINER_OF(node, key_watcher, node));
    }
}

static void take_reading(key_feed *f)
{
    if (f->first)
        key_ring_init(&f->ring, f->from);
    for (size_t i = 0; i < f->passed; i++)
        key_ring_push(&f->ring, &f->changes[i].subject);
    if (f->lost_until) {
        gw_log_warn(f->log, "key_changes_missing", gw_kv("from", f->ring.applied + 1),
                    gw_kv("to", f->lost_until));
        key_ring_init(&f->ring, f->lost_until);
    }
    if (f->hold_for != f->wait_for) {
        f->wait_for = f->hold_for;
        f->wait_since_ms = gw_loop_now_ms(f->loop);
    }
    if (f->trim)
        f->trim_due_ms = gw_loop_now_ms(f->loop) + TRIM_EVERY_MS;
    f->first = false;
}

static void start_reading(key_feed *f);

static void reading_done(gw_mongo_job *j, gw_status rc, const gw_error *err)
{
    key_feed *f = GW_CONTAINER_OF(j, key_feed, job);
    f->reading = false;
    if (rc == GW_OK) {
        take_reading(f);
        bool more = f->passed == BATCH || f->lost_until;
        if (!more)
            f->ready = true;
        if (f->ready)
            serve_all(f);
        if (more)
            f->poked = true;
    }
    if ((rc != GW_OK) != f->failing) {
        f->failing = rc != GW_OK;
        if (f->failing)
            gw_log_warn(f->log, "key_changes_unreadable", gw_kv_error(err));
        else
            gw_log_info(f->log, "key_changes_readable", gw_kv("generation", f->ring.applied));
    }
    if (f->poked && rc == GW_OK)
        start_reading(f);
}

static void start_reading(key_feed *f)
{
    if (f->stopped || f->reading)
        return;
    f->reading = true;
    f->poked = false;
    f->count = f->passed = 0;
    f->lost_until = f->hold_for = 0;
    f->from = f->ring.applied;
    f->wall_ms = gw_clock_wall_ms(gw_loop_clock(f->loop));
    f->wait = (key_tail_wait){f->wait_for, gw_loop_now_ms(f->loop) - f->wait_since_ms};
    f->trim = f->ready && gw_loop_now_ms(f->loop) >= f->trim_due_ms;
    f->job = (gw_mongo_job){.run = read_log, .done = reading_done};
    gw_mongo_submit(f->mongo, &f->job);
}

static void on_timer(void *arg)
{
    key_feed *f = arg;
    gw_timer_set(f->loop, &f->timer, POLL_MS);
    f->poked = f->reading; /* a slow one is followed at once */
    start_reading(f);
}

void key_feed_poke(key_feed *f)
{
    f->poked = true;
    start_reading(f);
}

gw_status key_feed_new(gw_loop *l, gw_mongo *m, gw_log *log, key_feed **ret, gw_error *err)
{
    key_feed *f = calloc(1, sizeof(*f));
    if (!f)
        return gw_fail(err, GW_ERR_NO_MEMORY, "key feed");
    f->loop = l;
    f->mongo = m;
    f->log = log;
    f->first = true;
    f->failing = true; /* the first success is told */
    gw_list_init(&f->watchers);
    gw_timer_init(&f->timer, on_timer, f);
    gw_timer_set(l, &f->timer, 0);
    *ret = f;
    return GW_OK;
}

void key_feed_stop(key_feed *f)
{
    f->stopped = true;
    gw_timer_cancel(f->loop, &f->timer);
}

void key_feed_free(key_feed *f)
{
    if (!f)
        return;
    key_feed_stop(f);
    free(f);
}

bool key_feed_is_ready(const key_feed *f)
{
    return f->ready;
}

int64_t key_feed_applied(const key_feed *f)
{
    return f->ready ? f->ring.applied : 0;
}

void key_feed_watch(key_feed *f, key_watcher *w, int64_t from)
{
    w->sent = from;
    w->started = false;
    gw_list_push_back(&f->watchers, &w->node);
    key_feed_poke(f);
}

void key_feed_unwatch(key_feed *f, key_watcher *w)
{
    (void)f;
    gw_list_remove(&w->node);
}
