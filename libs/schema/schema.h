/*
 * Schema: what our protos say beyond what protobuf-c keeps at run time, read from the descriptor
 * set that is compiled in.
 *
 * Gives, for every rpc: its full method path, streaming kind, the access and deadline options, whether
 * it may be repeated, its google.api.http bindings; and the FileDescriptorProto bytes that reflection hands out.
 *
 * Thread: built once at start, immutable afterwards, shared freely.
 */
#pragma once

#include "core/map.h"
#include "core/status.h"

#include <protobuf-c/protobuf-c.h>

typedef enum gw_role {
    GW_ROLE_NONE,
    GW_ROLE_VIEWER,
    GW_ROLE_ADMIN,
    GW_ROLE_OWNER
} gw_role; /* viewer < admin < owner */

/* (apirelay.options.v1.access) of an rpc. */
typedef struct gw_access {
    bool declared; /* false: the rpc has no option, and a server that serves it does not start */
    bool anyone; /* no credential needed */
    bool api_key; /* an API key may call */
    gw_role admin; /* lowest admin role that may call; NONE: no admin may */
    gw_str services[8]; /* names of services that may call with their token */
    size_t service_count;
} gw_access;

#define GW_METHOD_DEADLINE_MS 30000 /* of an rpc that says nothing else */

/* One google.api.http binding (google/api/http.proto). */
typedef struct gw_http_binding {
    gw_str method; /* "GET" */
    gw_str path; /* "/admin/api-keys/{id}" */
    gw_str body; /* "", "*" or a field name */
} gw_http_binding;

typedef struct gw_method {
    const ProtobufCServiceDescriptor *service;
    const ProtobufCMethodDescriptor *descriptor;
    gw_str path; /* "/apirelay.auth.v1.ApiKeyService/GetApiKey", NUL-terminated */
    gw_str service_name;
    gw_str name;
    bool client_streaming, server_streaming;
    gw_access access;
    bool idempotent; /* idempotency_level says so: a call may be repeated */
    int64_t max_deadline_ms; /* what a server lets a call take; INT64_MAX: no end */
    int64_t default_deadline_ms; /* what a client gives when it names none; INT64_MAX: none */
    const gw_http_binding *bindings;
    size_t binding_count;
} gw_method;

typedef struct gw_schema gw_schema;

/*
 * Reads a FileDescriptorSet (borrowed) and joins it with the generated service descriptors.
 * GW_ERR_INTERNAL when they do not match.
 */
GW_CHECK gw_status gw_schema_new(const void *descriptor_set, size_t len,
                                 const ProtobufCServiceDescriptor *const *services,
                                 size_t service_count, gw_schema **ret, gw_error *err);
void gw_schema_free(gw_schema *s);
GW_DEFINE_FREEP(gw_schema)

size_t gw_schema_method_count(const gw_schema *s);
const gw_method *gw_schema_method_at(const gw_schema *s, size_t i);
const gw_method *gw_schema_method(const gw_schema *s, gw_str path); /* NULL when unknown */

/* For reflection: bytes of the FileDescriptorProto with that name, or that defines that fully
 * qualified symbol. */
bool gw_schema_file_by_name(const gw_schema *s, gw_str name, gw_str *ret_bytes);
bool gw_schema_file_by_symbol(const gw_schema *s, gw_str symbol, gw_str *ret_bytes);
/* Name of the file that defines a symbol; "" when unknown. */
gw_str gw_schema_file_of_symbol(const gw_schema *s, gw_str symbol);
/* Names of the files that a file imports, directly; for sending a file with its dependencies. */
size_t gw_schema_file_imports(const gw_schema *s, gw_str name, const gw_str **ret_names);

/* Whether a message type of that full name is known. */
bool gw_schema_has_message(const gw_schema *s, gw_str full_name);
/* Name of the file that defines the extension of a message type with that number; "" when unknown. */
gw_str gw_schema_file_of_extension(const gw_schema *s, gw_str type, int32_t number);
/* The numbers of a message type's extensions, at most `max`, in no order; returns how many. */
size_t gw_schema_extension_numbers(const gw_schema *s, gw_str type, int32_t *ret, size_t max);

/* Leading comment of a message, field ("pkg.Message.field") or method, for openapi; "" when the set
 * has none. */
gw_str gw_schema_comment(const gw_schema *s, gw_str full_name);
