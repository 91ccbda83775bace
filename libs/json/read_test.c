#include "json/json_testing.h"

#include <apirelay/auth/v1/api_key.pb-c.h>
#include <apirelay/auth/v1/api_key_service.pb-c.h>
#include <apirelay/usage/v1/ingest_service.pb-c.h>
#include <apirelay/usage/v1/usage.pb-c.h>
#include <google/protobuf/descriptor.pb-c.h>
#include <google/protobuf/struct.pb-c.h>
#include <google/protobuf/wrappers.pb-c.h>

#define KEY     TEST_DESCRIPTOR(apirelay__auth__v1__api_key)
#define LIMITS  TEST_DESCRIPTOR(apirelay__auth__v1__key_limits)
#define REQUEST TEST_DESCRIPTOR(apirelay__usage__v1__usage_request)
#define FRAME   TEST_DESCRIPTOR(apirelay__usage__v1__stream_response)
#define FAULT   TEST_DESCRIPTOR(apirelay__usage__v1__error)

static void a_key_reads_into_its_message(void **state)
{
    ProtobufCMessage *m = NULL;
    (void)state;
    assert_int_equal(
        gw_json_read(KEY,
                     GW_STR("{\"name\":\"App\",\"permissions\":{\"models\":[\"gpt-*\",\"x\"],"
                            "\"maxTokens\":512,\"features\":{\"streaming\":false}},"
                            "\"limits\":{\"costLimitNanoUsd\":\"9000000000000000000\"},"
                            "\"user_id\":\"u\",\"createdAt\":\"2026-11-23T06:45:21.5+01:00\","
                            "\"cache\":null}"),
                     &m, NULL, NULL),
        GW_OK);
    gw_auto_message owned = m;
    const void *typed = m;
    const Apirelay__Auth__V1__ApiKey *key = (const Apirelay__Auth__V1__ApiKey *)typed;

    assert_non_null(owned);
    assert_string_equal(key->name, "App");
    assert_string_equal(key->user_id, "u");
    assert_string_equal(key->client_id, "");
    assert_int_equal(key->permissions->n_models, 2);
    assert_string_equal(key->permissions->models[1], "x");
    assert_int_equal(key->permissions->max_tokens_presence_case,
                     APIRELAY__AUTH__V1__KEY_PERMISSIONS__MAX_TOKENS_PRESENCE_MAX_TOKENS);
    assert_int_equal(key->permissions->max_tokens, 512);
    assert_int_equal(key->permissions->features->streaming_presence_case,
                     APIRELAY__AUTH__V1__KEY_FEATURES__STREAMING_PRESENCE_STREAMING);
    assert_false(key->permissions->features->streaming);
    assert_int_equal(key->permissions->features->vision_presence_case, 0);
    assert_int_equal(key->limits->cost_limit_nano_usd, INT64_C(9000000000000000000));
    assert_int_equal(key->created_at->seconds, 1795412721);
    assert_int_equal(key->created_at->nanos, 500000000);
    assert_null(key->cache);
}

static void integers_are_read_from_numbers_and_from_decimal_text(void **state)
{
    static const struct {
        const char *text;
        const char *expected; /* NULL: refused */
    } cases[] = {
        {"5", "5"},
        {"\"5\"", "5"},
        {"1.0", "1"},
        {"\"1.0\"", "1"},
        {"1e3", "1000"},
        {"-0", "0"},
        {"-7", "-7"},
        {"9223372036854775807", "9223372036854775807"},
        {"\"9223372036854775807\"", "9223372036854775807"},
        {"-9223372036854775808", "-9223372036854775808"},
        {"9223372036854775808", NULL},
        {"-9223372036854775809", NULL},
        {"\"-9223372036854775809\"", NULL},
        {"18446744073709551616", NULL},
        {"1e19", NULL},
        {"1.5", NULL},
        {"\"1.5\"", NULL},
        {"\"\"", NULL},
        {"\" 1\"", NULL},
        {"\"0x10\"", NULL},
        {"\"1\\u0000\"", NULL},
        {"true", NULL},
        {"[]", NULL},
        {"{}", NULL},
    };
    (void)state;
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        char text[128];
        char expected[128];
        (void)snprintf(text, sizeof(text), "{\"requestsPerDay\":%s}", cases[i].text);
        (void)snprintf(expected, sizeof(expected), "{\"requestsPerDay\":%s}",
                       cases[i].expected ? cases[i].expected : "");
        if (cases[i].expected)
            assert_round_trip(LIMITS, text, expected);
        else
            assert_refused(LIMITS, text, "requestsPerDay",
                           "requestsPerDay: must be an integer from -9223372036854775808 to "
                           "9223372036854775807");
    }
}

