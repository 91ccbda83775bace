#include "price/price_book.h"

#include "testing/cmocka.h"

/* gpt-4o-mini: 0.15 / 0.075 / 0.60 dollars a million tokens. */
static const model_price mini = {.model = {"gpt-4o-mini", 11},
                                 .prompt_per_million_nano_usd = 150000000,
                                 .cached_prompt_per_million_nano_usd = 75000000,
                                 .completion_per_million_nano_usd = 600000000,
                                 .reasoning_per_million_nano_usd = 600000000,
                                 .cache_write_per_million_nano_usd = 187500000,
                                 .long_cache_write_per_million_nano_usd = 300000000,
                                 .image_nano_usd = 70000};

static void a_request_costs_the_sum_of_its_tokens(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        token_counts tokens;
        int64_t cost;
    } cases[] = {
        {"nothing", {0, 0, 0, 0, 0, 0, 0}, 0},
        {"prompt only", {1000, 0, 0, 0, 0, 0, 0}, 150000},
        {"prompt and completion", {1000, 500, 0, 0, 0, 0, 0}, 450000},
        {"cached prompt tokens are cheaper", {1000, 0, 400, 0, 0, 0, 0}, 120000},
        {"cached above prompt is clamped", {10, 0, 400, 0, 0, 0, 0}, 750},
        {"tokens written into a cache have their price", {1000, 0, 400, 0, 100, 0, 0}, 123750},
        {"no token is both read and written", {1000, 0, 900, 0, 400, 0, 0}, 86250},
        {"negative counts are none", {-5, 1, -1, -1, 0, 0, 0}, 600},
        {"reasoning is part of completion", {0, 10, 0, 10, 0, 0, 0}, 6000},
        {"images cost beside their tokens", {1000, 0, 0, 0, 0, 3, 0}, 150000 + 3 * 70000},
        {"fewer images than none are none", {1000, 0, 0, 0, 0, -3, 0}, 150000},
        {"what is kept for an hour has its price", {1000, 0, 400, 0, 100, 0, 40}, 128250},
        {"no more is kept for an hour than is written", {1000, 0, 400, 0, 100, 0, 400}, 135000},
    };
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        print_message("%s\n", cases[i].name);
        assert_int_equal(price_of(&mini, &cases[i].tokens), cases[i].cost);
    }
}

static void a_cost_is_rounded_once_half_to_even(void **state)
{
    (void)state;
    const model_price p = {.prompt_per_million_nano_usd = 500000,
                           .completion_per_million_nano_usd = 250000};
    assert_int_equal(price_of(&p, &(token_counts){.prompt = 1}), 0); /* 0.5 -> 0 */
    assert_int_equal(price_of(&p, &(token_counts){.prompt = 3}), 2); /* 1.5 -> 2 */
    assert_int_equal(price_of(&p, &(token_counts){.prompt = 5}), 2); /* 2.5 -> 2 */
    assert_int_equal(price_of(&p, &(token_counts){.prompt = 1, .completion = 1}), 1); /* 0.75 */
}

static void a_cost_that_usage_would_refuse_saturates(void **state)
{
    (void)state;
    const model_price p = {.prompt_per_million_nano_usd = INT64_MAX,
                           .completion_per_million_nano_usd = INT64_MAX,
                           .reasoning_per_million_nano_usd = INT64_MAX,
                           .cached_prompt_per_million_nano_usd = INT64_MAX,
                           .request_nano_usd = INT64_MAX};
    assert_int_equal(price_of(&p, &(token_counts){.prompt = INT64_MAX, .completion = INT64_MAX}),
                     REQUEST_COST_MAX_NANO_USD);
}

/* Each count at the most that is believed, three parts of a prompt, and a million images. */
static void the_dearest_request_that_a_book_can_price_makes_a_row(void **state)
{
    (void)state;
    const int64_t most = PRICE_PER_MILLION_MAX_NANO_USD;
    const model_price p = {.prompt_per_million_nano_usd = most,
                           .completion_per_million_nano_usd = most,
                           .reasoning_per_million_nano_usd = most,
                           .cached_prompt_per_million_nano_usd = most,
                           .cache_write_per_million_nano_usd = most,
                           .long_cache_write_per_million_nano_usd = most,
                           .request_nano_usd = PRICE_PER_REQUEST_MAX_NANO_USD,
                           .image_nano_usd = PRICE_PER_IMAGE_MAX_NANO_USD};
    const token_counts t = {.prompt = 300000000,
                            .cached = 100000000,
                            .cache_write = 100000000,
                            .completion = 100000000,
                            .images = 1000000};
    assert_int_equal(price_of(&p, &t), 900100000000000LL);
    assert_true(price_of(&p, &t) < REQUEST_COST_MAX_NANO_USD);
}

static void a_request_price_is_added(void **state)
{
    (void)state;
    const model_price p = {.request_nano_usd = 7};
    assert_int_equal(price_of(&p, &(token_counts){100, 100, 0, 0, 0, 0, 0}), 7);
}

static void the_most_specific_price_is_found(void **state)
{
    (void)state;
    static const model_price book[] = {
        {.model = {"*", 1}, .request_nano_usd = 1},
        {.model = {"gpt-*", 5}, .request_nano_usd = 2},
        {.model = {"gpt-4o*", 7}, .request_nano_usd = 3},
        {.model = {"gpt-4o-mini", 11}, .request_nano_usd = 4},
        {.model = {"gpt-*", 5}, .provider = {"azure", 5}, .request_nano_usd = 5},
        {.model = {"*-mini-of-some-day", 18}, .request_nano_usd = 6},
    };
    static const struct {
        const char *model, *provider;
        int64_t found;
    } cases[] = {
        {"gpt-4o-mini", "openai", 4},
        {"gpt-4o", "openai", 3},
        {"gpt-5", "openai", 2},
        {"gpt-5", "azure", 5},
        {"llama", "local", 1},
        {"gpt-4o-mini-of-some-day", "openai",
         3}, /* the longest text before the star, as of routes */
        {"o9-mini-of-some-day", "openai", 6},
    };
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        const model_price *p = price_find(book, GW_ARRAY_LEN(book), gw_str_of(cases[i].model),
                                          gw_str_of(cases[i].provider));
        assert_non_null(p);
        assert_int_equal(p->request_nano_usd, cases[i].found);
    }
    assert_null(price_find(book + 1, 3, GW_STR("llama"), GW_STR("local")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_costs_the_sum_of_its_tokens),
        cmocka_unit_test(a_cost_is_rounded_once_half_to_even),
        cmocka_unit_test(a_cost_that_usage_would_refuse_saturates),
        cmocka_unit_test(the_dearest_request_that_a_book_can_price_makes_a_row),
        cmocka_unit_test(a_request_price_is_added),
        cmocka_unit_test(the_most_specific_price_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
