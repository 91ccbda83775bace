#include "ingest_internal.h"

#include "event_row.h"
#include "usage_metrics.h"

#include "core/fault.h"

#include <stdlib.h>

#define SWEEP_INTERVAL_MS 15000
#define SWEEP_AGE_MS      15000

/* ---- steps of one stream, on a worker ---- */

static gw_status step_resume(ingest_stream *st, const spool_db *s, gw_error *err)
{
    if (!st->welcomed) {
        gw_status rc = spool_register(s, &st->hello, &st->standing, err);
        if (rc != GW_OK || st->standing != SPOOL_KNOWN)
            return rc;
    }
    touched_days *touched = GW_MUTANT(WELCOME_UNCONFIRMED) && !st->welcomed ? NULL : &st->touched;
    return spool_resume(s, st->hello.id, st->job_tail, &st->position, touched, err);
}

static gw_status step_claim(ingest_stream *st, const spool_db *s, gw_error *err)
{
    gw_status rc = claim_judge(&st->claim, st->now_ms, st->retention_ms, err);
    if (rc != GW_OK)
        return rc;
    st->names_dropped = counted_names_bound(st->in->names, s, &st->claim);
    return spool_claim(s, st->hello.id, &st->claim, st->job_tail, &st->matched, err);
}

static gw_status run_step(doc_job *j, doc_store *store, gw_error *err)
{
    ingest_stream *st = GW_CONTAINER_OF(j, ingest_stream, job);
    spool_db s = {.store = store, .now_ms = st->now_ms};
    switch (st->step) {
    case STEP_RESUME:
        return step_resume(st, &s, err);
    case STEP_CLAIM:
        return step_claim(st, &s, err);
    case STEP_APPLY:
        return spool_apply(&s, st->hello.id, &st->claim, &st->touched, err);
    case STEP_FINISH:
        return spool_finish(&s, st->hello.id, st->n, err);
    case STEP_STATUS:
        return spool_note_status(&s, st->hello.id, &st->job_status, err);
    case STEP_NONE:
        break;
    }
    return GW_OK;
}

static void step_done(doc_job *j, gw_status rc, const gw_error *err)
{
    ingest_stream *st = GW_CONTAINER_OF(j, ingest_stream, job);
    st->busy = false;
    st->has_result = true;
    st->rc = rc;
    st->error = *err;
    /* What a failed step did write counts too. */
    fold_runner_touch(st->in->o.folds, &st->touched);
    touched_days_fini(&st->touched);
    ingest_stream_wake(st);
}

int64_t ingest_now_ms(ingest *in)
{
    int64_t wall_ms = gw_clock_wall_ms(gw_loop_clock(in->o.loop));
    int64_t at_ms = gw_clock_mono_ms(gw_loop_clock(in->o.loop));
    in->newest_ms = GW_MAX(wall_ms, in->newest_ms + (at_ms - in->newest_at_ms));
    in->newest_at_ms = at_ms;
    return in->newest_ms;
}

void ingest_start_step(ingest_stream *st, ingest_step step)
{
    st->step = step;
    st->busy = true;
    st->has_result = false;
    st->now_ms = ingest_now_ms(st->in);
    st->retention_ms = st->in->o.limits.retention_ms;
    st->job_tail = st->tail;
    st->job_status = st->status;
    st->started_ms = gw_loop_now_ms(st->in->o.loop);
    st->job.run = run_step;
    st->job.done = step_done;
    doc_pool_submit(st->in->o.pool, &st->job);
}

/* ---- sweep: claims that lost both their relay and their replica ---- */

struct sweep_job {
    doc_job job;
    ingest *in;
    int64_t now_ms;
    size_t swept;
    touched_days touched;
};

static gw_status run_sweep(doc_job *j, doc_store *store, gw_error *err)
{
    struct sweep_job *w = GW_CONTAINER_OF(j, struct sweep_job, job);
    spool_db s = {.store = store, .now_ms = w->now_ms};
    return spool_sweep(&s, SWEEP_AGE_MS, &w->swept, &w->touched, err);
}

static void sweep_done(doc_job *j, gw_status rc, const gw_error *err)
{
    struct sweep_job *w = GW_CONTAINER_OF(j, struct sweep_job, job);
    ingest *in = w->in;
    in->sweep = NULL;
    if (rc != GW_OK && rc != GW_ERR_UNAVAILABLE)
        gw_log_error(in->o.log, "sweep_failed", gw_kv_error(err));
    if (w->swept) {
        gw_log_warn(in->o.log, "claims_swept", gw_kv("usage.spools", w->swept));
        gw_metric_add(in->o.metrics, M_usage_sweeps_total, (int64_t)w->swept,
                      (const gw_str[]){GW_STR("applied")}, 1);
    }
    fold_runner_touch(in->o.folds, &w->touched);
    touched_days_fini(&w->touched);
    free(w);
    if (!in->stopped)
        gw_timer_set(in->o.loop, &in->sweep_timer, SWEEP_INTERVAL_MS);
}

static void on_sweep_timer(void *arg)
{
    ingest *in = (ingest *)arg;
    struct sweep_job *w = (struct sweep_job *)calloc(1, sizeof(*w));
    if (!w) {
        gw_timer_set(in->o.loop, &in->sweep_timer, SWEEP_INTERVAL_MS);
        return;
    }
    w->in = in;
    w->now_ms = ingest_now_ms(in);
    w->job.run = run_sweep;
    w->job.done = sweep_done;
    in->sweep = w;
    doc_pool_submit(in->o.pool, &w->job);
}

void ingest_start_sweeps(ingest *in)
{
    gw_timer_init(&in->sweep_timer, on_sweep_timer, in);
    gw_timer_set(in->o.loop, &in->sweep_timer, SWEEP_INTERVAL_MS);
}
