/* Streams that outlive their holds. */
#include "relay_request_hold_kit.h"

/* It streams under a hold for 10 + 100 tokens, at 10 + 200 nano-USD. */
static relay_request *streaming(fixture *f, const answer_of_ledger *more_script)
{
    relay_request *r = &f->r;

    ledgers.script = &(answer_of_ledger){.outcome = GRANT_CUT};
    ledgers.more_script = more_script;
    r->body.needs.max_tokens = 100;
    r->stream = true;
    r->price = &f->price;
    assert_int_equal(relay_request_take_hold(r), STAGE_FORWARD);
    r->job.policy = r->policy;
    r->job.body = &r->body;
    r->job.route = r->route;
    r->mode = ANSWER_EVENTS;
    r->started = true;
    return r;
}

static void see_words(relay_request *r, int64_t count)
{
    for (; count > 0; count--)
        usage_tap_text(&r->tap, GW_STR(" word"));
    relay_request_watch_hold(r);
}

static void a_stream_within_its_ceiling_asks_for_nothing(void **state)
{
    relay_request *r = streaming(*state, NULL);

    see_words(r, 100);
    see_words(r, TAP_FORGIVEN_WORDS);
    usage_tap_report(&r->tap, &(token_counts){.prompt = 10, .completion = 100}, 110);
    relay_request_watch_hold(r);
    assert_int_equal(ledgers.extended, 0);
    assert_false(r->has_failed);
}

static void a_stream_that_outlives_its_hold_has_more_held_as_long_as_there_is_some(void **state)
{
    const answer_of_ledger script[] = {{.outcome = GRANT_CUT}, {.outcome = GRANT_CUT}};
    relay_request *r = streaming(*state, script);

    see_words(r, 101 + TAP_FORGIVEN_WORDS); /* 101 at the least, and half of 100 */
    assert_int_equal(ledgers.extended, 1);
    assert_int_equal(ledgers.more[0].of[LEDGER_REQUESTS_DAY], 0);
    assert_int_equal(ledgers.more[0].of[LEDGER_TOKENS_DAY], 51);
    assert_int_equal(ledgers.more[0].of[LEDGER_TOKENS_MONTH], 51);
    assert_int_equal(ledgers.more[0].of[LEDGER_COST_MONTH], 102);
    see_words(r, 50);
    assert_int_equal(ledgers.extended, 1);
    usage_tap_report(&r->tap, &(token_counts){.prompt = 10, .completion = 300}, 310);
    relay_request_watch_hold(r); /* what is reported counts as it is */
    assert_int_equal(ledgers.extended, 2);
    assert_int_equal(ledgers.more[1].of[LEDGER_TOKENS_DAY], 300 + 75 - 151);
    assert_false(r->has_failed);
}

static void one_that_says_why_it_ends_is_let_end(void **state)
{
    relay_request *r = streaming(*state, NULL);

    usage_tap_finish(&r->tap, GW_STR("stop"));
    see_words(r, 1000);
    assert_int_equal(ledgers.extended, 0);
}

static void when_nothing_is_left_the_stream_is_ended(void **state)
{
    static const struct {
        answer_of_ledger answer;
        const char *param, *code;
        int status;
    } cases[] = {
        {{GRANT_REFUSED, LEDGER_OF_KEY, LEDGER_COST_MONTH, 10, 1000, 0},
         "limits.costLimit",
         "insufficient_quota",
         429},
        {{GRANT_REFUSED, LEDGER_OF_CLIENT, LEDGER_TOKENS_DAY, 0, 1000, 0},
         "clientLimits.tokensPerDay",
         "rate_limit_exceeded",
         429},
        {{.outcome = GRANT_UNAVAILABLE}, "", "service_unavailable", 503},
    };

    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        (void)tear_down(state);
        assert_int_equal(set_up(state), 0);
        relay_request *r = streaming(*state, &cases[i].answer);
        see_words(r, 200);
        const openai_error *e = &r->troubles->failure;
        assert_int_equal(ledgers.extended, 1);
        assert_true(r->has_failed);
        assert_true(r->hold_is_spent);
        assert_false(relay_request_may_try_again(r));
        assert_int_equal(e->http_status, cases[i].status);
        assert_string_equal(gw_str_slice(e->code, 0, e->code.len).ptr, cases[i].code);
        assert_string_equal(e->error.field, cases[i].param);
        /* No ceiling was kept to: the estimate is of what came. */
        assert_int_equal(relay_request_estimated_output(r), 250);
    }
}

static void what_is_left_is_used_before_the_stream_is_ended(void **state)
{
    const answer_of_ledger script[] = {
        {GRANT_REFUSED, LEDGER_OF_KEY, LEDGER_TOKENS_DAY, 40, 1000, 0},
        {GRANT_REFUSED, LEDGER_OF_CLIENT, LEDGER_COST_MONTH, 60, 1000, 0},
        {.outcome = GRANT_CUT},
        {GRANT_REFUSED, LEDGER_OF_KEY, LEDGER_COST_MONTH, 0, 1000, 0},
    };
    relay_request *r = streaming(*state, script);

    see_words(r, 101 + TAP_FORGIVEN_WORDS);
    assert_int_equal(ledgers.extended, 3);
    assert_int_equal(ledgers.more[1].of[LEDGER_TOKENS_DAY], 40);
    assert_int_equal(ledgers.more[2].of[LEDGER_COST_MONTH], 60);
    assert_int_equal(r->output_held, 130);
    see_words(r, 29);
    assert_int_equal(ledgers.extended, 3);
    see_words(r, 1);
    assert_int_equal(ledgers.extended, 4);
    assert_true(r->has_failed);
}

static void a_stream_goes_on_while_more_is_bought_for_it(void **state)
{
    relay_request *r = streaming(*state, &(answer_of_ledger){.outcome = GRANT_WAITS});

    see_words(r, 200);
    see_words(r, 200);
    assert_int_equal(ledgers.extended, 1);
    assert_int_equal(r->operations, 1);
    assert_false(r->has_failed);
    relay_request_leave_extension(r);
    relay_request_leave_extension(r);
    assert_int_equal(r->operations, 0);
    assert_int_equal(ledgers.forgotten, 1);
}

static void an_answer_that_is_there_as_a_whole_is_not_ended(void **state)
{
    relay_request *r = streaming(*state, NULL);

    r->mode = ANSWER_JSON;
    see_words(r, 1000);
    assert_int_equal(ledgers.extended, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLD_TEST(a_stream_within_its_ceiling_asks_for_nothing),
        HOLD_TEST(a_stream_that_outlives_its_hold_has_more_held_as_long_as_there_is_some),
        HOLD_TEST(one_that_says_why_it_ends_is_let_end),
        HOLD_TEST(when_nothing_is_left_the_stream_is_ended),
        HOLD_TEST(what_is_left_is_used_before_the_stream_is_ended),
        HOLD_TEST(a_stream_goes_on_while_more_is_bought_for_it),
        HOLD_TEST(an_answer_that_is_there_as_a_whole_is_not_ended),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
