/* What the tests of gw_mongo share: a loop, a client and jobs on one collection of a database of
 * their own. */
#pragma once

#include "mongo/bson_read.h"
#include "mongo/mongo.h"

#include "testing/cmocka.h"
#include "testing/until.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct fixture {
    gw_loop *loop;
    gw_mongo *mongo;
    gw_test_until until;
    char uri[256];
    char database[40];
    pid_t server;
    int port;
    char folder[64];
} fixture;

static inline bool is_up(void *arg)
{
    fixture *f = (fixture *)arg;
    return gw_mongo_is_up(f->mongo);
}

/* ---- one job at a time ---- */

typedef struct test_job {
    gw_mongo_job job;
    int64_t result;
    int arg;
    int done;
    gw_status rc;
    gw_error err;
} test_job;

static int jobs_pending;

static inline void on_job_done(gw_mongo_job *j, gw_status rc, const gw_error *err)
{
    test_job *t = GW_CONTAINER_OF(j, test_job, job);
    t->done++;
    t->rc = rc;
    t->err = *err;
    jobs_pending--;
}

static inline bool no_job_is_pending(void *arg)
{
    fixture *f = (fixture *)arg;
    (void)f;
    return jobs_pending == 0;
}

typedef gw_status (*job_run)(gw_mongo_job *j, mongoc_client_t *client, mongoc_database_t *db,
                             gw_error *err);

static inline void submit(fixture *f, test_job *t, job_run run)
{
    t->job.run = run;
    t->job.done = on_job_done;
    jobs_pending++;
    gw_mongo_submit(f->mongo, &t->job);
}

static inline test_job perform(fixture *f, job_run run, int arg)
{
    test_job t = {.arg = arg};
    submit(f, &t, run);
    gw_test_run_until(&f->until, no_job_is_pending);
    assert_int_equal(t.done, 1);
    return t;
}

static inline gw_status insert_arg(gw_mongo_job *j, mongoc_client_t *client, mongoc_database_t *db,
                                   gw_error *err)
{
    test_job *t = GW_CONTAINER_OF(j, test_job, job);
    mongoc_collection_t *things = mongoc_database_get_collection(db, "things");
    bson_t *d = BCON_NEW("n", BCON_INT32(t->arg));
    bson_t opts = BSON_INITIALIZER;
    bson_t reply;
    bson_error_t e;
    gw_status rc = GW_OK;

    (void)client;
    gw_mongo_append_durable(j->mongo, &opts);
    if (!mongoc_collection_insert_one(things, d, &opts, &reply, &e))
        rc = gw_mongo_fail(err, &e, &reply, "insert a thing");
    bson_destroy(&reply);
    bson_destroy(&opts);
    bson_destroy(d);
    mongoc_collection_destroy(things);
    return rc;
}

static inline gw_status count_things(gw_mongo_job *j, mongoc_client_t *client,
                                     mongoc_database_t *db, gw_error *err)
{
    test_job *t = GW_CONTAINER_OF(j, test_job, job);
    mongoc_collection_t *things = mongoc_database_get_collection(db, "things");
    bson_t all = BSON_INITIALIZER;
    bson_error_t e;

    (void)client;
    t->result = mongoc_collection_count_documents(things, &all, NULL, NULL, NULL, &e);
    bson_destroy(&all);
    mongoc_collection_destroy(things);
    return t->result < 0 ? gw_mongo_fail(err, &e, NULL, "count things") : GW_OK;
}

static inline gw_status drop_database(gw_mongo_job *j, mongoc_client_t *client,
                                      mongoc_database_t *db, gw_error *err)
{
    bson_error_t e;
    (void)j;
    (void)client;
    return mongoc_database_drop(db, &e) ? GW_OK : gw_mongo_fail(err, &e, NULL, "drop");
}

/* ---- fixtures ---- */

static inline gw_status connect_to(fixture *f, gw_error *err)
{
    gw_mongo_options o = gw_mongo_defaults;
    o.uri = f->uri;
    o.database = f->database;
    o.threads = 4;
    o.queue_max = 8;
    o.server_selection_timeout_ms = 700;
    o.connect_timeout_ms = 500;
    o.socket_timeout_ms = 1500;
    return gw_mongo_new(f->loop, &o, NULL, &f->mongo, err);
}

static inline void make_fixture(fixture *f)
{
    char random[9];
    memset(f, 0, sizeof(*f));
    jobs_pending = 0;
    gw_random_base62(random, 8);
    (void)snprintf(f->database, sizeof(f->database), "gw_test_%s", random);
    assert_int_equal(gw_loop_new(&gw_system_clock, &f->loop, NULL), GW_OK);
    gw_test_until_init(&f->until, f->loop, f);
}

static inline void kill_server(fixture *f)
{
    if (f->server > 0) {
        kill(f->server, SIGKILL);
        waitpid(f->server, NULL, 0);
    }
    f->server = 0;
}

static inline void remove_folder(const char *folder)
{
    pid_t rm = fork();
    if (rm == 0) {
        execlp("rm", "rm", "-rf", folder, (char *)NULL);
        _exit(127);
    }
    waitpid(rm, NULL, 0);
}

static inline int tear_down(void **state)
{
    fixture *f = (fixture *)*state;

    if (!f)
        return 0;
    gw_test_until_cancel(&f->until);
    if (!f->folder[0] && gw_mongo_is_up(f->mongo))
        (void)perform(f, drop_database, 0);
    gw_mongo_free(f->mongo);
    gw_loop_free(f->loop);
    kill_server(f);
    if (f->folder[0])
        remove_folder(f->folder);
    return 0;
}

static int waiters_run;
static inline void count_waiter(void *arg)
{
    (void)arg;
    waiters_run++;
}
