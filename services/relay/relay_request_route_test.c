/* Several targets and attempts: a whole relay in one process in front of a scripted upstream. */
#include "relay_request_route_kit.h"

/* ---- what is asked again elsewhere, and what is not ---- */

typedef struct fault {
    const char *name;
    bool stream;
    script queue[2];
    int status;
    size_t calls;
} fault;

static const fault faults[] = {
    {"500", false, {REPLY(500, PLAIN, ERROR), GOOD}, 200, 2},
    {"500 of a stream", true, {REPLY(500, PLAIN, ERROR), GOOD_STREAM}, 200, 2},
    {"502", false, {REPLY(502, "text/html", "<html>"), GOOD}, 200, 2},
    {"503", false, {REPLY(503, PLAIN, ERROR), GOOD}, 200, 2},
    {"504", false, {REPLY(504, PLAIN, ERROR), GOOD}, 200, 2},
    {"529", true, {REPLY(529, PLAIN, ERROR), GOOD_STREAM}, 200, 2},
    {"429", false, {REPLY(429, PLAIN, ERROR), GOOD}, 200, 2},
    {"408", false, {REPLY(408, PLAIN, ERROR), GOOD}, 200, 2},
    {"401", false, {REPLY(401, PLAIN, ERROR), GOOD}, 200, 2},
    {"403", false, {REPLY(403, PLAIN, ERROR), GOOD}, 200, 2},
    {"404", false, {REPLY(404, PLAIN, ERROR), GOOD}, 200, 2},
    {"302", false, {REPLY(302, PLAIN, ""), GOOD}, 200, 2},
    {"HTML", false, {REPLY(200, "text/html", "<html>"), GOOD}, 200, 2},
    {"HTML for a stream", true, {REPLY(200, "text/html", "<html>"), GOOD_STREAM}, 200, 2},
    {"an error in a 200", false, {REPLY(200, PLAIN, ERROR), GOOD}, 200, 2},
    {"an error event", true, {REPLY(200, SSE, ROLE, "data: " ERROR "\n\n"), GOOD_STREAM}, 200, 2},
    {"silence", false, {{.type = ""}, GOOD}, 200, 2},
    {"silence in a stream", true, {REPLY_STALL(200, SSE, ROLE), GOOD_STREAM}, 200, 2},
    {"a cut before content", true, {REPLY_CUT(200, SSE, ROLE), GOOD_STREAM}, 200, 2},
    {"an end before content", true, {REPLY(200, SSE, ROLE), GOOD_STREAM}, 200, 2},
    {"garbage in a stream", true, {REPLY(200, SSE, "data: {\n\n"), GOOD_STREAM}, 200, 2},
    /* the caller's own mistakes */
    {"400", false, {REPLY(400, PLAIN, ERROR), GOOD}, 400, 1},
    {"413", false, {REPLY(413, PLAIN, ERROR), GOOD}, 413, 1},
    {"422", true, {REPLY(422, PLAIN, ERROR), GOOD_STREAM}, 422, 1},
    /* answers that may have been made */
    {"a cut in JSON", false, {REPLY_CUT(200, PLAIN, "{\"id\":"), GOOD}, 502, 1},
    {"silence in JSON", false, {REPLY_STALL(200, PLAIN, "{\"id\":"), GOOD}, 504, 1},
    {"garbage for JSON", false, {REPLY(200, PLAIN, "{\"id\":"), GOOD}, 502, 1},
    {"a cut after content", true, {REPLY_CUT(200, SSE, ROLE, SAID), GOOD_STREAM}, 200, 1},
    {"silence after content", true, {REPLY_STALL(200, SSE, ROLE, SAID), GOOD_STREAM}, 200, 1},
};

