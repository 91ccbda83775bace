/* JSON forms of the well-known types: https://protobuf.dev/programming-guides/json/ */
#include "json/json_internal.h"

#include "core/clock.h"

#include <google/protobuf/duration.pb-c.h>
#include <google/protobuf/field_mask.pb-c.h>
#include <google/protobuf/struct.pb-c.h>
#include <google/protobuf/timestamp.pb-c.h>
#include <stdlib.h>

#define DURATION_SECONDS_MAX 315576000000 /* 10,000 years, duration.proto */

static bool read_timestamp(gw_json_reader *r, yyjson_val *v, Google__Protobuf__Timestamp *t)
{
    int64_t ms;

    if (!yyjson_is_str(v) || !gw_rfc3339_parse(gw_json_text(v), &ms))
        return gw_json_refuse(r, "must be a time as 2026-11-23T06:45:21Z");
    int64_t rest = ms % 1000 < 0 ? ms % 1000 + 1000 : ms % 1000;
    t->seconds = (ms - rest) / 1000;
    t->nanos = (int32_t)(rest * 1000000);
    return true;
}

/* [-]<digits>[.<1-9 digits>]s */
static bool parse_duration(gw_str text, int64_t *ret_seconds, int32_t *ret_nanos)
{
    bool negative = gw_str_starts_with(text, GW_STR("-"));
    int64_t nanos = 0;
    int64_t unit = 100000000;
    int64_t seconds;

    if (!gw_str_ends_with(text, GW_STR("s")))
        return false;
    gw_str body = gw_str_slice(text, negative ? 1 : 0, text.len - 1);
    ptrdiff_t dot = gw_str_find(body, '.');
    gw_str whole = dot < 0 ? body : gw_str_slice(body, 0, (size_t)dot);
    if (whole.len == 0 || whole.ptr[0] < '0' || whole.ptr[0] > '9' ||
        !gw_str_to_int64(whole, &seconds) || seconds > DURATION_SECONDS_MAX)
        return false;
    if (dot >= 0) {
        gw_str fraction = gw_str_slice(body, (size_t)dot + 1, body.len);
        if (fraction.len == 0 || fraction.len > 9)
            return false;
        for (size_t i = 0; i < fraction.len; i++, unit /= 10) {
            if (fraction.ptr[i] < '0' || fraction.ptr[i] > '9')
                return false;
            nanos += (fraction.ptr[i] - '0') * unit;
        }
    }
    *ret_seconds = negative ? -seconds : seconds;
    *ret_nanos = (int32_t)(negative ? -nanos : nanos);
    return true;
}

static bool read_duration(gw_json_reader *r, yyjson_val *v, Google__Protobuf__Duration *d)
{
    if (!yyjson_is_str(v) || !parse_duration(gw_json_text(v), &d->seconds, &d->nanos))
        return gw_json_refuse(r, "must be a duration as 1.5s");
    return true;
}

static bool read_mask_path(gw_json_reader *r, gw_str path, char **ret)
{
    gw_auto_buf snake = {0};

    if (path.len == 0)
        return gw_json_refuse(r, "has an empty path");
    for (size_t i = 0; i < path.len; i++) {
        char c = path.ptr[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!letter && !(c >= '0' && c <= '9') && c != '.' && c != '_')
            return gw_json_refuse(r, "must be paths of field names as a.b,c");
    }
    gw_json_append_snake(&snake, path);
    if (gw_buf_failed(&snake))
        return gw_json_no_memory(r);
    return gw_json_read_string(r, gw_buf_str(&snake), ret);
}

static bool read_field_mask(gw_json_reader *r, yyjson_val *v, Google__Protobuf__FieldMask *mask)
{
    gw_str rest = gw_json_text(v);
    gw_str path;
    size_t n = 1;

    if (!yyjson_is_str(v))
        return gw_json_refuse(r, "must be a string of paths as a.b,c");
    if (rest.len == 0)
        return true;
    for (size_t i = 0; i < rest.len; i++)
        n += rest.ptr[i] == ',';
    if (n > GW_JSON_REPEATED_MAX || rest.ptr[rest.len - 1] == ',')
        return gw_json_refuse(r, "must be paths of field names as a.b,c");
    mask->paths = (char **)calloc(n, sizeof(char *));
    if (!mask->paths)
        return gw_json_no_memory(r);
    while (gw_str_split(&rest, ',', &path)) {
        if (!read_mask_path(r, path, &mask->paths[mask->n_paths]))
            return false;
        mask->n_paths++;
    }
    return true;
}

/* The plain messages that stand behind Struct and ListValue are a map and a list of Values. */
static bool read_only_field(gw_json_reader *r, ProtobufCMessage *m, yyjson_val *v, unsigned depth)
{
    return gw_json_read_field(r, m, &m->descriptor->fields[0], v, depth);
}

static bool read_value(gw_json_reader *r, yyjson_val *v, unsigned depth, ProtobufCMessage *m)
{
    static const struct {
        yyjson_type type;
        const char *member;
    } members[] = {
        {YYJSON_TYPE_NULL, "null_value"},  {YYJSON_TYPE_NUM, "number_value"},
        {YYJSON_TYPE_STR, "string_value"}, {YYJSON_TYPE_BOOL, "bool_value"},
        {YYJSON_TYPE_OBJ, "struct_value"}, {YYJSON_TYPE_ARR, "list_value"},
    };
    for (size_t i = 0; i < GW_ARRAY_LEN(members); i++) {
        if (yyjson_get_type(v) == members[i].type)
            return gw_json_read_field(
                r, m,
                protobuf_c_message_descriptor_get_field_by_name(m->descriptor, members[i].member),
                v, depth);
    }
    return gw_json_refuse(r, "is no JSON value");
}

bool gw_json_read_known(gw_json_reader *r, gw_json_kind kind, const ProtobufCMessageDescriptor *d,
                        yyjson_val *v, unsigned depth, ProtobufCMessage **ret)
{
    gw_auto_message m = gw_json_new_message(d);
    void *known = m; /* each generated struct begins with its ProtobufCMessage */
    bool ok = false;

    if (!m)
        return gw_json_no_memory(r);
    switch (kind) {
    case GW_JSON_TIMESTAMP:
        ok = read_timestamp(r, v, (Google__Protobuf__Timestamp *)known);
        break;
    case GW_JSON_DURATION:
        ok = read_duration(r, v, (Google__Protobuf__Duration *)known);
        break;
    case GW_JSON_FIELD_MASK:
        ok = read_field_mask(r, v, (Google__Protobuf__FieldMask *)known);
        break;
    case GW_JSON_STRUCT:
    case GW_JSON_LIST_VALUE:
    case GW_JSON_WRAPPER:
        ok = read_only_field(r, m, v, depth);
        break;
    case GW_JSON_VALUE:
        ok = read_value(r, v, depth, m);
        break;
    default:
        r->stop = true;
        r->rc = gw_fail(r->err, GW_ERR_INTERNAL, "%s has no JSON here", d->name);
        break;
    }
    if (ok)
        *ret = gw_steal(&m);
    return ok;
}
