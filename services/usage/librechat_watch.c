#include "librechat_watch.h"

#include "librechat_join.h"
#include "usage_metrics.h"

#include "core/clock.h"
#include "core/id.h"

#include <stdlib.h>

#define LOOK_EVERY_MS 15000
#define MORE_AFTER_MS 1000

struct librechat_watch {
    librechat_watch_options o;
    gw_timer timer;
    bool stopped;
    bool is_failing; /* told once */
    /* of the job */
    gw_mongo_job job;
    int64_t now_ms;
    librechat_joined joined;
};

/* ---- one pass, on a worker ---- */

static gw_status run_pass(gw_mongo_job *j, mongoc_client_t *client, mongoc_database_t *database,
                          gw_error *err)
{
    librechat_watch *w = GW_CONTAINER_OF(j, librechat_watch, job);
    const gw_db own = {database, j->mongo};
    gw_db_auto_reader librechat = gw_db_reader_open(client, w->o.database);
    if (!librechat)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory to read LibreChat's books");
    return librechat_join_pass(&own, librechat, w->now_ms, &w->joined, err);
}

/* ---- on the loop ---- */

static void add(librechat_watch *w, unsigned metric, const char *label, int64_t n)
{
    if (w->o.metrics && n > 0)
        gw_metric_add(w->o.metrics, metric, n, (const gw_str[]){gw_str_of(label)}, 1);
}

/* An outage is told by gw_mongo. */
static void tell(librechat_watch *w, gw_status rc, const gw_error *err)
{
    bool fails = rc != GW_OK && rc != GW_ERR_UNAVAILABLE;
    if (fails && !w->is_failing)
        gw_log_error(w->o.log, "librechat_books_not_read", gw_kv_error(err));
    if (rc == GW_OK && w->is_failing)
        gw_log_info(w->o.log, "librechat_books_read_again");
    w->is_failing = fails || (w->is_failing && rc != GW_OK);
}

/* A quarter more or less: replicas that started together do not stay so. */
static int64_t pause_of(const librechat_watch *w, gw_status rc)
{
    if (rc == GW_OK && w->joined.rows >= LIBRECHAT_ROWS_A_PASS)
        return MORE_AFTER_MS;
    return LOOK_EVERY_MS * 3 / 4 + (int64_t)(gw_random_u64() % (LOOK_EVERY_MS / 2));
}

/* Each row once: it is not due any more. */
static void tell_unreadable(librechat_watch *w)
{
    if (w->joined.unreadable > 0)
        gw_log_error(w->o.log, "librechat_rows_unreadable", gw_kv("rows", w->joined.unreadable));
}

static void passed(gw_mongo_job *j, gw_status rc, const gw_error *err)
{
    librechat_watch *w = GW_CONTAINER_OF(j, librechat_watch, job);
    const librechat_joined *done = &w->joined;
    tell(w, rc, err);
    tell_unreadable(w);
    add(w, M_usage_librechat_rows_total, "booked", done->booked);
    add(w, M_usage_librechat_rows_total, "unbooked", done->unbooked);
    add(w, M_usage_librechat_rows_total, "unreadable", done->unreadable);
    add(w, M_usage_librechat_difference_nano_usd_total, "more", done->more_nano_usd);
    add(w, M_usage_librechat_difference_nano_usd_total, "less", done->less_nano_usd);
    if (!w->stopped)
        gw_timer_set(w->o.loop, &w->timer, pause_of(w, rc));
}

static void look(void *arg)
{
    librechat_watch *w = arg;
    if (w->stopped)
        return;
    w->now_ms = gw_clock_wall_ms(gw_loop_clock(w->o.loop));
    w->joined = (librechat_joined){0};
    w->job = (gw_mongo_job){.run = run_pass, .done = passed};
    gw_mongo_submit(w->o.mongo, &w->job);
}

librechat_watch *librechat_watch_new(const librechat_watch_options *o)
{
    librechat_watch *w = calloc(1, sizeof(*w));
    if (!w)
        return NULL;
    w->o = *o;
    gw_timer_init(&w->timer, look, w);
    gw_mongo_when_up(o->mongo, look, w);
    return w;
}

void librechat_watch_stop(librechat_watch *w)
{
    if (!w)
        return;
    w->stopped = true;
    gw_timer_cancel(w->o.loop, &w->timer);
}

void librechat_watch_free(librechat_watch *w)
{
    free(w);
}
