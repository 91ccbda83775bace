/*
 * Fields of protobuf messages by their descriptors, for code that treats messages alike: JSON, update masks, documents.
 *
 * Messages are of proto3: a field that is not set is empty, zero or absent (NULL, or another case of its oneof). A oneof of one member
 * stands for presence.
 *
 * Thread: pure.
 */
#pragma once

#include "core/str.h"

#include <protobuf-c/protobuf-c.h>

/* Bytes of a value in its struct, of one element when the field is repeated (protobuf-c.h, ProtobufCFieldDescriptor). */
size_t gw_field_value_size(const ProtobufCFieldDescriptor *f);

bool gw_field_is_set(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f);

/*
 * Makes `to`'s field the same as `from`'s; texts, lists and messages are shared, not copied. `from` NULL clears. Both are of the same
 * type.
 */
void gw_field_share(ProtobufCMessage *to, const ProtobufCMessage *from,
                    const ProtobufCFieldDescriptor *f);

/* By the proto's name or the JSON name ("base_url", "baseUrl"), as in a path of an update mask; NULL when there is none. */
const ProtobufCFieldDescriptor *gw_field_named(const ProtobufCMessageDescriptor *d, gw_str name);
