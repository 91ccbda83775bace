/* The store of the model: operations under way, which the scheduler lets happen one document at a time, late, or after their caller. */
#include "model.h"

#include "doc_store_memory.h"
#include "fiber.h"
#include "usage_collections.h"

#include <stdlib.h>

#define DOCUMENTS_MAX 512

typedef struct job_run job_run;

typedef struct operation {
    gw_list node;
    job_run *caller; /* NULL: it gave up, or died */
    const char *collection;
    bool is_find;
    /* a write */
    doc_batch batch;
    size_t next;
    int64_t matched;
    bool duplicate, wrote;
    /* a find */
    bson_t *filter, *opts;
    bool looked;
    bson_t *found[DOCUMENTS_MAX];
    size_t found_count, reread;
} operation;

struct job_run {
    gw_list node;
    world *w;
    replica *owner;
    gw_loop *loop;
    doc_job *job;
    fiber *fiber;
    bool waits; /* for its operation */
    bool dead;
    gw_status answer; /* of the operation */
    operation *finished; /* its results, for the fiber to take */
    gw_status rc;
    gw_error error;
};

typedef struct model_pool {
    doc_pool base;
    world *w;
    replica *owner;
} model_pool;

typedef struct model_doc_store {
    doc_store base;
    job_run *run;
} model_doc_store;

static struct {
    world *w;
    memory_db *db, *expired;
    memory_db *backup, *backup_of_expired;
    bool up, stuck;
    gw_list operations;
    gw_list jobs;
} store;

/* ---- operations ---- */

static void operation_free(operation *o)
{
    doc_batch_clear(&o->batch);
    if (o->filter)
        bson_destroy(o->filter);
    if (o->opts)
        bson_destroy(o->opts);
    for (size_t i = 0; i < o->found_count; i++)
        bson_destroy(o->found[i]);
    free(o);
}

static operation *operation_new(job_run *caller, const char *collection)
{
    operation *o = calloc(1, sizeof(*o));
    if (!o)
        abort();
    o->caller = caller;
    o->collection = collection;
    return o;
}

static void answer(operation *o, gw_status rc)
{
    gw_list_remove(&o->node);
    job_run *j = o->caller;
    if (!j) {
        operation_free(o);
        return;
    }
    j->answer = rc;
    j->finished = o;
    j->waits = false;
}

/* The caller hears of a failure; the operation itself stays under way. */
static void give_up(operation *o)
{
    job_run *j = o->caller;
    o->caller = NULL;
    if (!j)
        return;
    j->answer = GW_ERR_UNAVAILABLE;
    j->finished = NULL;
    j->waits = false;
}

static void keep_found(void *arg, const bson_t *doc)
{
    operation *o = arg;
    if (o->found_count < DOCUMENTS_MAX)
        o->found[o->found_count++] = bson_copy(doc);
}

typedef struct reread {
    bson_t **into;
} reread;

static void replace_found(void *arg, const bson_t *doc)
{
    bson_t **into = ((reread *)arg)->into;
    bson_destroy(*into);
    *into = bson_copy(doc);
}

/* A find is no snapshot: its documents are of different moments. */
static bool step_find(world *w, operation *o)
{
    if (!o->looked) {
        o->looked = true;
        memory_db_find(store.db, o->collection, o->filter, o->opts, keep_found, o);
        o->reread = o->found_count;
        return o->found_count == 0 || strcmp(o->collection, COLLECTION_HOURS) != 0;
    }
    if (o->reread == 0)
        return true;
    if (world_chance(w, 700)) /* much may happen in between */
        return false;
    bson_t **d = &o->found[--o->reread];
    gw_str id;
    if (gw_bson_str(*d, "_id", &id)) {
        bson_t *by_id = BCON_NEW("_id", BCON_UTF8(id.ptr));
        reread again = {d};
        memory_db_find(store.db, o->collection, by_id, NULL, replace_found, &again);
        bson_destroy(by_id);
    }
    return o->reread == 0;
}

static bool step_write(world *w, operation *o)
{
    for (unsigned n = 1 + world_below(w, 3); n > 0 && o->next < o->batch.count; n--) {
        memory_outcome r = memory_db_write(store.db, o->collection, &o->batch.writes[o->next++]);
        o->matched += r == MEMORY_CHANGED || r == MEMORY_SAME;
        o->duplicate |= r == MEMORY_DUPLICATE;
        o->wrote |= r == MEMORY_INSERTED || r == MEMORY_CHANGED;
    }
    /* Done, and yet to be journaled and answered. What changed nothing has nothing to wait for. */
    return o->next == o->batch.count && (!o->wrote || !store.stuck) && world_chance(w, 500);
}

