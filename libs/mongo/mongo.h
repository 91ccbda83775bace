/*
 * MongoDB for a loop: libmongoc's pool on worker threads, and its errors in our words.
 *
 * libmongoc blocks; so a job runs on a worker with a client popped from the pool, and its `done`
 * runs on the loop. At start the server may be absent: nothing is connected until the first job,
 * gw_mongo_is_up() says what the last ping found. Waits are bounded: server selection, connect and
 * socket timeouts come from the options.
 *
 * Thread: gw_mongo_* on the loop, except what says "on a worker".
 */
#pragma once

#include "log/log.h"
#include "loop/workers.h"
#include "tls/tls_files.h"

#include <mongoc/mongoc.h>

typedef struct gw_mongo gw_mongo;

typedef struct gw_mongo_options {
    const char *uri; /* mongodb:// or mongodb+srv:// */
    /* Its authorities stand in for the system's, and TLS is on; outlives the object. NULL: as the URI says. A client's
     * certificate is always the URI's (tlsCertificateKeyFile), since libmongoc wants it in one file with its key. */
    gw_tls_files *tls;
    const char *database; /* the `db` that jobs get */
    const char *app_name; /* shown in the server's log */
    unsigned threads; /* workers, 1-32 */
    size_t queue_max; /* jobs waiting */
    int64_t server_selection_timeout_ms; /* 3,000 */
    int64_t connect_timeout_ms; /* 2,000 */
    int64_t socket_timeout_ms; /* 10,000 */
} gw_mongo_options;
extern const gw_mongo_options gw_mongo_defaults;

/* A bad URI, or one that contradicts `tls`, is GW_ERR_INVALID_ARGUMENT (message without the password); a mongodb+srv:// name that
 * does not resolve is GW_ERR_UNAVAILABLE. Timeouts in the URI win over the options'. Starts the
 * workers and a ping every second. */
GW_CHECK gw_status gw_mongo_new(gw_loop *l, const gw_mongo_options *o, gw_log *log, gw_mongo **ret,
                                gw_error *err);
void gw_mongo_free(gw_mongo *m); /* lets jobs end first */
GW_DEFINE_FREEP(gw_mongo)
bool gw_mongo_is_up(const gw_mongo *m); /* answered the last ping; log has each change */
/* Runs once the server first answers (at once when it is up): indexes are made there. */
void gw_mongo_when_up(gw_mongo *m, void (*run)(void *arg), void *arg);
/* w:majority on a replica set, w:1 on a standalone; always j:true. Known once up; for writes that
 * must last. On a worker. */
const mongoc_write_concern_t *gw_mongo_durable(const gw_mongo *m);
/* The same as the `opts` of one operation. Any thread. */
void gw_mongo_append_durable(const gw_mongo *m, bson_t *opts);
bool gw_mongo_is_replica_set(const gw_mongo *m); /* or mongos; any thread */

/* ---- jobs ---- */
typedef struct gw_mongo_job gw_mongo_job;
struct gw_mongo_job {
    gw_job job; /* libs/mongo's own */
    gw_mongo *mongo;
    /* On a worker: `db` is this job's alone. Returns GW_OK or fills err. */
    gw_status (*run)(gw_mongo_job *j, mongoc_client_t *client, mongoc_database_t *db,
                     gw_error *err);
    /* On the loop, exactly once; frees the job's own memory. */
    void (*done)(gw_mongo_job *j, gw_status rc, const gw_error *err);
    gw_status rc;
    gw_error error;
};
/*
 * Embedded in the caller's struct with `run` and `done` set. Always ends in `done` (a full queue:
 * from a deferred call). While the last ping failed a job ends in GW_ERR_UNAVAILABLE without being
 * tried, so that an outage makes no long queue.
 */
void gw_mongo_submit(gw_mongo *m, gw_mongo_job *j);

/* ---- errors, on a worker ---- */
/* 11000 -> GW_ERR_ALREADY_EXISTS; network, selection, not-primary, socket timeout (libmongoc cannot
 * tell it from a cut) -> GW_ERR_UNAVAILABLE; maxTimeMS and write concern timeouts ->
 * GW_ERR_DEADLINE_EXCEEDED; write conflict -> GW_ERR_ABORTED; auth failed and conflicting indexes
 * -> GW_ERR_FAILED_PRECONDITION; rest GW_ERR_INTERNAL. `what`: "find api key". `reply` may be NULL.
 */
gw_status gw_mongo_fail(gw_error *err, const bson_error_t *e, const bson_t *reply,
                        const char *what);
/* For a bulk write: true when every refused document was refused for that. */
bool gw_mongo_is_duplicate_key(const bson_error_t *e, const bson_t *reply);

/* Makes the indexes of one collection; idempotent. `spec_json`:
 * [{"name":…,"key":{…},"unique":true,"expireAfterSeconds":…}, …] */
GW_CHECK gw_status gw_mongo_ensure_indexes(mongoc_database_t *db, const char *collection,
                                           const char *spec_json, gw_error *err);
