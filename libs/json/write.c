#include "json/json_internal.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* The shortest of up to `digits` that reads back as the same number; 17 for a double, 9 for a
 * float. */
gw_status gw_json_write_double(gw_buf *out, double v, int digits)
{
    char text[40];

    if (isnan(v))
        gw_buf_append_c(out, "\"NaN\"");
    else if (isinf(v))
        gw_buf_append_c(out, v < 0 ? "\"-Infinity\"" : "\"Infinity\"");
    else {
        for (int precision = digits == 17 ? 15 : 6; precision <= digits; precision++) {
            (void)snprintf(text, sizeof(text), "%.*g", precision, v);
            double back = strtod(text, NULL);
            if (digits == 17 ? back == v : (float)back == (float)v)
                break;
        }
        gw_buf_append_c(out, v == 0 && signbit(v) ? "-0.0" : text); /* "-0" is read as an integer */
    }
    return GW_OK;
}

static gw_status write_bytes(gw_buf *out, const ProtobufCBinaryData *v)
{
    size_t size = 4 * ((v->len + 2) / 3) + 1;

    gw_buf_append_char(out, '"');
    if (v->len > 0 && gw_buf_reserve(out, size))
        out->len += gw_base64_encode(v->data, v->len, out->data + out->len);
    gw_buf_append_char(out, '"');
    return GW_OK;
}

static gw_status write_enum(gw_buf *out, const ProtobufCFieldDescriptor *f, int32_t v)
{
    const ProtobufCEnumValue *value =
        protobuf_c_enum_descriptor_get_value((const ProtobufCEnumDescriptor *)f->descriptor, v);

    if (gw_json_is_null_value(f))
        gw_buf_append_c(out, "null");
    else if (value)
        gw_buf_appendf(out, "\"%s\"", value->name);
    else /* a peer newer than we are */
        gw_buf_appendf(out, "%" PRId32, v);
    return GW_OK;
}

/* Money goes as a string: a double holds it exactly only up to 9 million USD. */
static bool is_money(const ProtobufCFieldDescriptor *f)
{
    return gw_str_ends_with(gw_str_of(f->name), GW_STR("nano_usd"));
}

static gw_status write_int64(gw_buf *out, const ProtobufCFieldDescriptor *f, int64_t v)
{
    gw_buf_appendf(out, is_money(f) ? "\"%" PRId64 "\"" : "%" PRId64, v);
    return GW_OK;
}

static gw_status write_uint64(gw_buf *out, const ProtobufCFieldDescriptor *f, uint64_t v)
{
    gw_buf_appendf(out, is_money(f) ? "\"%" PRIu64 "\"" : "%" PRIu64, v);
    return GW_OK;
}

gw_status gw_json_write_single(gw_buf *out, const ProtobufCFieldDescriptor *f, const void *slot,
                               unsigned depth, gw_error *err)
{
    switch (f->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        gw_buf_appendf(out, "%" PRId32, *(const int32_t *)slot);
        return GW_OK;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        gw_buf_appendf(out, "%" PRIu32, *(const uint32_t *)slot);
        return GW_OK;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        return write_int64(out, f, *(const int64_t *)slot);
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        return write_uint64(out, f, *(const uint64_t *)slot);
    case PROTOBUF_C_TYPE_FLOAT:
        return gw_json_write_double(out, (double)*(const float *)slot, 9);
    case PROTOBUF_C_TYPE_DOUBLE:
        return gw_json_write_double(out, *(const double *)slot, 17);
    case PROTOBUF_C_TYPE_BOOL:
        gw_buf_append_c(out, *(const protobuf_c_boolean *)slot ? "true" : "false");
        return GW_OK;
    case PROTOBUF_C_TYPE_ENUM:
        return write_enum(out, f, *(const int32_t *)slot);
    case PROTOBUF_C_TYPE_STRING:
        gw_buf_append_json(out, gw_str_of(*(char *const *)slot));
        return GW_OK;
    case PROTOBUF_C_TYPE_BYTES:
        return write_bytes(out, (const ProtobufCBinaryData *)slot);
    case PROTOBUF_C_TYPE_MESSAGE:
        return gw_json_write_message(out, *(ProtobufCMessage *const *)slot, depth, err);
    }
    return gw_fail(err, GW_ERR_INTERNAL, "%s has a type that has no JSON", f->name);
}

static gw_status write_list(gw_buf *out, const ProtobufCMessage *m,
                            const ProtobufCFieldDescriptor *f, unsigned depth, gw_error *err)
{
    size_t n = *(const size_t *)gw_json_const_quantifier(m, f);
    const char *items = *(const char *const *)gw_json_const_slot(m, f);
    size_t size = gw_field_value_size(f);

    gw_buf_append_char(out, '[');
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            gw_buf_append_char(out, ',');
        gw_status rc = gw_json_write_single(out, f, items + i * size, depth, err);
        if (rc != GW_OK)
            return rc;
    }
    gw_buf_append_char(out, ']');
    return GW_OK;
}

