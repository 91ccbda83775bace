#define _GNU_SOURCE /* memfd_create, pipe2 */

#include "redis/test_server.h"

static void the_first_command_connects_and_waits_for_it(void **state)
{
    world *w = *state;
    answer a;
    make_client(w, NULL, 0, 0);
    assert_false(gw_redis_is_up(w->redis));
    call_and_wait(w, w->redis, &a, GW_STR("PING"));
    assert_int_equal(a.rc, GW_OK);
    assert_string_equal(a.text, "PONG");
    assert_true(gw_redis_is_up(w->redis));
    assert_int_equal(gw_redis_pending(w->redis), 0);
    assert_int_equal(count_in_log(w, "redis_connected"), 1);
}

static void replies_of_each_kind_arrive(void **state)
{
    world *w = *state;
    answer a;
    make_client(w, NULL, 0, 0);
    call_and_wait(w, w->redis, &a, GW_STR("SET"), GW_STR("k\0\r\n"), GW_STR("v\r\n\0x"));
    assert_string_equal(a.text, "OK");
    call_and_wait(w, w->redis, &a, GW_STR("STRLEN"), GW_STR("k\0\r\n"));
    assert_int_equal(a.integer, 5);
    call_and_wait(w, w->redis, &a, GW_STR("GET"), GW_STR("absent"));
    assert_int_equal(a.rc, GW_OK);
    assert_int_equal(a.type, REDIS_REPLY_NIL);
    call_and_wait(w, w->redis, &a, GW_STR("MGET"), GW_STR("absent"), GW_STR("k\0\r\n"));
    assert_int_equal(a.type, REDIS_REPLY_ARRAY);
    call_and_wait(w, w->redis, &a, GW_STR("SET"), GW_STR(""), GW_STR_NULL);
    assert_int_equal(a.rc, GW_OK);
    call_and_wait(w, w->redis, &a, GW_STR("INCR"), GW_STR("k\0\r\n"));
    assert_int_equal(a.rc, GW_ERR_INTERNAL);
    assert_int_equal(a.type, REDIS_REPLY_ERROR);
    assert_non_null(strstr(a.text, "not an integer"));
    assert_true(gw_redis_is_up(w->redis));
    gw_redis_call(w->redis, NULL, NULL, GW_STR("SET"), GW_STR("unwatched"), GW_STR("1"));
    call_and_wait(w, w->redis, &a, GW_STR("GET"), GW_STR("unwatched"));
    assert_string_equal(a.text, "1");
}

static void a_long_value_goes_both_ways(void **state)
{
    world *w = *state;
    size_t size = (size_t)3 << 20;
    char *bytes = malloc(size);
    answer a;
    memset(bytes, 'x', size);
    make_client(w, NULL, 0, 0);
    call_and_wait(w, w->redis, &a, GW_STR("SET"), GW_STR("long"), gw_str_n(bytes, size));
    free(bytes);
    assert_int_equal(a.rc, GW_OK);
    call_and_wait(w, w->redis, &a, GW_STR("GET"), GW_STR("long"));
    assert_int_equal(strlen(a.text), sizeof(a.text) - 1);
}

#define PIPELINED 2000

typedef struct counter {
    size_t calls;
    size_t wrong;
} counter;

static void on_count(void *arg, gw_status rc, const redisReply *reply)
{
    counter *c = arg;
    c->calls++;
    c->wrong += rc != GW_OK || reply->integer != (long long)c->calls;
}

static bool all_are_counted(void *arg)
{
    return ((const counter *)arg)->calls == PIPELINED;
}

static void commands_of_one_turn_are_answered_in_order(void **state)
{
    world *w = *state;
    counter c = {0};
    make_client(w, NULL, 0, 0);
    for (int i = 0; i < PIPELINED; i++)
        gw_redis_call(w->redis, on_count, &c, GW_STR("INCR"), GW_STR("n"));
    assert_int_equal(c.calls, 0);
    assert_int_equal(gw_redis_pending(w->redis), PIPELINED);
    assert_true(wait_until(w, all_are_counted, &c));
    assert_int_equal(c.wrong, 0);
}

static void a_database_is_selected(void **state)
{
    world *w = *state;
    gw_auto_buf url = {0};
    answer a;
    gw_buf_appendf(&url, "redis://127.0.0.1:%u/3", w->port);
    make_client(w, url.data, 0, 0);
    call_and_wait(w, w->redis, &a, GW_STR("CLIENT"), GW_STR("LIST"));
    assert_non_null(strstr(a.text, "db=3"));
}

