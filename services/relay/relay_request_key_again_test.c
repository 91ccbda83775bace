/* A key that changes between two attempts: each further one goes by the key as it is then. */
#include "relay_request_route_kit.h"

static Apirelay__Auth__V1__KeyPolicy *policy_of(kit *k)
{
    return (Apirelay__Auth__V1__KeyPolicy *)(uintptr_t)k->policy->message;
}

static void set_status(kit *k, char *status)
{
    free(policy_of(k)->status);
    policy_of(k)->status = strdup(status);
}

/* What follows on the first attempt comes later: within the same millisecond a key is not looked at twice. */
static void run_until_asked(kit *k)
{
    k->stop_when_asked = true;
    run(k);
    k->stop_when_asked = false;
    while (gw_clock_mono_ms(gw_loop_clock(k->loop)) == gw_loop_now_ms(k->loop)) {
    }
}

static void begin(kit *k, const char *key, const script *queue)
{
    targets[0].max_retries = 1;
    k->script = k->queue = queue;
    k->asked = 0;
    send_call(k, "POST", "/v1/chat/completions", key, CHAT);
}

static void a_key_that_was_suspended_meanwhile_makes_no_further_attempt(void **state)
{
    kit *k = *state;
    static const script queues[][2] = {
        {{.status = 500, .type = PLAIN, .parts = {ERROR}, .retry_after = "1"}, GOOD}, /* pauses */
        {REPLY(404, PLAIN, ERROR), GOOD}, /* the next one at once */
    };

    for (size_t i = 0; i < GW_ARRAY_LEN(queues); i++) {
        begin(k, "good", queues[i]);
        run_until_asked(k);
        k->stamp++;
        set_status(k, "suspended");
        run(k);
        assert_int_equal(k->answer.status, 403);
        assert_true(says(&k->answer.body, "key_suspended"));
        assert_int_equal(k->asked, 1);
        usage_event *e = only_event(k);
        assert_string_equal(e->outcome, "failed");
        assert_int_equal(e->status_code, 403);
        assert_int_equal(e->attempts, 1);
        assert_int_equal(e->total_tokens, 0);
        set_status(k, "active");
        forget_events(k);
        forget_health(k);
    }
}

static void a_target_that_the_key_was_forbidden_meanwhile_is_not_asked(void **state)
{
    kit *k = *state;
    static const script queue[] = {
        {.status = 500, .type = PLAIN, .parts = {ERROR}, .retry_after = "1"}, GOOD};
    char asked[] = "gpt-*", two[] = "two";
    char *models[] = {asked, two};
    Apirelay__Auth__V1__KeyPermissions permissions;

    apirelay__auth__v1__key_permissions__init(&permissions);
    permissions.models = models;
    permissions.n_models = 2;
    begin(k, "good", queue);
    run_until_asked(k);
    gw_timer_set(k->loop, &k->limit, 50);
    gw_loop_run(k->loop); /* the first answer is there, the pause is on */
    k->stamp++;
    policy_of(k)->permissions = &permissions;
    run(k);
    policy_of(k)->permissions = NULL;
    assert_int_equal(k->answer.status, 404);
    assert_true(says(&k->answer.body, "model_not_found"));
    assert_int_equal(k->asked, 1);
}

/* Auth is asked for it, and says so. */
static void tell_of_key(kit *k)
{
    for (int i = 0; i < 100 && !k->pending; i++)
        uv_run(gw_loop_uv(k->loop), UV_RUN_ONCE);
    assert_non_null(k->pending);
    key_wait *w = k->pending;
    k->pending = NULL;
    w->done(w->arg, GW_OK, key_policy_ref(k->policy), NULL);
}

static void an_attempt_waits_for_what_auth_says_of_the_key(void **state)
{
    kit *k = *state;
    static const script queue[] = {REPLY(404, PLAIN, ERROR), GOOD};

    for (int i = 0; i < 2; i++) {
        begin(k, "late", queue);
        tell_of_key(k);
        run_until_asked(k);
        k->stamp++;
        if (i == 1)
            set_status(k, "revoked");
        tell_of_key(k);
        run(k);
        assert_int_equal(k->answer.status, i == 0 ? 200 : 401);
        assert_int_equal(k->asked, i == 0 ? 2 : 1);
        assert_int_equal(only_event(k)->attempts, k->asked);
        forget_events(k);
        forget_health(k);
    }
}

/* The attempt is sent from the caller's own memory. */
static void a_large_request_ends_with_its_caller_though_its_key_came_to_drain(void **state)
{
    kit *k = *state;
    static const script queue[] = {
        {.status = 500, .type = PLAIN, .parts = {ERROR}, .retry_after = "0"},
        REPLY_STALL(200, SSE, ROLE, SAID)};
    gw_auto_buf body = {0};

    gw_buf_append_c(&body, "{\"model\":\"gpt-4o\",\"stream\":true,\"messages\":[{\"role\":\"user\","
                           "\"content\":\"");
    for (size_t i = 0; i < 20000; i++)
        gw_buf_append_c(&body, "mouse ");
    gw_buf_append_c(&body, "\"}]}");
    k->route.target_count = 1;
    targets[0].max_retries = 1;
    targets[0].idle_timeout_ms = 300;
    k->script = k->queue = queue;
    k->asked = 0;
    send_call(k, "POST", "/v1/chat/completions", "good", body.data);
    run_until_asked(k);
    k->policy->drain_on_disconnect = true;
    k->wait_for = GW_STR("hello");
    run(k);
    assert_int_equal(k->asked, 2);
    assert_false(k->answer.done);
    k->wait_for = GW_STR("");
    gw_http_cancel(k->call);
    run(k); /* the client's own end */
    run_until_idle(k);
    assert_string_equal(only_event(k)->error, "cancelled");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, kit_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_key_that_was_suspended_meanwhile_makes_no_further_attempt),
        TEST(a_target_that_the_key_was_forbidden_meanwhile_is_not_asked),
        TEST(an_attempt_waits_for_what_auth_says_of_the_key),
        TEST(a_large_request_ends_with_its_caller_though_its_key_came_to_drain),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
