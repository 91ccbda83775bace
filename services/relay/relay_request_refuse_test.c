/* What a request is told when a limit refuses it. */
#include "relay_request_hold_kit.h"

static void a_refusal_names_whose_limit_it_is_and_when_waiting_helps(void **state)
{
    static const struct {
        answer_of_ledger answer;
        const char *param, *code, *says, *retry_after;
        bool waiting_does_not_help;
    } cases[] = {
        {{GRANT_REFUSED, LEDGER_OF_KEY, LEDGER_BUCKET, 0, 1500, 0},
         "limits.requestsPerMinute",
         "rate_limit_exceeded",
         "this API key has",
         "2",
         false},
        {{GRANT_REFUSED, LEDGER_OF_CLIENT, LEDGER_REQUESTS_DAY, 0, 3600000, 5},
         "clientLimits.requestsPerDay",
         "rate_limit_exceeded",
         "the client of",
         "3600",
         true},
        {{GRANT_REFUSED, LEDGER_OF_OWNER, LEDGER_COST_MONTH, -5, 86400000, 1000},
         "ownerLimits.costLimit",
         "insufficient_quota",
         "the owner of",
         "86400",
         true},
        {{GRANT_REFUSED, LEDGER_OF_KEY, LEDGER_TOKENS_DAY, 0, 5000, 100},
         "limits.tokensPerDay",
         "rate_limit_exceeded",
         "tokens per day",
         "5",
         false},
        {{GRANT_REFUSED, LEDGER_OF_CLIENT, LEDGER_SLOTS, 0, 1000, 0},
         "clientLimits.requestsInFlight",
         "rate_limit_exceeded",
         "try again in 1 s",
         "1",
         false},
    };

    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        (void)tear_down(state);
        assert_int_equal(set_up(state), 0);
        fixture *f = *state;
        ledgers.script = &cases[i].answer;
        assert_int_equal(relay_request_take_hold(&f->r), STAGE_SETTLE);
        const openai_error *e = &f->r.troubles->failure;
        assert_int_equal(e->http_status, 429);
        assert_true(gw_str_eq_c(e->code, cases[i].code));
        assert_string_equal(e->error.field, cases[i].param);
        assert_true(gw_str_eq_c(e->retry_after, cases[i].retry_after));
        assert_non_null(strstr(e->error.message, cases[i].says));
        assert_int_equal(f->r.waiting_does_not_help, cases[i].waiting_does_not_help);
    }
}

/* 10 tokens of prompt and 16 of output is the least; for 42 nano-USD. */
static void what_is_left_is_not_called_nothing(void **state)
{
    static const struct {
        answer_of_ledger answer;
        int64_t max_tokens;
        const char *says, *retry_after;
        bool waiting_does_not_help;
    } cases[] = {
        {{GRANT_REFUSED, LEDGER_OF_KEY, LEDGER_TOKENS_DAY, 20, 5000, 100},
         1000,
         "this request needs at least 26 tokens, and this API key has 20 tokens left of its limit "
         "of 100 tokens per day; it resets in 5 s",
         "5",
         false},
        {{GRANT_REFUSED, LEDGER_OF_CLIENT, LEDGER_TOKENS_MONTH, 15, 86400000, 18},
         8,
         "this request needs at least 18 tokens, and the client of this API key has 15 tokens left "
         "of its limit of 18 tokens per month; it resets in 86400 s",
         "86400",
         true},
        {{GRANT_REFUSED, LEDGER_OF_OWNER, LEDGER_COST_MONTH, 40, 5000, 2500000000},
         1000,
         "this request needs at least 0.000000042 USD, and the owner of this API key has "
         "0.00000004 USD left of its limit of 2.5 USD per month; it resets in 5 s",
         "5",
         false},
        /* never */
        {{GRANT_REFUSED, LEDGER_OF_KEY, LEDGER_TOKENS_DAY, 20, 5000, 25},
         1000,
         "this request needs at least 26 tokens, and the whole limit of this API key is 25 tokens "
         "per day: waiting does not help",
         "",
         true},
        {{GRANT_REFUSED, LEDGER_OF_KEY, LEDGER_COST_MONTH, 0, 5000, 41},
         1000,
         "this request needs at least 0.000000042 USD, and the whole limit of this API key is "
         "0.000000041 USD per month: waiting does not help",
         "",
         true},
        /* used up */
        {{GRANT_REFUSED, LEDGER_OF_KEY, LEDGER_TOKENS_DAY, 0, 5000, 100},
         1000,
         "this API key has reached its limit of tokens per day; it resets in 5 s",
         "5",
         false},
    };

    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        (void)tear_down(state);
        assert_int_equal(set_up(state), 0);
        fixture *f = *state;
        ledgers.script = &cases[i].answer;
        f->r.body.needs.max_tokens = cases[i].max_tokens;
        assert_int_equal(relay_request_take_hold(&f->r), STAGE_SETTLE);
        const openai_error *e = &f->r.troubles->failure;
        assert_int_equal(e->http_status, 429);
        assert_string_equal(e->error.message, cases[i].says);
        assert_true(gw_str_eq_c(e->retry_after, cases[i].retry_after));
        assert_int_equal(f->r.waiting_does_not_help, cases[i].waiting_does_not_help);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLD_TEST(a_refusal_names_whose_limit_it_is_and_when_waiting_helps),
        HOLD_TEST(what_is_left_is_not_called_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
