#include "rest_error.h"

#include "testing/cmocka.h"

static void assert_written(const gw_error *err, const gw_json_violations *more, const char *id,
                           const char *expected)
{
    gw_auto_buf out = {0};
    rest_error_write(err, more, gw_str_of(id), &out);
    assert_string_equal(out.data, expected);
}

static void an_error_is_written_as_aip_193_has_it(void **state)
{
    gw_error err = {0};
    (void)state;
    (void)gw_fail(&err, GW_ERR_NOT_FOUND, "there is no \"key\"");
    assert_written(&err, NULL, "req_1",
                   "{\"error\":{\"code\":404,\"status\":\"NOT_FOUND\","
                   "\"message\":\"there is no \\\"key\\\"\",\"details\":["
                   "{\"@type\":\"type.googleapis.com/google.rpc.ErrorInfo\","
                   "\"reason\":\"NOT_FOUND\",\"domain\":\"apirelay\"},"
                   "{\"@type\":\"type.googleapis.com/google.rpc.RequestInfo\","
                   "\"requestId\":\"req_1\"}]}}");
}

static void violations_come_first_and_all_of_them(void **state)
{
    gw_error err = {0};
    const gw_json_violations more = {.items = {{"limits", "must be an object"}}, .count = 1};
    (void)state;
    (void)gw_fail_field(&err, GW_ERR_INVALID_ARGUMENT, "name", "name: is missing");
    assert_written(&err, &more, "",
                   "{\"error\":{\"code\":400,\"status\":\"INVALID_ARGUMENT\","
                   "\"message\":\"name: is missing\",\"details\":["
                   "{\"@type\":\"type.googleapis.com/google.rpc.BadRequest\",\"fieldViolations\":["
                   "{\"field\":\"name\",\"description\":\"is missing\"},"
                   "{\"field\":\"limits\",\"description\":\"must be an object\"}]},"
                   "{\"@type\":\"type.googleapis.com/google.rpc.ErrorInfo\","
                   "\"reason\":\"INVALID_ARGUMENT\",\"domain\":\"apirelay\"}]}}");
}

static void the_message_says_which_field_is_meant_once(void **state)
{
    static const char named[] =
        "{\"error\":{\"code\":400,\"status\":\"INVALID_ARGUMENT\","
        "\"message\":\"name: must have 1-200 characters\",\"details\":["
        "{\"@type\":\"type.googleapis.com/google.rpc.BadRequest\",\"fieldViolations\":["
        "{\"field\":\"name\",\"description\":\"must have 1-200 characters\"}]},"
        "{\"@type\":\"type.googleapis.com/google.rpc.ErrorInfo\","
        "\"reason\":\"INVALID_ARGUMENT\",\"domain\":\"apirelay\"}]}}";
    gw_error err = {0};
    (void)state;
    (void)gw_fail_field(&err, GW_ERR_INVALID_ARGUMENT, "name", "must have 1-200 characters");
    assert_written(&err, NULL, "", named);
    (void)gw_fail_field(&err, GW_ERR_INVALID_ARGUMENT, "name", "name: must have 1-200 characters");
    assert_written(&err, NULL, "", named);
}

static void the_status_is_that_of_the_table(void **state)
{
    static const struct {
        gw_status rc;
        const char *start;
    } cases[] = {
        {GW_ERR_UNAUTHENTICATED, "{\"error\":{\"code\":401,\"status\":\"UNAUTHENTICATED\""},
        {GW_ERR_CSRF_FAILED, "{\"error\":{\"code\":403,\"status\":\"PERMISSION_DENIED\""},
        {GW_ERR_METHOD_NOT_ALLOWED, "{\"error\":{\"code\":405,"},
        {GW_ERR_ABORTED, "{\"error\":{\"code\":409,\"status\":\"ABORTED\""},
        {GW_ERR_FAILED_PRECONDITION, "{\"error\":{\"code\":400,\"status\":\"FAILED_PRECONDITION\""},
        {GW_ERR_UNAVAILABLE, "{\"error\":{\"code\":503,\"status\":\"UNAVAILABLE\""},
        {GW_ERR_DEADLINE_EXCEEDED, "{\"error\":{\"code\":504,\"status\":\"DEADLINE_EXCEEDED\""},
    };
    (void)state;
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        gw_auto_buf out = {0};
        gw_error err = {0};
        (void)gw_fail(&err, cases[i].rc, "x");
        rest_error_write(&err, NULL, GW_STR(""), &out);
        assert_true(gw_str_starts_with(gw_buf_str(&out), gw_str_of(cases[i].start)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_error_is_written_as_aip_193_has_it),
        cmocka_unit_test(violations_come_first_and_all_of_them),
        cmocka_unit_test(the_message_says_which_field_is_meant_once),
        cmocka_unit_test(the_status_is_that_of_the_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
