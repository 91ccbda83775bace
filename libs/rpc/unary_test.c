#include "rpc/rpc_fixture.h"

static void a_unary_call_is_answered(void **state)
{
    fixture *f = *state;
    assert_int_equal(get(f, "ok", "good", 5000), GW_OK);
    assert_string_equal(f->text, "good admin");
    assert_int_equal(get(f, "later", "slow", 5000), GW_OK);
    assert_string_equal(f->text, "slow admin");
    assert_int_equal(f->started, 2);
}

static void an_error_keeps_its_name_its_message_and_its_field(void **state)
{
    fixture *f = *state;
    assert_int_equal(get(f, "bad", "good", 5000), GW_ERR_MAX_TOKENS_EXCEEDED);
    assert_string_equal(f->err.message, "7 tokens are too many");
    assert_string_equal(f->err.field, "permissions.maxTokens");
}

static void further_violations_travel_beside_the_first(void **state)
{
    fixture *f = *state;
    gw_violations further = {.count = 7};
    gw_rpc_call_options o = get_options("good", 5000);
    Apirelay__Auth__V1__GetApiKeyRequest q = APIRELAY__AUTH__V1__GET_API_KEY_REQUEST__INIT;
    char what[] = "many";
    o.further = &further;
    o.request_id = GW_STR("req_1");
    q.id = what;
    assert_non_null(gw_rpc_unary(f->channel, &o, &q.base, on_unary_done, f));
    run_until_done(f, 1);
    assert_int_equal(f->rc, GW_ERR_INVALID_ARGUMENT);
    assert_string_equal(f->err.field, "name");
    assert_string_equal(f->err.message, "is too long");
    assert_int_equal(further.count, 5);
    assert_string_equal(further.items[4].field, "models");
    assert_non_null(strstr(further.items[4].description, "entry 4: xxx"));
}

static void when_to_try_again_reaches_the_caller(void **state)
{
    static const struct {
        const char *what;
        int64_t retry_after_ms;
    } cases[] = {{"wait", 61500}, {"bad", 0}, {"ok", 0}};
    fixture *f = *state;
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        int64_t retry_after_ms = 7;
        gw_rpc_call_options o = get_options("good", 5000);
        Apirelay__Auth__V1__GetApiKeyRequest q = APIRELAY__AUTH__V1__GET_API_KEY_REQUEST__INIT;
        char what[8];
        o.retry_after_ms = &retry_after_ms;
        (void)snprintf(what, sizeof(what), "%s", cases[i].what);
        q.id = what;
        assert_non_null(gw_rpc_unary(f->channel, &o, &q.base, on_unary_done, f));
        run_until_done(f, f->done + 1);
        assert_int_equal(retry_after_ms, cases[i].retry_after_ms);
    }
}

static void callers_without_the_right_credential_never_reach_the_handler(void **state)
{
    fixture *f = *state;
    assert_int_equal(get(f, "ok", "", 5000), GW_ERR_UNAUTHENTICATED);
    assert_int_equal(get(f, "ok", "wrong", 5000), GW_ERR_UNAUTHENTICATED);
    assert_int_equal(get(f, "ok", "low", 5000), GW_ERR_PERMISSION_DENIED);
    assert_int_equal(f->started, 0);
}

static void a_credential_that_metadata_cannot_carry_fails_the_call_and_nothing_else(void **state)
{
    fixture *f = *state;
    assert_int_equal(get(f, "ok", "go\nod", 5000), GW_ERR_UNAUTHENTICATED);
    assert_int_equal(get(f, "ok", "good", 5000), GW_OK);
}

static void the_clients_deadline_ends_the_call_on_both_sides(void **state)
{
    fixture *f = *state;
    f->stop_when_cancelled = 1;
    /* On a busy machine the short ones pass before the server has seen the call. */
    for (int64_t deadline_ms = 50; f->started == 0; deadline_ms *= 2)
        assert_int_equal(get(f, "hang", "good", deadline_ms), GW_ERR_DEADLINE_EXCEEDED);
    while (f->cancelled == 0)
        gw_loop_run(f->loop);
}

static void the_methods_own_deadline_stands_when_the_client_has_a_longer_one(void **state)
{
    fixture *f = *state;
    gw_rpc_call_options o = {.path = LIST_API_KEYS,
                             .response = &apirelay__auth__v1__list_api_keys_response__descriptor,
                             .credential = GW_STR("good"),
                             .deadline_ms = 20000,
                             .wait_for_ready = true};
    Apirelay__Auth__V1__ListApiKeysRequest q = APIRELAY__AUTH__V1__LIST_API_KEYS_REQUEST__INIT;
    assert_non_null(gw_rpc_unary(f->channel, &o, &q.base, on_unary_done, f));
    run_until_done(f, 1);
    assert_int_equal(f->rc, GW_ERR_DEADLINE_EXCEEDED);
    assert_int_equal(f->cancelled, 1);
}

static void a_client_that_cancels_is_seen_by_the_handler(void **state)
{
    fixture *f = *state;
    gw_rpc_client_call *c = start_get(f, "hang", "good", 20000);
    f->stop_when_started = 1;
    gw_loop_run(f->loop);
    assert_int_equal(f->started, 1);
    gw_rpc_cancel(c);
    f->stop_when_cancelled = 1;
    while (f->cancelled == 0 || f->done == 0)
        gw_loop_run(f->loop);
    assert_int_equal(f->rc, GW_ERR_CANCELLED);
}

