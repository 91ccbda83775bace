#include "access/access_fixture.h"

typedef struct kind_of_caller {
    const char *credential;
    gw_caller caller;
    bool is_good;
} kind_of_caller;

/* SECURITY's table, said once more and apart from the code. */
static bool expected(const gw_access *a, const kind_of_caller *k)
{
    if (k->caller.kind == GW_CALLER_API_KEY)
        return a->api_key;
    if (k->caller.kind == GW_CALLER_ADMIN)
        return a->admin != GW_ROLE_NONE && a->admin <= k->caller.role;
    for (size_t i = 0; i < a->service_count; i++) {
        if (gw_str_eq(a->services[i], k->caller.name))
            return true;
    }
    return false;
}

static void every_method_is_called_as_every_kind_of_caller(void **state)
{
    fixture *f = *state;
    const kind_of_caller kinds[] = {
        {RELAY_TOKEN, {.kind = GW_CALLER_SERVICE, .name = GW_STR("relay")}, true},
        {GATEWAY_TOKEN, {.kind = GW_CALLER_SERVICE, .name = GW_STR("admin-gw")}, true},
        {"lcadm_viewer", {.kind = GW_CALLER_ADMIN, .role = GW_ROLE_VIEWER}, true},
        {"lcadm_admin", {.kind = GW_CALLER_ADMIN, .role = GW_ROLE_ADMIN}, true},
        {"lcses_admin", {.kind = GW_CALLER_ADMIN, .role = GW_ROLE_ADMIN}, true},
        {"lcadm_owner", {.kind = GW_CALLER_ADMIN, .role = GW_ROLE_OWNER}, true},
        {"lc_key", {.kind = GW_CALLER_API_KEY}, true},
        {"", {.kind = GW_CALLER_ANYONE}, false},
        {"lcadm_unknown", {.kind = GW_CALLER_ANYONE}, false},
        {"lc_unknown", {.kind = GW_CALLER_ANYONE}, false},
        {"lcsvc_unknown-unknown-unknown-unknown-unknown", {.kind = GW_CALLER_ANYONE}, false},
        {"something-else", {.kind = GW_CALLER_ANYONE}, false},
    };
    size_t calls = 0;
    for (size_t i = 0; i < gw_schema_method_count(f->schema); i++) {
        const gw_method *m = gw_schema_method_at(f->schema, i);
        if (!gw_str_starts_with(m->path, GW_STR("/apirelay.")) || m->access.anyone)
            continue;
        for (size_t k = 0; k < GW_ARRAY_LEN(kinds); k++, calls++) {
            gw_status want = !kinds[k].is_good                 ? GW_ERR_UNAUTHENTICATED
                             : expected(&m->access, &kinds[k]) ? GW_OK
                                                               : GW_ERR_PERMISSION_DENIED;
            size_t started = f->started;
            gw_status rc = call(f, m, kinds[k].credential);
            if (rc != want || (f->started > started) != (want == GW_OK))
                fail_msg("%s as %s: %s", m->path.ptr, kinds[k].credential,
                         gw_status_describe(rc)->name);
        }
    }
    assert_true(calls > 400);
}

static void the_handler_learns_who_calls(void **state)
{
    fixture *f = *state;
    assert_int_equal(call_path(f, GET_API_KEY, "lcses_admin"), GW_OK);
    assert_int_equal(f->kind, GW_CALLER_ADMIN);
    assert_int_equal(f->role, GW_ROLE_ADMIN);
    assert_string_equal(f->name, "s");
    assert_string_equal(f->id, "4");
    assert_string_equal(f->credential, "lcses_admin");
    assert_string_equal(f->identity.last_address, "127.0.0.1");
    assert_int_equal(call_path(f, GET_API_KEY, "lcses_admin"), GW_OK); /* from the cache */
    assert_string_equal(f->id, "4");
    assert_string_equal(f->credential, "lcses_admin");
    assert_int_equal(call_path(f, "/apirelay.auth.v1.KeyAccessService/GetTagKeys", RELAY_TOKEN),
                     GW_OK);
    assert_int_equal(f->kind, GW_CALLER_SERVICE);
    assert_string_equal(f->name, "relay");
}

