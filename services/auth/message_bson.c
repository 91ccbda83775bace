#include "message_bson.h"

#include "messages.h"
#include "mongo/bson_read.h"
#include "json/field.h"
#include "json/json.h"

#include <stdlib.h>

static const void *at(const ProtobufCMessage *m, unsigned offset)
{
    return (const char *)m + offset;
}

static void texts_to_bson(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f,
                          const char *name, bson_t *doc)
{
    size_t n;
    char **texts;
    bson_t array;
    memcpy(&n, at(m, f->quantifier_offset), sizeof(n));
    memcpy(&texts, at(m, f->offset), sizeof(texts));
    BSON_APPEND_ARRAY_BEGIN(doc, name, &array);
    for (size_t i = 0; i < n; i++) {
        char buffer[16];
        const char *key;
        bson_uint32_to_string((uint32_t)i, &key, buffer, sizeof(buffer));
        gw_bson_append_str(&array, key, gw_str_of(texts[i]));
    }
    bson_append_array_end(doc, &array);
}

static void child_to_bson(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f,
                          const char *name, bson_t *doc)
{
    const ProtobufCMessage *child = message_child(m, f);
    if (!child)
        return;
    if (f->descriptor == &google__protobuf__timestamp__descriptor) {
        const void *time = child;
        BSON_APPEND_DATE_TIME(doc, name, message_time_ms(time));
        return;
    }
    bson_t nested;
    BSON_APPEND_DOCUMENT_BEGIN(doc, name, &nested);
    message_to_bson(child, &nested);
    bson_append_document_end(doc, &nested);
}

void message_field_to_bson(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f,
                           bson_t *doc)
{
    char name[GW_JSON_NAME_SIZE];
    gw_json_name(f->name, name);
    if (f->label == PROTOBUF_C_LABEL_REPEATED) {
        if (f->type == PROTOBUF_C_TYPE_STRING)
            texts_to_bson(m, f, name, doc);
        return;
    }
    if ((f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) && !gw_field_is_set(m, f))
        return;
    const void *value = at(m, f->offset);
    if (f->type == PROTOBUF_C_TYPE_INT64) {
        int64_t n;
        memcpy(&n, value, sizeof(n));
        BSON_APPEND_INT64(doc, name, n);
    } else if (f->type == PROTOBUF_C_TYPE_DOUBLE) {
        double n;
        memcpy(&n, value, sizeof(n));
        BSON_APPEND_DOUBLE(doc, name, n);
    } else if (f->type == PROTOBUF_C_TYPE_BOOL) {
        protobuf_c_boolean b;
        memcpy(&b, value, sizeof(b));
        BSON_APPEND_BOOL(doc, name, b != 0);
    } else if (f->type == PROTOBUF_C_TYPE_STRING) {
        const char *text;
        memcpy(&text, value, sizeof(text));
        if (*text)
            gw_bson_append_str(doc, name, gw_str_of(text));
    } else {
        child_to_bson(m, f, name, doc);
    }
}

void message_to_bson(const ProtobufCMessage *m, bson_t *doc)
{
    for (unsigned i = 0; i < m->descriptor->n_fields; i++)
        message_field_to_bson(m, &m->descriptor->fields[i], doc);
}

static void texts_from_bson(gw_arena *a, char *base, const ProtobufCFieldDescriptor *f,
                            const bson_t *array)
{
    size_t n = bson_count_keys(array), kept = 0;
    char **texts = gw_arena_array(a, char *, n + 1);
    bson_iter_t it;
    if (!texts || !bson_iter_init(&it, array))
        return;
    while (kept < n && bson_iter_next(&it)) {
        uint32_t len;
        if (!BSON_ITER_HOLDS_UTF8(&it))
            continue;
        const char *bytes = bson_iter_utf8(&it, &len);
        gw_str text = gw_str_n(bytes, len);
        /* As gw_bson_str(): cut at a NUL it would be another text, here another permission. */
        if (gw_str_is_utf8(text) && gw_str_find(text, '\0') < 0)
            texts[kept++] = message_text(a, text);
    }
    memcpy(base + f->offset, &texts, sizeof(texts));
    memcpy(base + f->quantifier_offset, &kept, sizeof(kept));
}

static void *child_from_bson(gw_arena *a, const ProtobufCFieldDescriptor *f, const char *name,
                             const bson_t *doc)
{
    int64_t ms;
    bson_t nested;
    if (f->descriptor == &google__protobuf__timestamp__descriptor)
        return gw_bson_date_ms(doc, name, &ms) ? message_time(a, ms) : NULL;
    if (!gw_bson_doc(doc, name, &nested))
        return NULL;
    ProtobufCMessage *child = message_new(a, f->descriptor);
    if (child)
        message_from_bson(a, child, &nested);
    return child;
}

/* True when `doc` has a value for the field, which is then written. */
static bool scalar_from_bson(gw_arena *a, void *value, const ProtobufCFieldDescriptor *f,
                             const char *name, const bson_t *doc)
{
    int64_t i64;
    double f64;
    bool b;
    gw_str s;
    if (f->type == PROTOBUF_C_TYPE_INT64 && gw_bson_int64(doc, name, &i64)) {
        memcpy(value, &i64, sizeof(i64));
        return true;
    }
    if (f->type == PROTOBUF_C_TYPE_DOUBLE && gw_bson_double(doc, name, &f64)) {
        memcpy(value, &f64, sizeof(f64));
        return true;
    }
    if (f->type == PROTOBUF_C_TYPE_BOOL && gw_bson_bool(doc, name, &b)) {
        protobuf_c_boolean flag = b;
        memcpy(value, &flag, sizeof(flag));
        return true;
    }
    if (f->type == PROTOBUF_C_TYPE_STRING && gw_bson_str(doc, name, &s)) {
        char *text = message_text(a, s);
        memcpy(value, &text, sizeof(text));
        return true;
    }
    return false;
}

void message_field_from_bson(gw_arena *a, ProtobufCMessage *m, const ProtobufCFieldDescriptor *f,
                             const bson_t *doc)
{
    char name[GW_JSON_NAME_SIZE];
    char *base = (char *)m;
    gw_json_name(f->name, name);
    if (f->label == PROTOBUF_C_LABEL_REPEATED) {
        bson_t array;
        if (f->type == PROTOBUF_C_TYPE_STRING && gw_bson_array(doc, name, &array))
            texts_from_bson(a, base, f, &array);
    } else if (f->type == PROTOBUF_C_TYPE_MESSAGE) {
        void *child = child_from_bson(a, f, name, doc);
        memcpy(base + f->offset, &child, sizeof(child));
    } else if (scalar_from_bson(a, base + f->offset, f, name, doc) &&
               (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)) {
        uint32_t which = f->id;
        memcpy(base + f->quantifier_offset, &which, sizeof(which));
    }
}

void message_from_bson(gw_arena *a, ProtobufCMessage *m, const bson_t *doc)
{
    for (unsigned i = 0; i < m->descriptor->n_fields; i++)
        message_field_from_bson(a, m, &m->descriptor->fields[i], doc);
}
