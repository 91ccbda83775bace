#include "openai_body.h"

#include "testing/cmocka.h"

#define CHAT(more)                                                                                 \
    "{\"model\":\"gpt-4o\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]" more "}"

static int setup(void **state)
{
    *state = gw_arena_new();
    return *state ? 0 : -1;
}

static int teardown(void **state)
{
    gw_arena_free(*state);
    return 0;
}

static openai_body read_ok(gw_arena *arena, relay_endpoint endpoint, const char *json)
{
    openai_body b = {0};
    gw_error err = {0};
    gw_status rc = openai_body_read(arena, endpoint, gw_str_of(json), &b, &err);

    if (rc != GW_OK)
        fail_msg("%s: %s", json, err.message);
    return b;
}

static void bad_bodies_are_refused_by_name(void **state)
{
    /* NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding): the order of reading */
    static const struct {
        relay_endpoint endpoint;
        const char *json;
        gw_status code;
        const char *field;
        const char *says;
    } cases[] = {
        {ENDPOINT_CHAT, "", GW_ERR_INVALID_JSON, "", "empty"},
        {ENDPOINT_CHAT, "{\"model\": }", GW_ERR_INVALID_JSON, "", "at byte 10"},
        {ENDPOINT_CHAT, "[]", GW_ERR_INVALID_JSON, "", "not a JSON object"},
        {ENDPOINT_CHAT, CHAT("") "x", GW_ERR_INVALID_JSON, "", "at byte"},
        {ENDPOINT_CHAT, "{\"messages\":[]}", GW_ERR_MISSING_PARAMETER, "model", "model"},
        {ENDPOINT_CHAT, "{\"model\":\"\",\"messages\":[]}", GW_ERR_MISSING_PARAMETER, "model",
         "empty"},
        {ENDPOINT_CHAT, "{\"model\":\"a\\u0000b\",\"messages\":[]}", GW_ERR_INVALID_ARGUMENT,
         "model", "control"},
        {ENDPOINT_CHAT, "{\"model\":\"a\\r\\nb\",\"messages\":[]}", GW_ERR_INVALID_ARGUMENT,
         "model", "control"},
        {ENDPOINT_CHAT, "{\"model\":null,\"messages\":[]}", GW_ERR_MISSING_PARAMETER, "model",
         "model"},
        {ENDPOINT_CHAT, "{\"model\":\"m\"}", GW_ERR_MISSING_PARAMETER, "messages", "messages"},
        {ENDPOINT_EMBEDDINGS, "{\"model\":\"m\"}", GW_ERR_MISSING_PARAMETER, "input", "input"},
        {ENDPOINT_CHAT, "{\"model\":1,\"messages\":[]}", GW_ERR_INVALID_ARGUMENT, "model",
         "a string"},
        {ENDPOINT_CHAT, "{\"model\":\"m\",\"messages\":\"x\"}", GW_ERR_INVALID_ARGUMENT, "messages",
         "an array"},
        {ENDPOINT_CHAT, CHAT(",\"stream\":1"), GW_ERR_INVALID_ARGUMENT, "stream", "a boolean"},
        {ENDPOINT_CHAT, CHAT(",\"stream_options\":[]"), GW_ERR_INVALID_ARGUMENT, "stream_options",
         "an object"},
        {ENDPOINT_CHAT, CHAT(",\"max_tokens\":-1"), GW_ERR_INVALID_ARGUMENT, "max_tokens",
         "positive"},
        {ENDPOINT_CHAT, CHAT(",\"max_tokens\":0"), GW_ERR_INVALID_ARGUMENT, "max_tokens",
         "positive"},
        {ENDPOINT_CHAT, CHAT(",\"max_completion_tokens\":0"), GW_ERR_INVALID_ARGUMENT,
         "max_completion_tokens", "positive"},
        {ENDPOINT_CHAT, CHAT(",\"max_tokens\":1.5"), GW_ERR_INVALID_ARGUMENT, "max_tokens",
         "positive"},
        {ENDPOINT_CHAT, CHAT(",\"max_completion_tokens\":\"9\""), GW_ERR_INVALID_ARGUMENT,
         "max_completion_tokens", "positive"},
        {ENDPOINT_CHAT, CHAT(",\"n\":0"), GW_ERR_INVALID_ARGUMENT, "n", "positive"},
        {ENDPOINT_CHAT, CHAT(",\"n\":99999999999999999999"), GW_ERR_INVALID_ARGUMENT, "n",
         "positive"},
        {ENDPOINT_CHAT, CHAT(",\"tools\":{}"), GW_ERR_INVALID_ARGUMENT, "tools", "an array"},
        {ENDPOINT_CHAT, CHAT(",\"service_tier\":1"), GW_ERR_INVALID_ARGUMENT, "service_tier",
         "a string"},
        {ENDPOINT_CHAT, CHAT(",\"service_tier\":\"flex\",\"Service_Tier\":\"priority\""),
         GW_ERR_DUPLICATE_PARAMETER, "service_tier", "case"},
        {ENDPOINT_CHAT, CHAT(",\"prediction\":\"x\""), GW_ERR_INVALID_ARGUMENT, "prediction",
         "an object"},
        {ENDPOINT_CHAT, CHAT(",\"prediction\":{},\"prediction\":{}"), GW_ERR_DUPLICATE_PARAMETER,
         "prediction", "twice"},
        {ENDPOINT_EMBEDDINGS, "{\"model\":\"m\",\"input\":5}", GW_ERR_INVALID_ARGUMENT, "input",
         "a string or an array"},
        {ENDPOINT_CHAT, CHAT(",\"model\":\"gpt-5\""), GW_ERR_DUPLICATE_PARAMETER, "model", "twice"},
        {ENDPOINT_CHAT, CHAT(",\"m\\u006fdel\":\"gpt-5\""), GW_ERR_DUPLICATE_PARAMETER, "model",
         "twice"},
        {ENDPOINT_CHAT, CHAT(",\"Model\":\"gpt-5\""), GW_ERR_DUPLICATE_PARAMETER, "model", "case"},
        {ENDPOINT_CHAT, CHAT(",\"MAX_TOKENS\":5"), GW_ERR_DUPLICATE_PARAMETER, "max_tokens",
         "case"},
        {ENDPOINT_CHAT, CHAT(",\"\xC5\xBFtream\":true"), GW_ERR_DUPLICATE_PARAMETER, "stream",
         "case"},
        {ENDPOINT_CHAT,
         CHAT(",\"max_to\xE2\x84\xAA"
              "ens\":5"),
         GW_ERR_DUPLICATE_PARAMETER, "max_tokens", "case"},
        {ENDPOINT_CHAT, CHAT(",\"stream\":null,\"stream\":true"), GW_ERR_DUPLICATE_PARAMETER,
         "stream", "twice"},
    };

    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        openai_body b;
        gw_error err = {0};
        gw_status rc =
            openai_body_read(*state, cases[i].endpoint, gw_str_of(cases[i].json), &b, &err);
        if (rc != cases[i].code || strcmp(err.field, cases[i].field) != 0 ||
            !gw_str_contains(gw_str_of(err.message), gw_str_of(cases[i].says)))
            fail_msg("%s: %d %s: %s", cases[i].json, rc, err.field, err.message);
    }
}

