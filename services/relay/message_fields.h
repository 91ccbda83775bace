/*
 * Fields of any message by name, for code that treats several messages alike.
 *
 * Thread: pure. Names are the proto's ("base_url"); asking for a field that is not there is a bug.
 */
#pragma once

#include "core/arena.h"

#include <protobuf-c/protobuf-c.h>

/* A zero-cost look: the field's place in the struct. */
void *message_field(ProtobufCMessage *m, const char *name);
const char *message_text(const ProtobufCMessage *m,
                         const char *name); /* of a string field, never NULL */
void message_set_text(ProtobufCMessage *m, const char *name, const char *value); /* borrowed */
const ProtobufCMessage *message_child(const ProtobufCMessage *m,
                                      const char *name); /* NULL when absent */

/* An empty message, or a shallow copy: what it points to stays the original's. NULL when out of memory. */
ProtobufCMessage *message_make(gw_arena *a, const ProtobufCMessageDescriptor *d);
ProtobufCMessage *message_shallow_copy(gw_arena *a, const ProtobufCMessage *m);
