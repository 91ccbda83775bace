#include "relay_request_answers.h"

#define STREAM_USAGE                                                                               \
    "{\"model\":\"gpt-4o\",\"messages\":[],\"stream\":true,\"stream_options\":{\"include_usage\":" \
    "true}}"

static void a_json_answer_passes_unchanged_and_is_recorded_first(void **state)
{
    kit *k = *state;

    ask(k, "good", CHAT,
        &(script)REPLY(200, PLAIN, "{\"id\":\"c\", ", &JSON[strlen("{\"id\":\"c\", ")]));
    assert_int_equal(k->answer.status, 200);
    assert_string_equal(k->answer.body.data, JSON);
    assert_string_equal(k->seen.data, CHAT);
    assert_int_equal(k->answer.events_before, 1);
    usage_event *e = only_event(k);
    assert_int_equal(e->prompt_tokens, 9);
    assert_int_equal(e->completion_tokens, 3);
    assert_int_equal(e->cost_nano_usd, 15);
    assert_int_equal(e->status_code, 200);
    assert_int_equal(e->attempts, 1);
    assert_string_equal(e->outcome, "complete");
    assert_string_equal(e->billing_basis, "reported");
    assert_string_equal(e->finish_reason, "stop");
    assert_string_equal(e->model, "gpt-4o");
    assert_string_equal(e->route, "gpt-*");
    assert_string_equal(e->provider, "openai");
    assert_string_equal(e->price_book_version, "book-1");
    assert_true(e->upstream_accepted);
}

static void headers_that_are_not_ours_to_give_stay_behind(void **state)
{
    kit *k = *state;

    ask(k, "good", CHAT, &(script)REPLY(200, PLAIN, JSON));
    assert_true(says(&k->answer.head, "x-request-id: req_"));
    assert_false(says(&k->answer.head, "cookie") || says(&k->answer.head, "theirs") ||
                 says(&k->answer.head, "retry-after"));
}

static void a_stream_passes_byte_for_byte_without_unasked_usage(void **state)
{
    kit *k = *state;

    ask(k, "good", STREAM, &(script)REPLY(200, SSE, ROLE, SAID, ENDED, USAGE, DONE));
    assert_string_equal(k->answer.body.data, ROLE SAID ENDED DONE);
    assert_true(says(&k->seen, "\"include_usage\":true"));
    assert_int_equal(k->answer.events_before, 1);
    usage_event *e = only_event(k);
    assert_int_equal(e->completion_tokens, 3);
    assert_true(e->stream);
    assert_int_equal(e->ttft_ms_presence_case,
                     APIRELAY__USAGE__V1__USAGE_EVENT__TTFT_MS_PRESENCE_TTFT_MS);
}

static void usage_passes_to_those_who_asked(void **state)
{
    kit *k = *state;

    ask(k, "good", STREAM_USAGE, &(script)REPLY(200, SSE, ROLE, SAID, ENDED, USAGE, DONE));
    assert_string_equal(k->answer.body.data, ROLE SAID ENDED USAGE DONE);
    k->policy->is_librechat = true;
    ask(k, "good", STREAM, &(script)REPLY(200, SSE, ROLE, SAID, ENDED, USAGE, DONE));
    assert_string_equal(k->answer.body.data, ROLE SAID ENDED USAGE DONE);
}

static void an_answer_without_usage_is_estimated(void **state)
{
    kit *k = *state;

    ask(k, "good", STREAM, &(script)REPLY(200, SSE, ROLE, SAID, ENDED, DONE));
    usage_event *e = only_event(k);
    assert_string_equal(e->billing_basis, "estimated");
    assert_int_equal(e->prompt_tokens, 8); /* 3 + 4 + "hi" */
    assert_int_equal(e->completion_tokens, 2);
}

/* Else what was held for the request would not suffice for it. */
static void an_estimate_is_never_more_than_what_was_allowed(void **state)
{
    kit *k = *state;

    ask(k, "good",
        "{\"model\":\"gpt-4o\",\"max_tokens\":1,\"messages\":[{\"role\":\"user\",\"content\":"
        "\"hi\"}],\"stream\":true}",
        &(script)REPLY(200, SSE, ROLE, SAID, ENDED, DONE));
    assert_int_equal(only_event(k)->completion_tokens, 1);
}

