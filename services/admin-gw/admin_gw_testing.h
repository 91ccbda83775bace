/*
 * For the tests of admin-gw: the real schema and its routes, and requests in one line.
 */
#pragma once

#include "rest_call.h"
#include "schema/all.h"
#include "testing/cmocka.h"

typedef struct gateway {
    gw_schema *schema;
    route_table *routes;
    gw_arena *arena;
    gw_error err;
    gw_json_violations more;
} gateway;

static inline int gateway_setup(void **state)
{
    gateway *g = test_calloc(1, sizeof *g);
    if (gw_schema_all(&g->schema, &g->err) != GW_OK ||
        route_table_new(g->schema, &g->routes, &g->err) != GW_OK)
        return -1;
    g->arena = gw_arena_new();
    *state = g;
    return g->arena ? 0 : -1;
}

static inline int gateway_teardown(void **state)
{
    gateway *g = *state;
    gw_arena_free(g->arena);
    route_table_free(g->routes);
    gw_schema_free(g->schema);
    test_free(g);
    return 0;
}

/* "PUT /admin/api-keys/1?updateMask=name" and a body (NULL: none). */
static inline gw_status gateway_build(gateway *g, const char *line, const char *body,
                                      const char *if_match, ProtobufCMessage **ret)
{
    gw_str rest = gw_str_of(line);
    gw_str method;
    gw_str path;
    route_match match;
    assert_true(gw_str_split(&rest, ' ', &method));
    assert_true(gw_str_split(&rest, '?', &path));
    memset(&g->err, 0, sizeof g->err);
    assert_int_equal(route_table_match(g->routes, g->arena, method, path, &match, &g->err), GW_OK);
    rest_input in = {
        .match = &match, .query = rest, .body = gw_str_of(body), .if_match = gw_str_of(if_match)};
    return rest_call_build(&in, g->arena, ret, &g->more, &g->err);
}
