#include "rest_call.h"

#include "core/url.h"
#include "update_mask.h"

#include <stdio.h>

typedef struct builder {
    const rest_input *in;
    const route *route;
    gw_arena *arena;
    ProtobufCMessage *request;
    gw_json_violations *v;
    gw_error *err;
    gw_status rc; /* of the first violation */
    gw_str narrow; /* ?updateMask= */
    struct {
        const ProtobufCMessage *message;
        const ProtobufCFieldDescriptor *field;
    } set[REST_QUERY_PARAMETERS_MAX]; /* singular fields that parameters have set */
    size_t set_count;
} builder;

static void message_freep(ProtobufCMessage **m)
{
    if (*m)
        protobuf_c_message_free_unpacked(*m, NULL);
}
#define AUTO_MESSAGE __attribute__((cleanup(message_freep))) ProtobufCMessage *

/* ---- violations ---- */

static void copy_cut(char *to, size_t size, gw_str text)
{
    size_t n = gw_str_utf8_cut(text, size - 1);
    if (n > 0)
        memcpy(to, text.ptr, n);
    to[n] = '\0';
}

static void refuse(builder *b, gw_str field, const char *what)
{
    char name[sizeof b->err->field];
    copy_cut(name, sizeof name, field);
    if (b->rc == GW_OK) {
        b->rc = gw_fail_field(b->err, GW_ERR_INVALID_ARGUMENT, name, "%s: %s", name, what);
        return;
    }
    if (b->v->count == GW_ARRAY_LEN(b->v->items))
        return;
    gw_json_violation *item = &b->v->items[b->v->count++];
    copy_cut(item->field, sizeof item->field, gw_str_of(name));
    copy_cut(item->description, sizeof item->description, gw_str_of(what));
}

/* What libs/json says of a field, under the name the caller used. */
static void refuse_as(builder *b, gw_str name, const gw_error *why)
{
    size_t prefix = strlen(why->field);
    bool named = strncmp(why->message, why->field, prefix) == 0 &&
                 strncmp(why->message + prefix, ": ", 2) == 0;
    refuse(b, name, named ? why->message + prefix + 2 : why->message);
}

/* ---- what a route asks for ---- */

const ProtobufCFieldDescriptor *rest_field(const ProtobufCMessageDescriptor *d, const char *name)
{
    return protobuf_c_message_descriptor_get_field_by_name(d, name);
}

bool rest_call_has_mask(const route *r)
{
    gw_str method = r->binding->method;
    return r->body_field && (gw_str_eq_c(method, "PUT") || gw_str_eq_c(method, "PATCH")) &&
           rest_field(r->method->descriptor->input, "update_mask");
}

const ProtobufCFieldDescriptor *rest_call_etag(const route *r)
{
    const ProtobufCFieldDescriptor *f = rest_field(r->method->descriptor->input, "etag");
    return f && f->type == PROTOBUF_C_TYPE_STRING && f->label != PROTOBUF_C_LABEL_REPEATED ? f
                                                                                           : NULL;
}

bool rest_call_is_variable(const route *r, const ProtobufCFieldDescriptor *f)
{
    for (size_t i = 0; i < r->segment_count; i++) {
        if (r->segments[i].is_variable && gw_str_eq_c(r->segments[i].text, f->name))
            return true;
    }
    return false;
}

/* ---- body ---- */

static const ProtobufCFieldDescriptor *field_of_member(const ProtobufCMessageDescriptor *d,
                                                       gw_str name)
{
    for (unsigned i = 0; i < d->n_fields; i++) {
        char camel[GW_JSON_NAME_SIZE];
        gw_json_name(d->fields[i].name, camel);
        if (gw_str_eq_c(name, camel) || gw_str_eq_c(name, d->fields[i].name))
            return &d->fields[i];
    }
    return NULL;
}

static bool is_own_field(const builder *b, const ProtobufCFieldDescriptor *f)
{
    for (const char *const *own = b->in->own_fields; own && *own; own++) {
        if (strcmp(*own, f->name) == 0)
            return true;
    }
    return false;
}

