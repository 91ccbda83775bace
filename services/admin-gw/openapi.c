#include "openapi.h"

#include "openapi_schema.h"
#include "rest_call.h"
#include "session.h"

#include "apirelay/auth/v1/session_service.pb-c.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#define ERROR_SCHEMA "Error"

typedef struct writer {
    yyjson_mut_doc *doc;
    openapi_schemas schemas;
} writer;

/* ---- small values ---- */

static yyjson_mut_val *text(writer *w, gw_str t)
{
    return yyjson_mut_strncpy(w->doc, t.ptr ? t.ptr : "", t.len);
}

static void put(writer *w, yyjson_mut_val *object, const char *name, yyjson_mut_val *v)
{
    if (v)
        (void)yyjson_mut_obj_put(object, yyjson_mut_strcpy(w->doc, name), v);
}

static void put_text(writer *w, yyjson_mut_val *object, const char *name, const char *t)
{
    put(w, object, name, yyjson_mut_strcpy(w->doc, t));
}

/* A part that is the same whatever the descriptors say, written as JSON. */
static yyjson_mut_val *fixed(writer *w, const char *json)
{
    yyjson_doc *doc = yyjson_read(json, strlen(json), 0);
    yyjson_mut_val *v = yyjson_val_mut_copy(w->doc, yyjson_doc_get_root(doc));
    yyjson_doc_free(doc);
    return v;
}

/* ---- parameters ---- */

static void add_parameter(writer *w, yyjson_mut_val *list, const char *name, const char *in,
                          yyjson_mut_val *schema)
{
    yyjson_mut_val *p = yyjson_mut_obj(w->doc);
    yyjson_mut_val *description = yyjson_mut_obj_remove_key(schema, "description");
    put_text(w, p, "name", name);
    put_text(w, p, "in", in);
    put(w, p, "description", description);
    if (strcmp(in, "path") == 0)
        put(w, p, "required", yyjson_mut_bool(w->doc, true));
    put(w, p, "schema", schema);
    (void)yyjson_mut_arr_append(list, p);
}

static yyjson_mut_val *parameters(writer *w, const route *r)
{
    const ProtobufCMessageDescriptor *d = r->method->descriptor->input;
    yyjson_mut_val *list = yyjson_mut_arr(w->doc);
    for (unsigned i = 0; i < d->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &d->fields[i];
        bool in_path = rest_call_is_variable(r, f);
        bool in_query =
            !r->body_is_request && f != r->body_field && openapi_schema_has_text_form(f);
        char name[GW_JSON_NAME_SIZE];
        gw_json_name(f->name, name);
        if (in_path)
            add_parameter(w, list, name, "path", openapi_schema_of_field(&w->schemas, d, f));
        else if (in_query)
            add_parameter(w, list, name, "query", openapi_schema_of_field(&w->schemas, d, f));
    }
    if (rest_call_etag(r) && !gw_str_eq_c(r->binding->method, "GET"))
        add_parameter(w, list, "If-Match", "header",
                      fixed(w, "{\"type\":\"string\",\"description\":\"The etag to change.\"}"));
    return list;
}

/* ---- body and answers ---- */

static yyjson_mut_val *json_content(writer *w, yyjson_mut_val *schema)
{
    yyjson_mut_val *content = yyjson_mut_obj(w->doc);
    yyjson_mut_val *media = yyjson_mut_obj(w->doc);
    put(w, media, "schema", schema);
    put(w, content, "application/json", media);
    return content;
}

/* OpenAPI 3.1 has no word for a stream of events: a text, whose data are JSON of that schema. */
static yyjson_mut_val *event_content(writer *w, yyjson_mut_val *schema)
{
    yyjson_mut_val *content = yyjson_mut_obj(w->doc);
    yyjson_mut_val *media =
        fixed(w, "{\"schema\":{\"type\":\"string\",\"description\":\"Server-sent events: each "
                 "`data:` is one message; an event `error` has the body of an error.\","
                 "\"contentMediaType\":\"application/json\"}}");
    put(w, yyjson_mut_obj_get(media, "schema"), "contentSchema", schema);
    put(w, content, "text/event-stream", media);
    return content;
}

static bool is_body_member(const void *arg, const ProtobufCFieldDescriptor *f)
{
    const route *r = arg;
    if (rest_call_is_variable(r, f))
        return false;
    for (const char *const *own = session_own_fields; *own; own++) {
        if (session_is_sign_in(r->method) && strcmp(*own, f->name) == 0)
            return false;
    }
    return true;
}