static void a_name_is_known_however_it_is_spelled(void **state)
{
    assert_true(openai_name_is(GW_STR("suffix"), "suffix"));
    assert_true(openai_name_is(GW_STR("sUffix"), "suffix"));
    assert_true(openai_name_is(GW_STR("\xC5\xBFuffix"), "suffix"));
    assert_false(openai_name_is(GW_STR(""), "suffix"));
    assert_false(openai_name_is(GW_STR("suffi"), "suffix"));
    assert_false(openai_name_is(GW_STR("suffixe"), "suffix"));
    assert_false(openai_name_is(GW_STR("suffix\0"), "suffix"));
    assert_false(openai_name_is(GW_STR("suf\0ix"), "suffix"));
    (void)state;
}

static void a_service_tier_outlives_the_json(void **state)
{
    openai_body b = read_ok(*state, ENDPOINT_CHAT, CHAT(",\"service_tier\":\"fl\\u0065x\""));

    assert_true(gw_str_eq_c(b.service_tier, "flex"));
    openai_body_forget_json(&b, *state);
    assert_true(gw_str_eq_c(b.service_tier, "flex"));
    b = read_ok(*state, ENDPOINT_CHAT, CHAT(",\"service_tier\":null"));
    assert_true(gw_str_eq_c(b.service_tier, ""));
}

