/*
 * What the files of libs/json share: how a protobuf-c message lies in memory, which messages have a
 * JSON form of their own, and the reader's state.
 */
#pragma once

#include "json/field.h"
#include "json/json.h"

/* ---- memory of a message (protobuf-c.h, ProtobufCFieldDescriptor) ---- */

static inline void *gw_json_slot(ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
    return (char *)m + f->offset;
}
static inline const void *gw_json_const_slot(const ProtobufCMessage *m,
                                             const ProtobufCFieldDescriptor *f)
{
    return (const char *)m + f->offset;
}
/* Elements of a repeated field, `case` of a oneof, `has_` of proto2. */
static inline void *gw_json_quantifier(ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
    return (char *)m + f->quantifier_offset;
}
static inline const void *gw_json_const_quantifier(const ProtobufCMessage *m,
                                                   const ProtobufCFieldDescriptor *f)
{
    return (const char *)m + f->quantifier_offset;
}
static inline bool gw_json_is_oneof(const ProtobufCFieldDescriptor *f)
{
    return (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0;
}

/* An initialised message on the heap, for protobuf_c_message_free_unpacked. NULL: no memory. */
ProtobufCMessage *gw_json_new_message(const ProtobufCMessageDescriptor *d);

/* Marks a member of a oneof, or a proto2 scalar, as present. */
void gw_json_mark_present(ProtobufCMessage *m, const ProtobufCFieldDescriptor *f);

/* ---- names.c ---- */

typedef enum gw_json_kind {
    GW_JSON_PLAIN,
    GW_JSON_TIMESTAMP,
    GW_JSON_DURATION,
    GW_JSON_FIELD_MASK,
    GW_JSON_STRUCT,
    GW_JSON_VALUE,
    GW_JSON_LIST_VALUE,
    GW_JSON_WRAPPER, /* BoolValue, StringValue, … */
    GW_JSON_ANY,
} gw_json_kind;
gw_json_kind gw_json_kind_of(const ProtobufCMessageDescriptor *d);
/* The kind of a field's message; PLAIN for scalars. */
gw_json_kind gw_json_field_kind(const ProtobufCFieldDescriptor *f);

/*
 * protobuf-c's descriptors have no map flag: a map is a repeated message nested in its parent, with
 * the name protoc derives from the field's ("headers" -> HeadersEntry), of key = 1 and value = 2.
 */
bool gw_json_is_map(const ProtobufCMessageDescriptor *parent, const ProtobufCFieldDescriptor *f);
bool gw_json_is_null_value(const ProtobufCFieldDescriptor *f); /* enum google.protobuf.NullValue */
/* "api_key.cost_limit" -> "apiKey.costLimit", and back. */
void gw_json_append_camel(gw_buf *out, gw_str path);
void gw_json_append_snake(gw_buf *out, gw_str path);

/* ---- write.c, write_known.c ---- */

gw_status gw_json_write_message(gw_buf *out, const ProtobufCMessage *m, unsigned depth,
                                gw_error *err);
/* One value: a scalar, or the message that `slot` points to. */
gw_status gw_json_write_single(gw_buf *out, const ProtobufCFieldDescriptor *f, const void *slot,
                               unsigned depth, gw_error *err);
gw_status gw_json_write_known(gw_buf *out, gw_json_kind kind, const ProtobufCMessage *m,
                              unsigned depth, gw_error *err);
gw_status gw_json_write_double(gw_buf *out, double v, int digits);

/* ---- read.c, read_scalar.c, read_known.c ---- */

/* Elements and members of one text: a short text must not make much memory. */
#define GW_JSON_VALUES_MAX 1000000
/* Bytes of one refusal; gw_error and gw_json_violation cut it further. */
#define GW_JSON_REFUSAL_SIZE 256
/* As on the wire (rpc/walk.h). */
#define GW_JSON_REPEATED_MAX 100000

typedef struct gw_json_reader {
    gw_json_violations *violations;
    gw_error *err;
    size_t refused; /* violations met */
    size_t values_left; /* of GW_JSON_VALUES_MAX */
    bool stop; /* enough was refused, or no memory */
    gw_status rc;
    char path[256];
    size_t path_len;
} gw_json_reader;

void gw_json_reader_init(gw_json_reader *r, const char *path, gw_json_violations *v, gw_error *err);
/* Both return the mark for gw_json_leave(). A path too long is cut. */
size_t gw_json_enter_member(gw_json_reader *r, gw_str name);
size_t gw_json_enter_index(gw_json_reader *r, size_t i);
void gw_json_leave(gw_json_reader *r, size_t mark);
/* Notes what is wrong at the path; false, so that a refusal is one line. */
bool gw_json_refuse(gw_json_reader *r, const char *format, ...) GW_PRINTF(2, 3);
bool gw_json_no_memory(gw_json_reader *r);
/* Refuses members that stand twice. */
bool gw_json_check_duplicates(gw_json_reader *r, yyjson_val *object);

/* `depth` counts messages as the wire nests them, the root is 1. */
bool gw_json_read_message(gw_json_reader *r, const ProtobufCMessageDescriptor *d, yyjson_val *v,
                          unsigned depth, ProtobufCMessage **ret);
/* Into a zeroed or default slot, which is touched on success only. */
bool gw_json_read_single(gw_json_reader *r, const ProtobufCFieldDescriptor *f, yyjson_val *v,
                         unsigned depth, void *slot);
bool gw_json_read_scalar(gw_json_reader *r, const ProtobufCFieldDescriptor *f, yyjson_val *v,
                         void *slot);
bool gw_json_read_string(gw_json_reader *r, gw_str text, char **ret);
bool gw_json_read_known(gw_json_reader *r, gw_json_kind kind, const ProtobufCMessageDescriptor *d,
                        yyjson_val *v, unsigned depth, ProtobufCMessage **ret);
/* One field of `m` from a value that is not null: singular, list or map; checks the oneof. */
bool gw_json_read_field(gw_json_reader *r, ProtobufCMessage *m, const ProtobufCFieldDescriptor *f,
                        yyjson_val *v, unsigned depth);

static inline gw_str gw_json_text(yyjson_val *v)
{
    return gw_str_n(yyjson_get_str(v), yyjson_get_len(v));
}

static inline void gw_json_message_free(ProtobufCMessage *m)
{
    if (m)
        protobuf_c_message_free_unpacked(m, NULL);
}
static inline void gw_json_message_freep(ProtobufCMessage **p)
{
    gw_json_message_free(*p);
}
#define gw_auto_message __attribute__((cleanup(gw_json_message_freep))) ProtobufCMessage *
