/* Targets in trouble, credentials and their limits, and what the caller is told of them. */
#include "relay_request_route_kit.h"

/* ---- targets in trouble ---- */

static void an_open_breaker_is_passed_over_and_a_lone_one_refuses_until_its_time(void **state)
{
    kit *k = *state;
    static const script fails = REPLY(500, PLAIN, ERROR), good = GOOD;

    target_health_configure(k->core.health, 2, 300);
    k->route.target_count = 1;
    for (int i = 0; i < 2; i++) {
        ask_script(k, CHAT, &fails);
        assert_int_equal(k->answer.status, 502);
        assert_int_equal(k->asked, 1);
    }
    forget_events(k);
    ask_script(k, CHAT, &good);
    assert_int_equal(k->answer.status, 503);
    assert_true(says(&k->answer.head, "retry-after: 1\n"));
    assert_true(says(&k->answer.body, "the provider openai is failing"));
    assert_int_equal(k->asked, 0);
    assert_string_equal(only_event(k)->outcome, "refused");

    k->route.target_count = 2;
    ask_script(k, CHAT, &good);
    assert_int_equal(k->answer.status, 200);
    assert_true(says(&k->trail, "two"));

    gw_timer_set(k->loop, &k->limit, 320); /* its period is over */
    gw_loop_run(k->loop);
    ask_script(k, CHAT, &good);
    assert_true(says(&k->trail, "one"));
    assert_int_equal(target_health_open_count(k->core.health), 0);
}

/* An open breaker of minutes, whose period is over just now. */
static void open_for_minutes(kit *k, const char *model)
{
    const target_name name = {k->provider.name, gw_str_of(model)};

    forget_health(k);
    target_health_configure(k->core.health, 1, 120000);
    assert_int_equal(target_health_failed(k->core.health, name, gw_loop_now_ms(k->loop) - 120000),
                     HEALTH_OPENED);
}

static void assert_next_one_is_let_through(kit *k)
{
    static const script good = GOOD;

    assert_int_equal(k->asked, 0);
    forget_events(k);
    ask_script(k, CHAT, &good);
    assert_true(says(&k->trail, "one"));
    assert_int_equal(k->asked, 1);
    assert_int_equal(target_health_open_count(k->core.health), 0);
}

/* Whatever kept it from being sent: the next request is the one that tries a target that was failing. */
static void what_is_not_sent_does_not_use_up_the_turn_of_a_target(void **state)
{
    kit *k = *state;
    static const script good = GOOD;
    const provider_kind usual = k->provider.kind;

    k->route.target_count = 1;
    k->route.default_max_output_tokens = 100;
    open_for_minutes(k, "one");
    k->provider.kind = PROVIDER_ANTHROPIC; /* has no seed */
    ask_script(k, SEED, &good);
    assert_int_equal(k->answer.status, 400);
    k->provider.kind = usual;
    assert_next_one_is_let_through(k);

    open_for_minutes(k, "one");
    k->has_no_slot = true;
    ask_script(k, CHAT, &good);
    assert_int_equal(k->answer.status, 503);
    k->has_no_slot = false;
    assert_next_one_is_let_through(k);
}

static void
a_target_that_cannot_do_it_gives_its_turn_back_before_the_next_one_is_asked(void **state)
{
    kit *k = *state;
    static const script good = GOOD;
    const provider_kind usual = k->provider.kind;

    k->route.default_max_output_tokens = 100;
    open_for_minutes(k, "one");
    k->provider.kind = PROVIDER_ANTHROPIC;
    ask_script(k, SEED, &good);
    assert_int_equal(k->answer.status, 200);
    assert_true(says(&k->trail, "two"));
    k->provider.kind = usual;
    k->asked = 0;
    assert_next_one_is_let_through(k);
}

/* {what comes, as a stream, opens the breaker} */
static void what_counts_for_the_breaker_is_what_the_provider_is_to_blame_for(void **state)
{
    kit *k = *state;
    static const struct {
        const char *name;
        bool stream;
        script s;
        bool opens;
    } cases[] = {
        {"500", false, REPLY(500, PLAIN, ERROR), true},
        {"529", false, REPLY(529, PLAIN, ERROR), true},
        {"408", false, REPLY(408, PLAIN, ERROR), true},
        {"silence", false, {.type = ""}, true},
        {"HTML", false, REPLY(200, "text/html", "<html>"), true},
        {"a cut in JSON", false, REPLY_CUT(200, PLAIN, "{"), true},
        {"an error in a 200", false, REPLY(200, PLAIN, ERROR), true},
        {"a cut after content", true, REPLY_CUT(200, SSE, ROLE, SAID), true},
        {"400", false, REPLY(400, PLAIN, ERROR), false},
        {"404", false, REPLY(404, PLAIN, ERROR), false},
        {"429", false, REPLY(429, PLAIN, ERROR), false},
        {"401", false, REPLY(401, PLAIN, ERROR), false},
        {"an answer", false, GOOD, false},
        {"a stream", true, GOOD_STREAM, false},
    };

    target_health_configure(k->core.health, 1, 60000);
    k->route.target_count = 1;
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        print_message("%s\n", cases[i].name);
        ask_script(k, cases[i].stream ? STREAM : CHAT, &cases[i].s);
        assert_int_equal(k->asked, 1);
        assert_int_equal(target_health_open_count(k->core.health), cases[i].opens);
        forget_health(k);
        target_health_configure(k->core.health, 1, 60000);
        forget_events(k);
    }
}