bool store_step(world *w)
{
    operation *all[128];
    unsigned n = 0;
    if (!store.up)
        return false;
    gw_list_each (node, &store.operations)
        if (n < GW_ARRAY_LEN(all))
            all[n++] = GW_CONTAINER_OF(node, operation, node);
    if (!n)
        return false;
    operation *o = all[world_below(w, n)];
    if (!(o->is_find ? step_find(w, o) : step_write(w, o)))
        return true;
    /* What changed nothing is not taken to flush anything. */
    if (o->wrote)
        memory_db_journal(store.db);
    answer(o, o->duplicate ? GW_ERR_ALREADY_EXISTS : GW_OK);
    return true;
}

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
    fiber_resume(j->fiber);
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
        give_up(o);
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

/* ---- faults ---- */

void store_time_out_one(world *w)
{
    operation *all[128];
    unsigned n = 0;
    gw_list_each (node, &store.operations) {
        operation *o = GW_CONTAINER_OF(node, operation, node);
        if (o->caller && n < GW_ARRAY_LEN(all))
            all[n++] = o;
    }
    if (n)
        give_up(all[world_below(w, n)]);
}

void store_crash(world *w)
{
    if (!store.up)
        return;
    memory_db_crash(store.db, world_below(w, (unsigned)memory_db_unjournaled(store.db) + 1));
    gw_list_each_safe (node, &store.operations) {
        operation *o = GW_CONTAINER_OF(node, operation, node);
        give_up(o);
        if (world_chance(
                w, 500)) { /* the others are late: they reach the server that comes after it */
            gw_list_remove(&o->node);
            operation_free(o);
        }
    }
    store.up = store.stuck = false;
}

void store_restart(world *w)
{
    (void)w;
    store.up = true;
    store.stuck = false;
}

void store_stick(world *w)
{
    (void)w;
    store.stuck = true;
}

void store_back_up(world *w)
{
    (void)w;
    memory_db_free(store.backup);
    memory_db_free(store.backup_of_expired);
    store.backup = memory_db_copy(store.db);
    store.backup_of_expired = memory_db_copy(store.expired);
}

bool store_restore(world *w)
{
    (void)w;
    if (!store.backup)
        return false;
    gw_list_each_safe (node, &store.operations) {
        operation *o = GW_CONTAINER_OF(node, operation, node);
        give_up(o);
        gw_list_remove(&o->node);
        operation_free(o);
    }
    memory_db_free(store.db);
    memory_db_free(store.expired);
    store.db = gw_steal(&store.backup);
    store.expired = gw_steal(&store.backup_of_expired);
    return true;
}

static void expire(void *arg, const bson_t *doc)
{
    bson_t **ret = arg;
    if (*ret)
        bson_destroy(*ret);
    *ret = bson_copy(doc);
}

void store_expire_one(world *w)
{
    bson_t all = BSON_INITIALIZER;
    bson_t *taken = NULL;
    bson_t *opts = BCON_NEW("limit", BCON_INT64(1 + world_below(w, 20)));
    if (store.up)
        memory_db_find(store.db, COLLECTION_ROWS, &all, opts, expire, &taken);
    bson_destroy(opts);
    if (!taken)
        return;
    gw_object_id id;
    bson_t by_id = BSON_INITIALIZER;
    const doc_write kept = {.document = taken};
    (void)gw_bson_oid(taken, "_id", &id);
    gw_bson_append_oid(&by_id, "_id", &id);
    memory_db_remove(store.db, COLLECTION_ROWS, &by_id);
    (void)memory_db_write(store.expired, COLLECTION_ROWS, &kept);
    bson_destroy(&by_id);
    bson_destroy(taken);
}

/* ---- */

void store_reset(world *w)
{
    store.w = w;
    store.db = memory_db_new();
    store.expired = memory_db_new();
    store.backup = store.backup_of_expired = NULL;
    store.up = true;
    store.stuck = false;
    gw_list_init(&store.operations);
    gw_list_init(&store.jobs);
}

void store_end(void)
{
    gw_list_each_safe (node, &store.operations) {
        gw_list_remove(node);
        operation_free(GW_CONTAINER_OF(node, operation, node));
    }
    memory_db_free(store.db);
    memory_db_free(store.backup);
    memory_db_free(store.backup_of_expired);
    memory_db_free(store.expired);
}

bool store_is_quiet(void)
{
    return store.up && !store.stuck && gw_list_is_empty(&store.operations) &&
           gw_list_is_empty(&store.jobs);
}

bool store_is_up(void)
{
    return store.up;
}

memory_db *store_db(void)
{
    return store.db;
}

memory_db *store_expired(void)
{
    return store.expired;
}