static void check_fault(kit *k, const fault *f)
{
    print_message("%s\n", f->name);
    forget_events(k);
    forget_health(k);
    k->opened = 0;
    ask_queue(k, f->stream ? STREAM : CHAT, f->queue);
    assert_int_equal(k->answer.status, f->status);
    assert_int_equal(k->asked, f->calls);
    assert_int_equal(k->opened, f->calls);
    usage_event *e = only_event(k);
    assert_int_equal(e->attempts, f->calls);
    assert_string_equal(e->provider, f->calls == 2 ? "second" : "openai");
    assert_string_equal(e->upstream_model, f->calls == 2 ? "two" : "one");
    assert_true(
        says(&k->answer.head, f->calls == 2 ? "x-relay-attempts: 2" : "x-relay-attempts: 1"));
    assert_true(says(&k->trail, "\"model\":\"one\""));
    assert_int_equal(says(&k->trail, "\"model\":\"two\""), f->calls == 2);
    if (f->calls == 2) {
        assert_string_equal(e->outcome, "complete");
        assert_string_equal(e->billing_basis, "reported");
        assert_int_equal(e->prompt_tokens, 9);
        assert_string_equal(k->answer.body.data, f->stream ? ROLE SAID ENDED DONE : JSON);
    } else {
        assert_false(says(&k->answer.body, "[DONE]"));
    }
}

static void a_failure_before_the_first_content_goes_to_the_next_target(void **state)
{
    for (size_t i = 0; i < GW_ARRAY_LEN(faults); i++)
        check_fault(*state, &faults[i]);
}

/* As with a status of its own. */
static void a_callers_own_mistake_that_a_stream_tells_is_not_repeated(void **state)
{
    kit *k = *state;
    static const script queues[][2] = {
        {REPLY(200, SSE,
               "data: {\"error\":{\"code\":400,\"message\":\"no\",\"status\":"
               "\"INVALID_ARGUMENT\"}}\n\n"),
         GOOD_STREAM},
        {REPLY(200, SSE,
               "data: {\"candidates\":[{\"finishReason\":\"MISSING_THOUGHT_SIGNATURE\"}]}\n\n"),
         GOOD_STREAM},
    };

    k->provider.kind = PROVIDER_GOOGLE;
    for (size_t i = 0; i < GW_ARRAY_LEN(queues); i++) {
        ask_queue(k, STREAM, queues[i]);
        assert_int_equal(k->answer.status, 400);
        assert_int_equal(k->asked, 1);
    }
}

static void a_refused_connection_goes_to_the_next_target(void **state)
{
    kit *k = *state;
    static const script queue[] = {GOOD};

    k->provider.base_url.port = 1; /* nobody listens */
    ask_queue(k, CHAT, queue);
    assert_int_equal(k->answer.status, 200);
    assert_int_equal(k->asked, 1);
    assert_int_equal(only_event(k)->attempts, 2);
}

static void when_all_have_failed_the_last_failure_is_told(void **state)
{
    kit *k = *state;
    static const script queue[] = {REPLY(500, PLAIN, ERROR), REPLY(429, PLAIN, ERROR)};

    ask_queue(k, CHAT, queue);
    assert_int_equal(k->answer.status, 429);
    assert_true(says(&k->answer.head, "retry-after: 3"));
    assert_true(says(&k->answer.head, "x-relay-attempts: 2"));
    usage_event *e = only_event(k);
    assert_string_equal(e->outcome, "failed");
    assert_string_equal(e->error, "upstream_rate_limited");
    assert_int_equal(e->total_tokens, 0);
    assert_int_equal(e->cost_nano_usd, 0);
}

static void what_a_failed_attempt_reported_is_not_billed(void **state)
{
    kit *k = *state;
    static const script queue[] = {REPLY_CUT(200, SSE, USAGE, ROLE),
                                   REPLY(200, SSE, ROLE, SAID, ENDED, DONE)};

    ask_queue(k, STREAM, queue);
    usage_event *e = only_event(k);
    assert_string_equal(e->billing_basis, "estimated");
    assert_int_equal(e->prompt_tokens, 8);
}

static void a_large_body_is_sent_again_whole(void **state)
{
    kit *k = *state;
    static const script queue[] = {REPLY(500, PLAIN, ERROR), GOOD};
    gw_auto_buf body = {0};

    gw_buf_append_c(&body, "{\"model\":\"gpt-4o\",\"messages\":[{\"role\":\"user\",\"content\":\"");
    for (size_t i = 0; i < 20000; i++)
        gw_buf_append_c(&body, "mouse ");
    gw_buf_append_c(&body, "\"}]}");
    ask_queue(k, body.data, queue);
    assert_int_equal(k->answer.status, 200);
    assert_int_equal(k->trail.len, 2 * (body.len + 1) - 6); /* "one" for "gpt-4o" */
}

/* ---- the same target again ---- */