/* A body that is the whole request has no say in what the path or the gateway give. */
static void refuse_foreign_members(builder *b)
{
    yyjson_doc *doc = yyjson_read(b->in->body.ptr, b->in->body.len, 0);
    yyjson_obj_iter at;
    if (!yyjson_obj_iter_init(yyjson_doc_get_root(doc), &at)) {
        yyjson_doc_free(doc);
        return;
    }
    for (yyjson_val *k = yyjson_obj_iter_next(&at); k; k = yyjson_obj_iter_next(&at)) {
        gw_str name = gw_str_n(yyjson_get_str(k), yyjson_get_len(k));
        const ProtobufCFieldDescriptor *f =
            field_of_member(b->route->method->descriptor->input, name);
        if (f && rest_call_is_variable(b->route, f))
            refuse(b, name, "is given by the path");
        else if (f && is_own_field(b, f))
            refuse(b, name, "is set by the gateway");
    }
    yyjson_doc_free(doc);
}

static void read_json(builder *b, const ProtobufCMessageDescriptor *d, gw_str text,
                      ProtobufCMessage **ret)
{
    b->rc = gw_json_read(d, text, ret, b->v, b->err);
}

static void read_body(builder *b)
{
    const ProtobufCMessageDescriptor *request = b->route->method->descriptor->input;
    gw_str body = b->in->body;
    AUTO_MESSAGE part = NULL;

    if (b->route->body_is_request && body.len > 0) {
        read_json(b, request, body, &b->request);
        if (b->request || b->rc == GW_ERR_INVALID_ARGUMENT)
            refuse_foreign_members(b);
        return;
    }
    if (b->route->body_field && body.len == 0) {
        b->rc = gw_fail(b->err, GW_ERR_INVALID_ARGUMENT, "a body is required: a JSON object");
        return;
    }
    if (b->route->body_field)
        read_json(b, b->route->body_field->descriptor, body, &part);
    else if (body.len > 0)
        b->rc = gw_fail(b->err, GW_ERR_INVALID_ARGUMENT, "this request takes no body");
    gw_error err;
    gw_status rc = gw_json_read(request, GW_STR("{}"), &b->request, NULL, &err);
    if (rc != GW_OK) {
        *b->err = err;
        b->rc = rc;
    } else if (part) {
        ProtobufCMessage **slot =
            (ProtobufCMessage **)(void *)((char *)b->request + b->route->body_field->offset);
        *slot = gw_steal(&part);
    }
}

/* ---- path and query ---- */

static void set_variables(builder *b)
{
    const route_match *m = b->in->match;
    for (size_t i = 0; i < m->variable_count; i++) {
        const ProtobufCFieldDescriptor *f =
            field_of_member(b->request->descriptor, m->variables[i].name);
        gw_error err;
        if (f && gw_json_set_from_text(b->request, f, m->variables[i].value, &err) != GW_OK)
            refuse_as(b, gw_str_of(err.field), &err);
    }
}

/* NULL when the parameter is refused, or handled here (the mask). */
static const ProtobufCFieldDescriptor *find_parameter(builder *b, gw_str name,
                                                      ProtobufCMessage **ret_message)
{
    gw_error err;
    const ProtobufCFieldDescriptor *f = NULL;
    gw_str first = gw_str_slice(
        name, 0, gw_str_find(name, '.') >= 0 ? (size_t)gw_str_find(name, '.') : name.len);
    const ProtobufCFieldDescriptor *top = field_of_member(b->request->descriptor, first);
    if (top && rest_call_is_variable(b->route, top))
        refuse(b, name, "is given by the path");
    else if (top && (b->route->body_is_request || top == b->route->body_field))
        refuse(b, name, "belongs into the body");
    else if (!top || gw_json_field_by_path(b->request, name, ret_message, &f, &err) != GW_OK)
        refuse(b, name, "unknown query parameter");
    return f;
}

static bool is_set_twice(builder *b, const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
    for (size_t i = 0; i < b->set_count; i++) {
        if (b->set[i].message == m && b->set[i].field == f)
            return true;
    }
    if (f->label != PROTOBUF_C_LABEL_REPEATED) {
        b->set[b->set_count].message = m;
        b->set[b->set_count++].field = f;
    }
    return false;
}