static void a_call_that_is_cancelled_before_it_was_sent_ends_all_the_same(void **state)
{
    fixture *f = *state;
    gw_rpc_cancel(start_get(f, "ok", "good", 20000));
    assert_int_equal(f->done, 0); /* never inside the call */
    run_until_done(f, 1);
    assert_int_equal(f->rc, GW_ERR_CANCELLED);
}

static void an_unknown_method_is_unimplemented(void **state)
{
    fixture *f = *state;
    gw_rpc_call_options o = get_options("good", 5000);
    o.path = "/apirelay.auth.v1.ApiKeyService/Nothing";
    Apirelay__Auth__V1__GetApiKeyRequest q = APIRELAY__AUTH__V1__GET_API_KEY_REQUEST__INIT;
    assert_non_null(gw_rpc_unary(f->channel, &o, &q.base, on_unary_done, f));
    run_until_done(f, 1);
    assert_int_equal(f->rc, GW_ERR_UNIMPLEMENTED);
}

static void an_answer_over_the_callers_bound_is_refused(void **state)
{
    fixture *f = *state;
    assert_int_equal(get(f, "big", "good", 5000), GW_ERR_BODY_TOO_LARGE);
    gw_rpc_call_options o = get_options("good", 5000);
    o.max_message_bytes = 8UL << 20;
    Apirelay__Auth__V1__GetApiKeyRequest q = APIRELAY__AUTH__V1__GET_API_KEY_REQUEST__INIT;
    q.id = (char *)(uintptr_t) "big";
    assert_non_null(gw_rpc_unary(f->channel, &o, &q.base, on_unary_done, f));
    run_until_done(f, 2);
    assert_int_equal(f->rc, GW_OK);
}

static void a_request_over_the_servers_bound_is_refused(void **state)
{
    fixture *f = *state;
    size_t size = 5UL << 20;
    char *id = malloc(size);
    assert_non_null(id);
    memset(id, 'x', size);
    id[size - 1] = '\0';
    gw_status rc = get(f, id, "good", 5000);
    free(id);
    assert_int_equal(gw_status_describe(rc)->rpc_code, GW_RPC_RESOURCE_EXHAUSTED);
    assert_int_equal(f->started, 0);
}

static void bytes_that_are_no_message_are_an_invalid_argument(void **state)
{
    fixture *f = *state;
    gw_rpc_call_options o = get_options("good", 5000);
    Apirelay__Auth__V1__GetApiKeyRequest q = APIRELAY__AUTH__V1__GET_API_KEY_REQUEST__INIT;
    q.id = (char *)(uintptr_t) "\xff\xfe";
    assert_non_null(gw_rpc_unary(f->channel, &o, &q.base, on_unary_done, f));
    run_until_done(f, 1);
    assert_int_equal(f->rc, GW_ERR_INVALID_ARGUMENT);
    assert_string_equal(f->err.field, "id");
    assert_int_equal(f->started, 0);
}

static void a_thousand_calls_at_once_are_all_answered(void **state)
{
    fixture *f = *state;
    for (size_t i = 0; i < 1000; i++)
        (void)start_get(f, i % 2 ? "ok" : "later", i % 3 ? "good" : "slow", 20000);
    run_until_done(f, 1000);
    assert_int_equal(f->rc, GW_OK);
    assert_int_equal(f->started, 1000);
}

static void calls_of_a_freed_channel_end_as_cancelled_before_it_returns(void **state)
{
    fixture *f = *state;
    (void)start_get(f, "hang", "good", 20000);
    (void)start_get(f, "hang", "good", 20000);
    start_watch(f, -1);
    f->stop_when_started = 3;
    gw_loop_run(f->loop);
    f->stop_when_done = 99;
    gw_rpc_channel_free(gw_steal(&f->channel));
    assert_int_equal(f->done, 3);
    assert_int_equal(f->rc, GW_ERR_CANCELLED);
    f->stop_when_cancelled = 3;
    while (f->cancelled < 3)
        gw_loop_run(f->loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        CASE(a_unary_call_is_answered),
        CASE(an_error_keeps_its_name_its_message_and_its_field),
        CASE(further_violations_travel_beside_the_first),
        CASE(when_to_try_again_reaches_the_caller),
        CASE(callers_without_the_right_credential_never_reach_the_handler),
        CASE(a_credential_that_metadata_cannot_carry_fails_the_call_and_nothing_else),
        CASE(the_clients_deadline_ends_the_call_on_both_sides),
        CASE(the_methods_own_deadline_stands_when_the_client_has_a_longer_one),
        CASE(a_client_that_cancels_is_seen_by_the_handler),
        CASE(a_call_that_is_cancelled_before_it_was_sent_ends_all_the_same),
        CASE(an_unknown_method_is_unimplemented),
        CASE(an_answer_over_the_callers_bound_is_refused),
        CASE(a_request_over_the_servers_bound_is_refused),
        CASE(bytes_that_are_no_message_are_an_invalid_argument),
        CASE(a_thousand_calls_at_once_are_all_answered),
        CASE(calls_of_a_freed_channel_end_as_cancelled_before_it_returns),
    };
    return cmocka_run_group_tests(tests, setup_group, teardown_group);
}
