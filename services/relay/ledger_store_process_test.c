/*
 * What the function of the ledgers keeps in Redis says which process this is: true after whatever brings the function back, or
 * the data without the process. On real servers.
 */
#define _GNU_SOURCE /* memfd_create, pipe2 */
#include "ledger_store_test_kit.h"

#define ANSWER_MAX_MS 30000 /* WAIT answers when a replica has caught up */

typedef struct place {
    world *w;
    contract c; /* without a model: the clock is Redis's */
    int64_t births[LEDGER_SHARDS];
} place;

static int set_up_directory(void **state)
{
    char *name = strdup("/tmp/ledger-process-XXXXXX");

    *state = name;
    return !name || !mkdtemp(name);
}

static int remove_directory(void **state)
{
    pid_t child = fork();

    if (child == 0) {
        execlp("rm", "rm", "-r", (char *)*state, NULL);
        _exit(127);
    }
    waitpid(child, NULL, 0);
    free(*state);
    return 0;
}

static void start(world *w, const char *folder, const char *name)
{
    char port[8], dump[32];

    snprintf(port, sizeof(port), "%u", w->port);
    snprintf(dump, sizeof(dump), "%s.rdb", name);
    const char *const settings[] = {"--port",
                                    port,
                                    "--dir",
                                    folder,
                                    "--appendonly",
                                    "yes",
                                    "--appenddirname",
                                    name,
                                    "--dbfilename",
                                    dump,
                                    "--enable-debug-command",
                                    "yes",
                                    "--repl-diskless-sync-delay",
                                    "0",
                                    NULL};
    start_server_with(w, settings);
}

static void open_place(place *p, const char *folder, const char *name)
{
    gw_auto_buf url = {0};

    assert_int_equal(set_up_world((void **)&p->w), 0);
    start(p->w, folder, name);
    gw_redis_options o = options_of(p->w, &url);
    o.command_timeout_ms = ANSWER_MAX_MS;
    assert_int_equal(gw_redis_new(p->w->loop, p->w->log, &o, &p->w->redis, NULL), GW_OK);
    assert_int_equal(ledger_store_redis_new(p->w->redis, &timers, NULL, &p->c.store, NULL), GW_OK);
    p->c.w = p->w;
}

static void close_place(place *p)
{
    gw_redis_free(p->w->redis);
    p->w->redis = NULL;
    ledger_store_free(p->c.store);
    tear_down_world((void **)&p->w);
}

static void ask_births(place *p)
{
    p->c.store->ops->born(p->c.store, on_born, &p->c);
    await(&p->c);
}

static void is_the_same(place *p)
{
    ask_births(p);
    assert_memory_equal(p->c.born, p->births, sizeof(p->births));
}

/* Later than `than`, of all shards. */
static void is_another(place *p, const int64_t than[LEDGER_SHARDS])
{
    ask_births(p);
    for (int i = 0; i < LEDGER_SHARDS; i++)
        assert_true(p->c.born[i] > than[i]);
    memcpy(p->births, p->c.born, sizeof(p->births));
    is_the_same(p);
}

static void has_the_function(place *p)
{
    answer a = {0};
    gw_auto(gw_redis_script) count =
        gw_redis_script_new(GW_STR("return tonumber(string.match(redis.call('INFO', 'memory'), "
                                   "'number_of_libraries:(%d+)'))"));

    gw_redis_eval(p->w->redis, count, on_answer, &a, 0, 0, NULL);
    assert_true(wait_until(p->w, is_answered, &a));
    assert_int_equal(a.integer, 1);
}

static void a_process_is_the_same_whatever_happens_to_its_functions_and_data(void **state)
{
    static const int64_t never[LEDGER_SHARDS] = {0};
    place p = {0};
    answer a;

    open_place(&p, *state, "a");
    int64_t before_ms = gw_clock_wall_ms(&gw_system_clock);
    is_another(&p, never);
    assert_in_range(p.c.told_ms, before_ms, gw_clock_wall_ms(&gw_system_clock));
    call_and_wait(p.w, p.w->redis, &a, GW_STR("FUNCTION"), GW_STR("FLUSH"));
    is_the_same(&p);
    call_and_wait(p.w, p.w->redis, &a, GW_STR("DEBUG"), GW_STR("RELOAD"));
    assert_int_equal(a.rc, GW_OK);
    has_the_function(&p);
    is_the_same(&p);
    close_place(&p);
}

static void a_process_that_has_the_data_of_another_is_another(void **state)
{
    static const int64_t never[LEDGER_SHARDS] = {0};
    place p = {0};

    open_place(&p, *state, "a");
    is_another(&p, never);
    kill_server(p.w);
    assert_true(wait_until(p.w, redis_is_down, p.w->redis));
    start(p.w, *state, "a");
    assert_true(wait_until(p.w, redis_is_up, p.w->redis));
    has_the_function(&p);
    is_another(&p, p.births);
    close_place(&p);
}

static void follow(place *replica, const place *master)
{
    char port[8];
    answer a;

    snprintf(port, sizeof(port), "%u", master->w->port);
    call_and_wait(replica->w, replica->w->redis, &a, GW_STR("REPLICAOF"), GW_STR("127.0.0.1"),
                  gw_str_of(port));
    assert_int_equal(a.rc, GW_OK);
    call_and_wait(master->w, master->w->redis, &a, GW_STR("SET"), GW_STR("followed"), GW_STR("1"));
    call_and_wait(master->w, master->w->redis, &a, GW_STR("WAIT"), GW_STR("1"), GW_STR("0"));
    assert_int_equal(a.integer, 1);
    has_the_function(replica);
}

static void promote(place *p)
{
    answer a;

    call_and_wait(p->w, p->w->redis, &a, GW_STR("REPLICAOF"), GW_STR("NO"), GW_STR("ONE"));
    assert_int_equal(a.rc, GW_OK);
}

static void a_replica_that_takes_over_is_another_and_so_is_the_master_that_comes_back(void **state)
{
    static const int64_t never[LEDGER_SHARDS] = {0};
    place a = {0}, b = {0};

    open_place(&a, *state, "a");
    is_another(&a, never);
    open_place(&b, *state, "b");
    follow(&b, &a);
    promote(&b);
    is_another(&b, a.births);
    follow(&a, &b);
    promote(&a);
    is_another(&a, b.births);
    close_place(&b);
    close_place(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            a_process_is_the_same_whatever_happens_to_its_functions_and_data, set_up_directory,
            remove_directory),
        cmocka_unit_test_setup_teardown(a_process_that_has_the_data_of_another_is_another,
                                        set_up_directory, remove_directory),
        cmocka_unit_test_setup_teardown(
            a_replica_that_takes_over_is_another_and_so_is_the_master_that_comes_back,
            set_up_directory, remove_directory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
