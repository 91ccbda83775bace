#include "admin_gw_testing.h"

#include "session.h"

#include "apirelay/auth/v1/api_key_service.pb-c.h"
#include "apirelay/auth/v1/session_service.pb-c.h"

#include <stdio.h>

/* Builds what must succeed; the JSON of the request is what is compared. */
static void assert_builds(gateway *g, const char *line, const char *body, const char *if_match,
                          const char *const *parts)
{
    ProtobufCMessage *request = NULL;
    gw_auto_buf json = {0};
    if (gateway_build(g, line, body, if_match, &request) != GW_OK)
        fail_msg("%s: %s", line, g->err.message);
    gw_status rc = gw_json_write(request, &json, &g->err);
    protobuf_c_message_free_unpacked(request, NULL);
    assert_int_equal(rc, GW_OK);
    for (; *parts; parts++) {
        if (!gw_str_contains(gw_buf_str(&json), gw_str_of(*parts)))
            fail_msg("%s: %s is not in %s", line, *parts, json.data);
    }
}

static void path_query_body_and_if_match_meet_in_one_request(void **state)
{
    static const struct {
        const char *line, *body, *if_match;
        const char *parts[6];
    } cases[] = {
        {"GET /admin/api-keys/65f0", NULL, NULL, {"\"id\":\"65f0\""}},
        {"GET /admin/api-keys?pageSize=7&q=a+b%26c&client_id=x",
         NULL,
         NULL,
         {"\"pageSize\":7", "\"q\":\"a b&c\"", "\"clientId\":\"x\""}},
        {"GET /admin/usage?from=2026-11-01T00:00:00Z&groupBy=model",
         NULL,
         NULL,
         {"\"from\":\"2026-11-01T00:00:00.000Z\"", "\"groupBy\":\"model\""}},
        {"POST /admin/api-keys",
         "{\"name\":\"n\",\"limits\":{\"tokensPerDay\":0}}",
         NULL,
         {"\"apiKey\":{", "\"name\":\"n\"", "\"tokensPerDay\":0"}},
        {"POST /admin/api-keys/1/suspend", NULL, NULL, {"\"id\":\"1\"", "\"reason\":\"\""}},
        {"POST /admin/api-keys/1/suspend",
         "{\"reason\":\"r\"}",
         "\"v3\"",
         {"\"id\":\"1\"", "\"reason\":\"r\"", "\"etag\":\"v3\""}},
        {"DELETE /admin/api-keys/1?reason=old", NULL, "*", {"\"reason\":\"old\"", "\"etag\":\"\""}},
        {"PUT /admin/prices", "{}", "v9", {"\"etag\":\"v9\"", "\"priceBook\":{"}},
    };
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++)
        assert_builds(*state, cases[i].line, cases[i].body, cases[i].if_match, cases[i].parts);
}

static void the_mask_is_what_stands_in_the_body(void **state)
{
    static const struct {
        const char *query, *body, *mask;
    } cases[] = {
        {"", "{\"name\":\"n\"}", "name"},
        {"", "{\"name\":null}", "name"},
        {"", "{\"limits\":{\"tokensPerDay\":1,\"costLimit\":null}}",
         "limits.tokensPerDay,limits.costLimit"},
        {"", "{\"limits\":{}}", "limits"},
        {"", "{\"limits\":null,\"name\":\"n\"}", "limits,name"},
        {"", "{\"permissions\":{\"features\":{}}}", "permissions.features"},
        {"", "{\"permissions\":{\"models\":[]}}", "permissions.models"},
        {"", "{\"name\":\"n\",\"etag\":\"v1\"}", "name"},
        {"?updateMask=name", "{\"name\":\"n\",\"limits\":null}", "name"},
        {"?update_mask=limits", "{\"name\":\"n\",\"limits\":{\"costLimit\":1}}",
         "limits.costLimit"},
        {"?updateMask=limits.cost_limit", "{\"name\":\"n\",\"limits\":null}", "limits.costLimit"},
        {"?updateMask=name,%20limits", "{\"limits\":{},\"name\":\"n\"}", "name,limits"},
    };
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        char line[128];
        char mask[128];
        const char *const parts[] = {mask, NULL};
        (void)snprintf(line, sizeof line, "PATCH /admin/api-keys/1%s", cases[i].query);
        (void)snprintf(mask, sizeof mask, "\"updateMask\":\"%s\"", cases[i].mask);
        assert_builds(*state, line, cases[i].body, NULL, parts);
    }
}