static void a_stream_without_done_gets_none(void **state)
{
    kit *k = *state;

    ask(k, "good", STREAM, &(script)REPLY(200, SSE, ROLE, SAID, ENDED, USAGE));
    assert_string_equal(k->answer.body.data, ROLE SAID ENDED);
    assert_int_equal(k->answer.rc, GW_OK);
    assert_string_equal(only_event(k)->outcome, "complete");
}

static void upstream_failures_have_a_status_until_content_comes(void **state)
{
    static const struct {
        const char *name;
        const char *body;
        script script;
        int status;
        const char *code;
    } cases[] = {
        {"status 500", CHAT, REPLY(500, PLAIN, "{\"error\":{\"message\":\"boom\"}}"), 502,
         "upstream_error"},
        {"status 401", CHAT,
         REPLY(401, PLAIN, "{\"error\":{\"message\":\"bad sk-upstream-secret\"}}"), 502,
         "upstream_auth_error"},
        {"status 429", CHAT, REPLY(429, PLAIN, "{\"error\":{\"message\":\"slow\"}}"), 429,
         "upstream_rate_limited"},
        {"status 400", CHAT,
         REPLY(400, PLAIN,
               "{\"error\":{\"message\":\"bad sk-upstream-secret\",\"code\":\"too_long\"}}"),
         400, "too_long"},
        {"html", CHAT, REPLY(200, "text/html", "<html>"), 502, "upstream_invalid_response"},
        {"redirect", CHAT, REPLY(302, "text/html", "moved"), 502, "upstream_invalid_response"},
        {"broken JSON", CHAT, REPLY(200, PLAIN, "{\"id\":"), 502, "upstream_invalid_response"},
        {"error in a 200", CHAT, REPLY(200, PLAIN, "{\"error\":{\"message\":\"boom\"}}"), 502,
         "upstream_error"},
        {"cut JSON", CHAT, REPLY_CUT(200, PLAIN, "{\"id\":"), 502, "upstream_cut"},
        {"events unasked", CHAT, REPLY(200, SSE, ROLE), 502, "upstream_invalid_response"},
        {"silence", CHAT, REPLY(0, PLAIN, NULL), 504, "upstream_timeout"},
        {"silence in mid-answer", CHAT, REPLY_STALL(200, PLAIN, "{"), 504, "upstream_timeout"},
        {"stream: status 503", STREAM, REPLY(503, PLAIN, "{}"), 503, "upstream_unavailable"},
        {"stream: cut before content", STREAM, REPLY_CUT(200, SSE, ROLE), 502, "upstream_cut"},
        {"stream: ended before content", STREAM, REPLY(200, SSE, ROLE), 502, "upstream_cut"},
        {"stream: error first", STREAM,
         REPLY(200, SSE, ROLE, "data: {\"error\":{\"message\":\"boom\"}}\n\n"), 502,
         "upstream_error"},
        {"stream: garbage first", STREAM, REPLY(200, SSE, "data: garbage\n\n"), 502,
         "upstream_invalid_response"},
        {"stream: html", STREAM, REPLY(200, "text/html", "<html>"), 502,
         "upstream_invalid_response"},
    };
    kit *k = *state;

    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        gw_auto_buf code = {0};
        ask(k, "good", cases[i].body, &cases[i].script);
        gw_buf_appendf(&code, "\"code\":\"%s\"", cases[i].code);
        if (k->answer.status != cases[i].status || !says(&k->answer.body, code.data))
            fail_msg("%s: %d %s", cases[i].name, k->answer.status, k->answer.body.data);
        assert_false(says(&k->answer.body, "sk-upstream-secret"));
        usage_event *e = only_event(k);
        if (strcmp(e->outcome, "failed") != 0 || e->status_code != cases[i].status ||
            e->total_tokens != 0)
            fail_msg("%s: %s %d", cases[i].name, e->outcome, e->status_code);
        forget_events(k);
        run_until_idle(k);
    }
}