static void where_an_admin_is_the_gateway_tells_and_nobody_else(void **state)
{
    static const struct {
        const char *told, *forwarder, *address;
    } cases[] = {
        {NULL, NULL, "127.0.0.1"},
        {"203.0.113.9", GATEWAY_TOKEN, "203.0.113.9"},
        {"2001:db8::9", GATEWAY_TOKEN, "2001:db8::9"},
        {"203.0.113.9", NULL, "127.0.0.1"},
        {"203.0.113.9", RELAY_TOKEN, "127.0.0.1"},
        {"203.0.113.9", "lcsvc_unknown-unknown-unknown-unknown-unknown", "127.0.0.1"},
        {"203.0.113.9:80", GATEWAY_TOKEN, "127.0.0.1"},
        {"somewhere", GATEWAY_TOKEN, "127.0.0.1"},
        {NULL, GATEWAY_TOKEN, "127.0.0.1"},
    };
    fixture *f = *state;
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        f->client_address = cases[i].told;
        f->forwarder = cases[i].forwarder;
        assert_int_equal(call_path(f, GET_API_KEY, "lcses_admin"), GW_OK);
        assert_string_equal(f->address, cases[i].address);
        assert_string_equal(f->identity.last_address, "127.0.0.1");
    }
}

static void a_good_answer_is_kept_and_a_bad_one_is_not(void **state)
{
    fixture *f = *state;
    for (int i = 0; i < 3; i++)
        assert_int_equal(call_path(f, GET_API_KEY, "lcadm_admin"), GW_OK);
    assert_int_equal(f->identity.asked, 1);
    for (int i = 0; i < 3; i++)
        assert_int_equal(call_path(f, GET_API_KEY, "lcadm_nobody"), GW_ERR_UNAUTHENTICATED);
    assert_int_equal(f->identity.asked, 4);
}

/* EventSource opens its stream again for as long as the page is there. */
static void only_a_watch_of_a_session_is_unattended(void **state)
{
    static const struct {
        const char *path, *credential;
        bool unattended;
    } cases[] = {
        {GET_API_KEY, "lcses_admin", false},
        {WATCH_METRICS, "lcses_admin", true}, /* not from the cache of the other */
        {WATCH_METRICS, "lcadm_admin", false},
        {GET_API_KEY, "lcadm_owner", false},
    };
    fixture *f = *state;
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        assert_int_equal(call_path(f, cases[i].path, cases[i].credential), GW_OK);
        assert_int_equal(f->identity.last_unattended, cases[i].unattended);
        assert_int_equal(f->identity.asked, i + 1);
    }
}

static void auth_asks_itself_each_time(void **state)
{
    fixture *f = *state;
    gw_error err;
    gw_access_options options = {
        .tokens = f->tokens, .identify = {memory_identify, &f->identity}, .keeps_nothing = true};
    gw_access_checker_free(f->checker);
    assert_int_equal(gw_access_checker_new(f->loop, &options, &f->checker, &err), GW_OK);
    f->inner = gw_access_authorizer(f->checker);
    for (int i = 0; i < 3; i++)
        assert_int_equal(call_path(f, GET_API_KEY, "lcadm_admin"), GW_OK);
    assert_int_equal(f->identity.asked, 3);
}

static void an_answer_that_has_expired_is_not_kept(void **state)
{
    fixture *f = *state;
    f->identity.expires_at_ms = gw_clock_wall_ms(&gw_system_clock) - 1;
    assert_int_equal(call_path(f, GET_API_KEY, "lcadm_admin"), GW_OK);
    assert_int_equal(call_path(f, GET_API_KEY, "lcadm_admin"), GW_OK);
    assert_int_equal(f->identity.asked, 2);
}

static void stop_when_asked(void *arg)
{
    fixture *f = arg;
    if (f->authorized == f->wanted)
        gw_loop_stop(f->loop);
    else
        gw_loop_defer(f->loop, stop_when_asked, f);
}

