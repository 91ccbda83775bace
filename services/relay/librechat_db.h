/*
 * LibreChat's own database, as the relay sees it: single reads, each on a worker, through a reader that can do nothing but find
 * (mongo/reader.h).
 *
 * Thread: the loop's.
 */
#pragma once

#include "mongo/mongo.h"
#include "mongo/reader.h"

typedef struct librechat_db {
    gw_mongo *mongo; /* borrowed */
    char *name;
} librechat_db;

/* Copies `name`. False when out of memory. */
GW_CHECK bool librechat_db_init(librechat_db *d, gw_mongo *m, const char *name);
void librechat_db_fini(librechat_db *d); /* after gw_mongo_free() */

typedef struct librechat_read librechat_read;

/* Embedded in the caller's struct, which stays until `done`, with `run` and `done` set. */
struct librechat_read {
    gw_mongo_job job; /* the database's own, as is the next */
    const librechat_db *db;
    gw_status (*run)(librechat_read *r, gw_db_reader *librechat, gw_error *err); /* on a worker */
    void (*done)(librechat_read *r, gw_status rc,
                 const gw_error *err); /* exactly once, on the loop, never inside start() */
};

void librechat_read_start(librechat_read *r, const librechat_db *d);
