#include "openapi_schema.h"

#include "json/json.h"

#include <stdio.h>

#define NAME_MAX_SIZE 256

static yyjson_mut_val *text(openapi_schemas *s, const char *t)
{
    return yyjson_mut_strcpy(s->doc, t);
}

static void put(openapi_schemas *s, yyjson_mut_val *object, const char *name, yyjson_mut_val *v)
{
    if (v)
        (void)yyjson_mut_obj_put(object, text(s, name), v);
}

yyjson_mut_val *openapi_comment(openapi_schemas *s, gw_str full_name)
{
    gw_str comment = gw_str_trim(gw_schema_comment(s->schema, full_name));
    gw_auto_buf line = {0};
    gw_str part;
    while (comment.len > 0 && gw_str_split(&comment, '\n', &part)) {
        part = gw_str_trim(part);
        if (line.len > 0 && part.len > 0)
            gw_buf_append_char(&line, ' ');
        gw_buf_append_str(&line, part);
    }
    return line.len > 0 ? yyjson_mut_strncpy(s->doc, line.data, line.len) : NULL;
}

/* ---- well-known messages, as libs/json writes them ---- */

typedef struct known_form {
    const char *name;
    const char *type; /* NULL: any */
    const char *format;
    bool is_text; /* a query parameter can set it */
} known_form;

static const known_form known_forms[] = {
    {"google.protobuf.Timestamp", "string", "date-time", true},
    {"google.protobuf.Duration", "string", NULL, true},
    {"google.protobuf.FieldMask", "string", NULL, true},
    {"google.protobuf.Struct", "object", NULL, false},
    {"google.protobuf.Value", NULL, NULL, false},
    {"google.protobuf.ListValue", "array", NULL, false},
    {"google.protobuf.Any", "object", NULL, false},
    {"google.protobuf.BoolValue", "boolean", NULL, true},
    {"google.protobuf.StringValue", "string", NULL, true},
    {"google.protobuf.BytesValue", "string", NULL, true},
    {"google.protobuf.DoubleValue", "number", NULL, true},
    {"google.protobuf.FloatValue", "number", NULL, true},
    {"google.protobuf.Int32Value", "integer", NULL, true},
    {"google.protobuf.UInt32Value", "integer", NULL, true},
    {"google.protobuf.Int64Value", "integer", NULL, true},
    {"google.protobuf.UInt64Value", "integer", NULL, true},
};

static const known_form *find_known(const ProtobufCMessageDescriptor *d)
{
    for (size_t i = 0; i < GW_ARRAY_LEN(known_forms); i++) {
        if (strcmp(known_forms[i].name, d->name) == 0)
            return &known_forms[i];
    }
    return NULL;
}

bool openapi_schema_has_text_form(const ProtobufCFieldDescriptor *f)
{
    if (f->type != PROTOBUF_C_TYPE_MESSAGE)
        return true;
    const known_form *known = find_known(f->descriptor);
    return known && known->is_text;
}

/* protobuf-c keeps no flag of maps: protoc nests "<Field>Entry" {key = 1, value = 2} in the parent. */
static bool is_map(const ProtobufCMessageDescriptor *parent, const ProtobufCFieldDescriptor *f)
{
    if (f->label != PROTOBUF_C_LABEL_REPEATED || f->type != PROTOBUF_C_TYPE_MESSAGE)
        return false;
    const ProtobufCMessageDescriptor *entry = f->descriptor;
    size_t scope = strlen(parent->name);
    return strncmp(entry->name, parent->name, scope) == 0 && entry->name[scope] == '.' &&
           gw_str_ends_with(gw_str_of(entry->name), GW_STR("Entry")) && entry->n_fields == 2 &&
           strcmp(entry->fields[0].name, "key") == 0 && strcmp(entry->fields[1].name, "value") == 0;
}

/* ---- one value ---- */

static yyjson_mut_val *typed(openapi_schemas *s, const char *type, const char *format)
{
    yyjson_mut_val *v = yyjson_mut_obj(s->doc);
    if (type)
        put(s, v, "type", text(s, type));
    if (format)
        put(s, v, "format", text(s, format));
    return v;
}

static yyjson_mut_val *enum_schema(openapi_schemas *s, const ProtobufCEnumDescriptor *d)
{
    yyjson_mut_val *v = typed(s, "string", NULL);
    yyjson_mut_val *names = yyjson_mut_arr(s->doc);
    for (unsigned i = 0; i < d->n_values; i++)
        (void)yyjson_mut_arr_append(names, text(s, d->values[i].name));
    put(s, v, "enum", names);
    return v;
}

