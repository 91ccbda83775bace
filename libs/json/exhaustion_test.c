#include "json/json_testing.h"

#include "testing/failing_alloc.h"

#include <apirelay/auth/v1/api_key_service.pb-c.h>
#include <apirelay/usage/v1/usage.pb-c.h>
#include <google/protobuf/struct.pb-c.h>

#define UPDATE TEST_DESCRIPTOR(apirelay__auth__v1__update_api_key_request)

/* Reads and writes `text` with the first, the second, … allocation failing. */
static void exhaust(const ProtobufCMessageDescriptor *d, gw_str text)
{
    for (size_t n = 1;; n++) {
        ProtobufCMessage *m = NULL;
        gw_buf out = {0};
        gw_error err = {0};

        gw_failing_alloc_arm(n);
        gw_status rc = gw_json_read(d, text, &m, NULL, &err);
        if (rc == GW_OK)
            rc = gw_json_write(m, &out, &err);
        bool failed = gw_failing_alloc_disarm();
        gw_json_message_free(m);
        gw_buf_fini(&out);
        if (!failed) {
            assert_int_equal(rc, GW_OK);
            assert_true(n > 3);
            return;
        }
        assert_int_equal(rc, GW_ERR_NO_MEMORY);
    }
}

static void each_failed_allocation_is_reported_and_leaks_nothing(void **state)
{
    (void)state;
    exhaust(UPDATE,
            GW_STR("{\"id\":\"x\",\"apiKey\":{\"name\":\"n\",\"permissions\":{\"models\":[\"a\","
                   "\"b\"]},\"createdAt\":\"2026-11-23T06:45:21Z\"},"
                   "\"updateMask\":\"name,limits.costLimit\"}"));
    exhaust(TEST_DESCRIPTOR(google__protobuf__struct),
            GW_STR("{\"a\":[1,\"x\",{\"b\":null}],\"c\":true}"));

    gw_auto_buf text = {0};
    gw_buf_append_c(&text, "{\"headers\":{\"h\":\"v\"");
    for (int i = 0; i < 20; i++)
        gw_buf_appendf(&text, ",\"h%d\":\"v\"", i);
    gw_buf_append_c(&text, "}}");
    exhaust(TEST_DESCRIPTOR(apirelay__usage__v1__usage_request), gw_buf_str(&text));
}

static void text_sets_nothing_when_memory_is_short(void **state)
{
    (void)state;
    for (size_t n = 1;; n++) {
        gw_auto_message m = gw_json_new_message(UPDATE);
        ProtobufCMessage *parent = NULL;
        const ProtobufCFieldDescriptor *f = NULL;
        gw_error err = {0};

        gw_failing_alloc_arm(n);
        gw_status rc =
            gw_json_field_by_path(m, GW_STR("apiKey.permissions.models"), &parent, &f, &err);
        if (rc == GW_OK)
            rc = gw_json_set_from_text(parent, f, GW_STR("gpt-*"), &err);
        bool failed = gw_failing_alloc_disarm();
        if (!failed) {
            assert_int_equal(rc, GW_OK);
            return;
        }
        assert_int_equal(rc, GW_ERR_NO_MEMORY);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_failed_allocation_is_reported_and_leaks_nothing),
        cmocka_unit_test(text_sets_nothing_when_memory_is_short),
    };
    return cmocka_run_group_tests_name("exhaustion", tests, NULL, NULL);
}
