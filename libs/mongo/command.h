/*
 * A command that works on the database and ends: the process around its job.
 *
 * Thread: the process' own; the job runs on a worker.
 */
#pragma once

#include "log/log.h"
#include "mongo/db.h"

typedef struct gw_mongo_command {
    const char *name; /* shown to MongoDB */
    const char *uri, *database;
    const char *ca_file; /* NULL: as gw_mongo_options has it without TLS files */
    unsigned threads; /* workers, 1-32 */
    /* On a worker, once MongoDB answers. */
    gw_status (*run)(void *arg, const gw_db *d, gw_error *err);
    void *arg;
} gw_mongo_command;

/* What `run` says; GW_ERR_UNAVAILABLE when MongoDB does not answer within 30 s. */
GW_CHECK gw_status gw_mongo_command_run(const gw_mongo_command *c, gw_log *log, gw_error *err);