/* A key as a JSON member name: numbers and bools are quoted (proto3 JSON, "map"). */
static gw_status write_map_key(gw_buf *out, const ProtobufCMessage *entry, gw_error *err)
{
    const ProtobufCFieldDescriptor *key = &entry->descriptor->fields[0];
    bool quote = key->type != PROTOBUF_C_TYPE_STRING;

    if (quote)
        gw_buf_append_char(out, '"');
    gw_status rc = gw_json_write_single(out, key, gw_json_const_slot(entry, key), 0, err);
    gw_buf_append_c(out, quote ? "\":" : ":");
    return rc;
}

static gw_status write_map(gw_buf *out, const ProtobufCMessage *m,
                           const ProtobufCFieldDescriptor *f, unsigned depth, gw_error *err)
{
    size_t n = *(const size_t *)gw_json_const_quantifier(m, f);
    ProtobufCMessage *const *entries = *(ProtobufCMessage * *const *)gw_json_const_slot(m, f);
    const ProtobufCFieldDescriptor *value =
        &((const ProtobufCMessageDescriptor *)f->descriptor)->fields[1];

    gw_buf_append_char(out, '{');
    for (size_t i = 0; i < n; i++) {
        if (!entries[i])
            return gw_fail(err, GW_ERR_INTERNAL, "%s has an unset entry", f->name);
        if (i > 0)
            gw_buf_append_char(out, ',');
        gw_status rc = write_map_key(out, entries[i], err);
        if (rc == GW_OK)
            rc = gw_json_write_single(out, value, gw_json_const_slot(entries[i], value), depth + 1,
                                      err);
        if (rc != GW_OK)
            return rc;
    }
    gw_buf_append_char(out, '}');
    return GW_OK;
}

static bool is_present(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
    if (f->label == PROTOBUF_C_LABEL_REPEATED)
        return true;
    if (gw_json_is_oneof(f) && *(const uint32_t *)gw_json_const_quantifier(m, f) != f->id)
        return false;
    if (f->type == PROTOBUF_C_TYPE_MESSAGE)
        return *(ProtobufCMessage *const *)gw_json_const_slot(m, f) != NULL;
    if (f->label != PROTOBUF_C_LABEL_OPTIONAL || gw_json_is_oneof(f))
        return true;
    return f->type == PROTOBUF_C_TYPE_STRING
               ? *(char *const *)gw_json_const_slot(m, f) != NULL
               : *(const protobuf_c_boolean *)gw_json_const_quantifier(m, f) != 0;
}

static gw_status write_field(gw_buf *out, const ProtobufCMessage *m,
                             const ProtobufCFieldDescriptor *f, unsigned depth, gw_error *err)
{
    char name[GW_JSON_NAME_SIZE];

    gw_json_name(f->name, name);
    gw_buf_appendf(out, "\"%s\":", name);
    if (gw_json_is_map(m->descriptor, f))
        return write_map(out, m, f, depth + 1, err);
    if (f->label == PROTOBUF_C_LABEL_REPEATED)
        return write_list(out, m, f, depth + 1, err);
    return gw_json_write_single(out, f, gw_json_const_slot(m, f), depth + 1, err);
}

gw_status gw_json_write_message(gw_buf *out, const ProtobufCMessage *m, unsigned depth,
                                gw_error *err)
{
    bool first = true;

    if (!m)
        return gw_fail(err, GW_ERR_INTERNAL, "a list or map holds an unset message");
    if (depth > GW_JSON_DEPTH_MAX)
        return gw_fail(err, GW_ERR_INTERNAL, "%s is nested deeper than %d", m->descriptor->name,
                       GW_JSON_DEPTH_MAX);
    gw_json_kind kind = gw_json_kind_of(m->descriptor);
    if (kind != GW_JSON_PLAIN)
        return gw_json_write_known(out, kind, m, depth, err);

    gw_buf_append_char(out, '{');
    for (unsigned i = 0; i < m->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &m->descriptor->fields[i];
        if (!is_present(m, f))
            continue;
        if (!first)
            gw_buf_append_char(out, ',');
        first = false;
        gw_status rc = write_field(out, m, f, depth, err);
        if (rc != GW_OK)
            return rc;
    }
    gw_buf_append_char(out, '}');
    return GW_OK;
}

gw_status gw_json_write(const ProtobufCMessage *m, gw_buf *out, gw_error *err)
{
    size_t mark = out->len;
    gw_status rc = gw_json_write_message(out, m, 1, err);

    if (rc == GW_OK && gw_buf_failed(out))
        rc = gw_fail(err, GW_ERR_NO_MEMORY, "no memory to write %s as JSON", m->descriptor->name);
    if (rc != GW_OK && out->data) {
        out->len = mark;
        out->data[mark] = '\0';
    }
    return rc;
}