static void each_scalar_type_keeps_its_range(void **state)
{
    (void)state;
    const ProtobufCMessageDescriptor *i32 = TEST_DESCRIPTOR(google__protobuf__int32_value);
    const ProtobufCMessageDescriptor *u32 = TEST_DESCRIPTOR(google__protobuf__uint32_value);
    const ProtobufCMessageDescriptor *u64 = TEST_DESCRIPTOR(google__protobuf__uint64_value);
    const ProtobufCMessageDescriptor *f32 = TEST_DESCRIPTOR(google__protobuf__float_value);
    const ProtobufCMessageDescriptor *f64 = TEST_DESCRIPTOR(google__protobuf__double_value);

    assert_round_trip(i32, "-2147483648", "-2147483648");
    assert_refused(i32, "2147483648", "", "from -2147483648 to 2147483647");
    assert_round_trip(u32, "4294967295", "4294967295");
    assert_refused(u32, "4294967296", "", "from 0 to 4294967295");
    assert_refused(u32, "-1", "", "from 0 to 4294967295");
    assert_round_trip(u64, "\"18446744073709551615\"", "18446744073709551615");
    assert_round_trip(u64, "18446744073709551615", "18446744073709551615");
    assert_refused(u64, "18446744073709551616", "", "from 0 to 18446744073709551615");
    assert_refused(u64, "\"-1\"", "", "from 0 to");
    assert_round_trip(f32, "0.1", "0.1");
    assert_refused(f32, "1e39", "", "must be a number from");
    assert_round_trip(f64, "0.1", "0.1");
    assert_round_trip(f64, "\"2.5\"", "2.5");
    assert_round_trip(f64, "1e300", "1e+300");
    assert_round_trip(f64, "0.30000000000000004", "0.30000000000000004");
    assert_refused(f64, "\"NaN\"", "", "must be a number");
    assert_refused(f64, "\"Infinity\"", "", "must be a number");
    assert_refused(f64, "true", "", "must be a number");
    assert_refused(TEST_DESCRIPTOR(google__protobuf__bool_value), "\"true\"", "",
                   "must be true or false");
    assert_refused(TEST_DESCRIPTOR(google__protobuf__bool_value), "1", "", "must be true or false");
    assert_refused(TEST_DESCRIPTOR(google__protobuf__string_value), "1", "", "must be a string");
}

static void bytes_are_base64_in_both_alphabets(void **state)
{
    const ProtobufCMessageDescriptor *d = TEST_DESCRIPTOR(google__protobuf__bytes_value);
    (void)state;
    assert_round_trip(d, "\"+/8=\"", "\"+/8=\"");
    assert_round_trip(d, "\"-_8\"", "\"+/8=\"");
    assert_round_trip(d, "\"\"", "\"\"");
    assert_refused(d, "\"a\"", "", "base64");
    assert_refused(d, "\"a*bc\"", "", "base64");
    assert_refused(d, "12", "", "base64");
}

static void enums_are_read_by_name_and_by_number(void **state)
{
    (void)state;
    assert_round_trip(FAULT, "{\"code\":\"ERROR_CODE_BUSY\"}",
                      "{\"code\":\"ERROR_CODE_BUSY\",\"message\":\"\"}");
    assert_round_trip(FAULT, "{\"code\":2}", "{\"code\":\"ERROR_CODE_GONE\",\"message\":\"\"}");
    assert_refused(FAULT, "{\"code\":\"BUSY\"}", "code", "must be one of ERROR_CODE_UNSPECIFIED, ");
    assert_refused(FAULT, "{\"code\":99}", "code", "must be one of");
    assert_refused(FAULT, "{\"code\":1.5}", "code", "must be one of");
    assert_refused(FAULT, "{\"code\":\"ERROR_CODE_BUSY\\u0000\"}", "code", "must be one of");
}

