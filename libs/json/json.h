/*
 * proto3 JSON <-> protobuf-c messages, by descriptor
 * (https://protobuf.dev/programming-guides/json/), with this project's choices: integers are
 * written as numbers, fields named …_nano_usd as strings, and both forms are read; times are RFC
 * 3339 UTC with milliseconds; absent scalar fields are written with their default, absent messages,
 * unset oneof members (also the one-member oneofs that stand for presence) are left out; empty
 * lists and maps are written; bytes are base64; enums go by name; FieldMask is "a.b,c";
 * google.protobuf.Struct, Value and ListValue are plain JSON.
 *
 * Field names are lowerCamelCase of the proto's; the proto's own names are read too. Unknown and
 * duplicate members are refused with their path, all of them together (at most 16). NUL or bad
 * UTF-8 in strings is refused.
 *
 * Thread: reentrant.
 */
#pragma once

#include "core/arena.h"
#include "core/status.h"
#include "core/violations.h"

#include <protobuf-c/protobuf-c.h>
#include <yyjson.h>

#define GW_JSON_DEPTH_MAX 64

/* Further field violations beside the one in gw_error. */
typedef gw_violation gw_json_violation;
typedef gw_violations gw_json_violations;

/* Appends `m` as JSON. GW_ERR_INTERNAL for a message that has no JSON (a bad Timestamp),
 * GW_ERR_NO_MEMORY. */
GW_CHECK gw_status gw_json_write(const ProtobufCMessage *m, gw_buf *out, gw_error *err);

/*
 * Reads `text` into a new message, freed with protobuf_c_message_free_unpacked(m, NULL).
 * GW_ERR_INVALID_JSON naming the offset; GW_ERR_INVALID_ARGUMENT with field and what is allowed.
 * `v` may be NULL.
 */
GW_CHECK gw_status gw_json_read(const ProtobufCMessageDescriptor *d, gw_str text,
                                ProtobufCMessage **ret, gw_json_violations *v, gw_error *err);

/* The same from a parsed value, under the path prefix `path` ("" at the root). */
GW_CHECK gw_status gw_json_read_value(const ProtobufCMessageDescriptor *d, yyjson_val *value,
                                      const char *path, ProtobufCMessage **ret,
                                      gw_json_violations *v, gw_error *err);

/*
 * Sets one field from query-string text (path variables and query parameters of REST): "42",
 * "true", RFC 3339, enums by name or number, a field mask. A repeated field gets one more element, a
 * singular one is replaced. GW_ERR_INVALID_ARGUMENT also for what has no text form.
 */
GW_CHECK gw_status gw_json_set_from_text(ProtobufCMessage *m, const ProtobufCFieldDescriptor *f,
                                         gw_str text, gw_error *err);
/* Descends "api_key.name" or "apiKey.name", making messages on the way. GW_ERR_NOT_FOUND when there
 * is no such field. */
GW_CHECK gw_status gw_json_field_by_path(ProtobufCMessage *root, gw_str path,
                                         ProtobufCMessage **ret_message,
                                         const ProtobufCFieldDescriptor **ret_field, gw_error *err);

/* lowerCamelCase of a proto field name, NUL-terminated into `out`. */
#define GW_JSON_NAME_SIZE 96
void gw_json_name(const char *proto_name, char out[GW_JSON_NAME_SIZE]);

/* Appends the members present in a JSON object, null ones too, as a field mask
 * ("name,limits.requestsPerDay"): messages descended (an empty one names nothing), lists and maps
 * whole. */
GW_CHECK gw_status gw_json_mask_of(const ProtobufCMessageDescriptor *d, yyjson_val *object,
                                   gw_buf *out, gw_error *err);
