#include "rest_event.h"

#include "http/sse.h"
#include "testing/cmocka.h"

#include "apirelay/usage/v1/usage_service.pb-c.h"

static void a_message_is_one_line_of_data(void **state)
{
    Apirelay__Usage__V1__GetMetricsResponse metrics =
        APIRELAY__USAGE__V1__GET_METRICS_RESPONSE__INIT;
    Apirelay__Usage__V1__WatchMetricsResponse m = APIRELAY__USAGE__V1__WATCH_METRICS_RESPONSE__INIT;
    gw_auto_buf out = {0};
    gw_error err;
    (void)state;
    metrics.scope = "two\nlines\r";
    m.metrics = &metrics;
    assert_int_equal(rest_event_message(&m.base, &out, &err), GW_OK);
    gw_str event = gw_buf_str(&out);
    assert_true(gw_str_starts_with(event, GW_STR("data: {\"metrics\":{")));
    assert_true(gw_str_ends_with(event, GW_STR("}}\n\n")));
    assert_true(gw_str_contains(event, GW_STR("\"scope\":\"two\\nlines\\r\"")));
    assert_int_equal(gw_str_find(event, '\n'), event.len - 2);
    assert_true(gw_str_find(event, '\r') < 0);
}

static gw_status keep(void *arg, const gw_sse_event *e, gw_error *err)
{
    gw_buf *seen = arg;
    (void)err;
    gw_buf_appendf(seen, "[" GW_STR_FMT "|" GW_STR_FMT "]", GW_STR_ARG(e->name),
                   GW_STR_ARG(e->data));
    return GW_OK;
}

static void a_failure_is_an_event_named_error_with_the_body_of_an_error(void **state)
{
    gw_auto_buf out = {0};
    gw_auto_buf seen = {0};
    gw_error err;
    (void)state;
    (void)gw_fail(&err, GW_ERR_UNAVAILABLE, "usage cannot\nanswer now");
    gw_buf_append_str(&out, REST_EVENT_KEEP_ALIVE);
    rest_event_error(&err, NULL, GW_STR("id"), &out);
    gw_sse_reader *reader = gw_sse_reader_new(4096, keep, &seen);
    assert_int_equal(gw_sse_feed(reader, gw_buf_str(&out), &err), GW_OK);
    assert_int_equal(gw_sse_pending_bytes(reader), 0);
    gw_sse_reader_free(reader);
    assert_true(
        gw_str_starts_with(gw_buf_str(&seen), GW_STR("[|][error|{\"error\":{\"code\":503,")));
    assert_true(gw_str_contains(gw_buf_str(&seen), GW_STR("\"requestId\":\"id\"")));
    assert_true(gw_str_contains(gw_buf_str(&seen), GW_STR("usage cannot\\nanswer now")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_is_one_line_of_data),
        cmocka_unit_test(a_failure_is_an_event_named_error_with_the_body_of_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