static void what_is_wrong_is_refused_by_its_name(void **state)
{
    static const struct {
        const char *line, *body, *if_match, *field;
        gw_status rc;
    } cases[] = {
        {"GET /admin/api-keys?nope=1", NULL, NULL, "nope", GW_ERR_INVALID_ARGUMENT},
        {"GET /admin/api-keys?pageSize=x", NULL, NULL, "pageSize", GW_ERR_INVALID_ARGUMENT},
        {"GET /admin/api-keys?page_size=1.5", NULL, NULL, "page_size", GW_ERR_INVALID_ARGUMENT},
        {"GET /admin/api-keys?pageSize=1&page_size=2", NULL, NULL, "page_size",
         GW_ERR_INVALID_ARGUMENT},
        {"GET /admin/api-keys?q=%zz", NULL, NULL, "q", GW_ERR_INVALID_ARGUMENT},
        {"GET /admin/api-keys/1?id=2", NULL, NULL, "id", GW_ERR_INVALID_ARGUMENT},
        {"GET /admin/usage?from=yesterday", NULL, NULL, "from", GW_ERR_INVALID_ARGUMENT},
        {"GET /admin/usage", "{}", NULL, "", GW_ERR_INVALID_ARGUMENT},
        {"POST /admin/api-keys", NULL, NULL, "", GW_ERR_INVALID_ARGUMENT},
        {"POST /admin/api-keys", "[]", NULL, "", GW_ERR_INVALID_ARGUMENT},
        {"POST /admin/api-keys", "{\"name\":", NULL, "", GW_ERR_INVALID_JSON},
        {"POST /admin/api-keys", "{\"nmae\":\"x\"}", NULL, "nmae", GW_ERR_INVALID_ARGUMENT},
        {"POST /admin/api-keys", "{\"permissions\":{\"maxTokens\":\"x\"}}", NULL,
         "permissions.maxTokens", GW_ERR_INVALID_ARGUMENT},
        {"POST /admin/api-keys", "{\"name\":\"a\",\"name\":\"b\"}", NULL, "name",
         GW_ERR_INVALID_ARGUMENT},
        {"POST /admin/api-keys?apiKey.name=x", "{}", NULL, "apiKey.name", GW_ERR_INVALID_ARGUMENT},
        {"POST /admin/api-keys/1/suspend", "{\"id\":\"2\"}", NULL, "id", GW_ERR_INVALID_ARGUMENT},
        {"POST /admin/api-keys/1/suspend?reason=x", "{}", NULL, "reason", GW_ERR_INVALID_ARGUMENT},
        {"POST /admin/api-keys/1/suspend", "{\"etag\":\"v1\"}", "\"v2\"", "etag",
         GW_ERR_INVALID_ARGUMENT},
        {"DELETE /admin/api-keys/1", NULL, "W/\"v1\"", "If-Match", GW_ERR_INVALID_ARGUMENT},
        {"DELETE /admin/api-keys/1", NULL, "\"a\", \"b\"", "If-Match", GW_ERR_INVALID_ARGUMENT},
        {"POST /admin/api-keys", "{}", "\"a\"", "If-Match", GW_ERR_INVALID_ARGUMENT},
        {"PUT /admin/api-keys/1", "{}", NULL, "", GW_ERR_INVALID_ARGUMENT},
        {"PUT /admin/api-keys/1", "{\"etag\":\"v1\"}", NULL, "", GW_ERR_INVALID_ARGUMENT},
        {"PUT /admin/api-keys/1?updateMask=limits", "{\"name\":\"n\"}", NULL, "updateMask",
         GW_ERR_INVALID_ARGUMENT},
        {"PUT /admin/api-keys/1?updateMask=", "{\"name\":\"n\"}", NULL, "updateMask",
         GW_ERR_INVALID_ARGUMENT},
        {"PUT /admin/api-keys/1?updateMask=nam", "{\"name\":\"n\"}", NULL, "updateMask",
         GW_ERR_INVALID_ARGUMENT},
    };
    gateway *g = *state;
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        ProtobufCMessage *request = NULL;
        gw_status rc = gateway_build(g, cases[i].line, cases[i].body, cases[i].if_match, &request);
        if (rc != cases[i].rc || strcmp(g->err.field, cases[i].field) != 0)
            fail_msg("%s %s: %d, field \"%s\": %s", cases[i].line,
                     cases[i].body ? cases[i].body : "", (int)rc, g->err.field, g->err.message);
        assert_null(request);
    }
}