static void a_caller_that_leaves_says_nothing_of_the_provider(void **state)
{
    kit *k = *state;
    static const script silent = {.type = ""};

    target_health_configure(k->core.health, 1, 60000);
    k->script = &silent;
    k->queue = NULL;
    send_call(k, "POST", "/v1/chat/completions", "good", CHAT);
    k->stop_when_asked = true;
    run(k);
    gw_http_cancel(k->call);
    run(k);
    run_until_idle(k);
    assert_int_equal(target_health_open_count(k->core.health), 0);
}

static void a_limited_target_comes_last_until_it_said(void **state)
{
    kit *k = *state;
    static const script limited[] = {
        {.status = 429, .type = PLAIN, .parts = {ERROR}, .retry_after = "60"}, GOOD};
    static const script good = GOOD;

    ask_queue(k, CHAT, limited);
    assert_int_equal(k->asked, 2);
    ask_script(k, CHAT, &good);
    assert_int_equal(k->asked, 1);
    assert_true(says(&k->trail, "two"));
    k->route.target_count = 1; /* nobody else: it is asked all the same */
    ask_script(k, CHAT, &good);
    assert_int_equal(k->answer.status, 200);
    assert_true(says(&k->trail, "one"));
}

/* ---- several credentials ---- */

static void give_second_credential(kit *k)
{
    static gw_str more[1];

    more[0] = GW_STR("sk-other");
    k->provider.more_credentials = more;
    k->provider.more_credential_count = 1;
    k->route.target_count = 1;
}

static void credentials_take_turns(void **state)
{
    kit *k = *state;
    static const script good = GOOD;

    give_second_credential(k);
    for (int i = 0; i < 3; i++)
        ask_script(k, CHAT, &good);
    assert_string_equal(k->credentials.data, "Bearer sk-upstream-secret\nBearer sk-other\n"
                                             "Bearer sk-upstream-secret\n");
}

static void another_credential_is_taken_when_one_is_limited_or_refused(void **state)
{
    kit *k = *state;
    static const int statuses[] = {429, 401};

    give_second_credential(k);
    for (size_t i = 0; i < GW_ARRAY_LEN(statuses); i++) {
        const script queue[] = {
            {.status = statuses[i], .type = PLAIN, .parts = {ERROR}, .retry_after = "60"}, GOOD};
        static const script good = GOOD;
        forget_health(k);
        credential_loads_free(k->core.credentials);
        k->core.credentials = credential_loads_new();
        gw_buf_clear(&k->credentials);
        ask_queue(k, CHAT, queue);
        assert_int_equal(k->answer.status, 200);
        assert_int_equal(k->asked, 2);
        assert_true(says(&k->answer.head, "x-relay-attempts: 2"));
        ask_script(k, CHAT, &good); /* the first one rests */
        assert_string_equal(k->credentials.data,
                            "Bearer sk-upstream-secret\nBearer sk-other\nBearer sk-other\n");
    }
}

static void when_all_are_limited_the_answer_is_a_429(void **state)
{
    kit *k = *state;
    static const script queue[] = {REPLY(429, PLAIN, ERROR), REPLY(429, PLAIN, ERROR)};

    give_second_credential(k);
    ask_queue(k, CHAT, queue);
    assert_int_equal(k->answer.status, 429);
    assert_int_equal(k->asked, 2);
}

#define QUOTA                                                                                      \
    "{\"error\":{\"message\":\"You exceeded your current quota.\",\"type\":"                       \
    "\"insufficient_quota\",\"code\":\"insufficient_quota\"}}"

/* The second model has a target of the same provider. */
static void a_used_up_quota_leaves_its_credential_alone_whatever_the_model(void **state)
{
    kit *k = *state;
    static const script queue[] = {REPLY(429, PLAIN, QUOTA), GOOD};
    static const script good = GOOD;

    give_second_credential(k);
    ask_queue(k, CHAT, queue);
    assert_int_equal(k->answer.status, 200);
    targets[0].upstream_model = GW_STR("another");
    for (int i = 0; i < 2; i++)
        ask_script(k, CHAT, &good);
    assert_string_equal(k->credentials.data, "Bearer sk-upstream-secret\nBearer sk-other\n"
                                             "Bearer sk-other\nBearer sk-other\n");
}

