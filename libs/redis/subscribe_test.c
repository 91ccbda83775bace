#define _GNU_SOURCE /* memfd_create, pipe2 */

#include "redis/test_server.h"

typedef struct listener {
    size_t begun;
    size_t messages;
    char last[64];
} listener;

static void on_message(void *arg, gw_str channel, const gw_str *message)
{
    listener *l = arg;
    l->begun += message == NULL;
    l->messages += message != NULL;
    if (message)
        snprintf(l->last, sizeof(l->last), GW_STR_FMT "=" GW_STR_FMT, GW_STR_ARG(channel),
                 GW_STR_ARG(*message));
}

static bool has_begun(void *arg)
{
    return ((const listener *)arg)->begun == 1;
}

static bool has_begun_again(void *arg)
{
    return ((const listener *)arg)->begun == 2;
}

static bool has_a_message(void *arg)
{
    return ((const listener *)arg)->messages > 0;
}

static void messages_reach_the_channel_they_were_published_on(void **state)
{
    world *w = *state;
    listener a = {0};
    listener b = {0};
    answer published;
    make_client(w, NULL, 2000, 0);
    assert_int_equal(gw_redis_subscribe(w->redis, GW_STR("a"), on_message, &a, NULL), GW_OK);
    assert_true(wait_until(w, has_begun, &a));
    assert_int_equal(gw_redis_subscribe(w->redis, GW_STR("b"), on_message, &b, NULL), GW_OK);
    assert_true(wait_until(w, has_begun, &b));
    call_and_wait(w, w->redis, &published, GW_STR("PUBLISH"), GW_STR("b"), GW_STR("hello"));
    assert_int_equal(published.integer, 1);
    assert_true(wait_until(w, has_a_message, &b));
    assert_string_equal(b.last, "b=hello");
    assert_int_equal(a.messages, 0);
    assert_int_equal(gw_redis_subscribe(w->redis, GW_STR("a"), on_message, &b, NULL),
                     GW_ERR_ALREADY_EXISTS);
}

static void a_subscription_begins_anew_after_the_server_was_killed(void **state)
{
    world *w = *state;
    listener a = {0};
    answer published;
    make_client(w, NULL, 2000, 0);
    assert_int_equal(gw_redis_subscribe(w->redis, GW_STR("a"), on_message, &a, NULL), GW_OK);
    assert_true(wait_until(w, has_begun, &a));
    gw_redis_connect(w->redis);
    assert_true(wait_until(w, redis_is_up, w->redis));
    kill_server(w);
    assert_true(wait_until(w, redis_is_down, w->redis));
    start_server(w, NULL);
    assert_true(wait_until(w, has_begun_again, &a));
    assert_true(wait_until(w, redis_is_up, w->redis));
    call_and_wait(w, w->redis, &published, GW_STR("PUBLISH"), GW_STR("a"), GW_STR("x"));
    assert_true(wait_until(w, has_a_message, &a));
    assert_int_equal(count_in_log(w, "\"redis.connection\":\"subscriptions\""), 3);
}

static void a_silent_server_is_noticed_by_the_heartbeat(void **state)
{
    world *w = *state;
    listener a = {0};
    make_client(w, NULL, 30, 0);
    assert_int_equal(gw_redis_subscribe(w->redis, GW_STR("a"), on_message, &a, NULL), GW_OK);
    assert_true(wait_until(w, has_begun, &a));
    kill(w->server, SIGSTOP);
    int64_t stopped_ms = gw_clock_mono_ms(&gw_system_clock);
    while (count_in_log(w, "redis_unavailable") == 0 &&
           gw_clock_mono_ms(&gw_system_clock) < stopped_ms + 5000)
        uv_run(gw_loop_uv(w->loop), UV_RUN_ONCE);
    assert_int_equal(count_in_log(w, "redis_unavailable"), 1);
    kill(w->server, SIGCONT);
    assert_true(wait_until(w, has_begun_again, &a));
}

static bool is_logged(void *arg)
{
    return count_in_log(arg, "redis_unavailable") > 0;
}

static void what_is_no_message_ends_the_connection(void **state)
{
    (void)state;
    static const char *const scripts[] = {
        "+PONG\r\n:1\r\n",
        "+PONG\r\n*1\r\n$3\r\nabc\r\n",
        "+PONG\r\n*3\r\n:1\r\n:2\r\n:3\r\n",
        "+PONG\r\n*3\r\n$-1\r\n$-1\r\n$-1\r\n",
        "+PONG\r\n-NOPERM this user may not\r\n",
    };
    for (size_t i = 0; i < GW_ARRAY_LEN(scripts); i++) {
        void *made = NULL;
        assert_int_equal(set_up_world(&made), 0);
        world *w = made;
        listener a = {0};
        w->script = scripts[i];
        w->script_len = strlen(scripts[i]);
        listen_scripted(w);
        make_client(w, NULL, 2000, 0);
        assert_int_equal(gw_redis_subscribe(w->redis, GW_STR("a"), on_message, &a, NULL), GW_OK);
        assert_true(wait_until(w, is_logged, w));
        assert_int_equal(a.begun + a.messages, 0);
        gw_redis_free(gw_steal(&w->redis));
        uv_run(gw_loop_uv(w->loop), UV_RUN_NOWAIT);
        tear_down_world(&made);
    }
}

int main(void)
{
#define WITH_SERVER(name)                                                                          \
    cmocka_unit_test_setup_teardown(name, set_up_world_with_server, tear_down_world)
    const struct CMUnitTest tests[] = {
        WITH_SERVER(messages_reach_the_channel_they_were_published_on),
        WITH_SERVER(a_subscription_begins_anew_after_the_server_was_killed),
        WITH_SERVER(a_silent_server_is_noticed_by_the_heartbeat),
        cmocka_unit_test(what_is_no_message_ends_the_connection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