static void without_a_server_commands_fail_and_the_log_says_so_once(void **state)
{
    world *w = *state;
    answer a;
    make_client(w, NULL, 0, 0);
    for (int i = 0; i < 5; i++) {
        call_and_wait(w, w->redis, &a, GW_STR("PING"));
        assert_int_equal(a.rc, GW_ERR_UNAVAILABLE);
        assert_int_equal(a.calls, 1);
        assert_int_equal(a.type, 0);
    }
    assert_int_equal(count_in_log(w, "redis_unavailable"), 1);
    assert_int_equal(gw_redis_pending(w->redis), 0);

    start_server(w, NULL);
    assert_true(wait_until(w, redis_is_up, w->redis));
    call_and_wait(w, w->redis, &a, GW_STR("PING"));
    assert_int_equal(a.rc, GW_OK);
    assert_int_equal(count_in_log(w, "redis_unavailable"), 1);
    assert_int_equal(count_in_log(w, "redis_connected"), 1);
}

static void a_server_killed_in_flight_fails_the_command_once_and_is_found_again(void **state)
{
    world *w = *state;
    answer a;
    answer blocked = {0};
    make_client(w, NULL, 0, 0);
    call_and_wait(w, w->redis, &a, GW_STR("PING"));
    gw_redis_call(w->redis, on_answer, &blocked, GW_STR("BLPOP"), GW_STR("never"), GW_STR("0"));
    uv_run(gw_loop_uv(w->loop), UV_RUN_NOWAIT);
    kill_server(w);
    assert_true(wait_until(w, is_answered, &blocked));
    assert_int_equal(blocked.rc, GW_ERR_UNAVAILABLE);
    assert_false(gw_redis_is_up(w->redis));
    call_and_wait(w, w->redis, &a, GW_STR("PING"));
    assert_int_equal(a.rc, GW_ERR_UNAVAILABLE);

    start_server(w, NULL);
    assert_true(wait_until(w, redis_is_up, w->redis));
    call_and_wait(w, w->redis, &a, GW_STR("PING"));
    assert_int_equal(a.rc, GW_OK);
    assert_int_equal(blocked.calls, 1);
    assert_int_equal(count_in_log(w, "redis_connected"), 2);
    assert_int_equal(count_in_log(w, "redis_unavailable"), 1);
}

static void a_late_reply_is_dropped_and_the_next_command_gets_its_own(void **state)
{
    world *w = *state;
    answer late;
    answer next;
    make_client(w, NULL, 150, 0);
    call_and_wait(w, w->redis, &next, GW_STR("PING"));
    kill(w->server, SIGSTOP);
    call_and_wait(w, w->redis, &late, GW_STR("ECHO"), GW_STR("late"));
    assert_int_equal(late.rc, GW_ERR_DEADLINE_EXCEEDED);
    assert_int_equal(late.type, 0);
    assert_int_equal(gw_redis_pending(w->redis), 1);
    kill(w->server, SIGCONT);
    call_and_wait(w, w->redis, &next, GW_STR("ECHO"), GW_STR("next"));
    assert_int_equal(next.rc, GW_OK);
    assert_string_equal(next.text, "next");
    assert_int_equal(late.calls, 1);
    assert_int_equal(gw_redis_pending(w->redis), 0);
    assert_int_equal(count_in_log(w, "redis_unavailable"), 0);
}

static void a_server_silent_for_three_timeouts_is_given_up_and_found_again(void **state)
{
    world *w = *state;
    answer a;
    make_client(w, NULL, 60, 0);
    call_and_wait(w, w->redis, &a, GW_STR("PING"));
    kill(w->server, SIGSTOP);
    size_t timeouts = 0;
    while (gw_redis_is_up(w->redis) && timeouts < 10) {
        call_and_wait(w, w->redis, &a, GW_STR("PING"));
        assert_int_equal(a.rc, GW_ERR_DEADLINE_EXCEEDED);
        timeouts++;
    }
    assert_true(timeouts >= 3 && timeouts < 10);
    assert_int_equal(count_in_log(w, "silent for"), 1);
    kill(w->server, SIGCONT);
    assert_true(wait_until(w, redis_is_up, w->redis));
    call_and_wait(w, w->redis, &a, GW_STR("PING"));
    assert_int_equal(a.rc, GW_OK);
}

