#include "mongo/db.h"

#include <stdio.h>

#define QUERY_MAX_MS 5000

void gw_db_bson_freep(bson_t **doc)
{
    if (*doc)
        bson_destroy(*doc);
}

void gw_db_append_page(bson_t *opts, const char *sort_field, int direction, int64_t limit)
{
    bson_t sort;
    BSON_APPEND_DOCUMENT_BEGIN(opts, "sort", &sort);
    BSON_APPEND_INT32(&sort, sort_field, direction);
    bson_append_document_end(opts, &sort);
    BSON_APPEND_INT64(opts, "limit", limit);
}

static const char *what(char out[64], const char *act, const char *collection)
{
    snprintf(out, 64, "%s %s", act, collection);
    return out;
}

gw_status gw_db_find(const gw_db *d, const char *collection, const bson_t *filter,
                     const bson_t *opts, gw_db_each_fn each, void *arg, gw_error *err)
{
    gw_db_auto_bson bounded = BSON_INITIALIZER;
    if (opts)
        bson_concat(&bounded, opts);
    BSON_APPEND_INT64(&bounded, "maxTimeMS", QUERY_MAX_MS);
    mongoc_collection_t *c = mongoc_database_get_collection(d->database, collection);
    mongoc_cursor_t *cursor = mongoc_collection_find_with_opts(c, filter, &bounded, NULL);
    const bson_t *doc, *reply;
    bson_error_t e;
    char text[64];
    gw_status rc = GW_OK;
    while (rc == GW_OK && mongoc_cursor_next(cursor, &doc))
        rc = each(arg, doc, err);
    if (rc == GW_OK && mongoc_cursor_error_document(cursor, &e, &reply))
        rc = gw_mongo_fail(err, &e, reply, what(text, "find in", collection));
    mongoc_cursor_destroy(cursor);
    mongoc_collection_destroy(c);
    return rc;
}

static gw_status keep_first(void *arg, const bson_t *doc, gw_error *err)
{
    (void)err;
    bson_t **ret = arg;
    if (!*ret)
        *ret = bson_copy(doc);
    return GW_OK;
}

gw_status gw_db_find_one(const gw_db *d, const char *collection, const bson_t *filter,
                         const bson_t *opts, bson_t **ret, gw_error *err)
{
    gw_db_auto_bson one = BSON_INITIALIZER;
    if (opts)
        bson_concat(&one, opts);
    if (!opts || !bson_has_field(opts, "limit"))
        BSON_APPEND_INT64(&one, "limit", 1);
    gw_db_auto_doc found = NULL;
    gw_status rc = gw_db_find(d, collection, filter, &one, keep_first, &found, err);
    if (rc == GW_OK)
        *ret = gw_steal(&found);
    return rc;
}

gw_status gw_db_insert(const gw_db *d, const char *collection, const bson_t *doc, gw_error *err)
{
    gw_db_auto_bson opts = BSON_INITIALIZER, reply;
    bson_error_t e;
    char text[64];
    gw_mongo_append_durable(d->mongo, &opts);
    mongoc_collection_t *c = mongoc_database_get_collection(d->database, collection);
    bool ok = mongoc_collection_insert_one(c, doc, &opts, &reply, &e);
    mongoc_collection_destroy(c);
    return ok ? GW_OK : gw_mongo_fail(err, &e, &reply, what(text, "insert into", collection));
}

typedef bool (*update_fn)(mongoc_collection_t *c, const bson_t *filter, const bson_t *update,
                          const bson_t *opts, bson_t *reply, bson_error_t *e);

static gw_status run_update(const gw_db *d, update_fn run, const char *collection,
                            const bson_t *filter, const bson_t *update, bool upsert,
                            int64_t *ret_matched, gw_error *err)
{
    gw_db_auto_bson opts = BSON_INITIALIZER, reply;
    bson_error_t e;
    char text[64];
    gw_mongo_append_durable(d->mongo, &opts);
    BSON_APPEND_BOOL(&opts, "upsert", upsert);
    mongoc_collection_t *c = mongoc_database_get_collection(d->database, collection);
    bool ok = run(c, filter, update, &opts, &reply, &e);
    mongoc_collection_destroy(c);
    if (!ok)
        return gw_mongo_fail(err, &e, &reply, what(text, "update", collection));
    int64_t matched = 0;
    (void)gw_bson_int64(&reply, "matchedCount", &matched);
    if (ret_matched)
        *ret_matched = matched;
    return GW_OK;
}

gw_status gw_db_update_one(const gw_db *d, const char *collection, const bson_t *filter,
                           const bson_t *update, int64_t *ret_matched, gw_error *err)
{
    return run_update(d, mongoc_collection_update_one, collection, filter, update, false,
                      ret_matched, err);
}

gw_status gw_db_update_many(const gw_db *d, const char *collection, const bson_t *filter,
                            const bson_t *update, int64_t *ret_matched, gw_error *err)
{
    return run_update(d, mongoc_collection_update_many, collection, filter, update, false,
                      ret_matched, err);
}

gw_status gw_db_upsert_one(const gw_db *d, const char *collection, const bson_t *filter,
                           const bson_t *update, gw_error *err)
{
    gw_status rc =
        run_update(d, mongoc_collection_update_one, collection, filter, update, true, NULL, err);
    /* Two upserts at once: one inserts, the other gets 11000 and finds the document now. */
    return rc == GW_ERR_ALREADY_EXISTS ? gw_db_update_one(d, collection, filter, update, NULL, err)
                                       : rc;
}

gw_status gw_db_delete(const gw_db *d, const char *collection, const bson_t *filter,
                       int64_t *ret_deleted, gw_error *err)
{
    gw_db_auto_bson opts = BSON_INITIALIZER, reply;
    bson_error_t e;
    char text[64];
    gw_mongo_append_durable(d->mongo, &opts);
    mongoc_collection_t *c = mongoc_database_get_collection(d->database, collection);
    bool ok = mongoc_collection_delete_many(c, filter, &opts, &reply, &e);
    mongoc_collection_destroy(c);
    if (!ok)
        return gw_mongo_fail(err, &e, &reply, what(text, "delete from", collection));
    int64_t deleted = 0;
    (void)gw_bson_int64(&reply, "deletedCount", &deleted);
    if (ret_deleted)
        *ret_deleted = deleted;
    return GW_OK;
}
