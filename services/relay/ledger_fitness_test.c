/* What a Redis says of itself, and whether ledgers may be kept there. */
#define _GNU_SOURCE /* memfd_create, pipe2 */
#include "ledger_fitness.h"

#include "redis/test_server.h"

#define TOO_OLD_LOG "ledger_store_too_old"
#define EVICTS_LOG  "ledger_store_evicts"

static void open_redis(world *w)
{
    gw_auto_buf url = {0};
    gw_redis_options o = options_of(w, &url);

    assert_int_equal(gw_redis_new(w->loop, w->log, &o, &w->redis, NULL), GW_OK);
}

static bool is_told(void *arg)
{
    return gw_redis_pending(arg) == 0;
}

static void ask(world *w, ledger_fitness *f)
{
    ledger_fitness_ask(f, w->redis);
    assert_true(wait_until(w, is_told, w->redis));
}

static void a_real_redis_is_fit_unless_it_evicts(void **state)
{
    world *w = *state;
    ledger_fitness f = {.log = w->log};
    answer a;

    open_redis(w);
    ask(w, &f);
    assert_null(ledger_fitness_trouble(&f));
    call_and_wait(w, w->redis, &a, GW_STR("CONFIG"), GW_STR("SET"), GW_STR("maxmemory-policy"),
                  GW_STR("allkeys-lru"));
    for (int i = 0; i < 2; i++) {
        ask(w, &f);
        assert_non_null(strstr(ledger_fitness_trouble(&f), "noeviction"));
        assert_int_equal(count_in_log(w, EVICTS_LOG), 1);
    }
    call_and_wait(w, w->redis, &a, GW_STR("CONFIG"), GW_STR("SET"), GW_STR("maxmemory-policy"),
                  GW_STR("noeviction"));
    ask(w, &f);
    assert_null(ledger_fitness_trouble(&f));
    assert_int_equal(count_in_log(w, TOO_OLD_LOG), 0);
}

static void answer_with(world *w, const char *text)
{
    w->script = text;
    w->script_len = strlen(text);
}

static void what_a_redis_says_of_itself(void **state)
{
    static const struct {
        const char *says;
        bool fits;
    } cases[] = {
        {"$21\r\nredis_version:6.2.14\n\r\n", false},
        {"$20\r\nredis_version:7.0.0\n\r\n", true},
        {"$20\r\nredis_version:7.2.4\n\r\n", true}, /* a Valkey 8 */
        {"$21\r\nredis_version:10.0.1\n\r\n", true},
        {"$5\r\n# one\r\n", true}, /* it does not say */
        {"-NOPERM no\r\n", true},
    };
    world *w = *state;

    listen_scripted(w);
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        ledger_fitness f = {.log = w->log};
        char both[128];

        answer_with(w, "+PONG\r\n");
        open_redis(w);
        gw_redis_connect(w->redis);
        assert_true(wait_until(w, redis_is_up, w->redis));
        snprintf(both, sizeof(both), "%s$5\r\n# two\r\n", cases[i].says);
        answer_with(w, both);
        ask(w, &f);
        assert_int_equal(ledger_fitness_trouble(&f) == NULL, cases[i].fits);
        gw_redis_free(w->redis);
        w->redis = NULL;
    }
    assert_int_equal(count_in_log(w, TOO_OLD_LOG), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_real_redis_is_fit_unless_it_evicts,
                                        set_up_world_with_server, tear_down_world),
        cmocka_unit_test_setup_teardown(what_a_redis_says_of_itself, set_up_world, tear_down_world),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
