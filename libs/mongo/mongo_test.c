/*
 * Jobs against a real server: MONGO_URI names it (`./dev test` sets it); without it these tests are
 * skipped. The outage tests start a server of their own, to kill it: MONGO_SERVER_BIN is its
 * program, called as `<bin> --host 127.0.0.1 --port <port> --storage-path <folder>`.
 */
#include "mongo/bson_read.h"
#include "mongo/mongo.h"

#include "testing/cmocka.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define WATCHDOG_MS 30000

typedef struct fixture {
    gw_loop *loop;
    gw_mongo *mongo;
    gw_timer watchdog;
    gw_timer poll;
    bool (*awaited)(struct fixture *f);
    bool timed_out;
    char uri[256];
    char database[40];
    pid_t server;
    int port;
    char folder[64];
} fixture;

/* ---- running the loop until something holds ---- */

static void on_watchdog(void *arg)
{
    fixture *f = (fixture *)arg;
    f->timed_out = true;
    gw_loop_stop(f->loop);
}

static void on_poll(void *arg)
{
    fixture *f = (fixture *)arg;
    if (f->awaited(f))
        gw_loop_stop(f->loop);
    else
        gw_timer_set(f->loop, &f->poll, 10);
}

static void run_until(fixture *f, bool (*awaited)(fixture *f))
{
    f->awaited = awaited;
    gw_timer_set(f->loop, &f->watchdog, WATCHDOG_MS);
    gw_timer_set(f->loop, &f->poll, 0);
    gw_loop_run(f->loop);
    gw_timer_cancel(f->loop, &f->watchdog);
    gw_timer_cancel(f->loop, &f->poll);
    assert_false(f->timed_out);
}

static bool is_up(fixture *f)
{
    return gw_mongo_is_up(f->mongo);
}

static bool is_down(fixture *f)
{
    return !gw_mongo_is_up(f->mongo);
}

/* ---- one job at a time ---- */

typedef struct test_job {
    gw_mongo_job job;
    int arg;
    int64_t result;
    int done;
    gw_status rc;
    gw_error err;
} test_job;

static int jobs_pending;

static void on_job_done(gw_mongo_job *j, gw_status rc, const gw_error *err)
{
    test_job *t = GW_CONTAINER_OF(j, test_job, job);
    t->done++;
    t->rc = rc;
    t->err = *err;
    jobs_pending--;
}

static bool no_job_is_pending(fixture *f)
{
    (void)f;
    return jobs_pending == 0;
}

typedef gw_status (*job_run)(gw_mongo_job *j, mongoc_client_t *client, mongoc_database_t *db,
                             gw_error *err);

static void submit(fixture *f, test_job *t, job_run run)
{
    t->job.run = run;
    t->job.done = on_job_done;
    jobs_pending++;
    gw_mongo_submit(f->mongo, &t->job);
}

static test_job perform(fixture *f, job_run run, int arg)
{
    test_job t = {.arg = arg};
    submit(f, &t, run);
    run_until(f, no_job_is_pending);
    assert_int_equal(t.done, 1);
    return t;
}

static gw_status insert_arg(gw_mongo_job *j, mongoc_client_t *client, mongoc_database_t *db,
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

static gw_status count_things(gw_mongo_job *j, mongoc_client_t *client, mongoc_database_t *db,
                              gw_error *err)
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

static gw_status ensure_indexes(gw_mongo_job *j, mongoc_client_t *client, mongoc_database_t *db,
                                gw_error *err)
{
    static const char *const specs[] = {
        "[{\"name\":\"n\",\"key\":{\"n\":1},\"unique\":true},"
        "{\"name\":\"ttl\",\"key\":{\"at\":1},\"expireAfterSeconds\":3600}]",
        "[{\"name\":\"n\",\"key\":{\"n\":1},\"unique\":false}]",
        "[{\"name\":",
    };
    (void)client;
    return gw_mongo_ensure_indexes(db, "things", specs[GW_CONTAINER_OF(j, test_job, job)->arg],
                                   err);
}

static gw_status drop_database(gw_mongo_job *j, mongoc_client_t *client, mongoc_database_t *db,
                               gw_error *err)
{
    bson_error_t e;
    (void)j;
    (void)client;
    return mongoc_database_drop(db, &e) ? GW_OK : gw_mongo_fail(err, &e, NULL, "drop");
}

/* ---- fixtures ---- */

static gw_status connect_to(fixture *f, gw_error *err)
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

static void make_fixture(fixture *f)
{
    char random[9];
    memset(f, 0, sizeof(*f));
    jobs_pending = 0;
    gw_random_base62(random, 8);
    (void)snprintf(f->database, sizeof(f->database), "gw_test_%s", random);
    assert_int_equal(gw_loop_new(&gw_system_clock, &f->loop, NULL), GW_OK);
    gw_timer_init(&f->watchdog, on_watchdog, f);
    gw_timer_init(&f->poll, on_poll, f);
}

static int free_port(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    close(fd);
    return ntohs(a.sin_port);
}

/* A server given by MONGO_URI. */
static int set_up_given(void **state)
{
    static fixture f;
    const char *uri = getenv("MONGO_URI");

    *state = NULL;
    if (!uri || !*uri)
        return 0;
    make_fixture(&f);
    (void)snprintf(f.uri, sizeof(f.uri), "%s", uri);
    *state = &f;
    assert_int_equal(connect_to(&f, NULL), GW_OK);
    return 0;
}

static void start_server(fixture *f)
{
    const char *bin = getenv("MONGO_SERVER_BIN");
    char port[16];

    (void)snprintf(port, sizeof(port), "%d", f->port);
    f->server = fork();
    assert_true(f->server >= 0);
    if (f->server == 0) {
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);
        dup2(null, 1);
        dup2(null, 2);
        execl(bin, bin, "--host", "127.0.0.1", "--port", port, "--storage-path", f->folder,
              (char *)NULL);
        _exit(127);
    }
}

