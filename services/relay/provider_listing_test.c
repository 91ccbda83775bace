#include "provider_listing.h"

#include "testing/cmocka.h"

static void every_kinds_list_is_read(void **state)
{
    static const struct {
        provider_kind kind;
        const char *json, *names; /* with a space behind each; NULL: no list */
    } cases[] = {
        {PROVIDER_OPENAI,
         "{\"object\":\"list\",\"data\":[{\"id\":\"gpt-4o\",\"object\":\"model\"},{\"id\":\"o3\"}]"
         "}",
         "gpt-4o o3 "},
        {PROVIDER_LOCAL, "{\"data\":[]}", ""},
        {PROVIDER_LOCAL, "{\"data\":[7,{},{\"id\":null},{\"id\":\"\"},{\"id\":\"a\\nb\"},null]}",
         ""},
        {PROVIDER_ANTHROPIC,
         "{\"data\":[{\"type\":\"model\",\"id\":\"claude-sonnet-4-5\"}],\"has_more\":false}",
         "claude-sonnet-4-5 "},
        {PROVIDER_GOOGLE,
         "{\"models\":[{\"name\":\"models/gemini-2.5-pro\",\"supportedGenerationMethods\":"
         "[\"countTokens\",\"generateContent\"]},{\"name\":\"models/embedding-001\","
         "\"supportedGenerationMethods\":[\"embedContent\"]},{\"name\":\"tuned\"}]}",
         "gemini-2.5-pro tuned "},
        {PROVIDER_GOOGLE, "{\"data\":[]}", NULL},
        {PROVIDER_OPENAI, "[]", NULL},
        {PROVIDER_OPENAI, "<html>", NULL},
        {PROVIDER_OPENAI, "", NULL},
    };
    (void)state;
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        gw_auto(gw_arena) arena = gw_arena_new();
        gw_auto_buf names = {0};
        const gw_str *list = NULL;
        size_t count = 0;
        gw_error err = {0};
        gw_status rc = provider_listing_read(arena, cases[i].kind, gw_str_of(cases[i].json), &list,
                                             &count, &err);
        if (!cases[i].names) {
            assert_int_equal(rc, GW_ERR_UPSTREAM_PROTOCOL);
            continue;
        }
        assert_int_equal(rc, GW_OK);
        for (size_t k = 0; k < count; k++) {
            gw_buf_append_str(&names, list[k]);
            gw_buf_append_char(&names, ' ');
        }
        assert_true(gw_str_eq_c(gw_buf_str(&names), cases[i].names));
    }
}

static void a_list_is_bounded(void **state)
{
    gw_auto(gw_arena) arena = gw_arena_new();
    gw_auto_buf json = {0};
    const gw_str *list = NULL;
    size_t count = 0;
    gw_error err;

    (void)state;
    gw_buf_append_c(&json, "{\"data\":[{\"id\":\"");
    for (size_t i = 0; i <= LISTING_NAME_MAX; i++)
        gw_buf_append_char(&json, 'x');
    gw_buf_append_c(&json, "\"}");
    for (size_t i = 0; i < LISTING_MODELS_MAX + 10; i++)
        gw_buf_appendf(&json, ",{\"id\":\"m%zu\"}", i);
    gw_buf_append_c(&json, "]}");
    assert_int_equal(
        provider_listing_read(arena, PROVIDER_OPENAI, gw_buf_str(&json), &list, &count, &err),
        GW_OK);
    assert_int_equal(count, LISTING_MODELS_MAX);
    assert_true(gw_str_eq_c(list[0], "m0"));
}

static void each_kind_is_asked_below_its_base(void **state)
{
    gw_auto(gw_arena) arena = gw_arena_new();
    provider_config p = {.base_path = GW_STR("/proxy/v1"), .kind = PROVIDER_ANTHROPIC};

    (void)state;
    assert_true(gw_str_eq_c(provider_listing_target(arena, &p), "/proxy/v1/models?limit=1000"));
    p.kind = PROVIDER_GOOGLE;
    assert_true(gw_str_eq_c(provider_listing_target(arena, &p), "/proxy/v1/models?pageSize=1000"));
    p.kind = PROVIDER_LOCAL;
    assert_true(gw_str_eq_c(provider_listing_target(arena, &p), "/proxy/v1/models"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kinds_list_is_read),
        cmocka_unit_test(a_list_is_bounded),
        cmocka_unit_test(each_kind_is_asked_below_its_base),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
