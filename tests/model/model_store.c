/* The store of the model: operations under way, which the scheduler lets happen one document at a time, late, or after their caller. */
#include "model_store_internal.h"

#include "usage_collections.h"

#include "mongo/bson_read.h"

#include <stdlib.h>

model_store store;

/* ---- operations ---- */

void operation_free(operation *o)
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

operation *operation_new(job_run *caller, const char *collection)
{
    operation *o = calloc(1, sizeof(*o));
    if (!o)
        abort();
    o->caller = caller;
    o->point = caller->point;
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

void operation_give_up(operation *o)
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

/* ---- steps ---- */

static bool is_of_hours(const operation *o)
{
    return strcmp(o->collection, COLLECTION_HOURS) == 0 ||
           strcmp(o->collection, COLLECTION_OWNER_HOURS) == 0;
}

/* A find is no snapshot: its documents are of different moments. */
static bool step_find(world *w, operation *o)
{
    if (!o->looked) {
        o->looked = true;
        memory_db_find(store.db, o->collection, o->filter, o->opts, keep_found, o);
        o->reread = o->found_count;
        return o->found_count == 0 || !is_of_hours(o);
    }
    if (o->reread == 0)
        return true;
    if (meet_holds_up(w, o) || world_chance(w, 700)) /* much may happen in between */
        return false;
    size_t which = meet_next_reread(w, o);
    o->reread--;
    bson_t *swapped = o->found[which];
    o->found[which] = o->found[o->reread];
    o->found[o->reread] = swapped;
    bson_t **d = &o->found[o->reread];
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
    meet_wrote(w, o);
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
    store.claims_added += o->wrote && strcmp(o->point, "rows.written") == 0;
    replica *sweeper = meet_trapped(o);
    answer(o, o->duplicate ? GW_ERR_ALREADY_EXISTS : GW_OK);
    if (sweeper)
        meet_crash(w, sweeper);
    return true;
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
        operation_give_up(all[world_below(w, n)]);
}

void store_crash_keeping(world *w, size_t kept)
{
    memory_db_crash(store.db, kept);
    w->taken_back = true;
    gw_list_each_safe (node, &store.operations) {
        operation *o = GW_CONTAINER_OF(node, operation, node);
        operation_give_up(o);
        if (world_chance(
                w, 500)) { /* the others are late: they reach the server that comes after it */
            gw_list_remove(&o->node);
            operation_free(o);
        }
    }
    store.up = store.stuck = false;
}

void store_crash(world *w)
{
    if (store.up)
        store_crash_keeping(w, world_below(w, (unsigned)memory_db_unjournaled(store.db) + 1));
}

void store_restart(world *w)
{
    store.up = true;
    store.stuck = false;
    if (store.trap == WAITS_FOR_SWEEP || w->draining)
        store.trap = NO_TRAP;
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
    if (!store.backup)
        return false;
    w->taken_back = true;
    gw_list_each_safe (node, &store.operations) {
        operation *o = GW_CONTAINER_OF(node, operation, node);
        operation_give_up(o);
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
    store.trap = NO_TRAP;
    store.running = NULL;
    store.claims_added = store.held_count = store.claims_at_hold = store.leaps = 0;
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