#define MESSAGE(more) "{\"model\":\"m\",\"max_tokens\":1,\"messages\":[]" more "}"

static void a_speed_of_anthropics_is_a_tier(void **state)
{
    openai_body b = read_ok(*state, ENDPOINT_MESSAGES,
                            MESSAGE(",\"speed\":\"fast\",\"service_tier\":\"auto\""));
    gw_error err;

    assert_true(gw_str_eq_c(b.service_tier, "fast") && b.tier_is_speed);
    b = read_ok(*state, ENDPOINT_MESSAGES,
                MESSAGE(",\"speed\":\"standard\",\"service_tier\":\"auto\""));
    assert_true(gw_str_eq_c(b.service_tier, "auto") && !b.tier_is_speed);
    b = read_ok(*state, ENDPOINT_CHAT, CHAT(",\"speed\":1.5")); /* nothing of OpenAI's */
    assert_true(gw_str_eq_c(b.service_tier, "") && !b.tier_is_speed);
    assert_int_equal(
        openai_body_read(*state, ENDPOINT_MESSAGES, GW_STR(MESSAGE(",\"speed\":2")), &b, &err),
        GW_ERR_INVALID_ARGUMENT);
    assert_int_equal(openai_body_read(*state, ENDPOINT_MESSAGES,
                                      GW_STR(MESSAGE(",\"speed\":\"standard\",\"Speed\":\"fast\"")),
                                      &b, &err),
                     GW_ERR_DUPLICATE_PARAMETER);
}

static void other_models_are_noticed(void **state)
{
    static const struct {
        const char *json, *field;
    } cases[] = {
        {CHAT(",\"models\":[\"a\"]"), "models"},     {CHAT(",\"fallbacks\":[{}]"), "fallbacks"},
        {CHAT(",\"fallbacks\":\"a\""), "fallbacks"}, {CHAT(",\"models\":[]"), NULL},
        {CHAT(",\"fallbacks\":null"), NULL},
    };

    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        const char *field = read_ok(*state, ENDPOINT_CHAT, cases[i].json).needs.other_models_field;
        if (!field != !cases[i].field || (field && strcmp(field, cases[i].field) != 0))
            fail_msg("%s", cases[i].json);
    }
}

static void no_output_may_be_asked_for_where_there_is_such_a_thing(void **state)
{
    openai_body b =
        read_ok(*state, ENDPOINT_MESSAGES, "{\"model\":\"m\",\"max_tokens\":0,\"messages\":[]}");

    assert_true(b.no_output);
    b = read_ok(*state, ENDPOINT_COMPLETIONS, "{\"model\":\"m\",\"max_tokens\":0}");
    assert_true(b.no_output);
    b = read_ok(*state, ENDPOINT_COMPLETIONS, "{\"model\":\"m\",\"max_tokens\":1}");
    assert_false(b.no_output);
}

static void a_duplicate_of_what_we_do_not_act_on_passes(void **state)
{
    openai_body b =
        read_ok(*state, ENDPOINT_CHAT, CHAT(",\"seed\":1,\"seed\":2,\"Temperature\":1"));

    assert_true(gw_str_eq_c(b.model, "gpt-4o"));
}

static void each_prompt_has_its_choices_and_what_is_made_for_them(void **state)
{
    static const struct {
        const char *members;
        int64_t choices, completions;
    } cases[] = {
        {"", 1, 1},
        {",\"prompt\":\"a\",\"n\":2", 2, 2},
        {",\"prompt\":[],\"n\":2", 2, 2},
        {",\"prompt\":[\"a\",\"b\",\"c\"]", 3, 3},
        {",\"prompt\":[\"a\",\"b\",\"c\"],\"n\":2,\"best_of\":5", 6, 15},
        {",\"prompt\":[1,2,3],\"best_of\":4", 1, 4},
        {",\"prompt\":[[1,2],[3]],\"best_of\":1,\"n\":2", 4, 4},
        {",\"prompt\":[\"a\",\"b\"],\"n\":500000", 1000000, 1000000},
    };

    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        char body[128];
        snprintf(body, sizeof(body), "{\"model\":\"m\"%s}", cases[i].members);
        openai_body b = read_ok(*state, ENDPOINT_COMPLETIONS, body);
        assert_int_equal(b.choices, cases[i].choices);
        assert_int_equal(b.completions, cases[i].completions);
    }
    openai_body b = read_ok(*state, ENDPOINT_CHAT, CHAT(",\"prompt\":[\"a\",\"b\"],\"n\":2"));
    assert_int_equal(b.completions, 2);
}

