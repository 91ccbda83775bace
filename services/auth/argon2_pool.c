#include "argon2_pool.h"

#include "auth_metrics.h"

#include <stdio.h>
#include <stdlib.h>

#define QUEUE_MAX 64

struct argon2_pool {
    gw_loop *loop;
    gw_workers *workers;
    gw_metrics_shard *metrics;
};

gw_status argon2_pool_new(gw_loop *l, unsigned threads, gw_metrics_shard *metrics,
                          argon2_pool **ret, gw_error *err)
{
    argon2_pool *p = calloc(1, sizeof(*p));
    if (!p)
        return gw_fail(err, GW_ERR_NO_MEMORY, "argon2 workers");
    p->loop = l;
    p->metrics = metrics;
    gw_status rc = gw_workers_new(l, "argon2", threads, QUEUE_MAX, &p->workers, err);
    if (rc == GW_OK)
        *ret = p;
    else
        free(p);
    return rc;
}

void argon2_pool_free(argon2_pool *p)
{
    if (!p)
        return;
    gw_workers_free(p->workers);
    free(p);
}

static void work(gw_job *j)
{
    argon2_task *t = GW_CONTAINER_OF(j, argon2_task, job);
    if (t->stored.len == 0) {
        t->rc = gw_argon2id_hash(t->secret, gw_argon2_default, t->phc, &t->error);
        return;
    }
    char stored[2 * GW_ARGON2_PHC_SIZE];
    snprintf(stored, sizeof(stored), GW_STR_FMT, GW_STR_ARG(t->stored));
    t->fits = gw_argon2id_verify(stored, t->secret);
}

static void worked(gw_job *j)
{
    argon2_task *t = GW_CONTAINER_OF(j, argon2_task, job);
    t->done(t, t->rc, &t->error);
}

static void refused(void *arg)
{
    argon2_task *t = arg;
    t->done(t, t->rc, &t->error);
}

void argon2_pool_run(argon2_pool *p, argon2_task *t)
{
    t->job = (gw_job){.work = work, .done = worked};
    t->fits = false;
    t->rc = GW_OK;
    gw_error err;
    gw_str what = t->stored.len ? GW_STR("verify") : GW_STR("hash");
    gw_status rc = gw_workers_submit(p->workers, &t->job, &err);
    if (rc == GW_OK && p->metrics)
        gw_metric_count(p->metrics, M_auth_argon2_runs_total, what);
    if (rc == GW_OK)
        return; /* the task is the worker's now */
    t->rc = rc;
    t->error = err;
    gw_loop_defer(p->loop, refused, t);
}
