/* Jobs of usage, each in a fiber, over the operations of the store. */
#include "model_store_internal.h"

#include <stdlib.h>

typedef struct model_pool {
    doc_pool base;
    world *w;
    replica *owner;
} model_pool;

typedef struct model_doc_store {
    doc_store base;
    job_run *run;
} model_doc_store;

/* ---- the doc store that jobs see; inside their fibers ---- */

static gw_status perform(job_run *j, operation *o, const char *what, gw_error *err)
{
    if (j->dead || !store.up) {
        operation_free(o);
        return gw_fail(err, GW_ERR_UNAVAILABLE, "%s: no answer", what);
    }
    gw_list_push_back(&store.operations, &o->node);
    j->waits = true;
    fiber_yield();
    if (j->finished != o || j->dead) {
        if (j->finished)
            operation_free(gw_steal(&j->finished));
        return gw_fail(err, GW_ERR_UNAVAILABLE, "%s: no answer", what);
    }
    return j->answer == GW_OK ? GW_OK : gw_fail(err, j->answer, "%s: it exists already", what);
}

static gw_status find_documents(doc_store *s, const char *collection, const bson_t *filter,
                                const bson_t *opts, gw_db_each_fn each, void *arg, const char *what,
                                gw_error *err)
{
    job_run *j = ((model_doc_store *)s)->run;
    operation *o = operation_new(j, collection);
    o->is_find = true;
    o->filter = bson_copy(filter);
    o->opts = opts ? bson_copy(opts) : NULL;
    gw_status rc = perform(j, o, what, err);
    if (rc != GW_OK)
        return rc;
    j->finished = NULL;
    for (size_t i = 0; i < o->found_count && rc == GW_OK; i++)
        rc = each(arg, o->found[i], err);
    operation_free(o);
    return rc;
}

static void copy_batch(world *w, const doc_batch *from, doc_batch *to)
{
    for (size_t i = 0; i < from->count; i++) {
        const doc_write *x = &from->writes[i];
        if (x->filter)
            doc_batch_update(to, bson_copy(x->filter), bson_copy(x->document), x->upsert);
        else
            doc_batch_insert(to, bson_copy(x->document));
    }
    for (size_t i = to->count; i > 1; i--) { /* in no order */
        size_t k = world_below(w, (unsigned)i);
        doc_write x = to->writes[i - 1];
        to->writes[i - 1] = to->writes[k];
        to->writes[k] = x;
    }
}

static gw_status write_batch(doc_store *s, const char *collection, const doc_batch *b,
                             int64_t *ret_matched, const char *what, gw_error *err)
{
    job_run *j = ((model_doc_store *)s)->run;
    operation *o = operation_new(j, collection);
    copy_batch(j->w, b, &o->batch);
    gw_status rc = perform(j, o, what, err);
    if (j->finished == o) {
        if (rc == GW_OK && ret_matched)
            *ret_matched = o->matched;
        j->finished = NULL;
        operation_free(o);
    }
    return rc;
}

/* ---- jobs ---- */

static void run_in_fiber(void *arg)
{
    static const doc_store_ops ops = {.find = find_documents, .write = write_batch};
    job_run *j = arg;
    model_doc_store s = {.base.ops = &ops, .run = j};
    j->error = (gw_error){0};
    j->rc = j->job->run(j->job, &s.base, &j->error);
}

static void tell_done(void *arg)
{
    job_run *j = arg;
    doc_job *job = j->job;
    gw_status rc = j->rc;
    gw_error err = j->error;
    free(j);
    job->done(job, rc, &err);
}

static void go_on(job_run *j)
{
    store.running = j;
    fiber_resume(j->fiber);
    store.running = NULL;
    if (!fiber_is_over(j->fiber))
        return;
    fiber_free(j->fiber);
    gw_list_remove(&j->node);
    gw_loop_defer(j->loop, tell_done, j);
}

gw_loop *replica_loop(const replica *u);

static void submit(doc_pool *p, doc_job *job)
{
    model_pool *pool = (model_pool *)p;
    job_run *j = calloc(1, sizeof(*j));
    if (!j)
        abort();
    j->w = pool->w;
    j->owner = pool->owner;
    j->loop = replica_loop(pool->owner);
    j->job = job;
    j->point = "";
    j->dead = !replica_is_up(pool->owner);
    j->fiber = fiber_new(run_in_fiber, j);
    gw_list_push_back(&store.jobs, &j->node);
}

static bool is_up(const doc_pool *p)
{
    (void)p;
    return store.up;
}

doc_pool *store_pool_new(world *w, replica *u)
{
    static const doc_pool_ops ops = {.submit = submit, .is_up = is_up};
    model_pool *p = calloc(1, sizeof(*p));
    if (!p)
        abort();
    p->base.ops = &ops;
    p->w = w;
    p->owner = u;
    return &p->base;
}

void store_pool_free(doc_pool *p)
{
    free(p);
}

bool store_run_jobs(world *w, replica *u)
{
    job_run *ready[64];
    unsigned n = 0;
    gw_list_each (node, &store.jobs) {
        job_run *j = GW_CONTAINER_OF(node, job_run, node);
        if (j->owner == u && !j->waits && n < GW_ARRAY_LEN(ready))
            ready[n++] = j;
    }
    if (n)
        go_on(ready[world_below(w, n)]);
    return n > 0;
}

void store_kill_jobs(world *w, replica *u)
{
    gw_list_each_safe (node, &store.operations) {
        operation *o = GW_CONTAINER_OF(node, operation, node);
        if (!o->caller || o->caller->owner != u)
            continue;
        operation_give_up(o);
        if (world_chance(w, 500)) { /* it never left */
            gw_list_remove(&o->node);
            operation_free(o);
        }
    }
    for (bool any = true; any;) {
        any = false;
        gw_list_each_safe (node, &store.jobs) {
            job_run *j = GW_CONTAINER_OF(node, job_run, node);
            if (j->owner != u)
                continue;
            j->dead = true;
            j->waits = false;
            go_on(j);
            any = true;
            break;
        }
    }
}

void store_reach_point(const char *name)
{
    if (store.running)
        store.running->point = name;
}
