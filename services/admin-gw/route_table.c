#include "route_table.h"

#include "core/url.h"

#include <stdlib.h>

struct route_table {
    route *routes; /* the more literal first */
    size_t count, capacity;
};

const char *route_backend_name(route_backend b)
{
    static const char *const names[] = {"auth", "relay", "usage"};
    return names[b];
}

/* ---- building ---- */

static bool find_backend(gw_str service, route_backend *ret)
{
    static const struct {
        gw_str prefix;
        route_backend backend;
    } packages[] = {{{"apirelay.auth.", 14}, ROUTE_AUTH},
                    {{"apirelay.relay.", 15}, ROUTE_RELAY},
                    {{"apirelay.usage.", 15}, ROUTE_USAGE}};
    for (size_t i = 0; i < GW_ARRAY_LEN(packages); i++) {
        if (gw_str_starts_with(service, packages[i].prefix)) {
            *ret = packages[i].backend;
            return true;
        }
    }
    return false;
}

static const ProtobufCFieldDescriptor *field_named(const ProtobufCMessageDescriptor *d, gw_str name)
{
    for (unsigned i = 0; i < d->n_fields; i++) {
        if (gw_str_eq_c(name, d->fields[i].name))
            return &d->fields[i];
    }
    return NULL;
}

static gw_status bad_binding(const route *r, gw_error *err, const char *what)
{
    return gw_fail(err, GW_ERR_INTERNAL, GW_STR_FMT ": " GW_STR_FMT " " GW_STR_FMT ": %s",
                   GW_STR_ARG(r->method->path), GW_STR_ARG(r->binding->method),
                   GW_STR_ARG(r->binding->path), what);
}

static gw_status parse_segment(route *r, gw_str text, gw_error *err)
{
    const ProtobufCMessageDescriptor *request = r->method->descriptor->input;
    route_segment *s = &r->segments[r->segment_count];
    if (text.len == 0)
        return bad_binding(r, err, "an empty segment");
    s->is_variable = text.ptr[0] == '{';
    s->text = text;
    if (s->is_variable) {
        if (!gw_str_ends_with(text, GW_STR("}")))
            return bad_binding(r, err, "a variable that is no whole segment");
        s->text = gw_str_slice(text, 1, text.len - 1);
        const ProtobufCFieldDescriptor *f = field_named(request, s->text);
        if (!f || f->label == PROTOBUF_C_LABEL_REPEATED || f->type == PROTOBUF_C_TYPE_MESSAGE)
            return bad_binding(r, err, "a variable that is no scalar field of the request");
    } else if (gw_str_find(text, '{') >= 0 || gw_str_find(text, '*') >= 0) {
        return bad_binding(r, err, "a kind of template that is not supported");
    }
    r->segment_count++;
    return GW_OK;
}

static gw_status parse_template(route *r, gw_error *err)
{
    gw_str rest = r->binding->path;
    gw_str part;
    size_t variables = 0;
    if (rest.len < 2 || rest.ptr[0] != '/')
        return bad_binding(r, err, "must start with a slash");
    rest = gw_str_slice(rest, 1, rest.len);
    while (gw_str_split(&rest, '/', &part)) {
        if (r->segment_count == ROUTE_SEGMENTS_MAX)
            return bad_binding(r, err, "too many segments");
        gw_status rc = parse_segment(r, part, err);
        if (rc != GW_OK)
            return rc;
        variables += r->segments[r->segment_count - 1].is_variable;
    }
    return variables > ROUTE_VARIABLES_MAX ? bad_binding(r, err, "too many variables") : GW_OK;
}

static gw_status parse_body(route *r, gw_error *err)
{
    gw_str body = r->binding->body;
    r->body_is_request = gw_str_eq_c(body, "*");
    if (body.len == 0 || r->body_is_request)
        return GW_OK;
    r->body_field = field_named(r->method->descriptor->input, body);
    if (!r->body_field || r->body_field->label == PROTOBUF_C_LABEL_REPEATED ||
        r->body_field->type != PROTOBUF_C_TYPE_MESSAGE)
        return bad_binding(r, err, "a body that is no message of the request");
    return GW_OK;
}

static gw_status parse_route(route *r, gw_error *err)
{
    if (r->method->client_streaming)
        return bad_binding(r, err, "a stream of requests cannot be served as REST");
    if (!find_backend(r->method->service_name, &r->backend))
        return bad_binding(r, err, "no backend serves that package");
    gw_status rc = parse_template(r, err);
    return rc == GW_OK ? parse_body(r, err) : rc;
}

/* Literal before variable at the first difference, so that the first route that fits is the right
 * one. 0: the same shape. */
static int compare_shape(const route *a, const route *b)
{
    size_t n = GW_MIN(a->segment_count, b->segment_count);
    for (size_t i = 0; i < n; i++) {
        const route_segment *x = &a->segments[i];
        const route_segment *y = &b->segments[i];
        if (x->is_variable != y->is_variable)
            return x->is_variable ? 1 : -1;
        int order = x->is_variable ? 0 : gw_str_cmp(x->text, y->text);
        if (order != 0)
            return order;
    }
    return (a->segment_count > n) - (b->segment_count > n);
}

