/*
 * Walk of protobuf bytes by descriptor, before protobuf-c unpacks them. No recursion, no
 * allocation.
 *
 * protobuf-c 1.4 recurses once a nesting level and crashed on a 34 KB message nested 10,000 deep;
 * it also accepts NUL and invalid UTF-8 in strings. The walk refuses: depth over GW_WALK_DEPTH_MAX,
 * truncated or overlong varints, lengths past the end, groups, NUL or invalid UTF-8 in a string,
 * more than GW_WALK_REPEATED_MAX elements of one repeated field a message.
 */
#pragma once

#include "core/status.h"
#include "core/str.h"

#include <protobuf-c/protobuf-c.h>

#define GW_WALK_DEPTH_MAX    64
#define GW_WALK_REPEATED_MAX 100000

/* GW_ERR_INVALID_ARGUMENT naming the field's path. */
GW_CHECK gw_status gw_walk(const ProtobufCMessageDescriptor *d, gw_str bytes, gw_error *err);
