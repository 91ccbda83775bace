#include "json/json_testing.h"

#include <apirelay/auth/v1/api_key.pb-c.h>
#include <apirelay/usage/v1/ingest_service.pb-c.h>
#include <apirelay/usage/v1/usage.pb-c.h>
#include <google/protobuf/any.pb-c.h>
#include <google/protobuf/descriptor.pb-c.h>
#include <google/protobuf/struct.pb-c.h>
#include <google/protobuf/timestamp.pb-c.h>
#include <google/protobuf/wrappers.pb-c.h>
#include <math.h>
#include <stdlib.h>

static void an_empty_message_states_its_scalars_and_lists_only(void **state)
{
    Apirelay__Auth__V1__KeyPermissions permissions = APIRELAY__AUTH__V1__KEY_PERMISSIONS__INIT;
    Apirelay__Usage__V1__UsageFigures figures = APIRELAY__USAGE__V1__USAGE_FIGURES__INIT;
    Apirelay__Auth__V1__KeyLimits limits = APIRELAY__AUTH__V1__KEY_LIMITS__INIT;
    gw_auto_buf out = {0};
    (void)state;

    assert_int_equal(gw_json_write(&permissions.base, &out, NULL), GW_OK);
    assert_string_equal(out.data, "{\"models\":[],\"endpoints\":[]}");
    gw_buf_clear(&out);
    assert_int_equal(gw_json_write(&figures.base, &out, NULL), GW_OK);
    assert_string_equal(
        out.data,
        "{\"promptTokens\":0,\"completionTokens\":0,\"totalTokens\":0,\"cost\":0,"
        "\"cachedTokens\":0,\"reasoningTokens\":0,\"costNanoUsd\":\"0\",\"cacheWriteTokens\":0,"
        "\"images\":0,\"longCacheWriteTokens\":0}");
    gw_buf_clear(&out);
    assert_int_equal(gw_json_write(&limits.base, &out, NULL), GW_OK);
    assert_string_equal(out.data, "{}");
}

static void present_zeros_of_oneofs_are_written(void **state)
{
    Apirelay__Auth__V1__KeyLimits limits = APIRELAY__AUTH__V1__KEY_LIMITS__INIT;
    gw_auto_buf out = {0};
    (void)state;
    limits.requests_per_day_presence_case =
        APIRELAY__AUTH__V1__KEY_LIMITS__REQUESTS_PER_DAY_PRESENCE_REQUESTS_PER_DAY;
    limits.cost_limit_nano_usd_presence_case =
        APIRELAY__AUTH__V1__KEY_LIMITS__COST_LIMIT_NANO_USD_PRESENCE_COST_LIMIT_NANO_USD;
    limits.cost_limit_nano_usd = INT64_MAX;
    assert_int_equal(gw_json_write(&limits.base, &out, NULL), GW_OK);
    assert_string_equal(out.data,
                        "{\"requestsPerDay\":0,\"costLimitNanoUsd\":\"9223372036854775807\"}");
}

static void maps_are_objects(void **state)
{
    (void)state;
    assert_round_trip(
        TEST_DESCRIPTOR(apirelay__usage__v1__usage_request),
        "{\"headers\":{\"x.y\":\"1\",\"\":\"\\\"\\n\\u20ac\"}}",
        "{\"endpoint\":\"\",\"method\":\"\",\"model\":\"\",\"ip\":\"\","
        "\"userAgent\":\"\",\"headers\":{\"x.y\":\"1\",\"\":\"\\\"\\n\xe2\x82\xac\"}}");
}

static void strings_that_are_no_utf8_stay_valid_json(void **state)
{
    Google__Protobuf__StringValue v = GOOGLE__PROTOBUF__STRING_VALUE__INIT;
    char text[] = "a\xff\x01";
    gw_auto_buf out = {0};
    (void)state;
    v.value = text;
    assert_int_equal(gw_json_write(&v.base, &out, NULL), GW_OK);
    yyjson_doc *doc = yyjson_read(out.data, out.len, 0);
    assert_non_null(doc);
    yyjson_doc_free(doc);
}

