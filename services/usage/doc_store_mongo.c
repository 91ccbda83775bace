#include "doc_store_mongo.h"

#include <stdlib.h>

/* ---- reading ---- */

static void append_read_concern(const gw_db *d, bson_t *opts)
{
    if (!gw_mongo_is_replica_set(d->mongo))
        return;
    mongoc_read_concern_t *concern = mongoc_read_concern_new();
    mongoc_read_concern_set_level(concern, MONGOC_READ_CONCERN_LEVEL_MAJORITY);
    (void)mongoc_read_concern_append(concern, opts);
    mongoc_read_concern_destroy(concern);
}

static gw_status find_documents(doc_store *s, const char *collection, const bson_t *filter,
                                const bson_t *opts, gw_db_each_fn each, void *arg, const char *what,
                                gw_error *err)
{
    const gw_db *d = ((doc_store_mongo *)s)->db;
    mongoc_collection_t *c = mongoc_database_get_collection(d->database, collection);
    gw_db_auto_bson all = BSON_INITIALIZER;
    const bson_t *doc = NULL;
    bson_error_t e;
    gw_status rc = GW_OK;

    if (opts)
        (void)bson_concat(&all, opts);
    append_read_concern(d, &all);
    mongoc_cursor_t *cursor = mongoc_collection_find_with_opts(c, filter, &all, NULL);
    while (rc == GW_OK && mongoc_cursor_next(cursor, &doc))
        rc = each(arg, doc, err);
    if (rc == GW_OK && mongoc_cursor_error(cursor, &e))
        rc = gw_mongo_fail(err, &e, NULL, what);
    mongoc_cursor_destroy(cursor);
    mongoc_collection_destroy(c);
    return rc;
}

/* ---- writing ---- */

static bool append_write(mongoc_bulk_operation_t *bulk, const doc_write *w, bson_error_t *e)
{
    if (!w->filter)
        return mongoc_bulk_operation_insert_with_opts(bulk, w->document, NULL, e);
    gw_db_auto_bson opts = BSON_INITIALIZER;
    (void)BSON_APPEND_BOOL(&opts, "upsert", w->upsert);
    return mongoc_bulk_operation_update_one_with_opts(bulk, w->filter, w->document, &opts, e);
}

/* What was refused as a duplicate may stand beside what was not made durable. */
static bool has_write_concern_errors(const bson_t *reply)
{
    bson_t errors;
    return gw_bson_array(reply, "writeConcernErrors", &errors) && bson_count_keys(&errors) > 0;
}

static gw_status execute(mongoc_bulk_operation_t *bulk, int64_t *ret_matched, const char *what,
                         gw_error *err)
{
    gw_db_auto_bson reply;
    bson_error_t e = {0};
    if (mongoc_bulk_operation_execute(bulk, &reply, &e)) {
        int64_t matched = 0;
        (void)gw_bson_int64(&reply, "nMatched", &matched);
        if (ret_matched)
            *ret_matched = matched;
        return GW_OK;
    }
    gw_status rc = gw_mongo_fail(err, &e, &reply, what);
    if (rc == GW_ERR_ALREADY_EXISTS && has_write_concern_errors(&reply))
        rc = gw_fail(err, GW_ERR_UNAVAILABLE, "%s: not acknowledged as durable", what);
    return rc;
}

static gw_status write_batch(doc_store *s, const char *collection, const doc_batch *b,
                             int64_t *ret_matched, const char *what, gw_error *err)
{
    const gw_db *d = ((doc_store_mongo *)s)->db;
    mongoc_collection_t *c = mongoc_database_get_collection(d->database, collection);
    gw_db_auto_bson opts = BSON_INITIALIZER;
    bson_error_t e;
    gw_status rc = GW_OK;

    (void)BSON_APPEND_BOOL(&opts, "ordered", false);
    gw_mongo_append_durable(d->mongo, &opts);
    mongoc_bulk_operation_t *bulk = mongoc_collection_create_bulk_operation_with_opts(c, &opts);
    for (size_t i = 0; i < b->count && rc == GW_OK; i++)
        if (!append_write(bulk, &b->writes[i], &e))
            rc = gw_mongo_fail(err, &e, NULL, what);
    if (rc == GW_OK)
        rc = execute(bulk, ret_matched, what, err);
    mongoc_bulk_operation_destroy(bulk);
    mongoc_collection_destroy(c);
    return rc;
}

doc_store *doc_store_mongo_init(doc_store_mongo *s, const gw_db *db)
{
    static const doc_store_ops ops = {.find = find_documents, .write = write_batch};
    *s = (doc_store_mongo){.base.ops = &ops, .db = db};
    return &s->base;
}

/* ---- jobs ---- */

typedef struct mongo_pool {
    doc_pool base;
    gw_mongo *mongo;
} mongo_pool;

static gw_status run(gw_mongo_job *m, mongoc_client_t *client, mongoc_database_t *db, gw_error *err)
{
    (void)client;
    doc_job *j = GW_CONTAINER_OF(m, doc_job, mongo);
    const gw_db d = {db, m->mongo};
    doc_store_mongo s;
    return j->run(j, doc_store_mongo_init(&s, &d), err);
}

static void done(gw_mongo_job *m, gw_status rc, const gw_error *err)
{
    doc_job *j = GW_CONTAINER_OF(m, doc_job, mongo);
    j->done(j, rc, err);
}

static void submit(doc_pool *p, doc_job *j)
{
    j->mongo.run = run;
    j->mongo.done = done;
    gw_mongo_submit(((mongo_pool *)p)->mongo, &j->mongo);
}

static bool is_up(const doc_pool *p)
{
    return gw_mongo_is_up(((const mongo_pool *)p)->mongo);
}

gw_status doc_pool_mongo_new(gw_mongo *m, doc_pool **ret, gw_error *err)
{
    static const doc_pool_ops ops = {.submit = submit, .is_up = is_up};
    mongo_pool *p = (mongo_pool *)calloc(1, sizeof(*p));
    if (!p)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the pool of jobs");
    p->base.ops = &ops;
    p->mongo = m;
    *ret = &p->base;
    return GW_OK;
}

void doc_pool_mongo_free(doc_pool *p)
{
    free(p);
}