static void an_idle_connection_is_not_taken_for_a_silent_one(void **state)
{
    world *w = *state;
    answer a;
    answer idle = {0};
    make_client(w, NULL, 40, 0);
    call_and_wait(w, w->redis, &a, GW_STR("PING"));
    gw_auto_buf other_url = {0};
    gw_redis_options o = options_of(w, &other_url);
    gw_redis *other = NULL;
    assert_int_equal(gw_redis_new(w->loop, NULL, &o, &other, NULL), GW_OK);
    gw_redis_call(other, on_answer, &idle, GW_STR("BLPOP"), GW_STR("never"), GW_STR("0.3"));
    bool waited = wait_until(w, is_answered, &idle);
    gw_redis_free(other);
    assert_true(waited);
    kill(w->server, SIGSTOP);
    call_and_wait(w, w->redis, &a, GW_STR("PING"));
    kill(w->server, SIGCONT);
    assert_int_equal(a.rc, GW_ERR_DEADLINE_EXCEEDED);
    assert_int_equal(count_in_log(w, "redis_unavailable"), 0);
}

static void more_commands_than_may_be_pending_are_refused(void **state)
{
    world *w = *state;
    answer fit[3] = {0};
    answer over = {0};
    make_client(w, NULL, 0, 3);
    for (size_t i = 0; i < 3; i++)
        gw_redis_call(w->redis, on_answer, &fit[i], GW_STR("PING"));
    call_and_wait(w, w->redis, &over, GW_STR("PING"));
    assert_int_equal(over.rc, GW_ERR_OVERLOADED);
    assert_true(wait_until(w, is_answered, &fit[2]));
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(fit[i].rc, GW_OK);
    call_and_wait(w, w->redis, &over, GW_STR("PING"));
    assert_int_equal(over.rc, GW_OK);
}

static void freeing_cancels_what_is_waiting_sent_or_refused(void **state)
{
    world *w = *state;
    answer waiting = {0};
    answer sent = {0};
    answer refused = {0};
    make_client(w, NULL, 0, 1);
    gw_redis_call(w->redis, on_answer, &waiting, GW_STR("PING"));
    gw_redis_call(w->redis, on_answer, &refused, GW_STR("PING"));
    gw_redis_free(gw_steal(&w->redis));
    assert_int_equal(waiting.rc, GW_ERR_CANCELLED);
    assert_int_equal(refused.rc, GW_ERR_CANCELLED);
    make_client(w, NULL, 0, 0);
    answer a;
    call_and_wait(w, w->redis, &a, GW_STR("PING"));
    gw_redis_call(w->redis, on_answer, &sent, GW_STR("BLPOP"), GW_STR("never"), GW_STR("0"));
    uv_run(gw_loop_uv(w->loop), UV_RUN_NOWAIT);
    gw_redis_free(gw_steal(&w->redis));
    assert_int_equal(sent.rc, GW_ERR_CANCELLED);
    for (int i = 0; i < 5; i++)
        uv_run(gw_loop_uv(w->loop), UV_RUN_NOWAIT);
    assert_int_equal(waiting.calls + refused.calls + sent.calls, 3);
}

/* ---- signing in ---- */

static void a_wrong_password_is_logged_once_and_never_shown(void **state)
{
    world *w = *state;
    gw_auto_buf url = {0};
    answer a;
    start_server(w, "correct horse");
    gw_buf_appendf(&url, "redis://:hunter2@127.0.0.1:%u", w->port);
    make_client(w, url.data, 0, 0);
    for (int i = 0; i < 3; i++) {
        call_and_wait(w, w->redis, &a, GW_STR("PING"));
        assert_int_equal(a.rc, GW_ERR_UNAVAILABLE);
    }
    assert_int_equal(count_in_log(w, "redis_unavailable"), 1);
    assert_int_equal(count_in_log(w, "\"error.code\":\"PERMISSION_DENIED\""), 1);
    assert_int_equal(count_in_log(w, "WRONGPASS"), 1);
    assert_int_equal(count_in_log(w, "hunter2"), 0);
}

static void no_password_where_one_is_wanted_is_said(void **state)
{
    world *w = *state;
    answer a;
    start_server(w, "correct horse");
    make_client(w, NULL, 0, 0);
    call_and_wait(w, w->redis, &a, GW_STR("PING"));
    assert_int_equal(a.rc, GW_ERR_UNAVAILABLE);
    assert_int_equal(count_in_log(w, "NOAUTH"), 1);
}