static void unknown_members_are_refused_with_their_path(void **state)
{
    (void)state;
    assert_refused(KEY, "{\"nome\":1}", "nome", "unknown member");
    assert_refused(KEY, "{\"Name\":\"x\"}", "Name", "unknown member");
    assert_refused(KEY, "{\"permissions\":{\"maxToken\":1}}", "permissions.maxToken",
                   "permissions.maxToken: unknown member");
    assert_refused(KEY, "{\"\":1}", "", "unknown member");
}

static void duplicates_are_refused_at_any_depth(void **state)
{
    (void)state;
    assert_refused(KEY, "{\"name\":\"a\",\"name\":\"b\"}", "name", "given twice");
    assert_refused(KEY, "{\"userId\":\"a\",\"user_id\":\"a\"}", "user_id", "given twice");
    assert_refused(KEY, "{\"name\":null,\"name\":null}", "name", "given twice");
    assert_refused(KEY, "{\"limits\":{\"costLimit\":1,\"costLimit\":2}}", "limits.costLimit",
                   "given twice");
    assert_refused(REQUEST, "{\"headers\":{\"accept\":\"a\",\"accept\":\"b\"}}", "headers.accept",
                   "given twice");
    assert_refused(TEST_DESCRIPTOR(google__protobuf__struct), "{\"a\":{\"b\":[{\"c\":1,\"c\":2}]}}",
                   "a.b[0].c", "given twice");
}

static void duplicates_are_found_in_large_maps_too(void **state)
{
    gw_auto_buf text = {0};
    (void)state;
    gw_buf_append_c(&text, "{\"headers\":{");
    for (int i = 0; i < 5000; i++)
        gw_buf_appendf(&text, "\"h%d\":\"\",", i);
    gw_buf_append_c(&text, "\"h77\":\"\"}}");
    assert_refused(REQUEST, text.data, "headers.h77", "given twice");
}

static void wrong_types_name_the_path_to_the_element(void **state)
{
    (void)state;
    assert_refused(KEY, "[]", "", "must be an object");
    assert_refused(KEY, "{\"limits\":[]}", "limits", "must be an object");
    assert_refused(KEY, "{\"permissions\":{\"models\":\"x\"}}", "permissions.models",
                   "must be an array");
    assert_refused(KEY, "{\"permissions\":{\"models\":[\"a\",\"b\",\"c\",4]}}",
                   "permissions.models[3]", "must be a string");
    assert_refused(KEY, "{\"permissions\":{\"models\":[null]}}", "permissions.models[0]", "null");
    assert_refused(REQUEST, "{\"headers\":[]}", "headers", "must be an object");
    assert_refused(REQUEST, "{\"headers\":{\"a\":1}}", "headers.a", "must be a string");
    assert_refused(REQUEST, "{\"headers\":{\"a\":null}}", "headers.a", "null");
    assert_refused(KEY, "{\"name\":\"a\\u0000b\"}", "name", "NUL");
    assert_refused(REQUEST, "{\"headers\":{\"a\\u0000b\":\"\"}}", "headers.a", "NUL");
}

static void only_one_member_of_a_oneof_may_be_given(void **state)
{
    (void)state;
    assert_round_trip(FRAME, "{\"ack\":{\"n\":3}}", "{\"ack\":{\"n\":3,\"windowBytes\":0}}");
    assert_round_trip(FRAME, "{\"ack\":{\"n\":3},\"error\":null}",
                      "{\"ack\":{\"n\":3,\"windowBytes\":0}}");
    assert_refused(FRAME, "{\"ack\":{},\"error\":{}}", "error", "together with ack");
}

static void null_is_absent(void **state)
{
    (void)state;
    assert_round_trip(TEST_DESCRIPTOR(apirelay__auth__v1__key_permissions),
                      "{\"models\":null,\"maxTokens\":null,\"features\":null}",
                      "{\"models\":[],\"endpoints\":[]}");
}

