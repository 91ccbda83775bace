#include "openai_error.h"

#include "secret_scrub.h"

#include "testing/cmocka.h"

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

static void our_errors_look_like_openais(void **state)
{
    gw_error err;
    openai_error e;
    gw_auto_buf out = {0};

    (void)state;
    (void)gw_fail_field(&err, GW_ERR_MODEL_NOT_FOUND, "model", "no \"x\"");
    openai_error_from(&e, &err);
    openai_error_write(&e, &out);
    assert_string_equal(
        out.data, "{\"error\":{\"message\":\"no \\\"x\\\"\",\"type\":\"invalid_request_error\","
                  "\"param\":\"model\",\"code\":\"model_not_found\"}}");
    assert_int_equal(e.http_status, 404);

    gw_buf_clear(&out);
    (void)gw_fail(&err, GW_ERR_UPSTREAM_CUT, "cut");
    openai_error_from(&e, &err);
    openai_error_write_event(&e, &out);
    assert_string_equal(
        out.data, "data: {\"error\":{\"message\":\"cut\",\"type\":\"server_error\",\"param\":null,"
                  "\"code\":\"upstream_cut\"}}\n\n");
}

static void upstream_answers_become_what_the_caller_can_act_on(void **state)
{
    static const struct {
        int status;
        bool is_json;
        const char *body;
        int http_status;
        gw_status code;
        const char *json; /* expected; NULL: not compared */
    } cases[] = {
        {400, true,
         "{\"error\":{\"message\":\"too "
         "long\",\"type\":\"invalid_request_error\",\"param\":\"messages\",\"code\":\"context_"
         "length_exceeded\"}}",
         400, GW_ERR_UPSTREAM_REJECTED,
         "{\"error\":{\"message\":\"too "
         "long\",\"type\":\"invalid_request_error\",\"param\":\"messages\",\"code\":\"context_"
         "length_exceeded\"}}"},
        {400, true, "{\"error\":{\"message\":\"no\",\"type\":\"t\",\"code\":null}}", 400,
         GW_ERR_UPSTREAM_REJECTED,
         "{\"error\":{\"message\":\"no\",\"type\":\"t\",\"param\":null,\"code\":null}}"},
        {422, true, "{\"error\":\"text only\"}", 422, GW_ERR_UPSTREAM_REJECTED,
         "{\"error\":{\"message\":\"text "
         "only\",\"type\":\"invalid_request_error\",\"param\":null,\"code\":null}}"},
        {401, true, "{\"error\":{\"message\":\"Incorrect API key\",\"code\":\"invalid_api_key\"}}",
         502, GW_ERR_UPSTREAM_AUTH, NULL},
        {403, true, "{\"message\":\"Forbidden\"}", 502, GW_ERR_UPSTREAM_AUTH, NULL},
        {404, true,
         "{\"error\":{\"message\":\"no such "
         "model\",\"type\":\"invalid_request_error\",\"code\":\"model_not_found\"}}",
         404, GW_ERR_MODEL_NOT_FOUND, NULL},
        {404, true, "{\"message\":\"Endpoint not found\"}", 502, GW_ERR_UPSTREAM_FAILED, NULL},
        {404, false, "<html>", 502, GW_ERR_UPSTREAM_FAILED, NULL},
        {400, false, "<html>", 502, GW_ERR_UPSTREAM_PROTOCOL, NULL},
        {413, false, "<html>", 413, GW_ERR_UPSTREAM_REJECTED,
         "{\"error\":{\"message\":\"the provider p answered "
         "413\",\"type\":\"invalid_request_error\","
         "\"param\":null,\"code\":null}}"},
        {422, true,
         "{\"detail\":[{\"loc\":[\"body\",\"messages\",0,\"role\"],\"msg\":\"Field required\","
         "\"type\":\"missing\"}]}",
         422, GW_ERR_UPSTREAM_REJECTED,
         "{\"error\":{\"message\":\"Field required\",\"type\":\"invalid_request_error\","
         "\"param\":\"messages.0.role\",\"code\":null}}"},
        {422, true,
         "{\"object\":\"error\",\"message\":{\"detail\":[{\"loc\":[\"body\"],\"msg\":\"no "
         "sk-secret\"}]},\"type\":\"invalid_request_error\"}",
         422, GW_ERR_UPSTREAM_REJECTED,
         "{\"error\":{\"message\":\"no ***\",\"type\":\"invalid_request_error\",\"param\":null,"
         "\"code\":null}}"},
        {422, true, "{\"detail\":[7]}", 422, GW_ERR_UPSTREAM_REJECTED, NULL},
        {429, true,
         "{\"error\":{\"message\":\"slow\",\"type\":\"requests\",\"code\":\"rate_limit_exceeded\"}"
         "}",
         429, GW_ERR_UPSTREAM_RATE_LIMITED, NULL},
        {429, true,
         "{\"error\":{\"message\":\"You exceeded your current "
         "quota\",\"type\":\"insufficient_quota\",\"code\":\"insufficient_quota\"}}",
         429, GW_ERR_UPSTREAM_QUOTA,
         "{\"error\":{\"message\":\"the quota that this gateway has at the provider p is used up; "
         "waiting does not help, its operator has to mend "
         "it\",\"type\":\"insufficient_quota\",\"param\":null,\"code\":\"upstream_quota_exceeded\"}"
         "}"},
        {500, true, "{\"error\":{\"message\":\"oops\"}}", 502, GW_ERR_UPSTREAM_FAILED,
         "{\"error\":{\"message\":\"the provider p answered 500: "
         "oops\",\"type\":\"server_error\",\"param\":null,\"code\":\"upstream_error\"}}"},
        {500, false, "An unknown error occurred.", 502, GW_ERR_UPSTREAM_FAILED, NULL},
        {503, true, "not json", 503, GW_ERR_UPSTREAM_UNAVAILABLE, NULL},
        {529, true, "{}", 503, GW_ERR_UPSTREAM_UNAVAILABLE, NULL},
        {504, true, "{}", 504, GW_ERR_UPSTREAM_TIMEOUT, NULL},
    };

    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        openai_error e;
        gw_auto_buf out = {0};
        openai_error_from_upstream(&e, *state, GW_STR("p"), cases[i].status, cases[i].is_json,
                                   gw_str_of(cases[i].body), GW_STR("sk-secret"));
        if (e.http_status != cases[i].http_status || e.error.code != cases[i].code)
            fail_msg("%d %s: %d %d", cases[i].status, cases[i].body, e.http_status, e.error.code);
        openai_error_write(&e, &out);
        if (cases[i].json)
            assert_string_equal(out.data, cases[i].json);
    }
}

