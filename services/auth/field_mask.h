/*
 * Field masks: which fields of a request are written into what is stored, and which may be.
 *
 * Paths are proto or JSON names ("limits.cost_limit", "limits.costLimit"); a message's path stands for
 * all of it. A path named but absent in the request is cleared. "etag" is a condition, not a value.
 *
 * Thread: pure; memory from the arena.
 */
#pragma once

#include "core/arena.h"
#include "core/violations.h"

#include <protobuf-c/protobuf-c.h>

/* Of a path by proto names. */
typedef bool (*field_is_writable)(const char *path);

/*
 * Writes `from`'s fields into `to`, a message of the same type. `paths` are the mask's; none means every
 * field present in `from`. Unknown and read-only paths are violations, and nothing is written then. With
 * the costLimit of KeyLimits written and its twin not named, the twin is cleared, so that the pair can be
 * made anew (a message has one KeyLimits at most).
 */
void field_mask_apply(gw_arena *a, ProtobufCMessage *to, const ProtobufCMessage *from,
                      char *const *paths, size_t n, field_is_writable is_writable,
                      gw_violations *v);
/* Whether the write named the path or something above it, or (no paths) `from` has it. */
bool field_mask_names(const ProtobufCMessage *from, char *const *paths, size_t n, const char *path);
