#include "json/json_testing.h"

#include <google/protobuf/any.pb-c.h>
#include <google/protobuf/duration.pb-c.h>
#include <google/protobuf/empty.pb-c.h>
#include <google/protobuf/field_mask.pb-c.h>
#include <google/protobuf/struct.pb-c.h>
#include <google/protobuf/timestamp.pb-c.h>
#include <google/protobuf/wrappers.pb-c.h>

static void times_are_rfc_3339_in_utc(void **state)
{
    const ProtobufCMessageDescriptor *d = TEST_DESCRIPTOR(google__protobuf__timestamp);
    (void)state;
    assert_round_trip(d, "\"2026-11-23T06:45:21Z\"", "\"2026-11-23T06:45:21.000Z\"");
    assert_round_trip(d, "\"2026-11-23T06:45:21.123456+02:00\"", "\"2026-11-23T04:45:21.123Z\"");
    assert_round_trip(d, "\"1969-12-31T23:59:59.999Z\"", "\"1969-12-31T23:59:59.999Z\"");
    assert_round_trip(d, "\"0001-01-01T00:00:00Z\"", "\"0001-01-01T00:00:00.000Z\"");
    assert_round_trip(d, "\"9999-12-31T23:59:59.999Z\"", "\"9999-12-31T23:59:59.999Z\"");
    assert_refused(d, "\"2026-11-23\"", "", "must be a time");
    assert_refused(d, "\"2026-13-23T00:00:00Z\"", "", "must be a time");
    assert_refused(d, "1700000000", "", "must be a time");
    assert_refused(d, "\"\"", "", "must be a time");
}

static void durations_are_seconds(void **state)
{
    static const char *const bad[] = {"\"1\"",
                                      "\"s\"",
                                      "\".5s\"",
                                      "\"1.s\"",
                                      "\"--1s\"",
                                      "\"+1s\"",
                                      "1",
                                      "\"1.0000000001s\"",
                                      "\"1e3s\"",
                                      "\"1.-5s\"",
                                      "\"315576000001s\""};
    const ProtobufCMessageDescriptor *d = TEST_DESCRIPTOR(google__protobuf__duration);
    (void)state;
    assert_round_trip(d, "\"1.5s\"", "\"1.500s\"");
    assert_round_trip(d, "\"0s\"", "\"0s\"");
    assert_round_trip(d, "\"-0.000001s\"", "\"-0.000001s\"");
    assert_round_trip(d, "\"-3.000000001s\"", "\"-3.000000001s\"");
    for (size_t i = 0; i < GW_ARRAY_LEN(bad); i++)
        assert_refused(d, bad[i], "", "must be a duration");
}

static void field_masks_are_camel_case_outside_and_snake_case_inside(void **state)
{
    const ProtobufCMessageDescriptor *d = TEST_DESCRIPTOR(google__protobuf__field_mask);
    gw_auto_message m = NULL;
    (void)state;
    assert_int_equal(
        gw_json_read(d, GW_STR("\"name,limits.costLimitNanoUsd,user_id\""), &m, NULL, NULL), GW_OK);
    const void *typed = m;
    const Google__Protobuf__FieldMask *mask = (const Google__Protobuf__FieldMask *)typed;
    assert_int_equal(mask->n_paths, 3);
    assert_string_equal(mask->paths[1], "limits.cost_limit_nano_usd");
    assert_string_equal(mask->paths[2], "user_id");

    assert_round_trip(d, "\"a,limits.costLimit\"", "\"a,limits.costLimit\"");
    assert_round_trip(d, "\"\"", "\"\"");
    assert_refused(d, "\"a,,b\"", "", "empty path");
    assert_refused(d, "\"a,\"", "", "must be paths");
    assert_refused(d, "\"a b\"", "", "must be paths");
    assert_refused(d, "[\"a\"]", "", "must be a string of paths");
}

static void structs_are_plain_json(void **state)
{
    const ProtobufCMessageDescriptor *d = TEST_DESCRIPTOR(google__protobuf__struct);
    (void)state;
    assert_round_trip(d, "{\"a\":[1,-2.5,\"x\",true,null,{\"b\":{}},[]],\"\":null}",
                      "{\"a\":[1,-2.5,\"x\",true,null,{\"b\":{}},[]],\"\":null}");
    assert_round_trip(TEST_DESCRIPTOR(google__protobuf__list_value), "[1,[2]]", "[1,[2]]");
    assert_round_trip(TEST_DESCRIPTOR(google__protobuf__value), "null", "null");
    assert_refused(d, "[]", "", "must be an object");
    assert_refused(TEST_DESCRIPTOR(google__protobuf__list_value), "{}", "", "must be an array");
    assert_refused(d, "{\"a\":{\"b\":\"\\u0000\"}}", "a.b", "NUL");
}

static void wrappers_are_their_value(void **state)
{
    (void)state;
    assert_round_trip(TEST_DESCRIPTOR(google__protobuf__bool_value), "true", "true");
    assert_round_trip(TEST_DESCRIPTOR(google__protobuf__string_value), "\"x\"", "\"x\"");
    assert_round_trip(TEST_DESCRIPTOR(google__protobuf__int64_value), "\"-4\"", "-4");
    assert_refused(TEST_DESCRIPTOR(google__protobuf__bool_value), "null", "", "null");
}

static void an_empty_message_is_an_empty_object(void **state)
{
    (void)state;
    assert_round_trip(TEST_DESCRIPTOR(google__protobuf__empty), "{}", "{}");
    assert_refused(TEST_DESCRIPTOR(google__protobuf__empty), "{\"a\":1}", "a", "unknown member");
}

static void any_has_no_json_here(void **state)
{
    ProtobufCMessage *m = NULL;
    (void)state;
    assert_int_equal(
        gw_json_read(TEST_DESCRIPTOR(google__protobuf__any), GW_STR("{}"), &m, NULL, NULL),
        GW_ERR_INTERNAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_are_rfc_3339_in_utc),
        cmocka_unit_test(durations_are_seconds),
        cmocka_unit_test(field_masks_are_camel_case_outside_and_snake_case_inside),
        cmocka_unit_test(structs_are_plain_json),
        cmocka_unit_test(wrappers_are_their_value),
        cmocka_unit_test(an_empty_message_is_an_empty_object),
        cmocka_unit_test(any_has_no_json_here),
    };
    return cmocka_run_group_tests_name("known", tests, NULL, NULL);
}