static void after_content_a_failure_is_in_band_and_never_done(void **state)
{
    static const struct {
        const char *name;
        script script;
        const char *code;
    } cases[] = {
        {"cut", REPLY_CUT(200, SSE, ROLE, SAID), "upstream_cut"},
        {"ended", REPLY(200, SSE, ROLE, SAID), "upstream_cut"},
        {"stalled", REPLY_STALL(200, SSE, ROLE, SAID), "upstream_timeout"},
        {"error event", REPLY(200, SSE, ROLE, SAID, "data: {\"error\":{\"message\":\"boom\"}}\n\n"),
         "upstream_error"},
        {"named error",
         REPLY(200, SSE, ROLE, SAID, "event: error\ndata: {\"message\":\"boom\"}\n\n"),
         "upstream_error"},
        {"garbage", REPLY(200, SSE, ROLE, SAID, "data: garbage\n\n", DONE),
         "upstream_invalid_response"},
    };
    kit *k = *state;

    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        gw_auto_buf code = {0};
        ask(k, "good", STREAM, &cases[i].script);
        gw_buf_appendf(&code, "\"code\":\"%s\"}}\n\n", cases[i].code);
        if (k->answer.status != 200 || k->answer.rc != GW_OK || says(&k->answer.body, "[DONE]") ||
            !gw_str_starts_with(gw_buf_str(&k->answer.body),
                                GW_STR(ROLE SAID "data: {\"error\":")) ||
            !gw_str_ends_with(gw_buf_str(&k->answer.body), gw_buf_str(&code)))
            fail_msg("%s: %d %s", cases[i].name, k->answer.status, k->answer.body.data);
        usage_event *e = only_event(k);
        assert_string_equal(e->outcome, "partial");
        assert_string_equal(e->billing_basis, "estimated");
        assert_string_equal(e->error, cases[i].code);
        assert_int_equal(e->status_code, 200);
        forget_events(k);
        run_until_idle(k);
    }
}

static void leave_after_content(kit *k)
{
    k->wait_for = GW_STR("hello");
    k->script = &(script)REPLY_STALL(200, SSE, ROLE, SAID);
    send_call(k, "POST", "/v1/chat/completions", "good", STREAM);
    run(k);
    assert_false(k->answer.done);
    k->wait_for = GW_STR("");
    gw_http_cancel(k->call);
    run(k); /* the client's own end */
    run_until_idle(k);
}

static void a_caller_that_leaves_closes_the_upstream(void **state)
{
    kit *k = *state;

    leave_after_content(k);
    usage_event *e = only_event(k);
    assert_string_equal(e->outcome, "partial");
    assert_string_equal(e->error, "cancelled");
    assert_int_equal(e->completion_tokens, 2);
}

static void a_key_that_drains_goes_on_without_its_caller(void **state)
{
    kit *k = *state;

    k->policy->drain_on_disconnect = true;
    leave_after_content(k); /* ends when the upstream has been silent too long */
    usage_event *e = only_event(k);
    assert_string_equal(e->outcome, "partial");
    assert_string_equal(e->error, "upstream_timeout");
}

static void beyond_their_number_answers_do_not_go_on_without_their_callers(void **state)
{
    kit *k = *state;

    k->policy->drain_on_disconnect = true;
    k->core.limits.drains_max = 0;
    leave_after_content(k);
    usage_event *e = only_event(k);
    assert_string_equal(e->outcome, "partial");
    assert_string_equal(e->error, "cancelled");
    forget_events(k);
    k->core.limits.drains_max = 1; /* one that has ended counts no more */
    for (int i = 0; i < 2; i++) {
        leave_after_content(k);
        assert_string_equal(only_event(k)->error, "upstream_timeout");
        forget_events(k);
    }
    assert_int_equal(k->core.drains, 0);
}

static void a_stream_beyond_its_bound_is_ended(void **state)
{
    kit *k = *state;
    static const script endless = REPLY_STALL(200, SSE, ROLE, SAID, SAID, SAID, SAID, SAID, SAID);

    k->core.limits.stream_max_bytes = (int64_t)(sizeof(ROLE SAID) + 10);
    ask(k, "good", STREAM, &endless);
    assert_true(gw_str_contains(gw_buf_str(&k->answer.body), GW_STR("upstream_invalid_response")));
    assert_false(gw_str_contains(gw_buf_str(&k->answer.body), GW_STR("[DONE]")));
    assert_string_equal(only_event(k)->outcome, "partial");
    run_until_idle(k);
    assert_true(k->upstream_closed);
}