static void the_right_password_signs_in_with_and_without_a_user(void **state)
{
    world *w = *state;
    answer a;
    start_server(w, "correct horse");
    static const char *const users[] = {"", "default"};
    for (size_t i = 0; i < GW_ARRAY_LEN(users); i++) {
        gw_auto_buf url = {0};
        gw_buf_appendf(&url, "redis://%s:correct%%20horse@localhost:%u/1", users[i], w->port);
        make_client(w, url.data, 0, 0);
        call_and_wait(w, w->redis, &a, GW_STR("PING"));
        assert_int_equal(a.rc, GW_OK);
        gw_redis_free(gw_steal(&w->redis));
    }
}

/* ---- names ---- */

static void a_name_without_an_address_is_unavailable(void **state)
{
    world *w = *state;
    answer a;
    make_client(w, "redis://no-such-host.invalid:6379", 0, 0);
    call_and_wait(w, w->redis, &a, GW_STR("PING"));
    assert_true(a.rc == GW_ERR_UNAVAILABLE || a.rc == GW_ERR_DEADLINE_EXCEEDED);
}

static void freeing_during_a_look_up_is_safe(void **state)
{
    world *w = *state;
    answer a = {0};
    make_client(w, "redis://no-such-host.invalid:6379", 0, 0);
    gw_redis_call(w->redis, on_answer, &a, GW_STR("PING"));
    uv_run(gw_loop_uv(w->loop), UV_RUN_NOWAIT);
    gw_redis_free(gw_steal(&w->redis));
    assert_int_equal(a.calls, 1);
}

/* ---- no memory ---- */

static void running_out_of_memory_fails_creation_and_commands_cleanly(void **state)
{
    world *w = *state;
    gw_auto_buf url = {0};
    gw_redis_options o = options_of(w, &url);
    o.password = GW_STR("secret");
    for (size_t n = 1;; n++) {
        gw_failing_alloc_arm(n);
        gw_status rc = gw_redis_new(w->loop, NULL, &o, &w->redis, NULL);
        if (!gw_failing_alloc_disarm())
            break;
        assert_int_equal(rc, GW_ERR_NO_MEMORY);
        assert_null(w->redis);
    }
    gw_redis_connect(w->redis);
    for (size_t n = 1; n <= 2; n++) {
        answer a = {0};
        gw_failing_alloc_arm(n);
        gw_redis_call(w->redis, on_answer, &a, GW_STR("PING"));
        assert_true(gw_failing_alloc_disarm());
        assert_int_equal(a.calls, 0);
        assert_true(wait_until(w, is_answered, &a));
        assert_int_equal(a.rc, GW_ERR_NO_MEMORY);
    }
}

int main(void)
{
#define WITH_SERVER(name)                                                                          \
    cmocka_unit_test_setup_teardown(name, set_up_world_with_server, tear_down_world)
#define WITHOUT_SERVER(name) cmocka_unit_test_setup_teardown(name, set_up_world, tear_down_world)
    const struct CMUnitTest tests[] = {
        WITH_SERVER(the_first_command_connects_and_waits_for_it),
        WITH_SERVER(replies_of_each_kind_arrive),
        WITH_SERVER(a_long_value_goes_both_ways),
        WITH_SERVER(commands_of_one_turn_are_answered_in_order),
        WITH_SERVER(a_database_is_selected),
        WITHOUT_SERVER(without_a_server_commands_fail_and_the_log_says_so_once),
        WITH_SERVER(a_server_killed_in_flight_fails_the_command_once_and_is_found_again),
        WITH_SERVER(a_late_reply_is_dropped_and_the_next_command_gets_its_own),
        WITH_SERVER(a_server_silent_for_three_timeouts_is_given_up_and_found_again),
        WITH_SERVER(an_idle_connection_is_not_taken_for_a_silent_one),
        WITH_SERVER(more_commands_than_may_be_pending_are_refused),
        WITH_SERVER(freeing_cancels_what_is_waiting_sent_or_refused),
        WITHOUT_SERVER(a_wrong_password_is_logged_once_and_never_shown),
        WITHOUT_SERVER(no_password_where_one_is_wanted_is_said),
        WITHOUT_SERVER(the_right_password_signs_in_with_and_without_a_user),
        WITHOUT_SERVER(a_name_without_an_address_is_unavailable),
        WITHOUT_SERVER(freeing_during_a_look_up_is_safe),
        WITHOUT_SERVER(running_out_of_memory_fails_creation_and_commands_cleanly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
