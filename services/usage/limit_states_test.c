#include "limit_states.h"

#include "testing/cmocka.h"

#define NOW_MS INT64_C(1764150000000) /* 2025-11-26T09:40:00Z */

static void limits_that_are_set_are_shown_with_what_is_left(void **state)
{
    (void)state;
    gw_auto(gw_arena) a = gw_arena_new();
    Apirelay__Auth__V1__KeyLimits l = APIRELAY__AUTH__V1__KEY_LIMITS__INIT;
    const ledger_amounts used = {
        .requests_today = 3, .tokens_today = 120, .cost_nano_usd_this_month = 500};
    Apirelay__Usage__V1__LimitState **states = NULL;
    size_t count = 0;

    l.tokens_per_day_presence_case =
        APIRELAY__AUTH__V1__KEY_LIMITS__TOKENS_PER_DAY_PRESENCE_TOKENS_PER_DAY;
    l.tokens_per_day = 100; /* lowered since */
    l.cost_limit_nano_usd_presence_case =
        APIRELAY__AUTH__V1__KEY_LIMITS__COST_LIMIT_NANO_USD_PRESENCE_COST_LIMIT_NANO_USD;
    l.cost_limit_nano_usd = 2000;
    assert_int_equal(limit_states_of(a, &l, &used, NOW_MS, &states, &count, NULL), GW_OK);
    assert_int_equal(count, 2);
    assert_string_equal(states[0]->name, "tokensPerDay");
    assert_string_equal(states[0]->level, "key");
    assert_int_equal(states[0]->used, 120);
    assert_int_equal(states[0]->left, 0);
    assert_int_equal(states[0]->resets_at->seconds, 1764201600); /* the 27th */
    assert_string_equal(states[1]->name, "costLimitNanoUsd");
    assert_int_equal(states[1]->left, 1500);
    assert_int_equal(states[1]->resets_at->seconds, 1764547200); /* 1 December */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(limits_that_are_set_are_shown_with_what_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
