#include "admin_gw_testing.h"

#include "apirelay/auth/v1/api_key_service.pb-c.h"

#include <stdlib.h>

static gw_status match(gateway *g, const char *method, const char *path, route_match *ret)
{
    return route_table_match(g->routes, g->arena, gw_str_of(method), gw_str_of(path), ret, &g->err);
}

static void every_route_that_was_asked_for_leads_to_its_rpc(void **state)
{
    static const struct {
        const char *method, *path, *rpc;
        route_backend backend;
    } cases[] = {
        {"GET", "/admin/api-keys", "ListApiKeys", ROUTE_AUTH},
        {"POST", "/admin/api-keys", "CreateApiKey", ROUTE_AUTH},
        {"GET", "/admin/api-keys/1", "GetApiKey", ROUTE_AUTH},
        {"PUT", "/admin/api-keys/1", "UpdateApiKey", ROUTE_AUTH},
        {"PATCH", "/admin/api-keys/1", "UpdateApiKey", ROUTE_AUTH},
        {"DELETE", "/admin/api-keys/1", "RevokeApiKey", ROUTE_AUTH},
        {"POST", "/admin/api-keys/1/regenerate", "RegenerateApiKey", ROUTE_AUTH},
        {"POST", "/admin/api-keys/1/suspend", "SuspendApiKey", ROUTE_AUTH},
        {"POST", "/admin/api-keys/1/resume", "ResumeApiKey", ROUTE_AUTH},
        {"POST", "/admin/session", "CreateSession", ROUTE_AUTH},
        {"GET", "/admin/session", "GetSession", ROUTE_AUTH},
        {"DELETE", "/admin/session", "DeleteSession", ROUTE_AUTH},
        {"GET", "/admin/usage", "GetUsage", ROUTE_USAGE},
        {"GET", "/admin/usage/1", "GetKeyUsage", ROUTE_USAGE},
        {"GET", "/admin/metrics", "GetMetrics", ROUTE_USAGE},
        {"GET", "/admin/metrics/stream", "WatchMetrics", ROUTE_USAGE},
        {"GET", "/admin/costs", "GetCosts", ROUTE_USAGE},
        {"GET", "/admin/logs", "ListLogs", ROUTE_USAGE},
        {"GET", "/admin/alerts", "ListAlerts", ROUTE_USAGE},
        {"POST", "/admin/alerts", "CreateAlertRule", ROUTE_USAGE},
        {"POST", "/admin/alert-rules", "CreateAlertRule", ROUTE_USAGE},
        {"GET", "/admin/providers/openai", "GetProvider", ROUTE_RELAY},
        {"HEAD", "/admin/models", "ListModelRoutes", ROUTE_RELAY},
        {"GET", "/admin/audit/verify", "VerifyAuditLog", ROUTE_AUTH},
    };
    gateway *g = *state;
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        route_match m;
        if (match(g, cases[i].method, cases[i].path, &m) != GW_OK)
            fail_msg("%s %s: %s", cases[i].method, cases[i].path, g->err.message);
        assert_true(gw_str_eq_c(m.route->method->name, cases[i].rpc));
        assert_int_equal(m.route->backend, cases[i].backend);
    }
}

static void every_binding_of_the_schema_is_a_route(void **state)
{
    gateway *g = *state;
    size_t bindings = 0;
    for (size_t i = 0; i < gw_schema_method_count(g->schema); i++)
        bindings += gw_schema_method_at(g->schema, i)->binding_count;
    assert_true(bindings > 20);
    assert_int_equal(route_table_count(g->routes), bindings);
}

static void a_stream_of_answers_is_served_and_one_of_requests_is_not(void **state)
{
    gateway *g = *state;
    for (size_t i = 0; i < route_table_count(g->routes); i++)
        assert_false(route_table_at(g->routes, i)->method->client_streaming);
    route_match m;
    assert_int_equal(match(g, "GET", "/admin/metrics/stream", &m), GW_OK);
    assert_true(m.route->method->server_streaming);
}

static void another_method_is_told_which_ones_there_are(void **state)
{
    gateway *g = *state;
    route_match m;
    assert_int_equal(match(g, "DELETE", "/admin/api-keys", &m), GW_ERR_METHOD_NOT_ALLOWED);
    assert_null(m.route);
    assert_true(gw_str_eq_c(m.allow, "GET, HEAD, POST"));
    assert_int_equal(match(g, "OPTIONS", "/admin/usage", &m), GW_ERR_METHOD_NOT_ALLOWED);
    assert_true(gw_str_eq_c(m.allow, "GET, HEAD"));
}

static void paths_that_only_look_alike_are_not_found(void **state)
{
    static const char *const paths[] = {
        "/",
        "/admin",
        "/admin/api-keys/",
        "//admin/api-keys",
        "/admin//api-keys",
        "",
        "admin",
        "/Admin/api-keys",
        "/admin/api-keys/1/",
        "/admin/api-keys/1/delete",
        "/v1/usage",
        "/a/b/c/d/e/f/g/h/i/j",
        "/admin/api%2Dkeys",
    };
    gateway *g = *state;
    for (size_t i = 0; i < GW_ARRAY_LEN(paths); i++) {
        route_match m;
        if (match(g, "GET", paths[i], &m) != GW_ERR_NOT_FOUND)
            fail_msg("%s was found", paths[i]);
    }
}

static void a_variable_is_decoded_and_may_hold_a_slash(void **state)
{
    gateway *g = *state;
    route_match m;
    assert_int_equal(match(g, "GET", "/admin/providers/a%2Fb%20c+d", &m), GW_OK);
    assert_int_equal(m.variable_count, 1);
    assert_true(gw_str_eq_c(m.variables[0].name, "name"));
    assert_true(gw_str_eq_c(m.variables[0].value, "a/b c+d"));
}

static void a_malformed_escape_is_refused(void **state)
{
    gateway *g = *state;
    route_match m;
    assert_int_equal(match(g, "GET", "/admin/providers/a%2", &m), GW_ERR_INVALID_ARGUMENT);
    assert_int_equal(match(g, "GET", "/admin/providers/%00", &m), GW_ERR_INVALID_ARGUMENT);
    assert_int_equal(match(g, "GET", "/admin/providers/%ff", &m), GW_ERR_INVALID_ARGUMENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_route_that_was_asked_for_leads_to_its_rpc),
        cmocka_unit_test(every_binding_of_the_schema_is_a_route),
        cmocka_unit_test(a_stream_of_answers_is_served_and_one_of_requests_is_not),
        cmocka_unit_test(another_method_is_told_which_ones_there_are),
        cmocka_unit_test(paths_that_only_look_alike_are_not_found),
        cmocka_unit_test(a_variable_is_decoded_and_may_hold_a_slash),
        cmocka_unit_test(a_malformed_escape_is_refused),
    };
    return cmocka_run_group_tests(tests, gateway_setup, gateway_teardown);
}