static yyjson_mut_val *request_body(writer *w, const route *r)
{
    const ProtobufCMessageDescriptor *d = r->method->descriptor->input;
    if (!r->body_is_request && !r->body_field)
        return NULL;
    yyjson_mut_val *body = yyjson_mut_obj(w->doc);
    put(w, body, "required", yyjson_mut_bool(w->doc, r->body_field != NULL));
    put(w, body, "content",
        json_content(w, r->body_field
                            ? openapi_schema_ref(&w->schemas, r->body_field->descriptor)
                            : openapi_schema_of_fields(&w->schemas, d, is_body_member, r)));
    return body;
}

static yyjson_mut_val *responses(writer *w, const route *r)
{
    /* The sign-in's token goes into the cookie; the rest of its answer is that of GetSession. */
    const ProtobufCMessageDescriptor *shown =
        session_is_sign_in(r->method) ? &apirelay__auth__v1__get_session_response__descriptor
                                      : r->method->descriptor->output;
    yyjson_mut_val *all = yyjson_mut_obj(w->doc);
    yyjson_mut_val *good = yyjson_mut_obj(w->doc);
    yyjson_mut_val *comment = openapi_comment(&w->schemas, gw_str_of(shown->name));
    put(w, good, "description", comment ? comment : yyjson_mut_strcpy(w->doc, "Success."));
    yyjson_mut_val *schema = openapi_schema_ref(&w->schemas, shown);
    put(w, good, "content",
        r->method->server_streaming ? event_content(w, schema) : json_content(w, schema));
    put(w, all, "200", good);
    put(w, all, "default", fixed(w, "{\"$ref\":\"#/components/responses/" ERROR_SCHEMA "\"}"));
    return all;
}

/* ---- operations ---- */

static yyjson_mut_val *security(writer *w, const route *r)
{
    if (session_is_sign_in(r->method))
        return fixed(w, "[]");
    if (gw_str_eq_c(r->binding->method, "GET"))
        return fixed(w, "[{\"adminKey\":[]},{\"session\":[]},{\"localSession\":[]}]");
    return fixed(w, "[{\"adminKey\":[]},{\"session\":[],\"csrfToken\":[]},"
                    "{\"localSession\":[],\"csrfToken\":[]}]");
}

static yyjson_mut_val *operation(writer *w, const route *r)
{
    const gw_method *m = r->method;
    yyjson_mut_val *op = yyjson_mut_obj(w->doc);
    yyjson_mut_val *tags = yyjson_mut_arr(w->doc);
    char name[256];
    /* Unique, as it must be: further bindings of an rpc are numbered. */
    if (r->binding_index == 0)
        (void)snprintf(name, sizeof name, GW_STR_FMT, GW_STR_ARG(m->name));
    else
        (void)snprintf(name, sizeof name, GW_STR_FMT "_%zu", GW_STR_ARG(m->name),
                       r->binding_index + 1);
    put_text(w, op, "operationId", name);
    (void)yyjson_mut_arr_append(tags, yyjson_mut_strcpy(w->doc, m->service->short_name));
    put(w, op, "tags", tags);
    (void)snprintf(name, sizeof name, GW_STR_FMT "." GW_STR_FMT, GW_STR_ARG(m->service_name),
                   GW_STR_ARG(m->name));
    put(w, op, "description", openapi_comment(&w->schemas, gw_str_of(name)));
    put(w, op, "parameters", parameters(w, r));
    put(w, op, "requestBody", request_body(w, r));
    put(w, op, "responses", responses(w, r));
    put(w, op, "security", security(w, r));
    return op;
}

/* The binding's path with its variables in JSON's spelling, as the query's are. */
static void append_path(gw_buf *out, const route *r)
{
    for (size_t i = 0; i < r->segment_count; i++) {
        const route_segment *s = &r->segments[i];
        gw_buf_append_char(out, '/');
        if (s->is_variable) {
            char proto_name[GW_JSON_NAME_SIZE], name[GW_JSON_NAME_SIZE];
            (void)snprintf(proto_name, sizeof(proto_name), GW_STR_FMT, GW_STR_ARG(s->text));
            gw_json_name(proto_name, name);
            gw_buf_appendf(out, "{%s}", name);
        } else {
            gw_buf_append_str(out, s->text);
        }
    }
}

