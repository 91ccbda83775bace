/*
 * A command of auth that works on the database and ends: the process around its job.
 *
 * Thread: the process' own; the job runs on a worker.
 */
#pragma once

#include "auth_conf.h"
#include "log/log.h"
#include "mongo/db.h"

typedef struct db_command {
    const char *name; /* shown to MongoDB */
    unsigned threads;
    /* On a worker, once MongoDB answers. */
    gw_status (*run)(void *arg, const gw_db *d, gw_error *err);
    void *arg;
} db_command;

/* What `run` says; GW_ERR_UNAVAILABLE when MongoDB does not answer within 30 s. */
GW_CHECK gw_status db_command_run(const db_command *c, const auth_conf *conf, gw_log *log,
                                  gw_error *err);
