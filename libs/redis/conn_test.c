#define _GNU_SOURCE /* memfd_create, pipe2 */

#include "redis/test_server.h"

#define SCRIPT(text) "" text, sizeof(text) - 1

/* What no Redis sends. The greeting of the tests' client is a single PING. */
static const struct {
    const char *name;
    const char *bytes;
    size_t len;
    bool closes;
    const char *logged;
} servers[] = {
    {"an HTTP server", SCRIPT("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"), true,
     "no reply"},
    {"bytes of any kind", SCRIPT("\x16\x03\x01\x02\x00\x01\xff\xfe\r\n"), false, "no reply"},
    {"a close at once", SCRIPT(""), true, "no answer within"},
    {"a close after half a reply", SCRIPT("+PO"), true, "closed the connection"},
    {"half a reply and silence", SCRIPT("$100\r\nabc"), false, "no answer within"},
    {"a negative length", SCRIPT("$-5\r\nabc\r\n"), false, "no reply"},
    {"a length beyond 64 bits", SCRIPT("$99999999999999999999\r\n"), false, "no reply"},
    {"an array too long for memory", SCRIPT("*2147483647\r\n"), false, "no reply"},
    {"an array too long for us", SCRIPT("*2000000\r\n"), false, "no reply"},
    {"arrays in arrays in arrays",
     SCRIPT("*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n"), false,
     "no reply"},
    {"a refusal", SCRIPT("-ERR max number of clients reached\r\n"), true, "max number of clients"},
    {"a refusal that repeats what it was sent",
     SCRIPT("-ERR unknown command 'AUTH', with args beginning with: 'user' 'hunter2'\r\n"), true,
     "unknown command"},
    {"a server that is loading", SCRIPT("-LOADING Redis is loading the dataset in memory\r\n"),
     false, "LOADING"},
    {"replies nobody asked for", SCRIPT("+PONG\r\n+surprise\r\n"), false, "reply to no command"},
    {"an error nobody asked for", SCRIPT("+PONG\r\n-ERR surprise\r\n"), false,
     "reply to no command"},
    {"garbage behind the greeting", SCRIPT("+PONG\r\n!!!!\r\n"), false, "no reply"},
};

static bool is_logged(void *arg)
{
    return count_in_log(arg, "redis_unavailable") > 0;
}

static void no_server_can_do_more_than_be_unavailable(void **state)
{
    (void)state;
    for (size_t i = 0; i < GW_ARRAY_LEN(servers); i++) {
        void *made = NULL;
        assert_int_equal(set_up_world(&made), 0);
        world *w = made;
        gw_auto_buf url = {0};
        gw_redis_options o = options_of(w, &url);
        o.connect_timeout_ms = 200;
        w->script = servers[i].bytes;
        w->script_len = servers[i].len;
        w->script_closes = servers[i].closes;
        listen_scripted(w);
        assert_int_equal(gw_redis_new(w->loop, w->log, &o, &w->redis, NULL), GW_OK);
        gw_redis_connect(w->redis);
        bool logged = wait_until(w, is_logged, w);
        if (!logged || !strstr(log_text(w), servers[i].logged) || strstr(log_text(w), "hunter2"))
            fail_msg("%s: %s", servers[i].name, log_text(w));
        answer a;
        call_and_wait(w, w->redis, &a, GW_STR("PING"));
        if (a.rc != GW_ERR_UNAVAILABLE && a.rc != GW_OK)
            fail_msg("%s: %s", servers[i].name, gw_status_describe(a.rc)->name);
        gw_redis_free(gw_steal(&w->redis));
        uv_run(gw_loop_uv(w->loop), UV_RUN_NOWAIT); /* the peers see the end */
        tear_down_world(&made);
    }
}

static bool many_were_accepted(void *arg)
{
    return ((const world *)arg)->accepted >= 4;
}

static void attempts_on_a_broken_server_back_off(void **state)
{
    world *w = *state;
    gw_auto_buf url = {0};
    gw_redis_options o = options_of(w, &url);
    w->script = "!";
    w->script_len = 1;
    w->script_closes = true;
    listen_scripted(w);
    assert_int_equal(gw_redis_new(w->loop, w->log, &o, &w->redis, NULL), GW_OK);
    int64_t start_ms = gw_clock_mono_ms(&gw_system_clock);
    gw_redis_connect(w->redis);
    assert_true(wait_until(w, many_were_accepted, w));
    int64_t took_ms = gw_clock_mono_ms(&gw_system_clock) - start_ms;
    assert_true(took_ms >= 25 + 50 + 100); /* the least of three waits */
    assert_int_equal(count_in_log(w, "redis_unavailable"), 1);
}

static void connecting_twice_opens_one_connection(void **state)
{
    world *w = *state;
    gw_auto_buf url = {0};
    gw_redis_options o = options_of(w, &url);
    w->script = "+PONG\r\n";
    w->script_len = 7;
    listen_scripted(w);
    assert_int_equal(gw_redis_new(w->loop, w->log, &o, &w->redis, NULL), GW_OK);
    gw_redis_connect(w->redis);
    gw_redis_connect(w->redis);
    assert_true(wait_until(w, redis_is_up, w->redis));
    gw_redis_connect(w->redis);
    answer a;
    call_and_wait(w, w->redis, &a, GW_STR("PING"));
    assert_int_equal(a.rc, GW_OK);
    assert_int_equal(w->accepted, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_server_can_do_more_than_be_unavailable),
        cmocka_unit_test_setup_teardown(attempts_on_a_broken_server_back_off, set_up_world,
                                        tear_down_world),
        cmocka_unit_test_setup_teardown(connecting_twice_opens_one_connection, set_up_world,
                                        tear_down_world),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
