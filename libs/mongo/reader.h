/*
 * Reader: somebody else's database on our server, which can be asked and never changed: finds are all there is. What follows from
 * gw_db.h's calls holds here too: bounded time, errors in our words.
 *
 * Thread: on a worker, inside a gw_mongo_job; it lives no longer than the job.
 */
#pragma once

#include "mongo/db.h"

typedef struct gw_db_reader gw_db_reader;

/* The database named so. NULL when out of memory. */
gw_db_reader *gw_db_reader_open(mongoc_client_t *client, const char *database);
void gw_db_reader_close(gw_db_reader *r); /* NULL is fine */
static inline void gw_db_reader_closep(gw_db_reader **r)
{
    gw_db_reader_close(*r);
}
#define gw_db_auto_reader __attribute__((cleanup(gw_db_reader_closep))) gw_db_reader *

/* As gw_db_find(). `opts` should name the fields that are wanted: documents of others may be large, and hold what is not for us. */
GW_CHECK gw_status gw_db_reader_find(gw_db_reader *r, const char *collection, const bson_t *filter,
                                     const bson_t *opts, gw_db_each_fn each, void *arg,
                                     gw_error *err);
