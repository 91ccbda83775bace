/*
 * Usage's own ingest over a null store: what a replica of usage costs an event when the database costs nothing.
 *
 *   bench_ingest --listen 127.0.0.1:9103 --ops 127.0.0.1:9203
 *
 * What the protocol reads back (the spools) is kept in memory; rows and hours are made up whole and let go. At SIGTERM one JSON object:
 * events, seconds (from the first rows to the last), cpu_us (of the process in that time, an event).
 */
#include "stand_in.h"

#include "doc_store_memory.h"
#include "ingest.h"
#include "usage_collections.h"
#include "usage_metrics.h"

#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

typedef struct moment {
    int64_t wall_ns, cpu_us, events;
} moment;

typedef struct null_store {
    doc_store base;
    memory_db *db;
    doc_store_memory spools;
    int64_t events;
    moment first, last; /* of a write of rows */
} null_store;

typedef struct program {
    doc_pool pool;
    null_store store;
    gw_loop *loop;
    gw_log *log;
    fold_runner *folds;
    ingest *ingest;
} program;

/* ---- the store ---- */

static moment now(const null_store *s)
{
    struct rusage u;
    (void)getrusage(RUSAGE_SELF, &u);
    return (moment){.wall_ns = gw_clock_mono_ns(&gw_system_clock),
                    .cpu_us = (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000LL +
                              u.ru_utime.tv_usec + u.ru_stime.tv_usec,
                    .events = s->events};
}

static bool is_spools(const char *collection)
{
    return strcmp(collection, COLLECTION_SPOOLS) == 0;
}

static gw_status find(doc_store *base, const char *collection, const bson_t *filter,
                      const bson_t *opts, gw_db_each_fn each, void *arg, const char *what,
                      gw_error *err)
{
    null_store *s = GW_CONTAINER_OF(base, null_store, base);
    return is_spools(collection)
               ? doc_store_find(&s->spools.base, collection, filter, opts, each, arg, what, err)
               : GW_OK;
}

static gw_status write_batch(doc_store *base, const char *collection, const doc_batch *b,
                             int64_t *ret_matched, const char *what, gw_error *err)
{
    null_store *s = GW_CONTAINER_OF(base, null_store, base);
    if (is_spools(collection))
        return s->spools.base.ops->write(&s->spools.base, collection, b, ret_matched, what, err);
    if (ret_matched)
        *ret_matched = (int64_t)b->count;
    if (strcmp(collection, COLLECTION_ROWS) == 0) {
        s->events += (int64_t)b->count;
        s->last = now(s);
        if (s->first.events == 0)
            s->first = s->last;
    }
    return GW_OK;
}

/* ---- its pool: jobs run at once, in the loop's thread ---- */

static void tell_done(void *arg)
{
    doc_job *j = arg;
    gw_error none = {0};
    j->done(j, GW_OK, &none);
}

static void submit(doc_pool *pool, doc_job *j)
{
    program *p = GW_CONTAINER_OF(pool, program, pool);
    gw_error err = {0};
    if (j->run(j, &p->store.base, &err) == GW_OK)
        gw_loop_defer(p->loop, tell_done, j);
    else
        gw_log_error(p->log, "job_failed", gw_kv_error(&err));
}

static bool is_up(const doc_pool *p)
{
    (void)p;
    return true;
}

/* ---- life ---- */

static gw_status start(stand_in *in, void *arg, gw_error *err)
{
    static const doc_store_ops store_ops = {.find = find, .write = write_batch};
    static const doc_pool_ops pool_ops = {.submit = submit, .is_up = is_up};
    program *p = arg;
    p->loop = in->loop;
    p->pool.ops = &pool_ops;
    p->store.base.ops = &store_ops;
    p->store.db = memory_db_new();
    p->log = gw_log_new("bench_ingest", STDERR_FILENO, GW_LOG_WARN, &gw_system_clock);
    if (!p->store.db || !p->log)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the store");
    (void)doc_store_memory_init(&p->store.spools, p->store.db);
    gw_status rc = fold_runner_new(in->loop, &p->pool, p->log, in->shard, &p->folds, err);
    ingest_options o = {.loop = in->loop,
                        .pool = &p->pool,
                        .folds = p->folds,
                        .log = p->log,
                        .metrics = in->shard,
                        .limits = {.retention_ms = 90 * GW_MS_PER_DAY,
                                   .memory_bytes = 256 << 20,
                                   .window_bytes = 4 << 20,
                                   .claim_delay_ms = 50}};
    if (rc == GW_OK)
        rc = ingest_new(&o, &p->ingest, err);
    in->handler_arg = p->ingest;
    return rc;
}

static void stop(void *arg)
{
    program *p = arg;
    ingest_stop(p->ingest);
    fold_runner_stop(p->folds);
}

static void print(const null_store *s)
{
    int64_t events = s->last.events - s->first.events;
    (void)printf("{\"events\":%lld,\"seconds\":%.3f,\"cpu_us\":%.2f}\n", (long long)events,
                 (double)(s->last.wall_ns - s->first.wall_ns) / 1e9,
                 (double)(s->last.cpu_us - s->first.cpu_us) / (double)GW_MAX(events, 1));
}

int main(int argc, char **argv)
{
    static program p;
    stand_in_options o = {.name = "bench_ingest",
                          .metrics = usage_metric_table,
                          .metric_count = USAGE_METRIC_COUNT,
                          .handlers = ingest_handlers(),
                          .arg = &p,
                          .starting = start,
                          .stopping = stop};
    int status = stand_in_run(&o, argc, argv);
    if (status == EXIT_SUCCESS)
        print(&p.store);
    return status;
}
