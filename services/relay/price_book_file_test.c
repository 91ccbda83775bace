#include "config_file_test_kit.h"

#include "price/price_tier.h"

static void a_price_book_is_read_whole(void **state)
{
    (void)state;
    price_book_message *book = NULL;
    gw_json_violations v = {0};
    gw_error err = {0};
    write_text("version: v1\nprices:\n  - {model: m, promptPerMillionNanoUsd: 100, "
               "completionPerMillionNanoUsd: 200}\n");
    assert_int_equal(price_book_file_read(config_path, &book, &v, &err), GW_OK);
    const relay_config_file empty = APIRELAY__RELAY__V1__RELAY_CONFIG_FILE__INIT;
    const relay_config_file *file = &empty;
    relay_config *c = build(&file, 1, book, NULL);
    assert_true(gw_str_eq_c(c->price_book_version, "v1"));
    assert_int_equal(c->prices[0].cached_prompt_per_million_nano_usd, 100);
    assert_int_equal(c->prices[0].reasoning_per_million_nano_usd, 200);
    assert_int_equal(c->prices[0].long_cache_write_per_million_nano_usd, 100);
    relay_config_unref(c);
    apirelay__relay__v1__price_book__free_unpacked(book, NULL);

    write_text("prices: [{model: m, promptPerMillionNanoUsd: -1}, {model: ''}]");
    assert_int_equal(price_book_file_read(config_path, &book, &v, &err), GW_ERR_INVALID_ARGUMENT);
    assert_int_equal(v.count, 1); /* beside the one in err */
}

static void the_prices_of_tiers_and_long_prompts_are_read_with_a_models(void **state)
{
    (void)state;
    price_book_message *book = NULL;
    gw_json_violations v = {0};
    gw_error err = {0};
    write_text("prices:\n  - {model: m, promptPerMillionNanoUsd: 100, completionPerMillionNanoUsd: "
               "200, tiers: [{tier: priority, promptPerMillionNanoUsd: 0, "
               "completionPerMillionNanoUsd: 400, appliesUnasked: true, longPrompts: "
               "[{abovePromptTokens: 9, promptPerMillionNanoUsd: 1, completionPerMillionNanoUsd: "
               "2}]}], longPrompts: [{abovePromptTokens: 100, promptPerMillionNanoUsd: 300, "
               "completionPerMillionNanoUsd: 500}]}\n");
    assert_int_equal(price_book_file_read(config_path, &book, &v, &err), GW_OK);
    const relay_config_file empty = APIRELAY__RELAY__V1__RELAY_CONFIG_FILE__INIT;
    const relay_config_file *file = &empty;
    relay_config *c = build(&file, 1, book, NULL);
    apirelay__relay__v1__price_book__free_unpacked(book, NULL); /* the snapshot has its own */
    const model_price *p = price_in_tier(&c->prices[0], GW_STR("priority"));
    assert_non_null(p);
    assert_int_equal(p->prompt_per_million_nano_usd, 0);
    assert_int_equal(p->completion_per_million_nano_usd, 400);
    assert_true(c->prices[0].tiers[0].applies_unasked);
    assert_int_equal(p->long_count, 1);
    assert_int_equal(p->longs[0].price.prompt_per_million_nano_usd, 1);
    assert_int_equal(c->prices[0].longs[0].above_prompt_tokens, 100);
    assert_int_equal(c->prices[0].longs[0].price.reasoning_per_million_nano_usd, 500);
    relay_config_unref(c);
}

