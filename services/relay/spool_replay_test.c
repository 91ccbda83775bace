#include "spool_replay.h"

#include "fake_usage.h"

#include <spawn.h>
#include <sys/wait.h>

extern char **environ;

static int setup_usage(void **state)
{
    return fake_usage_setup(state, &gw_system_clock);
}

static int setup_group(void **state)
{
    (void)state;
    gw_rpc_init();
    return 0;
}

static int teardown_group(void **state)
{
    (void)state;
    gw_rpc_shutdown();
    return 0;
}

static spool_replay_options options_of(const kit *k)
{
    const fake_usage *u = k->extra;
    return (spool_replay_options){.dir = k->dir,
                                  .spool_max_bytes = 64 << 20,
                                  .usage = u->channel,
                                  .service_token = GW_STR("lcsvc_relay"),
                                  .patience_ms = 10000};
}

/* The relay that dies: `done` events in its spool, one request in flight. */
static int die_as_a_relay(const char *dir, long done)
{
    gw_loop *l;
    recorder *r = NULL;
    gw_error err;
    uint8_t id[12];
    kit k = {0};
    (void)snprintf(k.dir, sizeof(k.dir), "%s", dir);
    recorder_options o = kit_options(&k);
    if (gw_loop_new(&gw_system_clock, &l, &err) != GW_OK || recorder_open(l, &o, &r, &err) != GW_OK)
        return 3;
    recorder_lane *lane = recorder_lane_at(r, 0);
    flight_slot *open = recorder_claim(lane);
    recorder_event_id(lane, id);
    usage_event e = kit_event(id, 10);
    recorder_open_event(lane, open, &e);
    while (done > 0)
        done -= kit_record(lane, true);
    return kill(getpid(), SIGKILL);
}

/* A program of its own: a fork of this process, whose gRPC has threads, may find the sanitizer's allocator locked for ever. */
static void leave_behind(kit *k, int done)
{
    int status;
    pid_t pid;
    char name[] = "relay", count[16];
    (void)snprintf(count, sizeof(count), "%d", done);
    char *argv[] = {name, k->dir, count, NULL};
    assert_int_equal(posix_spawn(&pid, "/proc/self/exe", NULL, NULL, argv, environ), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGKILL);
}

static void all_of_a_lost_relay_is_claimed_once(void **state)
{
    kit *k = *state;
    const spool_replay_options o = options_of(k);
    spool_replay_report r;
    gw_error err = {0};
    leave_behind(k, 700);
    if (spool_replay_run(k->loop, &o, &r, &err) != GW_OK)
        fail_msg("%s", err.message);
    assert_int_equal(r.events, 701);
    assert_int_equal(r.claimed, 701);
    assert_int_equal(r.left, 0);
    assert_int_equal(gw_map_count(((fake_usage *)k->extra)->claimed), 701);
    /* Again: nothing is left, nothing is sent. */
    assert_int_equal(spool_replay_run(k->loop, &o, &r, &err), GW_OK);
    assert_int_equal(r.events, 0);
    assert_int_equal(gw_map_count(((fake_usage *)k->extra)->claimed), 701);
}

static void the_directory_of_a_living_relay_is_refused(void **state)
{
    kit *k = *state;
    const spool_replay_options o = options_of(k);
    spool_replay_report r;
    gw_error err = {0};
    recorder_options living = kit_options(k);
    kit_open(k, &living);
    assert_int_equal(spool_replay_run(k->loop, &o, &r, &err), GW_ERR_FAILED_PRECONDITION);
    kit_close(k, 0);
}

static void where_there_is_no_spool_none_is_made(void **state)
{
    kit *k = *state;
    spool_replay_options o = options_of(k);
    char path[96];
    spool_replay_report r;
    gw_error err = {0};
    assert_int_equal(spool_replay_run(k->loop, &o, &r, &err), GW_ERR_NOT_FOUND);
    (void)snprintf(path, sizeof(path), "%s/flight", k->dir);
    assert_int_not_equal(access(path, F_OK), 0);
}

static void what_usage_does_not_claim_stays(void **state)
{
    kit *k = *state;
    spool_replay_options o = options_of(k);
    spool_replay_report r;
    gw_error err = {0};
    leave_behind(k, 5);
    o.service_token = GW_STR("lcsvc_nobody");
    o.patience_ms = 300;
    assert_int_equal(spool_replay_run(k->loop, &o, &r, &err), GW_ERR_UNAVAILABLE);
    assert_int_equal(r.events, 6);
    assert_int_equal(r.left, 6);
    o = options_of(k);
    assert_int_equal(spool_replay_run(k->loop, &o, &r, &err), GW_OK);
    assert_int_equal(r.claimed, 6);
}

int main(int argc, char **argv)
{
    if (argc == 3)
        return die_as_a_relay(argv[1], strtol(argv[2], NULL, 10));
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_usage, fake_usage_teardown)
        TEST(all_of_a_lost_relay_is_claimed_once),
        TEST(the_directory_of_a_living_relay_is_refused),
        TEST(where_there_is_no_spool_none_is_made),
        TEST(what_usage_does_not_claim_stays),
    };
    return cmocka_run_group_tests(tests, setup_group, teardown_group);
}