static void all_violations_are_told_together(void **state)
{
    gateway *g = *state;
    ProtobufCMessage *request = NULL;
    assert_int_equal(gateway_build(g, "PUT /admin/api-keys/1?x=1&y=2",
                                   "{\"nope\":1,\"limits\":{\"tokensPerDay\":\"z\"}}", NULL,
                                   &request),
                     GW_ERR_INVALID_ARGUMENT);
    assert_string_equal(g->err.field, "nope");
    assert_int_equal(g->more.count, 3);
    assert_string_equal(g->more.items[0].field, "limits.tokensPerDay");
    assert_string_equal(g->more.items[1].field, "x");
    assert_string_equal(g->more.items[2].field, "y");
    assert_string_equal(g->more.items[2].description, "unknown query parameter");
}

static void a_query_without_end_is_refused(void **state)
{
    gateway *g = *state;
    gw_auto_buf line = {0};
    ProtobufCMessage *request = NULL;
    gw_buf_append_c(&line, "GET /admin/api-keys?");
    for (int i = 0; i < 1000; i++)
        gw_buf_append_c(&line, "x=1&");
    assert_int_equal(gateway_build(g, line.data, NULL, NULL, &request), GW_ERR_INVALID_ARGUMENT);
    assert_int_equal(g->more.count, GW_ARRAY_LEN(g->more.items));
}

static void the_sign_in_says_nothing_of_where_it_comes_from(void **state)
{
    gateway *g = *state;
    ProtobufCMessage *request = NULL;
    route_match match;
    assert_int_equal(route_table_match(g->routes, g->arena, GW_STR("POST"),
                                       GW_STR("/admin/session"), &match, &g->err),
                     GW_OK);
    rest_input in = {.match = &match,
                     .body = GW_STR("{\"username\":\"u\",\"address\":\"::1\",\"userAgent\":\"x\"}"),
                     .own_fields = session_own_fields};
    assert_int_equal(rest_call_build(&in, g->arena, &request, &g->more, &g->err),
                     GW_ERR_INVALID_ARGUMENT);
    assert_string_equal(g->err.field, "address");
    assert_string_equal(g->more.items[0].field, "userAgent");

    in.body = GW_STR("{\"username\":\"u\",\"password\":\"p\"}");
    gw_ip ip;
    assert_true(gw_ip_parse(GW_STR("::ffff:10.0.0.1"), &ip));
    assert_int_equal(rest_call_build(&in, g->arena, &request, &g->more, &g->err), GW_OK);
    assert_int_equal(session_fill_sign_in(request, &ip, GW_STR("agent"), &g->err), GW_OK);
    Apirelay__Auth__V1__CreateSessionRequest *r =
        (Apirelay__Auth__V1__CreateSessionRequest *)(void *)request;
    assert_string_equal(r->username, "u");
    assert_string_equal(r->address, "10.0.0.1");
    assert_string_equal(r->user_agent, "agent");
    protobuf_c_message_free_unpacked(request, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(path_query_body_and_if_match_meet_in_one_request),
        cmocka_unit_test(the_mask_is_what_stands_in_the_body),
        cmocka_unit_test(what_is_wrong_is_refused_by_its_name),
        cmocka_unit_test(all_violations_are_told_together),
        cmocka_unit_test(a_query_without_end_is_refused),
        cmocka_unit_test(the_sign_in_says_nothing_of_where_it_comes_from),
    };
    return cmocka_run_group_tests(tests, gateway_setup, gateway_teardown);
}
