#include "messages_body.h"

#include "testing/cmocka.h"

static openai_body body_of(gw_arena *arena, const char *json)
{
    openai_body b;
    gw_error err = {0};

    if (openai_body_read(arena, ENDPOINT_MESSAGES, gw_str_of(json), &b, &err) != GW_OK)
        fail_msg("%s", err.message);
    return b;
}

#define HEAD "{\"model\":\"m\",\"max_tokens\":10,"

static void what_the_keys_rules_ask_is_read(void **state)
{
    static const struct {
        const char *json;
        bool vision, tools;
    } cases[] = {
        {HEAD "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}", false, false},
        {HEAD "\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image\"}]}]}", true,
         false},
        {HEAD "\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"content\":"
              "[{\"type\":\"text\"},{\"type\":\"image\"}]}]}],\"tools\":[{}]}",
         true, true},
        /* Which of two a provider reads is its own choice. */
        {HEAD "\"messages\":[{\"content\":[{\"type\":\"text\",\"Type\":\"image\"}]}]}", true,
         false},
        {HEAD "\"messages\":[{\"content\":\"x\",\"content\":[{\"type\":\"image\"}]}]}", true,
         false},
    };
    gw_auto(gw_arena) arena = gw_arena_new();

    (void)state;
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        openai_body b = body_of(arena, cases[i].json);
        assert_int_equal(b.needs.vision, cases[i].vision);
        assert_int_equal(b.needs.function_calling, cases[i].tools);
        assert_int_equal(b.needs.max_tokens, 10);
    }
    openai_body b =
        body_of(arena, HEAD "\"messages\":[],\"n\":5,\"metadata\":{\"user_id\":\"u-1\"}}");
    assert_true(gw_str_eq_c(b.user, "u-1"));
    assert_int_equal(b.choices, 1);
}

static prompt_tokens tokens_of(const char *rest)
{
    gw_auto(gw_arena) arena = gw_arena_new();
    gw_auto_buf json = {0};

    gw_buf_appendf(&json, HEAD "%s}", rest);
    openai_body b = body_of(arena, json.data);
    return messages_body_estimate(&b, true);
}

static int64_t estimate_of(const char *rest)
{
    return tokens_of(rest).usual;
}

/* 3 a request, 4 a message, 1 a value of JSON, a token for 4 bytes. */
static void everything_that_is_read_is_estimated(void **state)
{
    static const struct {
        const char *rest;
        int64_t tokens;
    } cases[] = {
        {"\"messages\":[]", 3},
        {"\"messages\":[{\"role\":\"user\",\"content\":\"12345678\"}]", 3 + 4 + 1 + 2},
        {"\"messages\":[],\"system\":\"12345678\"", 3 + 1 + 2},
        {"\"messages\":[{\"content\":[{\"type\":\"image\",\"type\":\"text\",\"text\":\"12345678\"}]"
         "}]",
         3 + 4 + 7 + (3 * 4 + 5 + 4 + 8 + 3) / 4},
        {"\"messages\":[{\"content\":\"1234\",\"content\":\"12345678\"}]", 3 + 4 + 2 + 3},
        {"\"messages\":[{\"content\":[{\"type\":\"text\",\"text\":\"1234\",\"Text\":\"1234\"}]}]",
         3 + 4 + 2 + 2},
        {"\"messages\":[],\"system\":[{\"type\":\"text\",\"text\":\"12345678\"}]", 3 + 1 + 2},
        {"\"messages\":[],\"system\":\"1234\",\"system\":\"12345678\"", 3 + 2 + 3},
        {"\"messages\":[{\"content\":[{\"type\":\"image\",\"source\":{\"data\":\"AAAAAAAA\"}}]}]",
         3 + 4 + 1105},
        {"\"messages\":[{\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"t\",\"content\":"
         "[{\"type\":\"text\",\"text\":\"12345678\"},{\"type\":\"image\"}]}]}]",
         3 + 4 + 1 + 2 + 1105},
        {"\"messages\":[{\"content\":[{\"type\":\"document\",\"source\":{\"type\":\"base64\"}}]}]",
         3 + 4 + 1000},
        {"\"messages\":[],\"tools\":[{\"name\":\"1234\"}]", 3 + 4 + 2},
    };

    (void)state;
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++)
        if (estimate_of(cases[i].rest) != cases[i].tokens)
            fail_msg("%s: %lld", cases[i].rest, (long long)estimate_of(cases[i].rest));
}

/* By the length of their base64; two sources as text, since either may be read. */
static void documents_and_tools_are_held_for_at_their_largest(void **state)
{
#define DOCUMENT(members) "\"messages\":[{\"content\":[{\"type\":\"document\"," members "}]}]"
#define BASE64(data)      "\"source\":{\"type\":\"base64\",\"data\":\"" data "\"}"
#define LONG              "AAAABBBBCCCCDDDDEEEEFFFFGGGGHHHH" /* 2 tokens as data, 24 as text */
    static const struct {
        const char *rest;
        int64_t usual, most;
    } cases[] = {
        {DOCUMENT(BASE64("AA")), 1007, 1007},
        {DOCUMENT(BASE64(LONG LONG)), 1007, 1011},
        {DOCUMENT(BASE64("AA") ",\"title\":\"12345678\",\"context\":\"1234\""), 1012, 1020},
        {"\"messages\":[],\"tools\":[]", 4, 354},
        {"\"messages\":[],\"metadata\":{},\"stop_sequences\":[],\"thinking\":{}", 6, 6},
    };

    (void)state;
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        prompt_tokens n = tokens_of(cases[i].rest);
        if (n.usual != cases[i].usual || n.most != cases[i].most)
            fail_msg("%s: %lld %lld", cases[i].rest, (long long)n.usual, (long long)n.most);
    }
    assert_true(tokens_of(DOCUMENT(BASE64("AA") "," BASE64(LONG))).most > 7 + 24);
    assert_true(tokens_of(DOCUMENT(BASE64("AA") "," BASE64(LONG))).most < 1000);
}

static void text_of_any_depth_is_found(void **state)
{
    enum {
        DEPTH = JSON_DEPTH_MAX - 5
    }; /* beside the object, messages, content and their members */
    gw_auto_buf rest = {0};

    (void)state;
    gw_buf_append_c(&rest, "\"messages\":[{\"content\":[{\"type\":\"tool_use\",\"input\":");
    for (int i = 0; i < DEPTH; i++)
        gw_buf_append_char(&rest, '[');
    gw_buf_append_c(&rest, "\"12345678\"");
    for (int i = 0; i < DEPTH; i++)
        gw_buf_append_char(&rest, ']');
    gw_buf_append_c(&rest, "}]}]");
    assert_true(estimate_of(rest.data) > DEPTH);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_the_keys_rules_ask_is_read),
        cmocka_unit_test(everything_that_is_read_is_estimated),
        cmocka_unit_test(documents_and_tools_are_held_for_at_their_largest),
        cmocka_unit_test(text_of_any_depth_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