static void an_enum_of_a_newer_peer_goes_by_number(void **state)
{
    Apirelay__Usage__V1__Error e = APIRELAY__USAGE__V1__ERROR__INIT;
    gw_auto_buf out = {0};
    (void)state;
    e.code = (Apirelay__Usage__V1__ErrorCode)77;
    assert_int_equal(gw_json_write(&e.base, &out, NULL), GW_OK);
    assert_string_equal(out.data, "{\"code\":77,\"message\":\"\"}");
}

static void doubles_without_a_number_are_named(void **state)
{
    Google__Protobuf__DoubleValue v = GOOGLE__PROTOBUF__DOUBLE_VALUE__INIT;
    gw_auto_buf out = {0};
    (void)state;
    v.value = NAN;
    assert_int_equal(gw_json_write(&v.base, &out, NULL), GW_OK);
    v.value = -INFINITY;
    assert_int_equal(gw_json_write(&v.base, &out, NULL), GW_OK);
    assert_string_equal(out.data, "\"NaN\"\"-Infinity\"");
}

/* Found by fuzzing: "-0" is read as an integer, which has no sign to keep. */
static void a_negative_zero_is_read_back(void **state)
{
    Google__Protobuf__DoubleValue v = GOOGLE__PROTOBUF__DOUBLE_VALUE__INIT;
    gw_auto_buf out = {0};
    ProtobufCMessage *back = NULL;
    (void)state;
    v.value = -0.0;
    assert_int_equal(gw_json_write(&v.base, &out, NULL), GW_OK);
    assert_string_equal(out.data, "-0.0");
    assert_int_equal(gw_json_read(v.base.descriptor, gw_buf_str(&out), &back, NULL, NULL), GW_OK);
    assert_true(signbit(((Google__Protobuf__DoubleValue *)(void *)back)->value));
    protobuf_c_message_free_unpacked(back, NULL);
}

static void a_failure_leaves_the_buffer_as_it_was(void **state)
{
    Google__Protobuf__Timestamp t = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT;
    Google__Protobuf__Value unset = GOOGLE__PROTOBUF__VALUE__INIT;
    Apirelay__Auth__V1__ApiKey key = APIRELAY__AUTH__V1__API_KEY__INIT;
    gw_auto_buf out = {0};
    gw_error err = {0};
    (void)state;

    gw_buf_append_c(&out, "before");
    t.seconds = INT64_MAX;
    key.created_at = &t;
    assert_int_equal(gw_json_write(&key.base, &out, &err), GW_ERR_INTERNAL);
    assert_int_equal(gw_json_write(&any.base, &out, &err), GW_ERR_INTERNAL);
    assert_int_equal(gw_json_write(&unset.base, &out, &err), GW_ERR_INTERNAL);
    assert_string_equal(out.data, "before");
}

static void nesting_is_bounded_when_writing(void **state)
{
    Google__Protobuf__DescriptorProto chain[GW_JSON_DEPTH_MAX + 1];
    Google__Protobuf__DescriptorProto *children[GW_JSON_DEPTH_MAX + 1];
    gw_auto_buf out = {0};
    (void)state;

    for (size_t i = 0; i < GW_ARRAY_LEN(chain); i++) {
        google__protobuf__descriptor_proto__init(&chain[i]);
        if (i > 0) {
            children[i] = &chain[i - 1];
            chain[i].nested_type = &children[i];
            chain[i].n_nested_type = 1;
        }
    }
    assert_int_equal(gw_json_write(&chain[GW_JSON_DEPTH_MAX - 1].base, &out, NULL), GW_OK);
    assert_int_equal(gw_json_write(&chain[GW_JSON_DEPTH_MAX].base, &out, NULL), GW_ERR_INTERNAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_message_states_its_scalars_and_lists_only),
        cmocka_unit_test(present_zeros_of_oneofs_are_written),
        cmocka_unit_test(maps_are_objects),
        cmocka_unit_test(strings_that_are_no_utf8_stay_valid_json),
        cmocka_unit_test(an_enum_of_a_newer_peer_goes_by_number),
        cmocka_unit_test(doubles_without_a_number_are_named),
        cmocka_unit_test(a_negative_zero_is_read_back),
        cmocka_unit_test(a_failure_leaves_the_buffer_as_it_was),
        cmocka_unit_test(nesting_is_bounded_when_writing),
    };
    return cmocka_run_group_tests_name("write", tests, NULL, NULL);
}
