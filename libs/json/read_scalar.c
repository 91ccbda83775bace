#include "json/json_internal.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

static bool int64_of_double(double v, int64_t *ret)
{
    /* The smallest int64 never comes as a double; what rounds to it lies below. */
    if (!(v > -0x1p63 && v < 0x1p63) || trunc(v) != v)
        return false;
    *ret = (int64_t)v;
    return true;
}

static bool uint64_of_double(double v, uint64_t *ret)
{
    if (!(v >= 0 && v < 0x1p64) || trunc(v) != v)
        return false;
    *ret = (uint64_t)v;
    return true;
}

static bool to_int64(yyjson_val *v, int64_t *ret)
{
    double number = 0;

    if (yyjson_is_uint(v)) {
        *ret = (int64_t)yyjson_get_uint(v);
        return yyjson_get_uint(v) <= INT64_MAX;
    }
    if (yyjson_is_sint(v)) {
        *ret = yyjson_get_sint(v);
        return true;
    }
    if (yyjson_is_real(v))
        return int64_of_double(yyjson_get_real(v), ret);
    if (!yyjson_is_str(v))
        return false;
    return gw_str_to_int64(gw_json_text(v), ret) ||
           (gw_str_to_double(gw_json_text(v), &number) && int64_of_double(number, ret));
}

static bool to_uint64(yyjson_val *v, uint64_t *ret)
{
    double number = 0;

    if (yyjson_is_uint(v)) {
        *ret = yyjson_get_uint(v);
        return true;
    }
    if (yyjson_is_sint(v))
        return false; /* yyjson keeps only negative numbers as signed */
    if (yyjson_is_real(v))
        return uint64_of_double(yyjson_get_real(v), ret);
    if (!yyjson_is_str(v))
        return false;
    return gw_str_to_uint64(gw_json_text(v), ret) ||
           (gw_str_to_double(gw_json_text(v), &number) && uint64_of_double(number, ret));
}

static bool read_signed(gw_json_reader *r, yyjson_val *v, int64_t min, int64_t max, int64_t *ret)
{
    int64_t n;
    if (!to_int64(v, &n) || n < min || n > max)
        return gw_json_refuse(r, "must be an integer from %" PRId64 " to %" PRId64, min, max);
    *ret = n;
    return true;
}

static bool read_unsigned(gw_json_reader *r, yyjson_val *v, uint64_t max, uint64_t *ret)
{
    uint64_t n;
    if (!to_uint64(v, &n) || n > max)
        return gw_json_refuse(r, "must be an integer from 0 to %" PRIu64, max);
    *ret = n;
    return true;
}

/* NaN and the infinities, which proto3 JSON writes as strings, are refused: no field here means
 * them. */
static bool read_double(gw_json_reader *r, yyjson_val *v, double max, double *ret)
{
    double n;

    if (yyjson_is_num(v))
        n = yyjson_get_num(v);
    else if (!yyjson_is_str(v) || !gw_str_to_double(gw_json_text(v), &n))
        return gw_json_refuse(r, "must be a number");
    if (!(n >= -max && n <= max))
        return gw_json_refuse(r, "must be a number from %g to %g", -max, max);
    *ret = n;
    return true;
}

bool gw_json_read_string(gw_json_reader *r, gw_str text, char **ret)
{
    if (gw_str_find(text, '\0') >= 0)
        return gw_json_refuse(r, "must not hold the NUL character");
    if (!gw_str_is_utf8(text))
        return gw_json_refuse(r, "must be valid UTF-8");
    char *copy = gw_str_dup(text);
    if (!copy)
        return gw_json_no_memory(r);
    *ret = copy;
    return true;
}

static bool read_bytes(gw_json_reader *r, yyjson_val *v, ProtobufCBinaryData *ret)
{
    gw_str text = gw_json_text(v);
    size_t cap = text.len / 4 * 3 + 3;

    if (!yyjson_is_str(v))
        return gw_json_refuse(r, "must be a string of base64");
    uint8_t *bytes = (uint8_t *)malloc(cap);
    if (!bytes)
        return gw_json_no_memory(r);
    ptrdiff_t n = gw_base64_decode(text, bytes, cap);
    if (n < 0) {
        free(bytes);
        return gw_json_refuse(r, "must be a string of base64");
    }
    ret->data = bytes;
    ret->len = (size_t)n;
    return true;
}

