#include "spool_watch.h"

#include "fold_runner.h"
#include "rejects.h"
#include "usage_metrics.h"

#include <stdlib.h>

#define LOOK_EVERY_MS 30000
#define REPLAY_AGE_MS 60000 /* a replay takes seconds */

struct spool_watch {
    const usage_queries_options *o;
    gw_mongo_job job;
    gw_timer timer;
    bool stopped;
    spool_care care; /* of the job */
    int64_t now_ms;
    spool_round round;
    touched_days touched;
};

/* ---- one look, on a worker ---- */

static gw_status run_look(gw_mongo_job *j, mongoc_client_t *client, mongoc_database_t *database,
                          gw_error *err)
{
    (void)client;
    spool_watch *w = GW_CONTAINER_OF(j, spool_watch, job);
    const gw_db d = {database, j->mongo};
    gw_status rc = spool_care_look(&d, &w->care, w->now_ms, &w->round, err);
    return rc == GW_OK ? rejects_recover(&d, w->now_ms, REPLAY_AGE_MS, &w->touched, err) : rc;
}

/* ---- on the loop ---- */

static void log_news(spool_watch *w, const spool_news *n)
{
    gw_log *log = w->o->log;
    switch (n->kind) {
    case SPOOL_FELL_SILENT:
        gw_log_warn(log, "spool_silent", gw_kv("usage.spool", (const char *)n->id),
                    gw_kv("relay.host", (const char *)n->host), gw_kv("usage.events", n->events),
                    gw_kv("relay.open_slots", n->open_slots));
        break;
    case SPOOL_LOST:
        gw_log_error(log, "spool_lost", gw_kv("usage.spool", (const char *)n->id),
                     gw_kv("relay.host", (const char *)n->host), gw_kv("usage.events", n->events),
                     gw_kv("relay.open_slots", n->open_slots));
        gw_metric_add(w->o->metrics, M_usage_spools_lost_total, 1, NULL, 0);
        break;
    case SPOOL_RETURNED:
        gw_log_info(log, "spool_returned", gw_kv("usage.spool", (const char *)n->id),
                    gw_kv("relay.host", (const char *)n->host));
        break;
    }
}

static int64_t interval_of(const spool_watch *w)
{
    return GW_MAX(GW_MIN(LOOK_EVERY_MS, w->o->spools.silent_ms / 4), 100);
}

static void looked(gw_mongo_job *j, gw_status rc, const gw_error *err)
{
    spool_watch *w = GW_CONTAINER_OF(j, spool_watch, job);
    if (rc != GW_OK && rc != GW_ERR_UNAVAILABLE) /* an outage is told by gw_mongo */
        gw_log_error(w->o->log, "spools_not_looked_after", gw_kv_error(err));
    for (size_t i = 0; i < w->round.news_count; i++)
        log_news(w, &w->round.news[i]);
    if (rc == GW_OK && w->o->metrics) {
        gw_metric_set(w->o->metrics, M_usage_spools_silent, w->round.silent, NULL, 0);
        gw_metric_set(w->o->metrics, M_usage_spools_silent_events, w->round.silent_events, NULL, 0);
    }
    if (w->o->folds)
        fold_runner_touch(w->o->folds, &w->touched);
    touched_days_fini(&w->touched);
    if (!w->stopped)
        gw_timer_set(w->o->loop, &w->timer, interval_of(w));
}

static void look(void *arg)
{
    spool_watch *w = arg;
    if (w->stopped)
        return;
    w->now_ms = gw_clock_wall_ms(gw_loop_clock(w->o->loop));
    w->care = w->o->spools;
    w->round = (spool_round){0};
    w->job = (gw_mongo_job){.run = run_look, .done = looked};
    gw_mongo_submit(w->o->mongo, &w->job);
}

spool_watch *spool_watch_new(const usage_queries_options *o)
{
    spool_watch *w = calloc(1, sizeof(*w));
    if (!w)
        return NULL;
    w->o = o;
    gw_timer_init(&w->timer, look, w);
    gw_mongo_when_up(o->mongo, look, w);
    return w;
}

void spool_watch_stop(spool_watch *w)
{
    w->stopped = true;
    gw_timer_cancel(w->o->loop, &w->timer);
}

void spool_watch_free(spool_watch *w)
{
    if (!w)
        return;
    touched_days_fini(&w->touched);
    free(w);
}