static void a_target_is_asked_again_as_often_as_it_says(void **state)
{
    kit *k = *state;
    static const script queue[] = {
        {.status = 500, .type = PLAIN, .parts = {ERROR}, .retry_after = "0"},
        {.status = 503, .type = PLAIN, .parts = {ERROR}, .retry_after = ""},
        GOOD};

    targets[0].max_retries = 2;
    ask_queue(k, CHAT, queue);
    assert_int_equal(k->answer.status, 200);
    assert_int_equal(k->asked, 3);
    assert_false(says(&k->trail, "two"));
    usage_event *e = only_event(k);
    assert_int_equal(e->attempts, 3);
    assert_string_equal(e->provider, "openai");
    assert_true(e->duration_ms >= 125 + 250);
}

static void a_lone_target_has_retries_too(void **state)
{
    kit *k = *state;
    static const script queue[] = {
        {.status = 429, .type = PLAIN, .parts = {ERROR}, .retry_after = "0"}, GOOD_STREAM};

    k->route.target_count = 1;
    targets[0].max_retries = 1;
    ask_queue(k, STREAM, queue);
    assert_int_equal(k->answer.status, 200);
    assert_string_equal(k->answer.body.data, ROLE SAID ENDED DONE);
    assert_int_equal(only_event(k)->attempts, 2);
}

static void the_time_that_a_provider_asks_for_is_waited_for_unless_it_is_too_long(void **state)
{
    kit *k = *state;
    static const script one_second[] = {
        {.status = 500, .type = PLAIN, .parts = {ERROR}, .retry_after = "1"}, GOOD};
    static const script an_hour[] = {
        {.status = 500, .type = PLAIN, .parts = {ERROR}, .retry_after = "3600"}, GOOD};

    k->route.target_count = 1;
    targets[0].max_retries = 1;
    ask_queue(k, CHAT, one_second);
    assert_int_equal(k->answer.status, 200);
    assert_true(only_event(k)->duration_ms >= 1000);
    forget_events(k);
    ask_queue(k, CHAT, an_hour);
    assert_int_equal(k->answer.status, 502);
    assert_int_equal(k->asked, 1);
}

static void a_caller_that_leaves_in_a_pause_is_billed_nothing(void **state)
{
    kit *k = *state;
    static const script queue[] = {
        {.status = 500, .type = PLAIN, .parts = {ERROR}, .retry_after = "5"}, GOOD};

    targets[0].max_retries = 1;
    k->queue = queue;
    k->asked = 0;
    k->script = queue;
    send_call(k, "POST", "/v1/chat/completions", "good", CHAT);
    k->stop_when_asked = true;
    run(k);
    k->stop_when_asked = false;
    gw_timer_set(k->loop, &k->limit, 50);
    gw_loop_run(k->loop); /* the first answer is there, the pause is on */
    gw_http_cancel(k->call);
    run(k);
    run_until_idle(k);
    assert_int_equal(k->asked, 1);
    usage_event *e = only_event(k);
    assert_string_equal(e->outcome, "failed");
    assert_int_equal(e->status_code, 499);
    assert_int_equal(e->total_tokens, 0);
}

/* ---- whom a request may go to ---- */

static void a_target_that_cannot_do_what_is_asked_is_passed_over(void **state)
{
    kit *k = *state;
    static const script queue[] = {GOOD};

    k->provider.kind = PROVIDER_ANTHROPIC;
    k->route.default_max_output_tokens = 100;
    ask_queue(k, SEED, queue);
    assert_int_equal(k->answer.status, 200);
    assert_true(says(&k->trail, "\"model\":\"two\""));
    assert_int_equal(only_event(k)->attempts, 1);
    second_provider.kind = PROVIDER_ANTHROPIC;
    forget_events(k);
    ask_queue(k, SEED, queue);
    assert_int_equal(k->answer.status, 400);
    assert_true(says(&k->answer.body, "\"param\":\"seed\""));
    assert_int_equal(k->asked, 0);
    assert_string_equal(only_event(k)->outcome, "refused");
}

static void tools_of_agents_are_not_run_twice(void **state)
{
    kit *k = *state;
    static const fault cases[] = {
        {"500", false, {REPLY(500, PLAIN, ERROR), GOOD}, 502, 1},
        {"503", false, {REPLY(503, PLAIN, ERROR), GOOD}, 200, 2},
        {"429", false, {REPLY(429, PLAIN, ERROR), GOOD}, 200, 2},
        {"silence", false, {{.type = ""}, GOOD}, 504, 1},
        {"a cut before content", true, {REPLY_CUT(200, SSE, ROLE), GOOD_STREAM}, 502, 1},
        {"HTML", false, {REPLY(200, "text/html", "<html>"), GOOD}, 502, 1},
    };

    k->provider.kind = PROVIDER_LIBRECHAT;
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++)
        check_fault(k, &cases[i]);
}

