/* JSON forms of the well-known types: https://protobuf.dev/programming-guides/json/ */
#include "json/json_internal.h"

#include "core/clock.h"

#include <google/protobuf/duration.pb-c.h>
#include <google/protobuf/field_mask.pb-c.h>
#include <google/protobuf/struct.pb-c.h>
#include <google/protobuf/timestamp.pb-c.h>
#include <inttypes.h>
#include <math.h>

static gw_status write_timestamp(gw_buf *out, const Google__Protobuf__Timestamp *t, gw_error *err)
{
    char text[GW_RFC3339_SIZE];

    /* Years 0001-9999, as RFC 3339 can write them. */
    if (t->seconds < -62135596800 || t->seconds > 253402300799 || t->nanos < 0 ||
        t->nanos > 999999999)
        return gw_fail(err, GW_ERR_INTERNAL, "a timestamp lies outside the years 1-9999");
    gw_rfc3339_format(t->seconds * 1000 + t->nanos / 1000000, text);
    gw_buf_appendf(out, "\"%s\"", text);
    return GW_OK;
}

static gw_status write_duration(gw_buf *out, const Google__Protobuf__Duration *d, gw_error *err)
{
    int32_t nanos = d->nanos < 0 ? -d->nanos : d->nanos;

    if (d->seconds < -315576000000 || d->seconds > 315576000000 || d->nanos < -999999999 ||
        d->nanos > 999999999 || (d->seconds > 0 && d->nanos < 0) ||
        (d->seconds < 0 && d->nanos > 0))
        return gw_fail(err, GW_ERR_INTERNAL, "a duration is out of range");
    gw_buf_appendf(out, "\"%s%" PRId64, d->seconds < 0 || d->nanos < 0 ? "-" : "",
                   d->seconds < 0 ? -d->seconds : d->seconds);
    if (nanos % 1000 != 0)
        gw_buf_appendf(out, ".%09" PRId32, nanos);
    else if (nanos % 1000000 != 0)
        gw_buf_appendf(out, ".%06" PRId32, nanos / 1000);
    else if (nanos != 0)
        gw_buf_appendf(out, ".%03" PRId32, nanos / 1000000);
    gw_buf_append_c(out, "s\"");
    return GW_OK;
}

static gw_status write_field_mask(gw_buf *out, const Google__Protobuf__FieldMask *mask)
{
    gw_auto_buf text = {0};

    for (size_t i = 0; i < mask->n_paths; i++) {
        if (i > 0)
            gw_buf_append_char(&text, ',');
        gw_json_append_camel(&text, gw_str_of(mask->paths[i]));
    }
    gw_buf_append_json(out, gw_buf_str(&text));
    out->failed |= text.failed;
    return GW_OK;
}

static gw_status write_list_value(gw_buf *out, const Google__Protobuf__ListValue *list,
                                  unsigned depth, gw_error *err)
{
    gw_buf_append_char(out, '[');
    for (size_t i = 0; i < list->n_values; i++) {
        if (i > 0)
            gw_buf_append_char(out, ',');
        gw_status rc = gw_json_write_message(out, list->values[i] ? &list->values[i]->base : NULL,
                                             depth + 1, err);
        if (rc != GW_OK)
            return rc;
    }
    gw_buf_append_char(out, ']');
    return GW_OK;
}

static gw_status write_struct(gw_buf *out, const Google__Protobuf__Struct *s, unsigned depth,
                              gw_error *err)
{
    gw_buf_append_char(out, '{');
    for (size_t i = 0; i < s->n_fields; i++) {
        const Google__Protobuf__Struct__FieldsEntry *entry = s->fields[i];
        if (!entry || !entry->value)
            return gw_fail(err, GW_ERR_INTERNAL, "a google.protobuf.Struct has an unset value");
        if (i > 0)
            gw_buf_append_char(out, ',');
        gw_buf_append_json(out, gw_str_of(entry->key));
        gw_buf_append_char(out, ':');
        gw_status rc = gw_json_write_message(out, &entry->value->base, depth + 2, err);
        if (rc != GW_OK)
            return rc;
    }
    gw_buf_append_char(out, '}');
    return GW_OK;
}

static gw_status write_value(gw_buf *out, const Google__Protobuf__Value *v, unsigned depth,
                             gw_error *err)
{
    switch (v->kind_case) {
    case GOOGLE__PROTOBUF__VALUE__KIND_NULL_VALUE:
        gw_buf_append_c(out, "null");
        return GW_OK;
    case GOOGLE__PROTOBUF__VALUE__KIND_NUMBER_VALUE:
        if (!isfinite(v->number_value))
            return gw_fail(err, GW_ERR_INTERNAL, "a google.protobuf.Value is no finite number");
        return gw_json_write_double(out, v->number_value, 17);
    case GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE:
        gw_buf_append_json(out, gw_str_of(v->string_value));
        return GW_OK;
    case GOOGLE__PROTOBUF__VALUE__KIND_BOOL_VALUE:
        gw_buf_append_c(out, v->bool_value ? "true" : "false");
        return GW_OK;
    case GOOGLE__PROTOBUF__VALUE__KIND_STRUCT_VALUE:
        return gw_json_write_message(out, v->struct_value ? &v->struct_value->base : NULL,
                                     depth + 1, err);
    case GOOGLE__PROTOBUF__VALUE__KIND_LIST_VALUE:
        return gw_json_write_message(out, v->list_value ? &v->list_value->base : NULL, depth + 1,
                                     err);
    default:
        return gw_fail(err, GW_ERR_INTERNAL, "a google.protobuf.Value is unset");
    }
}

gw_status gw_json_write_known(gw_buf *out, gw_json_kind kind, const ProtobufCMessage *m,
                              unsigned depth, gw_error *err)
{
    const void *known = m; /* each generated struct begins with its ProtobufCMessage */

    switch (kind) {
    case GW_JSON_TIMESTAMP:
        return write_timestamp(out, (const Google__Protobuf__Timestamp *)known, err);
    case GW_JSON_DURATION:
        return write_duration(out, (const Google__Protobuf__Duration *)known, err);
    case GW_JSON_FIELD_MASK:
        return write_field_mask(out, (const Google__Protobuf__FieldMask *)known);
    case GW_JSON_STRUCT:
        return write_struct(out, (const Google__Protobuf__Struct *)known, depth, err);
    case GW_JSON_VALUE:
        return write_value(out, (const Google__Protobuf__Value *)known, depth, err);
    case GW_JSON_LIST_VALUE:
        return write_list_value(out, (const Google__Protobuf__ListValue *)known, depth, err);
    case GW_JSON_WRAPPER:
        return gw_json_write_single(out, &m->descriptor->fields[0],
                                    gw_json_const_slot(m, &m->descriptor->fields[0]), depth, err);
    default:
        return gw_fail(err, GW_ERR_INTERNAL, "%s has no JSON here", m->descriptor->name);
    }
}
