/*
 * Indexes of usage's collections, made when the database first answers.
 *
 * api_usage has no unique index but _id: a row that is refused for another reason than being there
 * already would stop its spool.
 *
 * Thread: on a worker.
 */
#pragma once

#include "mongo/mongo.h"

/* Also changes the expiry of rows when the retention was changed. */
GW_CHECK gw_status usage_indexes_ensure(mongoc_database_t *db, int64_t retention_days,
                                        gw_error *err);
