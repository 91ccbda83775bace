/*
 * Route table: which rpc a method and path mean, built from the google.api.http bindings of the
 * schema. Nothing here knows a single route.
 *
 * A template is literal segments and `{field}` variables of one segment each. Where several
 * templates fit a path, the first literal segment wins over a variable ("/admin/audit/verify" over
 * "/admin/audit/{id}"). A variable takes "%2F" as part of its value and is never empty; a trailing
 * slash is another path.
 *
 * Thread: immutable after it was built.
 */
#pragma once

#include "core/arena.h"
#include "schema/schema.h"

#define ROUTE_SEGMENTS_MAX  8
#define ROUTE_VARIABLES_MAX 4

/* Who answers: the service that owns the rpc's package. */
typedef enum route_backend { ROUTE_AUTH, ROUTE_RELAY, ROUTE_USAGE } route_backend;
const char *route_backend_name(route_backend b); /* "auth" */

typedef struct route_segment {
    gw_str text; /* literal, or the field's name */
    bool is_variable;
} route_segment;

typedef struct route {
    const gw_method *method;
    const gw_http_binding *binding;
    size_t binding_index; /* 0: the rpc's main binding */
    route_backend backend;
    route_segment segments[ROUTE_SEGMENTS_MAX];
    size_t segment_count;
    const ProtobufCFieldDescriptor *body_field; /* NULL: no body, or the whole request */
    bool body_is_request; /* body: "*" */
} route;

typedef struct route_match {
    const route *route; /* NULL unless found */
    struct {
        gw_str name; /* as the template has it */
        gw_str value; /* decoded, in the arena given */
    } variables[ROUTE_VARIABLES_MAX];
    size_t variable_count;
    gw_str allow; /* for 405: "GET, HEAD, POST", in the arena */
} route_match;

typedef struct route_table route_table;

/*
 * Takes every rpc of `schema` (borrowed) that has a binding. GW_ERR_INTERNAL, naming the rpc, for
 * what cannot be served: two bindings that fit the same requests, a malformed template, a variable
 * or body that is no field of the request, a stream of requests, a package of no backend.
 */
GW_CHECK gw_status route_table_new(const gw_schema *schema, route_table **ret, gw_error *err);
void route_table_free(route_table *t);
GW_DEFINE_FREEP(route_table)

size_t route_table_count(const route_table *t);
const route *route_table_at(const route_table *t, size_t i);

/*
 * `path` is raw. HEAD is matched as GET. GW_ERR_NOT_FOUND; GW_ERR_METHOD_NOT_ALLOWED with
 * ret->allow; GW_ERR_INVALID_ARGUMENT for a malformed escape in a variable. `ret` is always set.
 */
GW_CHECK gw_status route_table_match(const route_table *t, gw_arena *a, gw_str method, gw_str path,
                                     route_match *ret, gw_error *err);
