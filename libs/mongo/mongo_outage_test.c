/*
 * A server that is absent, dies, hangs and comes back. These tests start one of their own, to kill
 * it: MONGO_SERVER_BIN (`./dev test` sets it) is its program, called as
 * `<bin> --host 127.0.0.1 --port <port> --storage-path <folder>`. Without it they are skipped.
 */
#include "mongo/mongo_testing.h"

#include <arpa/inet.h>
#include <fcntl.h>

static bool is_down(void *arg)
{
    fixture *f = (fixture *)arg;
    return !gw_mongo_is_up(f->mongo);
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

static void start_server(fixture *f)
{
    const char *set = getenv("MONGO_SERVER_BIN");
    const char *bin = set ? set : ""; /* the callers have skipped by now when it is unset */
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

static fixture *with_server_bin(void **state)
{
    if (!getenv("MONGO_SERVER_BIN"))
        skip();
    return (fixture *)*state;
}

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
    gw_test_run_until(&f->until, is_up);
    assert_int_equal(waiters_run, 1);
    assert_int_equal(perform(f, insert_arg, 1).rc, GW_OK);
}

static void a_killed_server_costs_errors_and_no_restart(void **state)
{
    fixture *f = with_server_bin(state);
    test_job in_flight[4] = {0};

    start_server(f);
    gw_test_run_until(&f->until, is_up);
    assert_int_equal(perform(f, insert_arg, 1).rc, GW_OK);

    /* Stopped first, so that the jobs are surely under way when it dies; kill() returns before all of its threads rest. */
    int status;
    kill(f->server, SIGSTOP);
    assert_int_equal(waitpid(f->server, &status, WUNTRACED), f->server);
    assert_true(WIFSTOPPED(status));
    for (size_t i = 0; i < GW_ARRAY_LEN(in_flight); i++)
        submit(f, &in_flight[i], insert_arg);
    kill_server(f);
    gw_test_run_until(&f->until, no_job_is_pending);
    for (size_t i = 0; i < GW_ARRAY_LEN(in_flight); i++)
        assert_int_equal(in_flight[i].rc, GW_ERR_UNAVAILABLE);
    gw_test_run_until(&f->until, is_down);

    start_server(f);
    gw_test_run_until(&f->until, is_up);
    assert_int_equal(perform(f, insert_arg, 2).rc, GW_OK);
    assert_int_equal(perform(f, count_things, 0).result, 2); /* the first one lasted */
}

/* A signal takes a moment: until then it answers. */
static void freeze_server(fixture *f)
{
    int status;

    kill(f->server, SIGSTOP);
    assert_int_equal(waitpid(f->server, &status, WUNTRACED), f->server);
    assert_true(WIFSTOPPED(status));
}

static void a_hung_server_is_waited_for_no_longer_than_the_timeouts(void **state)
{
    fixture *f = with_server_bin(state);

    start_server(f);
    gw_test_run_until(&f->until, is_up);
    assert_int_equal(perform(f, insert_arg, 1).rc, GW_OK);
    freeze_server(f);
    int64_t start = gw_clock_mono_ms(&gw_system_clock);
    test_job hung = perform(f, insert_arg, 2);
    int64_t waited = gw_clock_mono_ms(&gw_system_clock) - start;
    kill(f->server, SIGCONT);
    assert_int_equal(hung.rc, GW_ERR_UNAVAILABLE);
    assert_true(waited < 6000);
    gw_test_run_until(&f->until, is_up);
}

static void a_kill_leaves_no_counters_behind(void **state)
{
    char path[48];

    (void)state;
    (void)snprintf(path, sizeof(path), "/dev/shm/mongoc-%d", (int)getpid());
    assert_int_equal(access(path, F_OK), -1);
}

int main(void)
{
#define TEST(test) cmocka_unit_test_setup_teardown(test, set_up_absent, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_bad_uri_is_refused_without_its_password),
        TEST(an_absent_server_gives_bounded_clear_errors),
        TEST(a_server_that_comes_later_is_found),
        TEST(a_killed_server_costs_errors_and_no_restart),
        TEST(a_hung_server_is_waited_for_no_longer_than_the_timeouts),
        cmocka_unit_test(a_kill_leaves_no_counters_behind),
    };
    return cmocka_run_group_tests_name("mongo_outage", tests, NULL, NULL);
}