static yyjson_mut_val *paths(writer *w, const route_table *routes)
{
    yyjson_mut_val *all = yyjson_mut_obj(w->doc);
    for (size_t i = 0; i < route_table_count(routes); i++) {
        const route *r = route_table_at(routes, i);
        gw_auto_buf shown = {0};
        append_path(&shown, r);
        gw_str path = gw_buf_str(&shown);
        char method[16];
        size_t n = GW_MIN(r->binding->method.len, sizeof method - 1);
        for (size_t k = 0; k < n; k++)
            method[k] = (char)tolower((unsigned char)r->binding->method.ptr[k]);
        method[n] = '\0';
        yyjson_mut_val *item = yyjson_mut_obj_getn(all, path.ptr, path.len);
        if (!item) {
            item = yyjson_mut_obj(w->doc);
            (void)yyjson_mut_obj_put(all, text(w, path), item);
        }
        put(w, item, method, operation(w, r));
    }
    return all;
}

/* ---- the document ---- */

static const char info[] =
    "{\"title\":\"API Relay management API\",\"version\":\"1\","
    "\"description\":\"Keys, usage, providers and admins. Errors are as AIP-193 has them; every "
    "answer carries x-request-id.\"}";

static const char security_schemes[] =
    "{\"adminKey\":{\"type\":\"http\",\"scheme\":\"bearer\",\"description\":\"An admin key, "
    "lcadm_…\"},"
    "\"session\":{\"type\":\"apiKey\",\"in\":\"cookie\",\"name\":\"__Host-session\","
    "\"description\":\"Set by POST /admin/session.\"},"
    "\"localSession\":{\"type\":\"apiKey\",\"in\":\"cookie\",\"name\":\"session\","
    "\"description\":\"The same over plain HTTP on loopback.\"},"
    "\"csrfToken\":{\"type\":\"apiKey\",\"in\":\"header\",\"name\":\"X-CSRF-Token\","
    "\"description\":\"csrfToken of the session, with every change.\"}}";

static const char error_responses[] =
    "{\"Error\":{\"description\":\"The request failed.\",\"content\":{\"application/json\":"
    "{\"schema\":{\"$ref\":\"#/components/schemas/" ERROR_SCHEMA "\"}}}}}";

static const char error_schema[] =
    "{\"type\":\"object\",\"required\":[\"error\"],\"properties\":{\"error\":{\"type\":\"object\","
    "\"required\":[\"code\",\"status\",\"message\"],\"properties\":{"
    "\"code\":{\"type\":\"integer\",\"description\":\"The HTTP status.\"},"
    "\"status\":{\"type\":\"string\",\"description\":\"Name of a google.rpc.Code.\"},"
    "\"message\":{\"type\":\"string\"},"
    "\"details\":{\"type\":\"array\",\"description\":\"google.rpc.BadRequest (fieldViolations), "
    "ErrorInfo (reason) and RequestInfo.\",\"items\":{\"type\":\"object\",\"required\":[\"@type\"],"
    "\"properties\":{\"@type\":{\"type\":\"string\"}}}}}}}}";

static void write_document(writer *w, const route_table *routes)
{
    yyjson_mut_val *root = yyjson_mut_obj(w->doc);
    yyjson_mut_val *components = yyjson_mut_obj(w->doc);
    yyjson_mut_doc_set_root(w->doc, root);
    put_text(w, root, "openapi", "3.1.0");
    put(w, root, "info", fixed(w, info));
    put(w, root, "paths", paths(w, routes));
    put(w, w->schemas.components, ERROR_SCHEMA, fixed(w, error_schema));
    put(w, components, "schemas", w->schemas.components);
    put(w, components, "responses", fixed(w, error_responses));
    put(w, components, "securitySchemes", fixed(w, security_schemes));
    put(w, root, "components", components);
}

gw_status openapi_write(const gw_schema *schema, const route_table *routes, gw_buf *out,
                        gw_error *err)
{
    writer w = {.doc = yyjson_mut_doc_new(NULL)};
    size_t len = 0;
    if (!w.doc)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the OpenAPI document");
    w.schemas =
        (openapi_schemas){.doc = w.doc, .schema = schema, .components = yyjson_mut_obj(w.doc)};
    write_document(&w, routes);
    gw_auto_free char *json = yyjson_mut_write(w.doc, YYJSON_WRITE_NOFLAG, &len);
    yyjson_mut_doc_free(w.doc);
    if (json)
        gw_buf_append(out, json, len);
    if (!json || gw_buf_failed(out))
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the OpenAPI document");
    return GW_OK;
}