static int compare_routes(const void *x, const void *y)
{
    const route *a = x;
    const route *b = y;
    int order = compare_shape(a, b);
    return order ? order : gw_str_cmp(a->binding->method, b->binding->method);
}

static gw_status add_method(route_table *t, const gw_method *m, gw_error *err)
{
    for (size_t i = 0; i < m->binding_count; i++) {
        if (t->count == t->capacity) {
            size_t capacity = t->capacity ? t->capacity * 2 : 64;
            route *grown = realloc(t->routes, capacity * sizeof *grown);
            if (!grown)
                return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the routes");
            t->routes = grown;
            t->capacity = capacity;
        }
        route *r = &t->routes[t->count];
        *r = (route){.method = m, .binding = &m->bindings[i], .binding_index = i};
        gw_status rc = parse_route(r, err);
        if (rc != GW_OK)
            return rc;
        t->count++;
    }
    return GW_OK;
}

static gw_status fill(route_table *t, const gw_schema *schema, gw_error *err)
{
    for (size_t i = 0; i < gw_schema_method_count(schema); i++) {
        gw_status rc = add_method(t, gw_schema_method_at(schema, i), err);
        if (rc != GW_OK)
            return rc;
    }
    if (t->count > 0)
        qsort(t->routes, t->count, sizeof *t->routes, compare_routes);
    for (size_t i = 1; i < t->count; i++) {
        if (compare_routes(&t->routes[i - 1], &t->routes[i]) == 0)
            return bad_binding(&t->routes[i], err, "bound twice");
    }
    return GW_OK;
}

gw_status route_table_new(const gw_schema *schema, route_table **ret, gw_error *err)
{
    route_table *t = calloc(1, sizeof *t);
    if (!t)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the routes");
    gw_status rc = fill(t, schema, err);
    if (rc == GW_OK)
        *ret = t;
    else
        route_table_free(t);
    return rc;
}

void route_table_free(route_table *t)
{
    if (!t)
        return;
    free(t->routes);
    free(t);
}

size_t route_table_count(const route_table *t)
{
    return t->count;
}

const route *route_table_at(const route_table *t, size_t i)
{
    return &t->routes[i];
}

/* ---- matching ---- */

typedef struct path_parts {
    gw_str parts[ROUTE_SEGMENTS_MAX];
    size_t count;
} path_parts;

static bool split_path(gw_str path, path_parts *ret)
{
    *ret = (path_parts){.count = 0};
    while (path.len > 0 && path.ptr[0] == '/') {
        size_t end = 1;
        while (end < path.len && path.ptr[end] != '/')
            end++;
        if (end == 1 || ret->count == ROUTE_SEGMENTS_MAX)
            return false;
        ret->parts[ret->count++] = gw_str_slice(path, 1, end);
        path = gw_str_slice(path, end, path.len);
    }
    return path.len == 0 && ret->count > 0;
}

static bool fits(const route *r, const path_parts *p)
{
    if (r->segment_count != p->count)
        return false;
    for (size_t i = 0; i < p->count; i++) {
        if (!r->segments[i].is_variable && !gw_str_eq(r->segments[i].text, p->parts[i]))
            return false;
    }
    return true;
}

static gw_status take_variables(const route *r, const path_parts *p, gw_arena *a, route_match *ret,
                                gw_error *err)
{
    for (size_t i = 0; i < p->count; i++) {
        if (!r->segments[i].is_variable)
            continue;
        gw_str value;
        if (!gw_percent_decode(a, p->parts[i], false, &value) || !gw_str_is_utf8(value))
            return gw_fail(err, GW_ERR_INVALID_ARGUMENT,
                           "the path holds a malformed percent escape");
        ret->variables[ret->variable_count].name = r->segments[i].text;
        ret->variables[ret->variable_count++].value = value;
    }
    ret->route = r;
    return GW_OK;
}

static void add_allowed(gw_buf *allow, gw_str method)
{
    if (allow->len > 0)
        gw_buf_append_c(allow, ", ");
    gw_buf_append_str(allow, method);
    if (gw_str_eq_c(method, "GET"))
        gw_buf_append_c(allow, ", HEAD");
}

gw_status route_table_match(const route_table *t, gw_arena *a, gw_str method, gw_str path,
                            route_match *ret, gw_error *err)
{
    gw_str wanted = gw_str_eq_c(method, "HEAD") ? GW_STR("GET") : method;
    gw_auto_buf allow = {0};
    path_parts parts;
    *ret = (route_match){.route = NULL};
    if (!split_path(path, &parts))
        return gw_fail(err, GW_ERR_NOT_FOUND, "there is no such path");
    for (size_t i = 0; i < t->count; i++) {
        const route *r = &t->routes[i];
        if (!fits(r, &parts))
            continue;
        if (gw_str_eq(r->binding->method, wanted))
            return take_variables(r, &parts, a, ret, err);
        if (!gw_str_contains(gw_buf_str(&allow), r->binding->method))
            add_allowed(&allow, r->binding->method);
    }
    if (allow.len == 0)
        return gw_fail(err, GW_ERR_NOT_FOUND, "there is no such path");
    ret->allow = gw_arena_dup(a, gw_buf_str(&allow));
    return gw_fail(err, GW_ERR_METHOD_NOT_ALLOWED, "this path takes " GW_STR_FMT,
                   GW_STR_ARG(ret->allow));
}