static void prices_out_of_range_are_refused_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *price, *field, *says;
    } cases[] = {
        {"promptPerMillionNanoUsd: 2000000000001", "promptPerMillionNanoUsd",
         "0 to 2000000000000 nano-USD"},
        {"completionPerMillionNanoUsd: 9000000000000000", "completionPerMillionNanoUsd",
         "0 to 2000000000000"},
        {"requestNanoUsd: 100000000001", "requestNanoUsd", "0 to 100000000000"},
        {"imageNanoUsd: 100000001", "imageNanoUsd", "0 to 100000000"},
        {"tiers: [{tier: flex, promptPerMillionNanoUsd: 1}]",
         "tiers[0].completionPerMillionNanoUsd", "must be given"},
        {"tiers: [{tier: flex, promptPerMillionNanoUsd: 1, completionPerMillionNanoUsd: "
         "2000000000001}]",
         "tiers[0].completionPerMillionNanoUsd", "0 to 2000000000000"},
        {"tiers: [{tier: auto, promptPerMillionNanoUsd: 1, completionPerMillionNanoUsd: 1}]",
         "tiers[0].tier", "model's own"},
        {"tiers: [{tier: default, promptPerMillionNanoUsd: 1, completionPerMillionNanoUsd: 1}]",
         "tiers[0].tier", "model's own"},
        {"tiers: [{promptPerMillionNanoUsd: 1, completionPerMillionNanoUsd: 1}]", "tiers[0].tier",
         "1-32"},
        {"tiers: [{tier: flex, promptPerMillionNanoUsd: 1, completionPerMillionNanoUsd: 1}, "
         "{tier: flex, promptPerMillionNanoUsd: 1, completionPerMillionNanoUsd: 1}]",
         "tiers[1].tier", "second price"},
        {"longPrompts: [{promptPerMillionNanoUsd: 1, completionPerMillionNanoUsd: 1}]",
         "longPrompts[0].abovePromptTokens", "1 to 100000000"},
        {"longPrompts: [{abovePromptTokens: 200, promptPerMillionNanoUsd: 1}]",
         "longPrompts[0].completionPerMillionNanoUsd", "must be given"},
        {"longPrompts: [{abovePromptTokens: 200, promptPerMillionNanoUsd: 1, "
         "completionPerMillionNanoUsd: 1}, {abovePromptTokens: 200, promptPerMillionNanoUsd: 1, "
         "completionPerMillionNanoUsd: 1}]",
         "longPrompts[1].abovePromptTokens", "201 to 100000000"},
        {"tiers: [{tier: flex, promptPerMillionNanoUsd: 1, completionPerMillionNanoUsd: 1, "
         "longPrompts: [{abovePromptTokens: 2, promptPerMillionNanoUsd: -1, "
         "completionPerMillionNanoUsd: 1}]}]",
         "tiers[0].longPrompts[0].promptPerMillionNanoUsd", "0 to 2000000000000"},
    };
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        price_book_message *book = NULL;
        gw_json_violations v = {0};
        gw_error err = {0};
        gw_auto_buf text = {0}, field = {0};
        gw_buf_appendf(&text, "prices: [{model: m, %s}]", cases[i].price);
        gw_buf_appendf(&field, "prices[0].%s", cases[i].field);
        write_text(text.data);
        assert_int_equal(price_book_file_read(config_path, &book, &v, &err),
                         GW_ERR_INVALID_ARGUMENT);
        assert_string_equal(err.field, field.data);
        assert_non_null(strstr(err.message, cases[i].says));
    }
}

/* Else a relay of today would go back to the file's prices. */
static void a_stored_book_stays_good_with_prices_of_before_the_bounds(void **state)
{
    (void)state;
    Apirelay__Relay__V1__ModelPrice price = APIRELAY__RELAY__V1__MODEL_PRICE__INIT,
                                    *list[] = {&price};
    price_book_message book = APIRELAY__RELAY__V1__PRICE_BOOK__INIT;
    char model[] = "m";
    price.model = model;
    price.completion_per_million_nano_usd = 9000000000000000;
    book.prices = list;
    book.n_prices = 1;
    assert_int_equal(price_book_check(&book, "", NULL, NULL), GW_ERR_INVALID_ARGUMENT);
    assert_int_equal(price_book_check_stored(&book, NULL), GW_OK);
    price.completion_per_million_nano_usd = -1;
    assert_int_equal(price_book_check_stored(&book, NULL), GW_ERR_INVALID_ARGUMENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_price_book_is_read_whole),
        cmocka_unit_test(the_prices_of_tiers_and_long_prompts_are_read_with_a_models),
        cmocka_unit_test(prices_out_of_range_are_refused_by_name),
        cmocka_unit_test(a_stored_book_stays_good_with_prices_of_before_the_bounds),
    };
    return cmocka_run_group_tests(tests, make_file, drop_file);
}
