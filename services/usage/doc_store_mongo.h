/*
 * Doc store in MongoDB.
 *
 * Thread: as doc_store.h says.
 */
#pragma once

#include "doc_store.h"

/* In `db`, for one job; `d` outlives it. */
typedef struct doc_store_mongo {
    doc_store base;
    const gw_db *db;
} doc_store_mongo;
doc_store *doc_store_mongo_init(doc_store_mongo *s, const gw_db *db);

/* Jobs on the workers of `m`, which outlives it. */
GW_CHECK gw_status doc_pool_mongo_new(gw_mongo *m, doc_pool **ret, gw_error *err);
void doc_pool_mongo_free(doc_pool *p); /* after gw_mongo_free(); NULL is fine */