static bool refuse_enum(gw_json_reader *r, const ProtobufCEnumDescriptor *d)
{
    gw_auto_buf names = {0};
    for (unsigned i = 0; i < d->n_values; i++) {
        gw_buf_append_c(&names, i > 0 ? ", " : "");
        gw_buf_append_c(&names, d->values[i].name);
    }
    return gw_json_refuse(r, "must be one of %s", names.data ? names.data : "");
}

static bool read_enum(gw_json_reader *r, const ProtobufCFieldDescriptor *f, yyjson_val *v,
                      int32_t *ret)
{
    const ProtobufCEnumDescriptor *d = (const ProtobufCEnumDescriptor *)f->descriptor;
    const ProtobufCEnumValue *value = NULL;
    int64_t number = 0;

    if (yyjson_is_null(v)) { /* google.protobuf.NullValue only */
        *ret = 0;
        return true;
    }
    if (yyjson_is_str(v)) {
        gw_auto_free char *name = gw_str_dup(gw_json_text(v));
        if (!name)
            return gw_json_no_memory(r);
        if (strlen(name) == yyjson_get_len(v))
            value = protobuf_c_enum_descriptor_get_value_by_name(d, name);
    } else if (yyjson_is_num(v) && to_int64(v, &number) && number >= INT32_MIN &&
               number <= INT32_MAX) {
        value = protobuf_c_enum_descriptor_get_value(d, (int)number);
    }
    if (!value)
        return refuse_enum(r, d);
    *ret = value->value;
    return true;
}

static bool read_int32(gw_json_reader *r, yyjson_val *v, void *slot)
{
    int64_t n = 0;
    if (!read_signed(r, v, INT32_MIN, INT32_MAX, &n))
        return false;
    *(int32_t *)slot = (int32_t)n;
    return true;
}

static bool read_uint32(gw_json_reader *r, yyjson_val *v, void *slot)
{
    uint64_t n = 0;
    if (!read_unsigned(r, v, UINT32_MAX, &n))
        return false;
    *(uint32_t *)slot = (uint32_t)n;
    return true;
}

static bool read_float(gw_json_reader *r, yyjson_val *v, void *slot)
{
    double n = 0;
    if (!read_double(r, v, (double)FLT_MAX, &n))
        return false;
    *(float *)slot = (float)n;
    return true;
}

static bool read_bool(gw_json_reader *r, yyjson_val *v, void *slot)
{
    if (!yyjson_is_bool(v))
        return gw_json_refuse(r, "must be true or false");
    *(protobuf_c_boolean *)slot = yyjson_get_bool(v);
    return true;
}

bool gw_json_read_scalar(gw_json_reader *r, const ProtobufCFieldDescriptor *f, yyjson_val *v,
                         void *slot)
{
    switch (f->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        return read_int32(r, v, slot);
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        return read_uint32(r, v, slot);
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        return read_signed(r, v, INT64_MIN, INT64_MAX, (int64_t *)slot);
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        return read_unsigned(r, v, UINT64_MAX, (uint64_t *)slot);
    case PROTOBUF_C_TYPE_FLOAT:
        return read_float(r, v, slot);
    case PROTOBUF_C_TYPE_DOUBLE:
        return read_double(r, v, DBL_MAX, (double *)slot);
    case PROTOBUF_C_TYPE_BOOL:
        return read_bool(r, v, slot);
    case PROTOBUF_C_TYPE_ENUM:
        return read_enum(r, f, v, (int32_t *)slot);
    case PROTOBUF_C_TYPE_STRING:
        if (!yyjson_is_str(v))
            return gw_json_refuse(r, "must be a string");
        return gw_json_read_string(r, gw_json_text(v), (char **)slot);
    case PROTOBUF_C_TYPE_BYTES:
        return read_bytes(r, v, (ProtobufCBinaryData *)slot);
    case PROTOBUF_C_TYPE_MESSAGE:
        break;
    }
    return gw_json_refuse(r, "has a type that has no JSON");
}