static void broken_text_is_refused_with_its_offset(void **state)
{
    static const char *const texts[] = {"",
                                        "{",
                                        "{\"a\":}",
                                        "{}x",
                                        "{\"a\":1,}",
                                        "nul",
                                        "{\"name\":\"\xff\"}",
                                        "{\"n\":1e999}",
                                        "{'a':1}"};
    (void)state;
    for (size_t i = 0; i < GW_ARRAY_LEN(texts); i++) {
        ProtobufCMessage *m = NULL;
        gw_error err = {0};
        assert_int_equal(gw_json_read(KEY, gw_str_of(texts[i]), &m, NULL, &err),
                         GW_ERR_INVALID_JSON);
        assert_non_null(strstr(err.message, "at offset "));
    }
    gw_error err = {0};
    ProtobufCMessage *m = NULL;
    assert_int_equal(gw_json_read(KEY, GW_STR_NULL, &m, NULL, &err), GW_ERR_INVALID_JSON);
}

static void all_violations_are_told_up_to_the_bound(void **state)
{
    gw_json_violations v;
    gw_error err = {0};
    ProtobufCMessage *m = NULL;
    (void)state;

    assert_int_equal(
        gw_json_read(KEY, GW_STR("{\"a\":1,\"name\":2,\"limits\":{\"b\":1}}"), &m, &v, &err),
        GW_ERR_INVALID_ARGUMENT);
    assert_string_equal(err.field, "a");
    assert_int_equal(v.count, 2);
    assert_string_equal(v.items[0].field, "name");
    assert_string_equal(v.items[0].description, "must be a string");
    assert_string_equal(v.items[1].field, "limits.b");

    gw_auto_buf text = {0};
    gw_buf_append_char(&text, '{');
    for (int i = 0; i < 100; i++)
        gw_buf_appendf(&text, "%s\"x%d\":1", i ? "," : "", i);
    gw_buf_append_char(&text, '}');
    assert_int_equal(gw_json_read(KEY, gw_buf_str(&text), &m, &v, &err), GW_ERR_INVALID_ARGUMENT);
    assert_int_equal(v.count, 16);
    assert_string_equal(v.items[15].field, "x16");
    assert_int_equal(gw_json_read(KEY, GW_STR("{}"), &m, &v, &err), GW_OK);
    assert_int_equal(v.count, 0);
    gw_json_message_free(m);
}

static void a_path_too_long_is_cut_between_characters(void **state)
{
    gw_auto_buf text = {0};
    gw_error err = {0};
    ProtobufCMessage *m = NULL;
    (void)state;

    gw_buf_append_c(&text, "{\"");
    for (int i = 0; i < 400; i++)
        gw_buf_append_c(&text, "\xe2\x82\xac");
    gw_buf_append_c(&text, "\":1}");
    assert_int_equal(gw_json_read(KEY, gw_buf_str(&text), &m, NULL, &err), GW_ERR_INVALID_ARGUMENT);
    assert_true(gw_str_is_utf8(gw_str_of(err.field)));
    assert_true(gw_str_is_utf8(gw_str_of(err.message)));
}

static void nest(gw_buf *out, const char *open, const char *close, const char *core, int n)
{
    gw_buf_clear(out);
    for (int i = 0; i < n; i++)
        gw_buf_append_c(out, open);
    gw_buf_append_c(out, core);
    for (int i = 0; i < n; i++)
        gw_buf_append_c(out, close);
}

