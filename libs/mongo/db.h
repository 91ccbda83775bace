/*
 * Db: the few forms of database calls that services make, each with bounded time, durable writes and
 * errors in our words.
 *
 * Thread: on a worker, inside a gw_mongo_job.
 */
#pragma once

#include "mongo/bson_read.h"
#include "mongo/mongo.h"

typedef struct gw_db {
    mongoc_database_t *database;
    const gw_mongo *mongo;
} gw_db;

#define gw_db_auto_bson __attribute__((cleanup(bson_destroy))) bson_t

/* *ret is the first document, or NULL when there is none; freed with bson_destroy. `opts` may be NULL. */
GW_CHECK gw_status gw_db_find_one(const gw_db *d, const char *collection, const bson_t *filter,
                                  const bson_t *opts, bson_t **ret, gw_error *err);

/* Calls `each` for every document; it stops at the first that does not return GW_OK. */
typedef gw_status (*gw_db_each_fn)(void *arg, const bson_t *doc, gw_error *err);
GW_CHECK gw_status gw_db_find(const gw_db *d, const char *collection, const bson_t *filter,
                              const bson_t *opts, gw_db_each_fn each, void *arg, gw_error *err);

/* GW_ERR_ALREADY_EXISTS for a duplicate key. */
GW_CHECK gw_status gw_db_insert(const gw_db *d, const char *collection, const bson_t *doc,
                                gw_error *err);
/* `ret_matched` may be NULL. */
GW_CHECK gw_status gw_db_update_one(const gw_db *d, const char *collection, const bson_t *filter,
                                    const bson_t *update, int64_t *ret_matched, gw_error *err);
/* The same for every document that matches. */
GW_CHECK gw_status gw_db_update_many(const gw_db *d, const char *collection, const bson_t *filter,
                                     const bson_t *update, int64_t *ret_matched, gw_error *err);
/* Of one, inserting what the filter and the update make when nothing matches; repeated once on the race for the insert. */
GW_CHECK gw_status gw_db_upsert_one(const gw_db *d, const char *collection, const bson_t *filter,
                                    const bson_t *update, gw_error *err);
GW_CHECK gw_status gw_db_delete(const gw_db *d, const char *collection, const bson_t *filter,
                                int64_t *ret_deleted, gw_error *err);

/* Appends `{"sort": {field: direction}, "limit": limit}` to find options. */
void gw_db_append_page(bson_t *opts, const char *sort_field, int direction, int64_t limit);

/* A cleanup for `bson_t *doc` from gw_db_find_one. */
void gw_db_bson_freep(bson_t **doc);
#define gw_db_auto_doc __attribute__((cleanup(gw_db_bson_freep))) bson_t *
