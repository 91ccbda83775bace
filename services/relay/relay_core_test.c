/* The end of all requests at once. */
#include "relay_request_test_kit.h"

typedef struct caller {
    relay_sink sink;
    relay_request *r;
    struct caller *friend; /* leaves when this one is answered */
} caller;

static void on_fail(relay_sink *s, const openai_error *e, const relay_answer *a)
{
    caller *c = GW_CONTAINER_OF(s, caller, sink);

    (void)a;
    assert_int_equal(e->error.code, GW_ERR_SHUTTING_DOWN);
    if (c->friend)
        relay_request_caller_gone(c->friend->r);
}

static void on_released(relay_sink *s)
{
    (void)s;
}

static const relay_sink_ops ops = {.fail = on_fail, .released = on_released};

static void one_may_end_another_in_its_end(void **state)
{
    kit *k = *state;
    gw_header late = {GW_STR("authorization"), GW_STR("Bearer late")};
    const relay_call call = {.endpoint = ENDPOINT_CHAT,
                             .method = GW_STR("POST"),
                             .headers = {&late, 1},
                             .deadline_ms = INT64_MAX};
    caller second = {.sink = {&ops}}, first = {.sink = {&ops}, .friend = &second};

    assert_true(relay_request_start(&k->core, &call, &first.sink, &first.r));
    assert_true(relay_request_start(&k->core, &call, &second.sink, &second.r));
    relay_core_end_all(&k->core);
    assert_true(gw_list_is_empty(&k->core.requests));
    assert_int_equal(k->core.in_flight, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_may_end_another_in_its_end, kit_setup, kit_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