static yyjson_mut_val *integer64(openapi_schemas *s, const ProtobufCFieldDescriptor *f)
{
    /* Nano-dollars leave the range in which a double is exact. */
    bool is_money = gw_str_ends_with(gw_str_of(f->name), GW_STR("_nano_usd"));
    return typed(s, is_money ? "string" : "integer", "int64");
}

static yyjson_mut_val *value_schema(openapi_schemas *s, const ProtobufCFieldDescriptor *f)
{
    switch (f->type) {
    case PROTOBUF_C_TYPE_BOOL:
        return typed(s, "boolean", NULL);
    case PROTOBUF_C_TYPE_STRING:
        return typed(s, "string", NULL);
    case PROTOBUF_C_TYPE_BYTES:
        return typed(s, "string", "byte");
    case PROTOBUF_C_TYPE_FLOAT:
        return typed(s, "number", "float");
    case PROTOBUF_C_TYPE_DOUBLE:
        return typed(s, "number", "double");
    case PROTOBUF_C_TYPE_ENUM:
        return enum_schema(s, f->descriptor);
    case PROTOBUF_C_TYPE_MESSAGE:
        return openapi_schema_ref(s, f->descriptor);
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        return integer64(s, f);
    default:
        return typed(s, "integer", "int32");
    }
}

static yyjson_mut_val *list_or_value(openapi_schemas *s, const ProtobufCMessageDescriptor *parent,
                                     const ProtobufCFieldDescriptor *f)
{
    if (is_map(parent, f)) {
        const ProtobufCMessageDescriptor *entry = f->descriptor;
        yyjson_mut_val *v = typed(s, "object", NULL);
        put(s, v, "additionalProperties", value_schema(s, &entry->fields[1]));
        return v;
    }
    if (f->label != PROTOBUF_C_LABEL_REPEATED)
        return value_schema(s, f);
    yyjson_mut_val *v = typed(s, "array", NULL);
    put(s, v, "items", value_schema(s, f));
    return v;
}

yyjson_mut_val *openapi_schema_of_field(openapi_schemas *s,
                                        const ProtobufCMessageDescriptor *parent,
                                        const ProtobufCFieldDescriptor *f)
{
    char name[NAME_MAX_SIZE];
    (void)snprintf(name, sizeof name, "%s.%s", parent->name, f->name);
    yyjson_mut_val *v = list_or_value(s, parent, f);
    yyjson_mut_val *comment = openapi_comment(s, gw_str_of(name));
    put(s, v, "description", comment);
    if (comment && strstr(yyjson_mut_get_str(comment), "Read only"))
        put(s, v, "readOnly", yyjson_mut_bool(s->doc, true));
    return v;
}

/* ---- messages ---- */

static void add_fields(openapi_schemas *s, yyjson_mut_val *object,
                       const ProtobufCMessageDescriptor *d,
                       bool (*is_wanted)(const void *arg, const ProtobufCFieldDescriptor *f),
                       const void *arg)
{
    yyjson_mut_val *properties = yyjson_mut_obj(s->doc);
    put(s, object, "type", text(s, "object"));
    put(s, object, "properties", properties);
    for (unsigned i = 0; i < d->n_fields; i++) {
        char name[GW_JSON_NAME_SIZE];
        if (is_wanted && !is_wanted(arg, &d->fields[i]))
            continue;
        gw_json_name(d->fields[i].name, name);
        put(s, properties, name, openapi_schema_of_field(s, d, &d->fields[i]));
    }
}

yyjson_mut_val *openapi_schema_of_fields(openapi_schemas *s, const ProtobufCMessageDescriptor *d,
                                         bool (*is_wanted)(const void *arg,
                                                           const ProtobufCFieldDescriptor *f),
                                         const void *arg)
{
    yyjson_mut_val *v = yyjson_mut_obj(s->doc);
    add_fields(s, v, d, is_wanted, arg);
    return v;
}

yyjson_mut_val *openapi_schema_ref(openapi_schemas *s, const ProtobufCMessageDescriptor *d)
{
    const known_form *known = find_known(d);
    char path[NAME_MAX_SIZE];
    if (known)
        return typed(s, known->type, known->format);
    if (!yyjson_mut_obj_get(s->components, d->name)) {
        /* Named before it is filled: a message may hold itself. */
        yyjson_mut_val *v = yyjson_mut_obj(s->doc);
        put(s, s->components, d->name, v);
        put(s, v, "description", openapi_comment(s, gw_str_of(d->name)));
        add_fields(s, v, d, NULL, NULL);
    }
    (void)snprintf(path, sizeof path, "#/components/schemas/%s", d->name);
    yyjson_mut_val *ref = yyjson_mut_obj(s->doc);
    put(s, ref, "$ref", text(s, path));
    return ref;
}
