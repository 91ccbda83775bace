/*
 * REST call: the request message of an rpc, made of a path's variables, the query, the body and
 * If-Match. Pure: bytes in, a message or every violation out.
 *
 * - Path variables and query parameters set fields by their JSON or proto name; a repeated field
 *   takes a parameter several times, any other one once.
 * - The body is the whole request ("*") or one field of it, as the http rule says; then the query
 *   may not set what the body holds, nor the body what the path gives.
 * - PUT and PATCH of a request with `update_mask` get the mask of the body's members
 *   (update_mask.h).
 * - If-Match sets the field `etag`.
 *
 * Thread: reentrant.
 */
#pragma once

#include "route_table.h"
#include "json/json.h"

#define REST_QUERY_PARAMETERS_MAX 64

typedef struct rest_input {
    const route_match *match;
    gw_str query; /* raw */
    gw_str body; /* "" when there is none */
    gw_str if_match; /* the header's value; "" when absent */
    const char *const *own_fields; /* proto names of fields that the gateway sets and a caller may
                                      not, NULL at the end; may be NULL */
} rest_input;

/*
 * The request is freed with protobuf_c_message_free_unpacked(m, NULL). Fails with GW_ERR_INVALID_JSON
 * (naming the offset), GW_ERR_INVALID_ARGUMENT or GW_ERR_NO_MEMORY; the first violation is in `err`,
 * the others in `v`, their fields named as the caller sees them: body members by JSON path, query
 * parameters as given.
 */
GW_CHECK gw_status rest_call_build(const rest_input *in, gw_arena *a, ProtobufCMessage **ret,
                                   gw_json_violations *v, gw_error *err);

/* A field of the request by its proto name; NULL when it has none. */
const ProtobufCFieldDescriptor *rest_field(const ProtobufCMessageDescriptor *d, const char *name);
/* Whether the rpc takes the members of its body as an update mask. */
bool rest_call_has_mask(const route *r);
/* The request's string field `etag`, NULL when it has none. */
const ProtobufCFieldDescriptor *rest_call_etag(const route *r);
/* A variable of the route's path. */
bool rest_call_is_variable(const route *r, const ProtobufCFieldDescriptor *f);