static void calls_with_one_credential_ask_once(void **state)
{
    fixture *f = *state;
    const gw_method *m = gw_schema_method(f->schema, GW_STR(GET_API_KEY));
    f->identity.hold = true;
    for (int i = 0; i < 20; i++)
        start_call(f, m, i % 2 ? "lcadm_admin" : "lcadm_nobody");
    f->wanted = 20;
    gw_loop_defer(f->loop, stop_when_asked, f);
    gw_loop_run(f->loop);
    assert_int_equal(f->identity.asked, 2);
    release_questions(&f->identity);
    run_until_done(f, 20);
    assert_int_equal(f->started, 10);
}

static void a_call_that_goes_while_auth_is_asked_does_no_harm(void **state)
{
    fixture *f = *state;
    const gw_method *m = gw_schema_method(f->schema, GW_STR(GET_API_KEY));
    f->identity.hold = true;
    start_call(f, m, "lcadm_admin");
    start_call(f, m, "lcadm_owner");
    f->wanted = 2;
    gw_loop_defer(f->loop, stop_when_asked, f);
    gw_loop_run(f->loop);
    gw_rpc_channel_free(gw_steal(&f->channel)); /* the client is gone */
    assert_int_equal(f->done, 2);
    gw_rpc_server_close(f->server, 0, on_server_closed, f);
    release_questions(&f->identity);
    while (!f->server_closed)
        gw_loop_run(f->loop);
}

static void trouble_with_auth_is_unavailable_and_not_kept(void **state)
{
    fixture *f = *state;
    f->identity.rc = GW_ERR_UNAVAILABLE;
    assert_int_equal(call_path(f, GET_API_KEY, "lcadm_admin"), GW_ERR_UNAVAILABLE);
    f->identity.rc = GW_OK;
    assert_int_equal(call_path(f, GET_API_KEY, "lcadm_admin"), GW_OK);
}

static void a_credential_too_long_is_never_asked_about(void **state)
{
    fixture *f = *state;
    char credential[600];
    memset(credential, 'x', sizeof credential);
    memcpy(credential, "lcadm_", 6);
    credential[sizeof credential - 1] = '\0';
    assert_int_equal(call_path(f, GET_API_KEY, credential), GW_ERR_UNAUTHENTICATED);
    assert_int_equal(f->identity.asked, 0);
}

static void the_peers_address_is_cut_out(void **state)
{
    (void)state;
    const char *cases[][2] = {
        {"ipv4:127.0.0.1:50412", "127.0.0.1"},
        {"ipv6:[::1]:50412", "::1"},
        {"ipv6:%5B::1%5D:50412", "::1"},
        {"ipv6:%5Bfe80::1%5D:1", "fe80::1"},
        {"unix:/tmp/x", ""},
        {"", ""},
        {"ipv6:", ""},
        {"ipv6:[::1", ""},
    };
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        gw_str address = gw_access_peer_address(gw_str_of(cases[i][0]));
        if (!gw_str_eq_c(address, cases[i][1]))
            fail_msg("%s: " GW_STR_FMT, cases[i][0], GW_STR_ARG(address));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        CASE(every_method_is_called_as_every_kind_of_caller),
        CASE(the_handler_learns_who_calls),
        CASE(where_an_admin_is_the_gateway_tells_and_nobody_else),
        CASE(a_good_answer_is_kept_and_a_bad_one_is_not),
        CASE(only_a_watch_of_a_session_is_unattended),
        CASE(auth_asks_itself_each_time),
        CASE(an_answer_that_has_expired_is_not_kept),
        CASE(calls_with_one_credential_ask_once),
        CASE(a_call_that_goes_while_auth_is_asked_does_no_harm),
        CASE(trouble_with_auth_is_unavailable_and_not_kept),
        CASE(a_credential_too_long_is_never_asked_about),
        cmocka_unit_test(the_peers_address_is_cut_out),
    };
    return cmocka_run_group_tests(tests, setup_group, teardown_group);
}
