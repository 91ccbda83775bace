#include "model_memo.h"

#include "testing/cmocka.h"

#include <stdio.h>

static size_t walks; /* over the routes of a configuration */

const model_route *relay_config_route(const relay_config *c, gw_str model)
{
    walks++;
    for (size_t i = 0; i < c->route_count; i++)
        if (gw_str_starts_with(model, c->routes[i].pattern))
            return &c->routes[i];
    return NULL;
}

static const provider_config provider = {.name = {"p", 1}};
static const route_target targets[] = {{.provider = &provider},
                                       {.provider = &provider, .upstream_model = {"other", 5}}};
static const model_route routes[] = {
    {.pattern = {"gpt-", 4}, .targets = targets, .target_count = 2}};
static const model_route later_routes[] = {
    {.pattern = {"gpt-4", 5}, .targets = targets, .target_count = 2}};
static const model_price prices[] = {{.model = {"gpt-*", 5}, .request_nano_usd = 1},
                                     {.model = {"other", 5}, .request_nano_usd = 2}};
static const model_price later_prices[] = {{.model = {"gpt-4o", 6}, .request_nano_usd = 3}};
static const relay_config config = {
    .routes = routes, .route_count = 1, .prices = prices, .price_count = 2};
static const relay_config later_config = {
    .routes = later_routes, .route_count = 1, .prices = later_prices, .price_count = 1};

static int setup(void **state)
{
    *state = model_memo_new();
    walks = 0;
    return *state ? 0 : -1;
}

static int teardown(void **state)
{
    model_memo_free(*state);
    return 0;
}

static void a_name_is_looked_for_once(void **state)
{
    model_memo *m = *state;

    model_memo_begin(m, &config);
    for (int i = 0; i < 3; i++)
        assert_ptr_equal(model_memo_route(m, &config, GW_STR("gpt-4o")), &routes[0]);
    assert_int_equal(walks, 1);
    assert_ptr_equal(model_memo_route(m, &config, GW_STR("gpt-4o-mini")), &routes[0]);
    assert_int_equal(walks, 2);
    assert_null(model_memo_route(m, &config, GW_STR("claude")));
    assert_null(model_memo_route(m, &config, GW_STR("claude")));
    assert_int_equal(walks, 4); /* what is not there may come */
}

static void each_target_has_its_price(void **state)
{
    model_memo *m = *state;
    const gw_str model = GW_STR("gpt-4o");

    model_memo_begin(m, &config);
    (void)model_memo_route(m, &config, model);
    for (int i = 0; i < 2; i++) {
        assert_ptr_equal(model_memo_price(m, &config, &targets[0], model), &prices[0]);
        assert_ptr_equal(model_memo_price(m, &config, &targets[0], model), &prices[0]);
        assert_ptr_equal(model_memo_price(m, &config, &targets[1], model), &prices[1]);
    }
    assert_ptr_equal(model_memo_price(m, &config, &targets[0], GW_STR("gpt-5")), &prices[0]);
}

static void another_configuration_empties_it(void **state)
{
    model_memo *m = *state;
    const gw_str model = GW_STR("gpt-4o");

    model_memo_begin(m, &config);
    (void)model_memo_route(m, &config, model);
    (void)model_memo_price(m, &config, &targets[0], model);
    model_memo_begin(m, &later_config);
    assert_ptr_equal(model_memo_route(m, &later_config, model), &later_routes[0]);
    assert_ptr_equal(model_memo_price(m, &later_config, &targets[0], model), &later_prices[0]);
    /* Who began before goes on with what it had. */
    assert_ptr_equal(model_memo_route(m, &config, model), &routes[0]);
    assert_ptr_equal(model_memo_price(m, &config, &targets[0], model), &prices[0]);
    assert_ptr_equal(model_memo_route(m, &later_config, model), &later_routes[0]);
}

static void very_many_names_and_long_ones_are_right_all_the_same(void **state)
{
    model_memo *m = *state;
    char name[200];

    model_memo_begin(m, &config);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 1000; i++) {
            (void)snprintf(name, sizeof(name), "%s-%d", i % 3 ? "gpt-x" : "claude", i);
            assert_ptr_equal(model_memo_route(m, &config, gw_str_of(name)),
                             i % 3 ? &routes[0] : NULL);
            if (i % 3)
                assert_ptr_equal(model_memo_price(m, &config, &targets[0], gw_str_of(name)),
                                 &prices[0]);
        }
    }
    int len = snprintf(name, sizeof(name), "gpt-%0190d", 1);
    gw_str long_name = gw_str_n(name, (size_t)len);
    assert_ptr_equal(model_memo_route(m, &config, long_name), &routes[0]);
    assert_ptr_equal(model_memo_price(m, &config, &targets[0], long_name), &prices[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(a_name_is_looked_for_once),
        TEST(each_target_has_its_price),
        TEST(another_configuration_empties_it),
        TEST(very_many_names_and_long_ones_are_right_all_the_same),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
