/* Runs of LibreChat's agents that end in no answer: what they cost is estimated, as nobody says it. */
#include "relay_request_answers.h"

#define CHUNK(delta, finish)                                                                       \
    "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,"          \
    "\"delta\":" delta ",\"finish_reason\":" finish "}]}\n\n"
#define BEGUN     CHUNK("{\"role\":\"assistant\"}", "null")
#define DISGUISED CHUNK("{\"content\":\"\\n\\nError: 503 no such model now\"}", "\"stop\"")

static int setup(void **state)
{
    if (kit_setup(state) != 0)
        return -1;
    kit *k = *state;
    k->provider.kind = PROVIDER_LIBRECHAT;
    return 0;
}

/* Its text is 29 bytes long: 8 tokens. */
static void a_run_that_ends_in_no_answer_is_estimated(void **state)
{
    kit *k = *state;
    static const struct {
        script answer;
        int status;
        const char *code;
        int64_t completion;
        int64_t deadline_ms;
    } cases[] = {
        {REPLY(200, SSE, BEGUN, DISGUISED, DONE), 502, "upstream_error", 8, 0},
        {REPLY(200, SSE, BEGUN, DISGUISED), 502, "upstream_error", 8, 0},
        {REPLY(200, SSE, BEGUN), 502, "upstream_cut", 0, 0},
        {REPLY_CUT(200, SSE, BEGUN), 502, "upstream_cut", 0, 0},
        {REPLY_STALL(200, SSE, BEGUN), 504, "upstream_timeout", 0, 0},
        {REPLY_STALL(200, SSE, BEGUN), 504, "deadline_exceeded", 0, 600},
    };

    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        if (cases[i].deadline_ms > 0)
            k->core.limits.request_timeout_ms = cases[i].deadline_ms;
        ask(k, "good", STREAM, &cases[i].answer);
        assert_int_equal(k->answer.status, cases[i].status);
        usage_event *e = only_event(k);
        assert_string_equal(e->outcome, "failed");
        assert_string_equal(e->error, cases[i].code);
        assert_string_equal(e->billing_basis, "estimated");
        assert_true(e->prompt_tokens > 0);
        assert_int_equal(e->completion_tokens, cases[i].completion);
        assert_int_equal(e->total_tokens, e->prompt_tokens + e->completion_tokens);
        assert_int_equal(e->cost_nano_usd, e->prompt_tokens + 2 * e->completion_tokens);
        forget_events(k);
    }
}

/* And of others' streams without content, as of errors with a status, nothing is known. */
static void what_was_not_begun_costs_nothing(void **state)
{
    kit *k = *state;
    static const script refused =
        REPLY(503, PLAIN, "{\"error\":{\"message\":\"no\",\"type\":\"x\"}}");
    static const script silent = REPLY(0, PLAIN, NULL);
    static const script begun = REPLY(200, SSE, BEGUN);

    ask(k, "good", STREAM, &refused);
    assert_int_equal(only_event(k)->total_tokens, 0);
    forget_events(k);
    ask(k, "good", STREAM, &silent);
    assert_int_equal(k->answer.status, 504);
    assert_int_equal(only_event(k)->total_tokens, 0);
    forget_events(k);
    k->provider.kind = PROVIDER_OPENAI;
    ask(k, "good", STREAM, &begun);
    assert_int_equal(k->answer.status, 502);
    assert_int_equal(only_event(k)->total_tokens, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, kit_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_run_that_ends_in_no_answer_is_estimated),
        TEST(what_was_not_begun_costs_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
