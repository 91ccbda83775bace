/*
 * JSON Schemas (as OpenAPI 3.1 takes them) of messages, as libs/json writes them. Messages are
 * named "apirelay.auth.v1.ApiKey" under #/components/schemas and written once each.
 *
 * Thread: one owner.
 */
#pragma once

#include "core/map.h"
#include "schema/schema.h"

#include <protobuf-c/protobuf-c.h>
#include <yyjson.h>

typedef struct openapi_schemas {
    yyjson_mut_doc *doc; /* borrowed */
    const gw_schema *schema; /* borrowed; for comments */
    yyjson_mut_val *components; /* object: name → schema */
} openapi_schemas;

/* {"$ref": …}; adds the message, and all it holds, to the components. */
yyjson_mut_val *openapi_schema_ref(openapi_schemas *s, const ProtobufCMessageDescriptor *d);

/* The schema of one field of `parent`, with its comment as description. */
yyjson_mut_val *openapi_schema_of_field(openapi_schemas *s,
                                        const ProtobufCMessageDescriptor *parent,
                                        const ProtobufCFieldDescriptor *f);

/* An object schema with those fields of `d` that `is_wanted` (NULL: all) says. */
yyjson_mut_val *openapi_schema_of_fields(openapi_schemas *s, const ProtobufCMessageDescriptor *d,
                                         bool (*is_wanted)(const void *arg,
                                                           const ProtobufCFieldDescriptor *f),
                                         const void *arg);

/* A field that one query parameter can set: everything but messages without a text form. */
bool openapi_schema_has_text_form(const ProtobufCFieldDescriptor *f);

/* The comment of a symbol, in one line, copied into the document; NULL when it has none. */
yyjson_mut_val *openapi_comment(openapi_schemas *s, gw_str full_name);
