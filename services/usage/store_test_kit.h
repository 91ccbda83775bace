/*
 * For tests against a real server: a database of its own for each test, whose body runs as one job on a worker.
 *
 * MONGO_URI names the server; without it the tests are skipped by name. Use setup and teardown for each test, or for a group
 * whose tests share the database.
 */
#pragma once

#include "mongo/db.h"
#include "testing/cmocka.h"
#include "testing/watchdog.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct fixture {
    gw_loop *loop;
    gw_mongo *mongo;
    gw_mongo_job job;
    gw_timer watchdog;
    char database[40];
    void (*body)(const gw_db *d);
    bool done;
    gw_status rc;
} fixture;

static inline int setup(void **state)
{
    gw_mongo_options o = gw_mongo_defaults;
    gw_error err;
    o.uri = getenv("MONGO_URI");
    if (!o.uri)
        return 0;
    fixture *f = (fixture *)calloc(1, sizeof(*f));
    assert_non_null(f);
    (void)snprintf(f->database, sizeof(f->database), "usage_test_%llx",
                   (unsigned long long)gw_random_u64());
    o.database = f->database;
    assert_int_equal(gw_loop_new(&gw_system_clock, &f->loop, &err), GW_OK);
    assert_int_equal(gw_mongo_new(f->loop, &o, NULL, &f->mongo, &err), GW_OK);
    gw_test_watchdog_init(&f->watchdog);
    *state = f;
    return 0;
}

static inline gw_status drop_database(gw_mongo_job *j, mongoc_client_t *client,
                                      mongoc_database_t *db, gw_error *err)
{
    (void)j;
    (void)client;
    bson_error_t e;
    return mongoc_database_drop(db, &e) ? GW_OK : gw_mongo_fail(err, &e, NULL, "drop");
}

static inline gw_status run_body(gw_mongo_job *j, mongoc_client_t *client, mongoc_database_t *db,
                                 gw_error *err)
{
    (void)client;
    (void)err;
    fixture *f = GW_CONTAINER_OF(j, fixture, job);
    const gw_db d = {db, f->mongo};
    f->body(&d);
    return GW_OK;
}

static inline void on_done(gw_mongo_job *j, gw_status rc, const gw_error *err)
{
    (void)err;
    fixture *f = GW_CONTAINER_OF(j, fixture, job);
    f->done = true;
    f->rc = rc;
    gw_loop_stop(f->loop);
}

static inline void submit(void *arg)
{
    fixture *f = (fixture *)arg;
    gw_mongo_submit(f->mongo, &f->job);
}

static inline void perform(fixture *f, gw_status (*run)(gw_mongo_job *, mongoc_client_t *,
                                                        mongoc_database_t *, gw_error *))
{
    f->job.run = run;
    f->job.done = on_done;
    f->done = false;
    gw_test_watch(f->loop, &f->watchdog);
    gw_mongo_when_up(f->mongo, submit, f);
    while (!f->done)
        gw_loop_run(f->loop);
    assert_int_equal(f->rc, GW_OK);
}

static inline int teardown(void **state)
{
    fixture *f = (fixture *)*state;
    if (!f)
        return 0;
    perform(f, drop_database);
    gw_timer_cancel(f->loop, &f->watchdog);
    gw_mongo_free(f->mongo);
    gw_loop_free(f->loop);
    free(f);
    return 0;
}

/* A check on a worker cannot jump out of it: it ends the program, naming what failed. */
#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            (void)fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                  \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

static inline void with_mongo(void **state, void (*body)(const gw_db *d))
{
    fixture *f = (fixture *)*state;
    if (!f) {
        skip();
        return;
    }
    f->body = body;
    perform(f, run_body);
}