static void a_key_with_a_list_of_models_is_held_to_it_at_the_target(void **state)
{
    kit *k = *state;
    static const script queue[] = {GOOD};
    char asked[] = "gpt-*", two[] = "two";
    char *models[] = {asked, two};
    Apirelay__Auth__V1__KeyPermissions permissions;
    Apirelay__Auth__V1__KeyPolicy *message =
        (Apirelay__Auth__V1__KeyPolicy *)(uintptr_t)k->policy->message;

    apirelay__auth__v1__key_permissions__init(&permissions);
    permissions.models = models;
    permissions.n_models = 2;
    message->permissions = &permissions;
    ask_queue(k, CHAT, queue);
    assert_int_equal(k->answer.status, 200);
    assert_true(says(&k->trail, "\"model\":\"two\""));
    permissions.n_models = 1;
    ask_queue(k, CHAT, queue);
    assert_int_equal(k->answer.status, 404);
    assert_true(says(&k->answer.body, "model_not_found"));
    assert_int_equal(k->asked, 0);
    message->permissions = NULL;
}

static void a_target_that_is_not_set_up_is_passed_over(void **state)
{
    kit *k = *state;
    static const script queue[] = {GOOD};

    k->provider.unusable = "its credential is missing";
    ask_queue(k, CHAT, queue);
    assert_int_equal(k->answer.status, 200);
    second_provider.unusable = "its credential is missing";
    ask_queue(k, CHAT, queue);
    assert_int_equal(k->answer.status, 503);
    assert_true(says(&k->answer.body, "the provider openai is not set up"));
    assert_true(says(&k->answer.head, "x-should-retry: false"));
}

/* ---- a route that leads back ---- */

static void a_route_that_points_at_the_relay_itself_is_refused(void **state)
{
    kit *k = *state;
    gw_auto_buf url = {0};
    gw_error err;
    gw_url theirs = k->provider.base_url;
    static const script never = GOOD;

    gw_buf_appendf(&url, "http://127.0.0.1:%u", gw_http_server_port(k->relay));
    gw_buf_append_char(&url, '\0');
    assert_int_equal(gw_url_parse(gw_str_of(url.data), &k->provider.base_url, &err), GW_OK);
    k->provider.credential = GW_STR("good");
    targets[0].upstream_model = GW_STR("gpt-4o");
    targets[0].first_byte_timeout_ms = 2000;
    k->route.target_count = 1;
    k->asked = 0;
    ask(k, "good", CHAT, &never);
    run_until_idle(k);
    k->provider.base_url = theirs;
    assert_int_equal(k->answer.status, 508); /* through all of them */
    assert_int_equal(k->asked, 0); /* no provider was reached */
    assert_int_equal(k->event_count,
                     4); /* three that were passed on, and the one that was refused */
    assert_string_equal(k->events[0]->outcome, "refused");
    assert_int_equal(k->events[0]->status_code, 508);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, kit_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_failure_before_the_first_content_goes_to_the_next_target),
        TEST(a_callers_own_mistake_that_a_stream_tells_is_not_repeated),
        TEST(a_refused_connection_goes_to_the_next_target),
        TEST(when_all_have_failed_the_last_failure_is_told),
        TEST(what_a_failed_attempt_reported_is_not_billed),
        TEST(a_large_body_is_sent_again_whole),
        TEST(a_target_is_asked_again_as_often_as_it_says),
        TEST(a_lone_target_has_retries_too),
        TEST(the_time_that_a_provider_asks_for_is_waited_for_unless_it_is_too_long),
        TEST(a_caller_that_leaves_in_a_pause_is_billed_nothing),
        TEST(a_target_that_cannot_do_what_is_asked_is_passed_over),
        TEST(tools_of_agents_are_not_run_twice),
        TEST(a_key_with_a_list_of_models_is_held_to_it_at_the_target),
        TEST(a_target_that_is_not_set_up_is_passed_over),
        TEST(a_route_that_points_at_the_relay_itself_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
