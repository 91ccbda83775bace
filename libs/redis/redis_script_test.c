#define _GNU_SOURCE /* memfd_create, pipe2 */

#include "redis/test_server.h"

static void eval_and_wait(world *w, const gw_redis_script *s, answer *a, gw_str key, gw_str value)
{
    *a = (answer){0};
    gw_redis_eval(w->redis, s, on_answer, a, 1, 2, (const gw_str[]){key, value});
    assert_int_equal(a->calls, 0);
    assert_true(wait_until(w, is_answered, a));
}

static void a_script_is_sent_whole_only_when_redis_does_not_know_it(void **state)
{
    world *w = *state;
    answer a;
    make_client(w, NULL, 0, 0);
    gw_auto(gw_redis_script) s = gw_redis_script_new(
        GW_STR("redis.call('set', KEYS[1], ARGV[1]) return {KEYS[1], redis.call('get', KEYS[1])}"));
    for (int i = 0; i < 3; i++) {
        eval_and_wait(w, s, &a, GW_STR("k"), GW_STR("v\r\n"));
        assert_int_equal(a.rc, GW_OK);
        assert_string_equal(a.text, "k v\r\n");
    }
    call_and_wait(w, w->redis, &a, GW_STR("INFO"), GW_STR("commandstats"));
    answer stats = {0};
    gw_auto(gw_redis_script) count =
        gw_redis_script_new(GW_STR("return tonumber(string.match(redis.call('info', "
                                   "'commandstats'), 'cmdstat_eval:calls=(%d+)'))"));
    gw_redis_eval(w->redis, count, on_answer, &stats, 0, 0, NULL);
    assert_true(wait_until(w, is_answered, &stats));
    assert_int_equal(stats.integer, 1); /* the counting script's own EVAL is counted when it ends */
    call_and_wait(w, w->redis, &a, GW_STR("SCRIPT"), GW_STR("FLUSH"));
    eval_and_wait(w, s, &a, GW_STR("k"), GW_STR("w"));
    assert_string_equal(a.text, "k w");
    assert_int_equal(gw_redis_pending(w->redis), 0);
}

/* Counts its own calls, in a local. */
static const char call_counter[] =
    "local calls = 0\n"
    "local function main(KEYS, ARGV)\n"
    "  calls = calls + 1\n"
    "  return { tostring(calls), redis.call('GET', KEYS[1]), ARGV[1] }\n"
    "end\n";

static void a_function_keeps_its_locals_until_redis_forgets_it_and_is_loaded_again(void **state)
{
    world *w = *state;
    answer a;
    make_client(w, NULL, 0, 0);
    gw_auto(gw_redis_script) f = gw_redis_function_new("counter", gw_str_of(call_counter));
    call_and_wait(w, w->redis, &a, GW_STR("SET"), GW_STR("k"), GW_STR("v"));
    for (int i = 1; i <= 3; i++) {
        char expected[32];
        snprintf(expected, sizeof(expected), "%d v x\r\n", i);
        eval_and_wait(w, f, &a, GW_STR("k"), GW_STR("x\r\n"));
        assert_int_equal(a.rc, GW_OK);
        assert_string_equal(a.text, expected);
    }
    call_and_wait(w, w->redis, &a, GW_STR("FUNCTION"), GW_STR("FLUSH"));
    eval_and_wait(w, f, &a, GW_STR("k"), GW_STR("x"));
    assert_string_equal(a.text, "1 v x");
}

static void functions_of_two_texts_stand_beside_each_other(void **state)
{
    world *w = *state;
    answer a;
    make_client(w, NULL, 0, 0);
    gw_auto(gw_redis_script) old =
        gw_redis_function_new("f", GW_STR("local function main() return 'old' end"));
    gw_auto(gw_redis_script) new =
        gw_redis_function_new("f", GW_STR("local function main() return 'new' end"));
    for (int i = 0; i < 2; i++) {
        eval_and_wait(w, old, &a, GW_STR("k"), GW_STR("v"));
        assert_string_equal(a.text, "old");
        eval_and_wait(w, new, &a, GW_STR("k"), GW_STR("v"));
        assert_string_equal(a.text, "new");
    }
}

static void a_function_that_cannot_be_loaded_gives_the_reason(void **state)
{
    world *w = *state;
    answer a;
    make_client(w, NULL, 0, 0);
    gw_auto(gw_redis_script) nonsense = gw_redis_function_new("f", GW_STR("this is no Lua"));
    gw_auto(gw_redis_script) broken = gw_redis_function_new(
        "f", GW_STR("local function main(KEYS) return redis.call('incr', KEYS[1], 'x') end"));
    eval_and_wait(w, nonsense, &a, GW_STR("k"), GW_STR("v"));
    assert_int_equal(a.rc, GW_ERR_INTERNAL);
    assert_non_null(strstr(a.text, "Error compiling function"));
    eval_and_wait(w, broken, &a, GW_STR("k"), GW_STR("v"));
    assert_int_equal(a.rc, GW_ERR_INTERNAL);
    call_and_wait(w, w->redis, &a, GW_STR("ACL"), GW_STR("SETUSER"), GW_STR("default"),
                  GW_STR("-function"));
    call_and_wait(w, w->redis, &a, GW_STR("FUNCTION"), GW_STR("FLUSH"));
    assert_int_equal(a.rc, GW_ERR_PERMISSION_DENIED);
    gw_auto(gw_redis_script) other =
        gw_redis_function_new("f", GW_STR("local function main() return 'x' end"));
    eval_and_wait(w, other, &a, GW_STR("k"), GW_STR("v"));
    assert_int_equal(a.rc, GW_ERR_PERMISSION_DENIED);
}

static void a_script_that_fails_gives_its_error(void **state)
{
    world *w = *state;
    answer a;
    make_client(w, NULL, 0, 0);
    gw_auto(gw_redis_script) broken =
        gw_redis_script_new(GW_STR("return redis.call('incr', KEYS[1], 'x', 'y')"));
    gw_auto(gw_redis_script) nonsense = gw_redis_script_new(GW_STR("this is no Lua"));
    eval_and_wait(w, broken, &a, GW_STR("k"), GW_STR("v"));
    assert_int_equal(a.rc, GW_ERR_INTERNAL);
    eval_and_wait(w, nonsense, &a, GW_STR("k"), GW_STR("v"));
    assert_int_equal(a.rc, GW_ERR_INTERNAL);
    assert_non_null(strstr(a.text, "compiling"));
}

int main(void)
{
#define WITH_SERVER(name)                                                                          \
    cmocka_unit_test_setup_teardown(name, set_up_world_with_server, tear_down_world)
    const struct CMUnitTest tests[] = {
        WITH_SERVER(a_script_is_sent_whole_only_when_redis_does_not_know_it),
        WITH_SERVER(a_function_keeps_its_locals_until_redis_forgets_it_and_is_loaded_again),
        WITH_SERVER(functions_of_two_texts_stand_beside_each_other),
        WITH_SERVER(a_function_that_cannot_be_loaded_gives_the_reason),
        WITH_SERVER(a_script_that_fails_gives_its_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