static void nesting_is_bounded_when_reading(void **state)
{
    static const int depths[] = {100, 10000, 100000};
    const ProtobufCMessageDescriptor *message = TEST_DESCRIPTOR(google__protobuf__descriptor_proto);
    const ProtobufCMessageDescriptor *value = TEST_DESCRIPTOR(google__protobuf__value);
    gw_auto_buf text = {0};
    (void)state;

    for (size_t i = 0; i < GW_ARRAY_LEN(depths); i++) {
        gw_auto_message m = NULL;
        gw_error err = {0};
        nest(&text, "{\"nestedType\":[", "]}", "{}", depths[i]);
        assert_int_equal(gw_json_read(message, gw_buf_str(&text), &m, NULL, &err),
                         GW_ERR_INVALID_ARGUMENT);
        assert_non_null(strstr(err.message, "nested too deeply"));
        nest(&text, "[", "]", "", depths[i]);
        assert_int_equal(gw_json_read(value, gw_buf_str(&text), &m, NULL, &err),
                         GW_ERR_INVALID_ARGUMENT);
        nest(&text, "{\"a\":", "}", "1", depths[i]);
        assert_int_equal(gw_json_read(value, gw_buf_str(&text), &m, NULL, &err),
                         GW_ERR_INVALID_ARGUMENT);
    }
}

/* What is read can be packed and passes the wire's own bound of 64 messages. */
static void the_deepest_message_still_goes_both_ways(void **state)
{
    const ProtobufCMessageDescriptor *d = TEST_DESCRIPTOR(google__protobuf__value);
    gw_auto_buf text = {0};
    gw_auto_buf out = {0};
    gw_auto_message m = NULL;
    (void)state;

    nest(&text, "[", "]", "true", 31); /* Value, then ListValue and Value for each */
    assert_int_equal(gw_json_read(d, gw_buf_str(&text), &m, NULL, NULL), GW_OK);
    assert_int_equal(gw_json_write(m, &out, NULL), GW_OK);
    assert_string_equal(out.data, text.data);
    nest(&text, "[", "]", "true", 32);
    gw_auto_message deeper = NULL;
    assert_int_equal(gw_json_read(d, gw_buf_str(&text), &deeper, NULL, NULL),
                     GW_ERR_INVALID_ARGUMENT);
}

static void a_list_has_a_bound(void **state)
{
    gw_auto_buf text = {0};
    (void)state;
    gw_buf_append_c(&text, "{\"models\":[");
    for (int i = 0; i <= GW_JSON_REPEATED_MAX; i++)
        gw_buf_append_c(&text, i ? ",\"\"" : "\"\"");
    gw_buf_append_c(&text, "]}");
    assert_refused(TEST_DESCRIPTOR(apirelay__auth__v1__key_permissions), text.data, "models",
                   "at most 100000");
}

static void a_value_is_read_under_a_path_prefix(void **state)
{
    yyjson_doc *doc = yyjson_read("{\"nome\":1}", 10, 0);
    ProtobufCMessage *m = NULL;
    gw_error err = {0};
    (void)state;
    assert_int_equal(
        gw_json_read_value(KEY, yyjson_doc_get_root(doc), "apiKeys[2]", &m, NULL, &err),
        GW_ERR_INVALID_ARGUMENT);
    assert_string_equal(err.field, "apiKeys[2].nome");
    yyjson_doc_free(doc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_reads_into_its_message),
        cmocka_unit_test(integers_are_read_from_numbers_and_from_decimal_text),
        cmocka_unit_test(each_scalar_type_keeps_its_range),
        cmocka_unit_test(bytes_are_base64_in_both_alphabets),
        cmocka_unit_test(enums_are_read_by_name_and_by_number),
        cmocka_unit_test(unknown_members_are_refused_with_their_path),
        cmocka_unit_test(duplicates_are_refused_at_any_depth),
        cmocka_unit_test(duplicates_are_found_in_large_maps_too),
        cmocka_unit_test(wrong_types_name_the_path_to_the_element),
        cmocka_unit_test(only_one_member_of_a_oneof_may_be_given),
        cmocka_unit_test(null_is_absent),
        cmocka_unit_test(broken_text_is_refused_with_its_offset),
        cmocka_unit_test(all_violations_are_told_up_to_the_bound),
        cmocka_unit_test(a_path_too_long_is_cut_between_characters),
        cmocka_unit_test(nesting_is_bounded_when_reading),
        cmocka_unit_test(the_deepest_message_still_goes_both_ways),
        cmocka_unit_test(a_list_has_a_bound),
        cmocka_unit_test(a_value_is_read_under_a_path_prefix),
    };
    return cmocka_run_group_tests_name("read", tests, NULL, NULL);
}