static void a_used_up_quota_moves_on_to_the_next_target_for_long(void **state)
{
    kit *k = *state;
    static const script queue[] = {REPLY(429, PLAIN, QUOTA), GOOD};
    static const script good = GOOD;

    ask_queue(k, CHAT, queue); /* its Retry-After of 3 s says nothing */
    assert_int_equal(k->answer.status, 200);
    assert_int_equal(k->asked, 2);
    ask_script(k, CHAT, &good);
    assert_int_equal(k->asked, 1);
    assert_true(says(&k->trail, "two"));
}

static void of_a_used_up_quota_the_caller_is_told_that_waiting_does_not_help(void **state)
{
    kit *k = *state;
    static const script queue[] = {REPLY(429, PLAIN, QUOTA)};

    k->route.target_count = 1;
    ask_queue(k, CHAT, queue);
    assert_int_equal(k->answer.status, 429);
    assert_true(says(&k->answer.body, "\"code\":\"upstream_quota_exceeded\""));
    assert_true(says(&k->answer.body, "its operator has to mend it"));
    assert_true(says(&k->answer.head, "x-should-retry: false"));
    assert_false(says(&k->answer.head, "retry-after"));
    assert_string_equal(only_event(k)->error, "upstream_quota_exceeded");
}

static void the_caller_is_told_seconds_however_the_provider_said_it(void **state)
{
#define INFO                                                                                       \
    "[{\"error\":{\"code\":429,\"message\":\"Resource "                                            \
    "exhausted\",\"status\":\"RESOURCE_EXHAUSTED\","                                               \
    "\"details\":[{\"@type\":\"type.googleapis.com/google.rpc.RetryInfo\",\"retryDelay\":"         \
    "\"34.07s\"}]}}]"
    static const struct {
        script answer;
        const char *header;
    } cases[] = {
        {{.status = 429, .type = PLAIN, .parts = {ERROR}, .retry_after = "7"}, "retry-after: 7\n"},
        {{.status = 429, .type = PLAIN, .parts = {ERROR}, .retry_after = "1.5"},
         "retry-after: 2\n"},
        {{.status = 503,
          .type = PLAIN,
          .parts = {ERROR},
          .retry_after = "Sun, 06 Nov 1994 08:49:37 GMT"},
         "retry-after: 0\n"},
        {{.status = 429,
          .type = PLAIN,
          .parts = {ERROR},
          .retry_after = "Sat, 06 Nov 2094 08:49:37 GMT"},
         "retry-after: 2678400\n"},
        {{.status = 429, .type = PLAIN, .parts = {INFO}, .retry_after = ""}, "retry-after: 35\n"},
        {{.status = 429, .type = PLAIN, .parts = {INFO}, .retry_after = "2"}, "retry-after: 2\n"},
    };
    kit *k = *state;

    k->route.target_count = 1;
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        forget_health(k);
        ask_script(k, CHAT, &cases[i].answer);
        assert_int_equal(k->answer.status, cases[i].answer.status);
        if (!says(&k->answer.head, cases[i].header))
            fail_msg("%zu: no %s in %s", i, cases[i].header, k->answer.head.data);
    }
    forget_health(k);
    ask_script(
        k, CHAT,
        &(const script){.status = 429, .type = PLAIN, .parts = {ERROR}, .retry_after = "soon"});
    assert_false(says(&k->answer.head, "retry-after"));
}

static void an_error_in_a_stream_says_when_to_ask_again_too(void **state)
{
    static const script limited = REPLY(
        200, SSE,
        "data: {\"error\":{\"code\":429,\"message\":\"Resource exhausted\",\"details\":[{\"@type\":"
        "\"type.googleapis.com/google.rpc.RetryInfo\",\"retryDelay\":\"34.07s\"}]}}\n\n");
    kit *k = *state;

    k->route.target_count = 1;
    k->provider.kind = PROVIDER_GOOGLE;
    ask_script(k, STREAM, &limited);
    k->provider.kind = PROVIDER_OPENAI;
    assert_int_equal(k->answer.status, 429);
    assert_true(says(&k->answer.head, "retry-after: 35\n"));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, kit_teardown)
    const struct CMUnitTest tests[] = {
        TEST(an_open_breaker_is_passed_over_and_a_lone_one_refuses_until_its_time),
        TEST(what_is_not_sent_does_not_use_up_the_turn_of_a_target),
        TEST(a_target_that_cannot_do_it_gives_its_turn_back_before_the_next_one_is_asked),
        TEST(what_counts_for_the_breaker_is_what_the_provider_is_to_blame_for),
        TEST(a_caller_that_leaves_says_nothing_of_the_provider),
        TEST(a_limited_target_comes_last_until_it_said),
        TEST(credentials_take_turns),
        TEST(another_credential_is_taken_when_one_is_limited_or_refused),
        TEST(when_all_are_limited_the_answer_is_a_429),
        TEST(a_used_up_quota_leaves_its_credential_alone_whatever_the_model),
        TEST(a_used_up_quota_moves_on_to_the_next_target_for_long),
        TEST(of_a_used_up_quota_the_caller_is_told_that_waiting_does_not_help),
        TEST(the_caller_is_told_seconds_however_the_provider_said_it),
        TEST(an_error_in_a_stream_says_when_to_ask_again_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