/* Their tokens could not be counted. */
static void more_completions_than_anybody_makes_are_refused(void **state)
{
    static const struct {
        const char *members, *field;
    } cases[] = {
        {",\"n\":1000001", "n"},
        {",\"prompt\":[\"a\",\"b\"],\"n\":500001", "n"},
        {",\"prompt\":[\"a\",\"b\"],\"n\":9223372036854775807", "n"},
        {",\"n\":2,\"best_of\":1000001", "best_of"},
    };

    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        char body[128];
        openai_body b;
        gw_error err;
        snprintf(body, sizeof(body), "{\"model\":\"m\"%s}", cases[i].members);
        assert_int_equal(openai_body_read(*state, ENDPOINT_COMPLETIONS, gw_str_of(body), &b, &err),
                         GW_ERR_INVALID_ARGUMENT);
        assert_string_equal(err.field, cases[i].field);
    }
}

static void needs_are_read(void **state)
{
    openai_body b = read_ok(
        *state, ENDPOINT_CHAT,
        CHAT(",\"stream\":true,\"stream_options\":{\"include_usage\":true},\"n\":3,"
             "\"max_tokens\":10,\"max_completion_tokens\":20,\"tools\":[{}],\"user\":\"u1\""));

    assert_true(b.stream && b.include_usage && b.needs.streaming && b.needs.function_calling);
    assert_false(b.needs.vision);
    assert_int_equal(b.choices, 3);
    assert_int_equal(b.needs.max_tokens, 20);
    assert_string_equal(b.needs.max_tokens_field, "max_completion_tokens");
    assert_true(gw_str_eq_c(b.user, "u1"));

    b = read_ok(*state, ENDPOINT_CHAT, CHAT(",\"stream\":null,\"tools\":[],\"max_tokens\":null"));
    assert_false(b.stream || b.stream_given || b.needs.function_calling);
    assert_int_equal(b.needs.max_tokens, 0);

    b = read_ok(*state, ENDPOINT_CHAT,
                "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\","
                "\"text\":\"x\"},"
                "{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:\"}}]}]}");
    assert_true(b.needs.vision);

    b = read_ok(*state, ENDPOINT_CHAT,
                "{\"model\":\"m\",\"messages\":[{\"content\":\"x\",\"content\":[{\"type\":\"text\","
                "\"type\":\"input_image\"}]}]}");
    assert_true(b.needs.vision);

    /* As many elements as "image_url" has letters. */
    b = read_ok(*state, ENDPOINT_CHAT,
                "{\"model\":\"m\",\"messages\":[{\"content\":[{\"type\":[1,2,3,4,5,6,7,8,9]}]}]}");
    assert_false(b.needs.vision);

    b = read_ok(*state, ENDPOINT_EMBEDDINGS, "{\"model\":\"m\",\"input\":[1,2],\"stream\":true}");
    assert_false(b.stream);
}