static void who_leaves_before_the_answer_pays_for_the_prompt_unless_the_provider_fails(void **state)
{
    static const struct {
        bool drains;
        const char *outcome, *basis, *error;
        int64_t prompt_tokens;
    } cases[] = {
        {false, "partial", "estimated", "cancelled", 8},
        {true, "failed", "unpriced", "upstream_timeout", 0},
    };
    kit *k = *state;

    k->script = &(script){.status = 0};
    k->stop_when_asked = true;
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        k->policy->drain_on_disconnect = cases[i].drains;
        send_call(k, "POST", "/v1/chat/completions", "good", CHAT);
        run(k);
        gw_http_cancel(k->call);
        run(k); /* the client's own end */
        run_until_idle(k);
        usage_event *e = only_event(k);
        assert_string_equal(e->outcome, cases[i].outcome);
        assert_string_equal(e->billing_basis, cases[i].basis);
        assert_string_equal(e->error, cases[i].error);
        assert_int_equal(e->prompt_tokens, cases[i].prompt_tokens);
        assert_int_equal(e->status_code, 499);
        forget_events(k);
    }
}

static void models_are_listed(void **state)
{
    kit *k = *state;

    send_call(k, "GET", "/v1/models", "good", NULL);
    run(k);
    assert_string_equal(k->answer.body.data,
                        "{\"object\":\"list\",\"data\":[{\"id\":\"gpt-4o\",\"object\":\"model\","
                        "\"created\":0,\"owned_by\":\"openai\"}]}");
    send_call(k, "GET", "/v1/models/gpt-4o%2Fx", "good", NULL);
    run(k);
    assert_string_equal(
        k->answer.body.data,
        "{\"id\":\"gpt-4o/x\",\"object\":\"model\",\"created\":0,\"owned_by\":\"openai\"}");
}

static void a_key_that_is_looked_up_late_goes_on(void **state)
{
    kit *k = *state;

    k->script = &(script)REPLY(200, PLAIN, JSON);
    send_call(k, "POST", "/v1/chat/completions", "late", CHAT);
    for (int i = 0; i < 100 && !k->pending; i++)
        uv_run(gw_loop_uv(k->loop), UV_RUN_ONCE);
    assert_non_null(k->pending);
    k->pending->done(k->pending->arg, GW_OK, key_policy_ref(k->policy), NULL);
    run(k);
    assert_int_equal(k->answer.status, 200);
}

static void a_silent_stream_shows_signs_of_life(void **state)
{
    kit *k = *state;

    k->core.limits.keep_alive_ms = 20;
    k->wait_for = GW_STR(SAID ": keep-alive\n\n: keep-alive\n\n");
    ask(k, "good", STREAM, &(script)REPLY_STALL(200, SSE, ROLE, SAID));
    assert_false(k->answer.done);
    k->wait_for = GW_STR("");
    run(k); /* until the upstream has been silent too long */
    assert_true(says(&k->answer.body, "upstream_timeout"));
}

static void a_shutdown_ends_streams_in_band(void **state)
{
    kit *k = *state;

    k->wait_for = GW_STR("hello");
    k->script = &(script)REPLY_STALL(200, SSE, ROLE, SAID);
    send_call(k, "POST", "/v1/chat/completions", "good", STREAM);
    run(k);
    k->wait_for = GW_STR("");
    relay_core_end_all(&k->core);
    run(k);
    assert_true(says(&k->answer.body, "\"code\":\"shutting_down\"") &&
                !says(&k->answer.body, "[DONE]"));
    assert_string_equal(only_event(k)->outcome, "partial");
}

#define WITH(test) cmocka_unit_test_setup_teardown(test, kit_setup, kit_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(a_json_answer_passes_unchanged_and_is_recorded_first),
        WITH(headers_that_are_not_ours_to_give_stay_behind),
        WITH(a_stream_passes_byte_for_byte_without_unasked_usage),
        WITH(usage_passes_to_those_who_asked),
        WITH(an_answer_without_usage_is_estimated),
        WITH(an_estimate_is_never_more_than_what_was_allowed),
        WITH(a_stream_without_done_gets_none),
        WITH(upstream_failures_have_a_status_until_content_comes),
        WITH(after_content_a_failure_is_in_band_and_never_done),
        WITH(a_caller_that_leaves_closes_the_upstream),
        WITH(a_key_that_drains_goes_on_without_its_caller),
        WITH(beyond_their_number_answers_do_not_go_on_without_their_callers),
        WITH(a_stream_beyond_its_bound_is_ended),
        WITH(who_leaves_before_the_answer_pays_for_the_prompt_unless_the_provider_fails),
        WITH(models_are_listed),
        WITH(a_key_that_is_looked_up_late_goes_on),
        WITH(a_silent_stream_shows_signs_of_life),
        WITH(a_shutdown_ends_streams_in_band),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
