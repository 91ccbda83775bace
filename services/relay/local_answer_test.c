#include "relay_request_internal.h"

#include "rpc/init.h"
#include "testing/cmocka.h"
#include "testing/failing_alloc.h"

/* A request for /v1/usage as AUTHORIZE leaves it, and a channel to nobody. */
typedef struct fixture {
    gw_loop *loop;
    gw_rpc_pump *pump;
    gw_rpc_channel *channel;
    relay_core core;
    Apirelay__Auth__V1__KeyPolicy message;
    key_policy policy;
} fixture;

static int setup(void **state)
{
    fixture *f = calloc(1, sizeof(*f));
    gw_error err;
    assert_non_null(f);
    gw_rpc_init();
    assert_int_equal(gw_loop_new(&gw_system_clock, &f->loop, &err), GW_OK);
    assert_int_equal(gw_rpc_pump_new(f->loop, &f->pump, &err), GW_OK);
    assert_int_equal(gw_rpc_channel_new(f->pump, "127.0.0.1:1", NULL, NULL, &f->channel, &err),
                     GW_OK);
    f->core.usage = f->channel;
    f->core.service_token = GW_STR("lcsvc_relay");
    apirelay__auth__v1__key_policy__init(&f->message);
    f->policy.message = &f->message;
    f->policy.api_key_id = GW_STR("65f000000000000000000001");
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    gw_rpc_channel_free(f->channel);
    gw_rpc_pump_free(f->pump);
    gw_loop_free(f->loop);
    gw_rpc_shutdown();
    free(f);
    return 0;
}

/* It waited for an answer to a question that was never asked. */
static void usage_that_cannot_be_asked_for_want_of_memory_is_a_failure_at_once(void **state)
{
    fixture *f = *state;
    bool has_failed = true;
    for (size_t n = 1; has_failed; n++) {
        relay_request r = {.core = &f->core,
                           .troubles = &f->core.no_troubles,
                           .arena = gw_arena_new(),
                           .policy = &f->policy,
                           .call = {.endpoint = ENDPOINT_USAGE,
                                    .query = GW_STR("startTime=2026-01-01T00:00:00Z")}};
        assert_non_null(r.arena);
        gw_failing_alloc_arm(n);
        relay_stage next = local_answer_enter(&r);
        has_failed = gw_failing_alloc_disarm();
        assert_int_equal(next == STAGE_FORWARD, r.usage_call != NULL);
        assert_int_equal(r.operations, r.usage_call ? 1 : 0);
        assert_int_equal(r.has_failed, !r.usage_call);
        r.running = true; /* nothing resumes it when the call ends */
        if (r.usage_call)
            gw_rpc_cancel(r.usage_call);
        while (r.operations > 0)
            uv_run(gw_loop_uv(f->loop), UV_RUN_NOWAIT);
        gw_arena_free(r.arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            usage_that_cannot_be_asked_for_want_of_memory_is_a_failure_at_once, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
