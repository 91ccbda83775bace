/*
 * Indexes of usage's collections, made when the database first answers, and with them what expires.
 *
 *     api_usage           rows_days after the request
 *     usage_spools        spools_days after the relay's last word (which a claim is, too)
 *     usage_rejects       rejects_days after they were set aside
 *     usage_losses        losses_days after they were written down
 *     alerts              alerts_days after they were resolved; firing ones stay
 *     the sums            never: they do not shrink because rows expire
 *
 * api_usage has no unique index but _id: a row that is refused for another reason than being there
 * already would stop its spool.
 *
 * Thread: on a worker.
 */
#pragma once

#include "mongo/mongo.h"

typedef struct usage_retention {
    int64_t rows_days, spools_days, rejects_days, losses_days, alerts_days;
} usage_retention;

/* Also changes the expiry of what stands there with another one. */
GW_CHECK gw_status usage_indexes_ensure(mongoc_database_t *db, const usage_retention *keep,
                                        gw_error *err);
