/* Prices of requests whose prompt is long. */
#include "price/price_tier.h"

#include "testing/cmocka.h"

typedef Apirelay__Relay__V1__ModelPrice price_message;
typedef Apirelay__Relay__V1__TierPrice tier_message;
typedef Apirelay__Relay__V1__LongPromptPrice long_message;

#define MILLION             1000000
#define SET(m, name, value) ((m)->name##_presence_case = 1, (m)->name = (value))
#define COST(p, ...)        price_of((p), &(token_counts){__VA_ARGS__})

static gw_arena *arena;

static void give(long_message *m, int64_t above, int64_t prompt, int64_t completion)
{
    apirelay__relay__v1__long_prompt_price__init(m);
    m->above_prompt_tokens = above;
    SET(m, prompt_per_million_nano_usd, prompt * MILLION);
    SET(m, completion_per_million_nano_usd, completion * MILLION);
}

/* 1 and 4 nano-USD a token, 2 and 6 above 100 tokens of prompt, 3 and 7 above 200; 50 each request. */
static model_price of_three_lengths(void)
{
    static long_message longs[2];
    static long_message *list[] = {&longs[0], &longs[1]};
    price_message m;
    model_price p;

    apirelay__relay__v1__model_price__init(&m);
    m.prompt_per_million_nano_usd = MILLION;
    m.completion_per_million_nano_usd = 4 * MILLION;
    SET(&m, cached_prompt_per_million_nano_usd, 0);
    m.request_nano_usd = 50;
    give(&longs[0], 100, 2, 6);
    give(&longs[1], 200, 3, 7);
    SET(&longs[1], cached_prompt_per_million_nano_usd, MILLION);
    m.long_prompts = list;
    m.n_long_prompts = 2;
    assert_true(price_from_message(arena, &m, &p));
    return p;
}

static void all_tokens_of_a_long_prompts_request_cost_more(void **state)
{
    (void)state;
    const model_price p = of_three_lengths();

    assert_int_equal(COST(&p, .prompt = 100, .completion = 10), 100 + 40 + 50);
    assert_int_equal(COST(&p, .prompt = 101, .completion = 10), 202 + 60 + 50);
    assert_int_equal(COST(&p, .prompt = 200, .completion = 1000), 400 + 6000 + 50);
    assert_int_equal(COST(&p, .prompt = 201, .completion = 10), 603 + 70 + 50);
}

/* Not the short prompts' 0: a hold would be too small. */
static void what_is_left_out_costs_what_it_is_a_kind_of_at_that_length(void **state)
{
    (void)state;
    const model_price p = of_three_lengths();

    assert_int_equal(COST(&p, .prompt = 100, .cached = 100), 50);
    assert_int_equal(COST(&p, .prompt = 101, .cached = 101), 202 + 50);
    assert_int_equal(COST(&p, .prompt = 300, .cached = 200), 300 + 200 + 50);
    assert_int_equal(COST(&p, .prompt = 150, .cache_write = 150, .long_cache_write = 50), 300 + 50);
    assert_int_equal(COST(&p, .prompt = 150, .completion = 10, .reasoning = 10), 300 + 60 + 50);
}

static void a_tier_has_lengths_of_its_own_or_none(void **state)
{
    (void)state;
    long_message longs;
    long_message *list[] = {&longs};
    tier_message tiers[2];
    tier_message *tier_list[] = {&tiers[0], &tiers[1]};
    char fast[] = "fast", flex[] = "flex";
    price_message m;
    model_price p;

    give(&longs, 100, 2, 6);
    for (int i = 0; i < 2; i++) {
        apirelay__relay__v1__tier_price__init(&tiers[i]);
        tiers[i].tier = i == 0 ? fast : flex;
        SET(&tiers[i], prompt_per_million_nano_usd, 10 * MILLION);
        SET(&tiers[i], completion_per_million_nano_usd, 10 * MILLION);
    }
    tiers[1].long_prompts = list;
    tiers[1].n_long_prompts = 1;
    apirelay__relay__v1__model_price__init(&m);
    m.long_prompts = list;
    m.n_long_prompts = 1;
    m.tiers = tier_list;
    m.n_tiers = 2;
    assert_true(price_from_message(arena, &m, &p));
    assert_int_equal(COST(price_in_tier(&p, GW_STR("fast")), .prompt = 1000), 10000);
    assert_int_equal(COST(price_in_tier(&p, GW_STR("flex")), .prompt = 1000), 2000);
    assert_int_equal(COST(price_in_tier(&p, GW_STR("flex")), .prompt = 100), 1000);
}

static int set_up(void **state)
{
    (void)state;
    arena = gw_arena_new();
    return arena ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    gw_arena_free(arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_tokens_of_a_long_prompts_request_cost_more),
        cmocka_unit_test(what_is_left_out_costs_what_it_is_a_kind_of_at_that_length),
        cmocka_unit_test(a_tier_has_lengths_of_its_own_or_none),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
