#include "price/price_tier.h"

#include "testing/cmocka.h"

typedef Apirelay__Relay__V1__ModelPrice price_message;
typedef Apirelay__Relay__V1__TierPrice tier_message;

#define SET(m, name, value) ((m)->name##_presence_case = 1, (m)->name = (value))

typedef struct fixture {
    gw_arena *arena;
    tier_message tiers[2];
    tier_message *list[2];
    price_message message;
    model_price price;
} fixture;

static void give(tier_message *t, const char *name, int64_t prompt, int64_t completion)
{
    apirelay__relay__v1__tier_price__init(t);
    t->tier = (char *)(uintptr_t)name;
    SET(t, prompt_per_million_nano_usd, prompt);
    SET(t, completion_per_million_nano_usd, completion);
}

static int set_up(void **state)
{
    static fixture f;
    f = (fixture){.arena = gw_arena_new()};
    apirelay__relay__v1__model_price__init(&f.message);
    f.message.prompt_per_million_nano_usd = 100;
    f.message.completion_per_million_nano_usd = 400;
    SET(&f.message, cached_prompt_per_million_nano_usd, 10);
    f.message.image_nano_usd = 7;
    give(&f.tiers[0], "priority", 200, 800);
    give(&f.tiers[1], "flex", 50, 200);
    f.list[0] = &f.tiers[0];
    f.list[1] = &f.tiers[1];
    f.message.tiers = f.list;
    f.message.n_tiers = 2;
    *state = &f;
    return f.arena && price_from_message(f.arena, &f.message, &f.price) ? 0 : -1;
}

static int tear_down(void **state)
{
    gw_arena_free(((fixture *)*state)->arena);
    return 0;
}

static void a_tier_has_its_own_token_prices_and_the_models_others(void **state)
{
    fixture *f = *state;
    const model_price *p = price_in_tier(&f->price, GW_STR("priority"));
    assert_non_null(p);
    assert_int_equal(p->prompt_per_million_nano_usd, 200);
    assert_int_equal(p->completion_per_million_nano_usd, 800);
    assert_int_equal(p->reasoning_per_million_nano_usd, 800);
    /* Not the standard tier's 10: a hold would be too small. */
    assert_int_equal(p->cached_prompt_per_million_nano_usd, 200);
    assert_int_equal(p->cache_write_per_million_nano_usd, 200);
    assert_int_equal(p->long_cache_write_per_million_nano_usd, 200);
    assert_int_equal(p->image_nano_usd, 7);
    assert_int_equal(p->tier_count, 0);
}

static void standard_and_open_names_are_the_models_own_price(void **state)
{
    fixture *f = *state;
    static const char *const names[] = {"",         "auto",          "default",
                                        "standard", "standard_only", "on_demand"};
    for (size_t i = 0; i < GW_ARRAY_LEN(names); i++)
        assert_ptr_equal(price_in_tier(&f->price, gw_str_of(names[i])), &f->price);
    assert_null(price_in_tier(&f->price, GW_STR("scale")));
    assert_null(price_in_tier(&f->price, GW_STR("Priority"))); /* names are as they are */
}

static void count_possible(const model_price *p, const char *asked, size_t ret[3])
{
    size_t at = 0, n = 0;
    const model_price *each;
    ret[1] = ret[2] = 0;
    while ((each = price_next_possible(p, gw_str_of(asked), &at)))
        ret[1 + (n++ > 0)] += (size_t)each->prompt_per_million_nano_usd;
    ret[0] = n;
}

static void a_request_may_be_billed_by_the_tier_it_asks_for_or_the_models_own(void **state)
{
    fixture *f = *state;
    size_t seen[3];
    count_possible(&f->price, "priority", seen);
    assert_true(seen[0] == 2 && seen[1] == 100 && seen[2] == 200);
    count_possible(&f->price, "flex", seen);
    assert_true(seen[0] == 2 && seen[1] == 100 && seen[2] == 50);
    count_possible(&f->price, "default", seen);
    assert_true(seen[0] == 1 && seen[1] == 100);
    count_possible(&f->price, "", seen);
    assert_true(seen[0] == 1 && seen[1] == 100);
}

static void one_that_leaves_it_open_also_by_those_that_apply_unasked(void **state)
{
    fixture *f = *state;
    size_t seen[3];
    f->tiers[0].applies_unasked = true;
    assert_true(price_from_message(f->arena, &f->message, &f->price));
    static const char *const open[] = {"", "auto"};
    for (size_t i = 0; i < GW_ARRAY_LEN(open); i++) {
        count_possible(&f->price, open[i], seen);
        assert_true(seen[0] == 2 && seen[1] == 100 && seen[2] == 200);
    }
    count_possible(&f->price, "standard_only", seen);
    assert_int_equal(seen[0], 1);
    count_possible(&f->price, "flex", seen);
    assert_true(seen[0] == 2 && seen[2] == 50);
}

#define TIER_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TIER_TEST(a_tier_has_its_own_token_prices_and_the_models_others),
        TIER_TEST(standard_and_open_names_are_the_models_own_price),
        TIER_TEST(a_request_may_be_billed_by_the_tier_it_asks_for_or_the_models_own),
        TIER_TEST(one_that_leaves_it_open_also_by_those_that_apply_unasked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