static void set_parameter(builder *b, gw_str raw_name, gw_str raw_value)
{
    gw_str name;
    gw_str value;
    ProtobufCMessage *m = NULL;
    gw_error err;
    if (!gw_percent_decode(b->arena, raw_name, true, &name) || !gw_str_is_utf8(name) ||
        !gw_percent_decode(b->arena, raw_value, true, &value) || !gw_str_is_utf8(value)) {
        refuse(b, gw_str_is_utf8(raw_name) ? raw_name : GW_STR("query"),
               "holds a malformed percent escape");
        return;
    }
    const ProtobufCFieldDescriptor *f = find_parameter(b, name, &m);
    if (!f)
        return;
    if (is_set_twice(b, m, f))
        refuse(b, name, "is given twice");
    else if (rest_call_has_mask(b->route) && m == b->request && strcmp(f->name, "update_mask") == 0)
        b->narrow = value.ptr ? value : GW_STR("");
    else if (gw_json_set_from_text(m, f, value, &err) != GW_OK)
        refuse_as(b, name, &err);
}

static void set_parameters(builder *b)
{
    gw_str rest = b->in->query;
    gw_str name;
    gw_str value;
    for (size_t n = 0; rest.len > 0 && gw_query_next(&rest, &name, &value); n++) {
        if (n == REST_QUERY_PARAMETERS_MAX) {
            refuse(b, GW_STR("query"), "holds too many parameters");
            return;
        }
        set_parameter(b, name, value);
    }
}

/* ---- If-Match, update mask ---- */

/* RFC 9110 §8.8.3, one strong tag; "*" asks for what every update asks anyway: that it exists. */
static void set_etag(builder *b)
{
    gw_str tag = b->in->if_match;
    const ProtobufCFieldDescriptor *f = rest_call_etag(b->route);
    if (tag.len == 0 || gw_str_eq_c(tag, "*") || gw_str_eq_c(b->route->binding->method, "GET"))
        return;
    if (!f) {
        refuse(b, GW_STR("If-Match"), "this request knows no condition");
        return;
    }
    if (tag.len >= 2 && tag.ptr[0] == '"' && tag.ptr[tag.len - 1] == '"')
        tag = gw_str_slice(tag, 1, tag.len - 1);
    if (tag.len == 0 || gw_str_find(tag, '"') >= 0) {
        refuse(b, GW_STR("If-Match"), "must be one strong entity tag");
        return;
    }
    const char *given = *(char **)(void *)((char *)b->request + f->offset);
    gw_error err;
    if (given && given[0] && !gw_str_eq_c(tag, given))
        refuse(b, GW_STR("etag"), "differs from If-Match");
    else if (gw_json_set_from_text(b->request, f, tag, &err) != GW_OK)
        refuse_as(b, GW_STR("If-Match"), &err);
}

static void set_mask(builder *b)
{
    const route *r = b->route;
    const ProtobufCFieldDescriptor *f = rest_field(b->request->descriptor, "update_mask");
    gw_str mask;
    b->rc = update_mask_make(r->body_field->descriptor, b->in->body, b->narrow, b->arena, &mask,
                             b->err);
    if (b->rc == GW_OK)
        b->rc = gw_json_set_from_text(b->request, f, mask, b->err);
}

gw_status rest_call_build(const rest_input *in, gw_arena *a, ProtobufCMessage **ret,
                          gw_json_violations *v, gw_error *err)
{
    builder b = {.in = in, .route = in->match->route, .arena = a, .v = v, .err = err};
    v->count = 0;
    read_body(&b);
    if (b.request && (b.rc == GW_OK || b.rc == GW_ERR_INVALID_ARGUMENT)) {
        set_variables(&b);
        set_parameters(&b);
        set_etag(&b);
    }
    if (b.rc == GW_OK && rest_call_has_mask(b.route))
        set_mask(&b);
    AUTO_MESSAGE request = b.request;
    if (b.rc == GW_OK)
        *ret = gw_steal(&request);
    return b.rc;
}