static void kill_server(fixture *f)
{
    if (f->server > 0) {
        kill(f->server, SIGKILL);
        waitpid(f->server, NULL, 0);
    }
    f->server = 0;
}

/* Nobody listens on the port at first. */
static int set_up_absent(void **state)
{
    static fixture f;
    make_fixture(&f);
    f.port = free_port();
    (void)snprintf(f.uri, sizeof(f.uri), "mongodb://127.0.0.1:%d/", f.port);
    (void)snprintf(f.folder, sizeof(f.folder), "/tmp/gw_mongo_test_XXXXXX");
    assert_non_null(mkdtemp(f.folder));
    *state = &f;
    assert_int_equal(connect_to(&f, NULL), GW_OK);
    return 0;
}

static int tear_down(void **state)
{
    fixture *f = (fixture *)*state;
    char command[96];

    if (!f)
        return 0;
    gw_timer_cancel(f->loop, &f->watchdog);
    gw_timer_cancel(f->loop, &f->poll);
    if (!f->folder[0] && gw_mongo_is_up(f->mongo))
        (void)perform(f, drop_database, 0);
    gw_mongo_free(f->mongo);
    gw_loop_free(f->loop);
    kill_server(f);
    if (f->folder[0]) {
        (void)snprintf(command, sizeof(command), "rm -rf %s", f->folder);
        return system(command);
    }
    return 0;
}

static fixture *given(void **state)
{
    if (!*state)
        skip();
    return (fixture *)*state;
}

static fixture *with_server_bin(void **state)
{
    if (!getenv("MONGO_SERVER_BIN"))
        skip();
    return (fixture *)*state;
}

/* ---- with a server ---- */

static int waiters_run;
static void count_waiter(void *arg)
{
    (void)arg;
    waiters_run++;
}

static void a_waiter_runs_once_when_the_server_answers_and_at_once_when_it_did(void **state)
{
    fixture *f = given(state);
    waiters_run = 0;
    gw_mongo_when_up(f->mongo, count_waiter, NULL);
    run_until(f, is_up);
    assert_int_equal(waiters_run, 1);
    gw_mongo_when_up(f->mongo, count_waiter, NULL);
    assert_int_equal(waiters_run, 2);
}

static void jobs_run_and_report(void **state)
{
    fixture *f = given(state);
    run_until(f, is_up);
    assert_int_equal(perform(f, insert_arg, 1).rc, GW_OK);
    assert_int_equal(perform(f, insert_arg, 2).rc, GW_OK);
    test_job count = perform(f, count_things, 0);
    assert_int_equal(count.rc, GW_OK);
    assert_int_equal(count.result, 2);
}

static void indexes_are_made_once_and_hold(void **state)
{
    fixture *f = given(state);
    run_until(f, is_up);
    assert_int_equal(perform(f, ensure_indexes, 0).rc, GW_OK);
    assert_int_equal(perform(f, ensure_indexes, 0).rc, GW_OK);
    assert_int_equal(perform(f, insert_arg, 7).rc, GW_OK);
    assert_int_equal(perform(f, insert_arg, 7).rc, GW_ERR_ALREADY_EXISTS);
    assert_int_equal(perform(f, ensure_indexes, 1).rc, GW_ERR_FAILED_PRECONDITION);
    test_job bad = perform(f, ensure_indexes, 2);
    assert_int_equal(bad.rc, GW_ERR_INTERNAL);
    assert_non_null(strstr(bad.err.message, "things"));
}

static void a_full_queue_refuses_and_still_ends_each_job(void **state)
{
    fixture *f = given(state);
    static test_job jobs[64];
    int done = 0;
    int refused = 0;

    memset(jobs, 0, sizeof(jobs));
    run_until(f, is_up);
    for (size_t i = 0; i < GW_ARRAY_LEN(jobs); i++) {
        jobs[i].arg = (int)i;
        submit(f, &jobs[i], insert_arg);
    }
    assert_true(jobs_pending > 0);
    run_until(f, no_job_is_pending);
    for (size_t i = 0; i < GW_ARRAY_LEN(jobs); i++) {
        done += jobs[i].done;
        refused += jobs[i].rc == GW_ERR_OVERLOADED;
        assert_true(jobs[i].rc == GW_OK || jobs[i].rc == GW_ERR_OVERLOADED);
    }
    assert_int_equal(done, GW_ARRAY_LEN(jobs));
    assert_true(refused > 0);
    assert_int_equal(perform(f, count_things, 0).result, (int)GW_ARRAY_LEN(jobs) - refused);
}

