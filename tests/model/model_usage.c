/* Replicas of usage: their processes, over the store of the model. */
#include "model.h"

#include "ingest.h"
#include "rebuild.h"
#include "usage_metrics.h"

#include <stdlib.h>

#define CLAIM_DELAY_MS 20
#define WINDOW_BYTES   4096

typedef struct rebuilding rebuilding;

struct replica {
    world *w;
    gw_loop *loop;
    node_clock time;
    doc_pool *pool;
    fold_runner *folds;
    ingest *ingest;
    bool up, stopped;
    rebuilding *rebuild; /* under way */
};

/* An hour or all of them made again, as by `usage rebuild`. */
struct rebuilding {
    doc_job job;
    replica *owner;
    rebuild_options options;
    rebuild_report report;
    touched_days touched;
    int64_t now_ms;
};

static gw_metrics_shard *shard;

gw_loop *replica_loop(const replica *u);

gw_loop *replica_loop(const replica *u)
{
    return u->loop;
}

void *replica_ingest(const replica *u)
{
    return u->ingest;
}

/* ---- rebuilds, under traffic ---- */

static gw_status run_rebuild(doc_job *j, doc_store *store, gw_error *err)
{
    rebuilding *b = GW_CONTAINER_OF(j, rebuilding, job);
    spool_db s = {.store = store, .now_ms = b->now_ms};
    return rebuild_run(&s, &b->options, &b->report, &b->touched, err);
}

/* Nobody writes by hand here: whatever goes on meanwhile, there is nothing to correct. */
static void rebuild_done(doc_job *j, gw_status rc, const gw_error *err)
{
    rebuilding *b = GW_CONTAINER_OF(j, rebuilding, job);
    replica *u = b->owner;
    (void)err;
    world_trace(u->w, "rebuild of %lld hours ends: %s, %lld documents differ",
                (long long)b->report.hours, gw_status_describe(rc)->name,
                (long long)b->report.differing);
    if (b->report.differing)
        world_fail(u->w, "a rebuild under traffic finds %lld documents that differ",
                   (long long)b->report.differing);
    u->rebuild = NULL;
    if (u->up)
        fold_runner_touch(u->folds, &b->touched);
    touched_days_fini(&b->touched);
    free(b);
}

static void start_rebuild(world *w, replica *u)
{
    int64_t first_ms = MODEL_WALL_MS - 3 * GW_MS_PER_HOUR;
    rebuilding *b = calloc(1, sizeof(*b));
    if (!b)
        abort();
    b->owner = u;
    b->options = (rebuild_options){.from_ms = first_ms + world_below(w, 4) * GW_MS_PER_HOUR,
                                   .to_ms = MODEL_WALL_MS + GW_MS_PER_HOUR,
                                   .retention_ms = MODEL_RETENTION_MS};
    b->now_ms = gw_clock_wall_ms(&u->time.clock);
    b->job = (doc_job){.run = run_rebuild, .done = rebuild_done};
    u->rebuild = b;
    doc_pool_submit(u->pool, &b->job);
}

/* ---- the process ---- */

void replica_start(world *w, replica *u)
{
    gw_error err;
    const ingest_options o = {.metrics = shard,
                              .limits = {.retention_ms = MODEL_RETENTION_MS,
                                         .memory_bytes = 1 << 20,
                                         .window_bytes = WINDOW_BYTES,
                                         .claim_delay_ms = CLAIM_DELAY_MS}};
    ingest_options with = o;
    u->pool = store_pool_new(w, u);
    if (gw_loop_new(&u->time.clock, &u->loop, &err) != GW_OK)
        abort();
    with.loop = u->loop;
    with.pool = u->pool;
    with.log = w->log;
    if (fold_runner_new(u->loop, u->pool, NULL, shard, &u->folds, &err) != GW_OK)
        abort();
    with.folds = u->folds;
    if (ingest_new(&with, &u->ingest, &err) != GW_OK)
        abort();
    u->up = true;
    u->stopped = false;
}

replica *replica_new(world *w)
{
    static gw_metrics *metrics;
    replica *u = calloc(1, sizeof(*u));
    if (!metrics) {
        metrics = gw_metrics_new(usage_metric_table, USAGE_METRIC_COUNT);
        shard = metrics ? gw_metrics_shard_new(metrics) : NULL;
    }
    if (!u || !shard)
        abort();
    u->w = w;
    node_clock_init(&u->time, w);
    u->time.wall_offset_ms = (int64_t)world_below(w, 40) * 60000 - INT64_C(20) * 60000;
    replica_start(w, u);
    return u;
}

/* What the process was about to do it does without a store: nothing of it happens. */
void replica_kill(world *w, replica *u)
{
    if (!u->up)
        return;
    u->up = false;
    net_cut_of_replica(w, u);
    fold_runner_stop(u->folds);
    ingest_stop(u->ingest);
    ingest_cut(u->ingest);
    for (int turn = 0; turn < 100; turn++) {
        store_kill_jobs(w, u);
        net_finish_calls(u);
        model_loop_turn(u->loop);
        if (ingest_is_idle(u->ingest) && !net_has_calls(u) && !u->rebuild)
            break;
    }
    store_kill_jobs(w, u);
    model_loop_turn(u->loop);
    ingest_free(u->ingest);
    fold_runner_free(u->folds);
    gw_loop_free(u->loop);
    store_pool_free(u->pool);
    u->loop = NULL;
    u->ingest = NULL;
}

void replica_free(world *w, replica *u)
{
    replica_kill(w, u);
    free(u);
}

bool replica_is_up(const replica *u)
{
    return u->up;
}

bool replica_runs(const replica *u)
{
    return u->up && !u->stopped;
}

void replica_stop(replica *u)
{
    u->stopped = true;
}

void replica_continue(replica *u)
{
    u->stopped = false;
}

void replica_step(world *w, replica *u)
{
    if (!replica_runs(u))
        return;
    if (w->rebuilds && !w->draining && !u->rebuild && world_chance(w, 20))
        start_rebuild(w, u);
    if (world_chance(w, 600) && store_run_jobs(w, u))
        return;
    model_loop_turn(u->loop);
}

/* An hour is where the judgement of what is young or old enough may differ. */
void replica_step_clock(world *w, replica *u)
{
    u->time.wall_offset_ms += ((int64_t)world_below(w, 61) - 30) * 60000;
}
