/*
 * Protobuf messages as BSON documents by descriptor: JSON names, int64, double, bool, text, arrays of
 * text, nested documents, Timestamp as Date. Unset oneof members, messages and empty texts are left
 * out.
 *
 * Thread: pure; memory from the arena.
 */
#pragma once

#include "core/arena.h"

#include <bson/bson.h>
#include <protobuf-c/protobuf-c.h>

void message_field_to_bson(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f,
                           bson_t *doc);
void message_to_bson(const ProtobufCMessage *m, bson_t *doc);

/* Fields that are absent or of another type keep their default; a text with NUL or bad UTF-8 is of
 * another type, in a list it is left out. */
void message_field_from_bson(gw_arena *a, ProtobufCMessage *m, const ProtobufCFieldDescriptor *f,
                             const bson_t *doc);
void message_from_bson(gw_arena *a, ProtobufCMessage *m, const bson_t *doc);