/* ---- without ---- */

static void a_bad_uri_is_refused_without_its_password(void **state)
{
    fixture *f = (fixture *)*state;
    static const char *const uris[] = {
        "",
        "http://host",
        "mongodb://user:canary@host:99999/",
        "mongodb://user:canary@ho st/?x=%",
    };
    for (size_t i = 0; i < GW_ARRAY_LEN(uris); i++) {
        gw_mongo_options o = gw_mongo_defaults;
        gw_mongo *m = NULL;
        gw_error err = {0};
        o.uri = uris[i];
        assert_int_equal(gw_mongo_new(f->loop, &o, NULL, &m, &err), GW_ERR_INVALID_ARGUMENT);
        assert_null(m);
        assert_null(strstr(err.message, "canary"));
    }
}

static void an_absent_server_gives_bounded_clear_errors(void **state)
{
    fixture *f = (fixture *)*state;
    int64_t start = gw_clock_mono_ms(&gw_system_clock);
    test_job first = perform(f, count_things, 0);

    assert_int_equal(first.rc, GW_ERR_UNAVAILABLE);
    assert_true(gw_clock_mono_ms(&gw_system_clock) - start < 5000);
    assert_false(gw_mongo_is_up(f->mongo));
    test_job second = perform(f, count_things, 0);
    assert_int_equal(second.rc, GW_ERR_UNAVAILABLE);
    assert_true(second.err.message[0] != '\0');
}

static void a_server_that_comes_later_is_found(void **state)
{
    fixture *f = with_server_bin(state);
    waiters_run = 0;
    gw_mongo_when_up(f->mongo, count_waiter, NULL);
    assert_int_equal(perform(f, count_things, 0).rc, GW_ERR_UNAVAILABLE);
    assert_int_equal(waiters_run, 0);
    start_server(f);
    run_until(f, is_up);
    assert_int_equal(waiters_run, 1);
    assert_int_equal(perform(f, insert_arg, 1).rc, GW_OK);
}

static void a_killed_server_costs_errors_and_no_restart(void **state)
{
    fixture *f = with_server_bin(state);
    test_job in_flight[4] = {0};

    start_server(f);
    run_until(f, is_up);
    assert_int_equal(perform(f, insert_arg, 1).rc, GW_OK);

    /* Stopped first, so that the jobs are surely under way when it dies. */
    kill(f->server, SIGSTOP);
    for (size_t i = 0; i < GW_ARRAY_LEN(in_flight); i++)
        submit(f, &in_flight[i], insert_arg);
    kill_server(f);
    run_until(f, no_job_is_pending);
    for (size_t i = 0; i < GW_ARRAY_LEN(in_flight); i++)
        assert_int_equal(in_flight[i].rc, GW_ERR_UNAVAILABLE);
    run_until(f, is_down);

    start_server(f);
    run_until(f, is_up);
    assert_int_equal(perform(f, insert_arg, 2).rc, GW_OK);
    assert_int_equal(perform(f, count_things, 0).result, 2); /* the first one lasted */
}

static void a_hung_server_is_waited_for_no_longer_than_the_timeouts(void **state)
{
    fixture *f = with_server_bin(state);

    start_server(f);
    run_until(f, is_up);
    assert_int_equal(perform(f, insert_arg, 1).rc, GW_OK);
    kill(f->server, SIGSTOP);
    int64_t start = gw_clock_mono_ms(&gw_system_clock);
    test_job hung = perform(f, insert_arg, 2);
    int64_t waited = gw_clock_mono_ms(&gw_system_clock) - start;
    kill(f->server, SIGCONT);
    assert_int_equal(hung.rc, GW_ERR_UNAVAILABLE);
    assert_true(waited < 6000);
    run_until(f, is_up);
}

int main(void)
{
#define WITH_SERVER(test) cmocka_unit_test_setup_teardown(test, set_up_given, tear_down)
#define WITHOUT(test)     cmocka_unit_test_setup_teardown(test, set_up_absent, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_SERVER(a_waiter_runs_once_when_the_server_answers_and_at_once_when_it_did),
        WITH_SERVER(jobs_run_and_report),
        WITH_SERVER(indexes_are_made_once_and_hold),
        WITH_SERVER(a_full_queue_refuses_and_still_ends_each_job),
        WITHOUT(a_bad_uri_is_refused_without_its_password),
        WITHOUT(an_absent_server_gives_bounded_clear_errors),
        WITHOUT(a_server_that_comes_later_is_found),
        WITHOUT(a_killed_server_costs_errors_and_no_restart),
        WITHOUT(a_hung_server_is_waited_for_no_longer_than_the_timeouts),
    };
    return cmocka_run_group_tests_name("mongo", tests, NULL, NULL);
}
