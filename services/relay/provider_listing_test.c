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
        listed_models l = {.arena = arena};
        gw_str next = GW_STR_NULL;
        gw_error err = {0};
        gw_status rc =
            provider_listing_read(&l, cases[i].kind, gw_str_of(cases[i].json), &next, &err);
        if (!cases[i].names) {
            assert_int_equal(rc, GW_ERR_UPSTREAM_PROTOCOL);
            continue;
        }
        assert_int_equal(rc, GW_OK);
        for (size_t k = 0; k < l.count; k++) {
            gw_buf_append_str(&names, l.ids[k]);
            gw_buf_append_char(&names, ' ');
        }
        assert_true(gw_str_eq_c(gw_buf_str(&names), cases[i].names));
        assert_int_equal(next.len, 0);
    }
}

static void a_page_says_what_follows(void **state)
{
    static const struct {
        provider_kind kind;
        const char *json, *next;
    } cases[] = {
        {PROVIDER_ANTHROPIC,
         "{\"data\":[{\"id\":\"a\"}],\"has_more\":true,\"first_id\":\"a\",\"last_id\":\"b\"}", "b"},
        {PROVIDER_ANTHROPIC, "{\"data\":[{\"id\":\"a\"}],\"has_more\":false,\"last_id\":\"a\"}",
         ""},
        {PROVIDER_ANTHROPIC, "{\"data\":[],\"has_more\":true,\"last_id\":null}", ""},
        {PROVIDER_GOOGLE, "{\"models\":[{\"name\":\"models/g\"}],\"nextPageToken\":\"t=/&\"}",
         "t=/&"},
        {PROVIDER_GOOGLE, "{\"models\":[],\"nextPageToken\":\"\"}", ""},
        {PROVIDER_GOOGLE, "{\"models\":[],\"nextPageToken\":7}", ""},
        {PROVIDER_OPENAI, "{\"data\":[{\"id\":\"a\"}],\"has_more\":true,\"last_id\":\"a\"}", ""},
    };
    (void)state;
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        gw_auto(gw_arena) arena = gw_arena_new();
        listed_models l = {.arena = arena};
        gw_str next = GW_STR_NULL;
        gw_error err = {0};
        assert_int_equal(
            provider_listing_read(&l, cases[i].kind, gw_str_of(cases[i].json), &next, &err), GW_OK);
        assert_true(gw_str_eq_c(next, cases[i].next));
    }
}

static void a_list_is_bounded(void **state)
{
    gw_auto(gw_arena) arena = gw_arena_new();
    gw_auto_buf json = {0};
    listed_models l = {.arena = arena};
    gw_str next;
    gw_error err;

    (void)state;
    gw_buf_append_c(&json, "{\"has_more\":true,\"last_id\":\"x\",\"data\":[{\"id\":\"");
    for (size_t i = 0; i <= LISTING_NAME_MAX; i++)
        gw_buf_append_char(&json, 'x');
    gw_buf_append_c(&json, "\"}");
    for (size_t i = 0; i < LISTING_MODELS_MAX - 10; i++)
        gw_buf_appendf(&json, ",{\"id\":\"m%zu\"}", i);
    gw_buf_append_c(&json, "]}");
    assert_int_equal(provider_listing_read(&l, PROVIDER_ANTHROPIC, gw_buf_str(&json), &next, &err),
                     GW_OK);
    assert_int_equal(l.count, LISTING_MODELS_MAX - 10);
    assert_true(gw_str_eq_c(l.ids[0], "m0"));
    assert_true(gw_str_eq_c(next, "x"));
    assert_int_equal(provider_listing_read(&l, PROVIDER_ANTHROPIC, gw_buf_str(&json), &next, &err),
                     GW_OK);
    assert_int_equal(l.count, LISTING_MODELS_MAX);
    assert_int_equal(next.len, 0); /* there is no room for a further one */
}

static void a_next_page_without_bounds_is_refused(void **state)
{
    gw_auto(gw_arena) arena = gw_arena_new();
    gw_auto_buf json = {0};
    listed_models l = {.arena = arena};
    gw_str next;
    gw_error err;

    (void)state;
    gw_buf_append_c(&json, "{\"models\":[],\"nextPageToken\":\"");
    for (size_t i = 0; i <= LISTING_TOKEN_MAX; i++)
        gw_buf_append_char(&json, 'x');
    gw_buf_append_c(&json, "\"}");
    assert_int_equal(provider_listing_read(&l, PROVIDER_GOOGLE, gw_buf_str(&json), &next, &err),
                     GW_ERR_UPSTREAM_PROTOCOL);
}

static void each_kind_is_asked_below_its_base(void **state)
{
    gw_auto(gw_arena) arena = gw_arena_new();
    provider_config p = {.base_path = GW_STR("/proxy/v1"), .kind = PROVIDER_ANTHROPIC};
    gw_str first = GW_STR("");

    (void)state;
    assert_true(
        gw_str_eq_c(provider_listing_target(arena, &p, first), "/proxy/v1/models?limit=1000"));
    assert_true(gw_str_eq_c(provider_listing_target(arena, &p, GW_STR("claude-1")),
                            "/proxy/v1/models?limit=1000&after_id=claude-1"));
    p.kind = PROVIDER_GOOGLE;
    assert_true(
        gw_str_eq_c(provider_listing_target(arena, &p, first), "/proxy/v1/models?pageSize=1000"));
    assert_true(gw_str_eq_c(provider_listing_target(arena, &p, GW_STR("t=/&")),
                            "/proxy/v1/models?pageSize=1000&pageToken=t%3D%2F%26"));
    p.kind = PROVIDER_LOCAL;
    assert_true(gw_str_eq_c(provider_listing_target(arena, &p, first), "/proxy/v1/models"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kinds_list_is_read),
        cmocka_unit_test(a_page_says_what_follows),
        cmocka_unit_test(a_list_is_bounded),
        cmocka_unit_test(a_next_page_without_bounds_is_refused),
        cmocka_unit_test(each_kind_is_asked_below_its_base),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
