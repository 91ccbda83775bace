/*
 * Protobuf messages that live in an arena: made, copied and filled without a free.
 *
 * Out of memory gives NULL (empty texts for message_text). Thread: as the arena.
 */
#pragma once

#include "core/arena.h"

#include <google/protobuf/timestamp.pb-c.h>
#include <protobuf-c/protobuf-c.h>

/* A message of `d` with its defaults. */
void *message_new(gw_arena *a, const ProtobufCMessageDescriptor *d);
/* A deep copy; NULL for NULL. */
void *message_copy(gw_arena *a, const ProtobufCMessage *m);
/* Whether both, of the same type, say the same; false, too, when out of memory. */
bool message_is_same(gw_arena *a, const ProtobufCMessage *x, const ProtobufCMessage *y);

/* A NUL-terminated copy for a string field. */
char *message_text(gw_arena *a, gw_str s);
/* NULL when `wall_ms` is 0, which stands for "never" in this service. */
Google__Protobuf__Timestamp *message_time(gw_arena *a, int64_t wall_ms);
/* In the years 1-9999, the nanos of one second: JSON gives no other, gRPC might. */
bool message_time_is_valid(const Google__Protobuf__Timestamp *t);
/* 0 for NULL; out of range is cut to years 1-9999. */
int64_t message_time_ms(const Google__Protobuf__Timestamp *t);

/* Gives `to` each field that `from` has and it lacks, in messages of both member by member; texts and
 * messages are shared. Both are of the same type. */
void message_fill_absent(ProtobufCMessage *to, const ProtobufCMessage *from);
/* The message behind a message field, NULL when absent or of another type. */
ProtobufCMessage *message_child(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f);