static void splices_change_nothing_else(void **state)
{
    static const struct {
        const char *json;
        openai_splices splices;
        const char *expected;
    } cases[] = {
        {CHAT(""), {.model = {0}}, CHAT("")},
        {"{\"model\" : \"a\\\"b\" , \"messages\":[]}",
         {.model = {"x/y\"", 4}},
         "{\"model\" : \"x/y\\\"\" , \"messages\":[]}"},
        {CHAT(",\"stream\":true"),
         {.stream = true, .include_usage = true},
         "{\"stream_options\":{\"include_usage\":true},"
         "\"model\":\"gpt-4o\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"stream\":"
         "true}"},
        {CHAT(",\"stream\":true,\"stream_options\":{\"include_obfuscation\":false}"),
         {.stream = true, .include_usage = true},
         CHAT(",\"stream\":true,\"stream_options\":{\"include_obfuscation\":false,\"include_"
              "usage\":true}")},
        {CHAT(",\"stream\":true,\"stream_options\":{\"include_usage\":false,\"include_usage\":"
              "false}"),
         {.stream = true, .include_usage = true},
         CHAT(",\"stream\":true,\"stream_options\":{\"include_usage\":true}")},
        {CHAT(",\"stream\":true,\"stream_options\":{\"include_usage\":true,\"a\":1,\"Include_"
              "Usage\":false}"),
         {.stream = true, .include_usage = true},
         CHAT(",\"stream\":true,\"stream_options\":{\"a\":1,\"include_usage\":true}")},
        {CHAT(",\"stream\":true,\"stream_options\":{\"include_usage\":true,\"include_usage\":"
              "false}"),
         {.stream = true, .include_usage = true},
         CHAT(",\"stream\":true,\"stream_options\":{\"include_usage\":true}")},
        {CHAT(",\"stream_options\":null,\"stream\":true"),
         {.stream = true, .include_usage = true},
         CHAT(",\"stream_options\":{\"include_usage\":true},\"stream\":true")},
        {CHAT(",\"stream\":true,\"stream_options\":{\"include_usage\":true}"),
         {.stream = true, .include_usage = true},
         CHAT(",\"stream\":true,\"stream_options\":{\"include_usage\":true}")},
        {CHAT(""),
         {.max_tokens = 50, .endpoint = ENDPOINT_CHAT},
         "{\"max_completion_tokens\":50,"
         "\"model\":\"gpt-4o\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}"},
        {CHAT(
             ",\"prediction\":{\"type\":\"content\",\"content\":\"x\"}"), /* OpenAI takes the newer name beside none */
         {.max_tokens = 50, .endpoint = ENDPOINT_CHAT},
         "{\"max_tokens\":50,\"model\":\"gpt-4o\",\"messages\":[{\"role\":\"user\",\"content\":"
         "\"hi\"}],"
         "\"prediction\":{\"type\":\"content\",\"content\":\"x\"}}"},
        {CHAT(",\"max_completion_tokens\":null"),
         {.max_tokens = 50, .endpoint = ENDPOINT_CHAT},
         CHAT(",\"max_completion_tokens\":50")},
        {"{\"model\":\"m\",\"prompt\":\"x\"}",
         {.max_tokens = 7, .endpoint = ENDPOINT_COMPLETIONS},
         "{\"max_tokens\":7,\"model\":\"m\",\"prompt\":\"x\"}"},
        {CHAT(""),
         {.stream = true},
         "{\"stream\":true,"
         "\"model\":\"gpt-4o\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}"},
    };

    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        relay_endpoint endpoint =
            cases[i].splices.endpoint ? cases[i].splices.endpoint : ENDPOINT_CHAT;
        openai_body b = read_ok(*state, endpoint, cases[i].json);
        const gw_str *parts;
        size_t count;
        gw_error err = {0};
        gw_auto_buf whole = {0};
        assert_int_equal(openai_body_splice(*state, &b, &cases[i].splices, &parts, &count, &err),
                         GW_OK);
        for (size_t p = 0; p < count; p++)
            gw_buf_append_str(&whole, parts[p]);
        assert_string_equal(whole.data, cases[i].expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_speed_of_anthropics_is_a_tier, setup, teardown),
        cmocka_unit_test_setup_teardown(other_models_are_noticed, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_bodies_are_refused_by_name, setup, teardown),
        cmocka_unit_test(a_name_is_known_however_it_is_spelled),
        cmocka_unit_test_setup_teardown(a_service_tier_outlives_the_json, setup, teardown),
        cmocka_unit_test_setup_teardown(no_output_may_be_asked_for_where_there_is_such_a_thing,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_duplicate_of_what_we_do_not_act_on_passes, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(each_prompt_has_its_choices_and_what_is_made_for_them,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(more_completions_than_anybody_makes_are_refused, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(needs_are_read, setup, teardown),
        cmocka_unit_test_setup_teardown(splices_change_nothing_else, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
