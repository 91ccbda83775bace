/*
 * Packing of a usage event of ordinary size in one pass: protobuf-c looks at each field twice, by way of its descriptor.
 * The bytes are protobuf-c's own: fields in the order of their numbers, proto3's zeroes not at all.
 */
#pragma once

#include "event_codec.h"

/*
 * Bytes written to `out`, at most `cap`; 0: the event may not fit, so protobuf-c has to look at it. What event_read_figures() would find
 * in them is noted in `figures` on top of what is there: texts as views into `out`. At 0 they are of no use.
 */
size_t event_pack_usual(const usage_event *e, uint8_t *out, size_t cap, event_figures *figures);
