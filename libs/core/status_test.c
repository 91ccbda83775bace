#include "core/status.h"

#include "core/str.h"
#include "testing/cmocka.h"

static void every_row_is_complete_and_found_by_its_name(void **state)
{
    (void)state;
    for (int code = 0; code < GW_STATUS_COUNT; code++) {
        const gw_status_info *info = gw_status_describe((gw_status)code);
        assert_non_null(info->name);
        assert_non_null(info->openai_type);
        assert_non_null(info->openai_code);
        assert_non_null(info->anthropic_type);
        assert_true(info->http_status == 200 || info->http_status >= 400);
        assert_int_equal(info->rpc_code == GW_RPC_OK, code == GW_OK);
        assert_int_equal(gw_status_from_name(info->name), code);
    }
    assert_string_equal(gw_status_describe(GW_ERR_KEY_INVALID)->openai_code, "invalid_api_key");
    assert_int_equal(gw_status_describe(GW_ERR_KEY_INVALID)->http_status, 401);
}

static void what_the_table_lacks_becomes_internal(void **state)
{
    (void)state;
    assert_int_equal(gw_status_from_name("FROM_A_NEWER_PEER"), GW_ERR_INTERNAL);
    assert_int_equal(gw_status_from_name(""), GW_ERR_INTERNAL);
    assert_int_equal(gw_status_from_name(NULL), GW_ERR_INTERNAL);
    assert_string_equal(gw_status_describe(GW_STATUS_COUNT)->name, "INTERNAL");
    assert_string_equal(gw_status_describe((gw_status)9999)->name, "INTERNAL");
}

static void rpc_codes_map_as_google_rpc_code_says(void **state)
{
    (void)state;
    static const struct {
        gw_rpc_code code;
        const char *name;
        int http;
        gw_status general;
    } cases[] = {
        {GW_RPC_OK, "OK", 200, GW_OK},
        {GW_RPC_CANCELLED, "CANCELLED", 499, GW_ERR_CANCELLED},
        {GW_RPC_UNKNOWN, "UNKNOWN", 500, GW_ERR_INTERNAL},
        {GW_RPC_INVALID_ARGUMENT, "INVALID_ARGUMENT", 400, GW_ERR_INVALID_ARGUMENT},
        {GW_RPC_DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED", 504, GW_ERR_DEADLINE_EXCEEDED},
        {GW_RPC_RESOURCE_EXHAUSTED, "RESOURCE_EXHAUSTED", 429, GW_ERR_OVERLOADED},
        {GW_RPC_UNAVAILABLE, "UNAVAILABLE", 503, GW_ERR_UNAVAILABLE},
        {GW_RPC_UNAUTHENTICATED, "UNAUTHENTICATED", 401, GW_ERR_UNAUTHENTICATED},
        {(gw_rpc_code)17, "UNKNOWN", 500, GW_ERR_INTERNAL},
        {(gw_rpc_code)-1, "UNKNOWN", 500, GW_ERR_INTERNAL},
    };
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        assert_string_equal(gw_rpc_code_name(cases[i].code), cases[i].name);
        assert_int_equal(gw_rpc_code_http(cases[i].code), cases[i].http);
        assert_int_equal(gw_status_from_rpc(cases[i].code), cases[i].general);
    }
}

static void the_general_status_of_a_code_leads_back_to_that_code(void **state)
{
    (void)state;
    for (int code = 0; code <= GW_RPC_UNAUTHENTICATED; code++) {
        if (code == GW_RPC_UNKNOWN) /* shown as INTERNAL */
            continue;
        gw_status general = gw_status_from_rpc((gw_rpc_code)code);
        assert_int_equal(gw_status_describe(general)->rpc_code, code);
    }
}

static void a_failure_fills_code_field_and_message(void **state)
{
    (void)state;
    gw_error err;
    memset(&err, 'x', sizeof(err));
    assert_int_equal(gw_fail(&err, GW_ERR_NOT_FOUND, "key %s is %d", "k1", 7), GW_ERR_NOT_FOUND);
    assert_int_equal(err.code, GW_ERR_NOT_FOUND);
    assert_string_equal(err.field, "");
    assert_string_equal(err.message, "key k1 is 7");

    gw_fail_field(&err, GW_ERR_INVALID_ARGUMENT, "permissions.maxTokens", "must be > %d", 0);
    assert_string_equal(err.field, "permissions.maxTokens");
    assert_string_equal(err.message, "must be > 0");

    assert_int_equal(gw_error_prefix(&err, "provider %s", "p1"), GW_ERR_INVALID_ARGUMENT);
    assert_string_equal(err.message, "provider p1: must be > 0");
    assert_string_equal(err.field, "permissions.maxTokens");
}

static void no_error_object_is_fine(void **state)
{
    (void)state;
    assert_int_equal(gw_fail(NULL, GW_ERR_IO, "x"), GW_ERR_IO);
    assert_int_equal(gw_fail_field(NULL, GW_ERR_IO, "f", "x"), GW_ERR_IO);
    assert_int_equal(gw_error_prefix(NULL, "p"), GW_ERR_INTERNAL);
}

static void long_messages_end_at_a_whole_character(void **state)
{
    (void)state;
    for (size_t ascii = 0; ascii < 4; ascii++) { /* every alignment of the cut */
        char text[1024];
        memset(text, 'a', ascii);
        size_t len = ascii;
        while (len + 3 < sizeof(text)) {
            memcpy(text + len, "\xe2\x82\xac", 3);
            len += 3;
        }
        text[len] = '\0';
        gw_error err;
        gw_fail_field(&err, GW_ERR_IO, text, "%s", text);
        assert_true(gw_str_is_utf8(gw_str_of(err.message)));
        assert_in_range(strlen(err.message), sizeof(err.message) - 4, sizeof(err.message) - 1);
        assert_true(gw_str_is_utf8(gw_str_of(err.field)));
        assert_in_range(strlen(err.field), sizeof(err.field) - 4, sizeof(err.field) - 1);
        gw_error_prefix(&err, "%s", text);
        assert_true(gw_str_is_utf8(gw_str_of(err.message)));
    }
}

static void bytes_that_are_no_utf8_show_as_question_marks(void **state)
{
    (void)state;
    gw_error err;
    gw_fail(&err, GW_ERR_IO, "%s",
            "a\xff\xc3"
            "(b\xed\xa0\x80");
    assert_string_equal(err.message, "a?"
                                     "?(b??"
                                     "?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_is_complete_and_found_by_its_name),
        cmocka_unit_test(what_the_table_lacks_becomes_internal),
        cmocka_unit_test(rpc_codes_map_as_google_rpc_code_says),
        cmocka_unit_test(the_general_status_of_a_code_leads_back_to_that_code),
        cmocka_unit_test(a_failure_fills_code_field_and_message),
        cmocka_unit_test(no_error_object_is_fine),
        cmocka_unit_test(long_messages_end_at_a_whole_character),
        cmocka_unit_test(bytes_that_are_no_utf8_show_as_question_marks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
