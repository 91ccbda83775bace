#include "json/json_internal.h"

#include <ctype.h>
#include <stdlib.h>

void gw_json_name(const char *proto_name, char out[GW_JSON_NAME_SIZE])
{
    size_t n = 0;
    bool upper = false;

    for (const char *c = proto_name; *c && n < GW_JSON_NAME_SIZE - 1; c++) {
        if (*c == '_') {
            upper = true;
            continue;
        }
        out[n++] = upper ? (char)toupper((unsigned char)*c) : *c;
        upper = false;
    }
    out[n] = '\0';
}

void gw_json_append_camel(gw_buf *out, gw_str path)
{
    bool upper = false;

    for (size_t i = 0; i < path.len; i++) {
        char c = path.ptr[i];
        if (c == '_') {
            upper = true;
            continue;
        }
        gw_buf_append_char(out, upper ? (char)toupper((unsigned char)c) : c);
        upper = false;
    }
}

void gw_json_append_snake(gw_buf *out, gw_str path)
{
    for (size_t i = 0; i < path.len; i++) {
        char c = path.ptr[i];
        if (c >= 'A' && c <= 'Z') {
            gw_buf_append_char(out, '_');
            c = (char)tolower((unsigned char)c);
        }
        gw_buf_append_char(out, c);
    }
}

gw_json_kind gw_json_kind_of(const ProtobufCMessageDescriptor *d)
{
    static const struct {
        const char *name;
        gw_json_kind kind;
    } kinds[] = {
        {"Timestamp", GW_JSON_TIMESTAMP},
        {"Duration", GW_JSON_DURATION},
        {"FieldMask", GW_JSON_FIELD_MASK},
        {"Struct", GW_JSON_STRUCT},
        {"Value", GW_JSON_VALUE},
        {"ListValue", GW_JSON_LIST_VALUE},
        {"Any", GW_JSON_ANY},
        {"DoubleValue", GW_JSON_WRAPPER},
        {"FloatValue", GW_JSON_WRAPPER},
        {"Int64Value", GW_JSON_WRAPPER},
        {"UInt64Value", GW_JSON_WRAPPER},
        {"Int32Value", GW_JSON_WRAPPER},
        {"UInt32Value", GW_JSON_WRAPPER},
        {"BoolValue", GW_JSON_WRAPPER},
        {"StringValue", GW_JSON_WRAPPER},
        {"BytesValue", GW_JSON_WRAPPER},
    };
    if (strcmp(d->package_name, "google.protobuf") != 0)
        return GW_JSON_PLAIN;
    for (size_t i = 0; i < GW_ARRAY_LEN(kinds); i++)
        if (strcmp(d->short_name, kinds[i].name) == 0)
            return kinds[i].kind;
    return GW_JSON_PLAIN;
}

gw_json_kind gw_json_field_kind(const ProtobufCFieldDescriptor *f)
{
    if (f->type != PROTOBUF_C_TYPE_MESSAGE)
        return GW_JSON_PLAIN;
    return gw_json_kind_of((const ProtobufCMessageDescriptor *)f->descriptor);
}

bool gw_json_is_map(const ProtobufCMessageDescriptor *parent, const ProtobufCFieldDescriptor *f)
{
    if (f->label != PROTOBUF_C_LABEL_REPEATED || f->type != PROTOBUF_C_TYPE_MESSAGE)
        return false;
    const ProtobufCMessageDescriptor *entry = (const ProtobufCMessageDescriptor *)f->descriptor;
    gw_str short_name = gw_str_of(entry->short_name);
    if (!gw_str_ends_with(short_name, GW_STR("Entry")) || entry->n_fields != 2 ||
        strcmp(entry->fields[0].name, "key") != 0 || entry->fields[0].id != 1 ||
        strcmp(entry->fields[1].name, "value") != 0 || entry->fields[1].id != 2)
        return false;
    size_t scope = strlen(parent->name);
    if (strncmp(entry->name, parent->name, scope) != 0 || entry->name[scope] != '.' ||
        strcmp(entry->name + scope + 1, entry->short_name) != 0)
        return false;

    char stem[GW_JSON_NAME_SIZE];
    gw_json_name(f->name, stem);
    stem[0] = (char)toupper((unsigned char)stem[0]);
    return gw_str_eq_c(gw_str_slice(short_name, 0, short_name.len - strlen("Entry")), stem);
}

bool gw_json_is_null_value(const ProtobufCFieldDescriptor *f)
{
    return f->type == PROTOBUF_C_TYPE_ENUM &&
           strcmp(((const ProtobufCEnumDescriptor *)f->descriptor)->name,
                  "google.protobuf.NullValue") == 0;
}

ProtobufCMessage *gw_json_new_message(const ProtobufCMessageDescriptor *d)
{
    ProtobufCMessage *m = (ProtobufCMessage *)malloc(d->sizeof_message);
    if (m)
        d->message_init(m);
    return m;
}

void gw_json_mark_present(ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
    if (gw_json_is_oneof(f))
        *(uint32_t *)gw_json_quantifier(m, f) = f->id;
    else if (f->label == PROTOBUF_C_LABEL_OPTIONAL && f->type != PROTOBUF_C_TYPE_STRING &&
             f->type != PROTOBUF_C_TYPE_MESSAGE)
        *(protobuf_c_boolean *)gw_json_quantifier(m, f) = true;
}
