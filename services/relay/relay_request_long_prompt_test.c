/* Prompts that cost more when they are long: what is held for them, and by what they are billed. */
#include "relay_request_hold_kit.h"

#include "price/price_tier.h"

/* 1 and 2 nano-USD a token; `prompt` and `completion` above 5 tokens of prompt. */
static fixture *with_long_prompts(void **state, int64_t prompt, int64_t completion)
{
    static price_long longs[1];
    fixture *f = *state;

    longs[0] = (price_long){.above_prompt_tokens = 5,
                            .price = {.prompt_per_million_nano_usd = prompt * 1000000,
                                      .cached_prompt_per_million_nano_usd = prompt * 1000000,
                                      .completion_per_million_nano_usd = completion * 1000000,
                                      .reasoning_per_million_nano_usd = completion * 1000000}};
    f->price.longs = longs;
    f->price.long_count = 1;
    return f;
}

static int64_t held(fixture *f, int64_t prompt_most)
{
    f->r.prompt_most = prompt_most;
    return relay_request_most_cost(&f->r, &f->target, &f->price, 100);
}

static void a_prompt_that_may_be_long_is_held_for_as_one(void **state)
{
    fixture *f = with_long_prompts(state, 2, 3);

    assert_int_equal(held(f, 5), 5 + 200);
    assert_int_equal(held(f, 6), 12 + 300);
}

/* An estimate is more than the prompt is: the request may come to the price of shorter ones. */
static void where_long_ones_are_cheaper_it_is_held_for_as_a_short_one(void **state)
{
    fixture *f = with_long_prompts(state, 1, 1);

    assert_int_equal(held(f, 10), 5 + 200);
    assert_int_equal(held(f, 1000), 1000 + 100);
}

static void tiers_and_lengths_are_held_for_together(void **state)
{
    fixture *f = with_long_prompts(state, 2, 3);
    const price_tier tier = {.name = GW_STR("priority"),
                             .price = {.prompt_per_million_nano_usd = 10000000,
                                       .completion_per_million_nano_usd = 1000000,
                                       .cached_prompt_per_million_nano_usd = 10000000,
                                       .reasoning_per_million_nano_usd = 1000000}};

    f->price.tiers = &tier;
    f->price.tier_count = 1;
    f->r.body.service_tier = GW_STR("priority");
    assert_int_equal(held(f, 10), 20 + 300);
    assert_int_equal(held(f, 100), 1000 + 100);
}

static void it_is_billed_by_the_prompt_that_there_was(void **state)
{
    fixture *f = with_long_prompts(state, 2, 3);

    f->r.price = &f->price;
    f->r.asked = &f->target;
    assert_int_equal(relay_request_cost(&f->r, &(token_counts){.prompt = 5, .completion = 7}), 19);
    assert_int_equal(relay_request_cost(&f->r, &(token_counts){.prompt = 6, .completion = 7}), 33);
}

static void a_short_budget_pays_for_a_shorter_answer_at_that_price(void **state)
{
    fixture *f = with_long_prompts(state, 2, 3);
    const answer_of_ledger script[] = {
        {GRANT_REFUSED, LEDGER_OF_KEY, LEDGER_COST_MONTH, 20 + 3 * 50 + 2, 1000, 1000},
        {.outcome = GRANT_CUT},
    };

    ledgers.script = script;
    assert_int_equal(relay_request_take_hold(&f->r), STAGE_FORWARD);
    assert_int_equal(f->r.job.ceiling, 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLD_TEST(a_prompt_that_may_be_long_is_held_for_as_one),
        HOLD_TEST(where_long_ones_are_cheaper_it_is_held_for_as_a_short_one),
        HOLD_TEST(tiers_and_lengths_are_held_for_together),
        HOLD_TEST(it_is_billed_by_the_prompt_that_there_was),
        HOLD_TEST(a_short_budget_pays_for_a_shorter_answer_at_that_price),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