static void credentials_do_not_come_back(void **state)
{
    static const struct {
        const char *text, *expected;
    } cases[] = {
        {"key hunter22 is wrong", "key *** is wrong"},
        {"you sent Bearer abc.def-ghi!", "you sent ***!"},
        {"bad: sk-proj-0123456789abcdef, sorry", "bad: ***, sorry"},
        {"Incorrect: lc_prod_0123456789abcd", "Incorrect: ***"},
        {"risk-free and task-based words stay", "risk-free and task-based words stay"},
        {"sk-short stays", "sk-short stays"},
        {"see https://host/v1?key=AIza0123456789 there", "see https://host/v1?key=*** there"},
        {"there is no /v1/lc_prod_0123456789", "there is no /v1/***"},
        {"line\none\x01", "line one "},
        {"\xff\xfe ok", "?? ok"},
    };

    (void)state;
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        gw_auto_buf out = {0};
        secret_scrub(&out, gw_str_of(cases[i].text), GW_STR("hunter22"));
        assert_string_equal(out.data, cases[i].expected);
    }
}

static void long_error_texts_are_cut(void **state)
{
    gw_auto_buf out = {0};
    char text[5000];

    (void)state;
    memset(text, 'x', sizeof(text));
    secret_scrub(&out, gw_str_n(text, sizeof(text)), GW_STR(""));
    assert_int_equal(out.len, SECRET_SCRUB_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(our_errors_look_like_openais),
        cmocka_unit_test_setup_teardown(upstream_answers_become_what_the_caller_can_act_on, setup,
                                        teardown),
        cmocka_unit_test(credentials_do_not_come_back),
        cmocka_unit_test(long_error_texts_are_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
