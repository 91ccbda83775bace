#include "schema/schema_internal.h"

#include "apirelay/options/v1/options.pb-c.h"
#include "google/api/http.pb-c.h"

/* Extensions of MethodOptions: protobuf-c keeps them as unknown fields. */
#define EXTENSION_HTTP     72295728 /* google.api.http */
#define EXTENSION_ACCESS   50501 /* apirelay.options.v1.access */
#define EXTENSION_DEADLINE 50502 /* apirelay.options.v1.deadline */

static const ProtobufCMessageUnknownField *extension(const ProtobufCMessage *options, uint32_t tag)
{
    for (unsigned i = 0; i < options->n_unknown_fields; i++) {
        const ProtobufCMessageUnknownField *u = &options->unknown_fields[i];
        if (u->tag == tag && u->wire_type == PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED)
            return u;
    }
    return NULL;
}

/* An unknown field's bytes still have their length in front. */
static ProtobufCMessage *unpack(const ProtobufCMessageUnknownField *u,
                                const ProtobufCMessageDescriptor *d)
{
    size_t at = 0;
    while (at < u->len && (u->data[at] & 0x80))
        at++;
    if (at >= u->len)
        return NULL;
    at++;
    return protobuf_c_message_unpack(d, NULL, u->len - at, u->data + at);
}

static gw_status bad_option(const gw_method *m, const char *what, gw_error *err)
{
    return gw_fail(err, GW_ERR_INTERNAL, "schema: " GW_STR_FMT ": bad option %s",
                   GW_STR_ARG(m->path), what);
}

static gw_status read_access(gw_schema *s, const ProtobufCMessageUnknownField *u, gw_method *m,
                             gw_error *err)
{
    Apirelay__Options__V1__Access *a =
        (Apirelay__Options__V1__Access *)unpack(u, &apirelay__options__v1__access__descriptor);
    if (!a)
        return bad_option(m, "access", err);
    gw_access *access = &m->access;
    bool fits = a->n_services <= GW_ARRAY_LEN(access->services) &&
                a->admin >= APIRELAY__OPTIONS__V1__ROLE__ROLE_UNSPECIFIED &&
                a->admin <= APIRELAY__OPTIONS__V1__ROLE__ROLE_OWNER;
    if (fits) {
        access->declared = true;
        access->anyone = a->anyone;
        access->api_key = a->api_key;
        access->admin = (gw_role)a->admin; /* the same order */
        for (size_t i = 0; i < a->n_services; i++) {
            gw_str name = gw_arena_dup(s->arena, gw_str_of(a->services[i]));
            access->services[access->service_count++] = name;
        }
    }
    apirelay__options__v1__access__free_unpacked(a, NULL);
    return fits ? GW_OK : bad_option(m, "access", err);
}

static gw_status read_deadline(const ProtobufCMessageUnknownField *u, gw_method *m, gw_error *err)
{
    Apirelay__Options__V1__Deadline *d =
        (Apirelay__Options__V1__Deadline *)unpack(u, &apirelay__options__v1__deadline__descriptor);
    bool ok = d && d->max_ms >= 0 && d->default_ms >= 0;
    if (ok && d->max_ms > 0)
        m->max_deadline_ms = m->default_deadline_ms = d->max_ms;
    if (ok && d->default_ms > 0)
        m->default_deadline_ms = d->default_ms;
    if (d)
        apirelay__options__v1__deadline__free_unpacked(d, NULL);
    if (!ok || m->default_deadline_ms > m->max_deadline_ms)
        return bad_option(m, "deadline", err);
    return GW_OK;
}

static bool copy_binding(gw_schema *s, const Google__Api__HttpRule *rule, gw_http_binding *out)
{
    const char *method = NULL, *path = NULL;
    switch (rule->pattern_case) {
    case GOOGLE__API__HTTP_RULE__PATTERN_GET:
        method = "GET", path = rule->get;
        break;
    case GOOGLE__API__HTTP_RULE__PATTERN_PUT:
        method = "PUT", path = rule->put;
        break;
    case GOOGLE__API__HTTP_RULE__PATTERN_POST:
        method = "POST", path = rule->post;
        break;
    case GOOGLE__API__HTTP_RULE__PATTERN_DELETE:
        method = "DELETE", path = rule->delete_;
        break;
    case GOOGLE__API__HTTP_RULE__PATTERN_PATCH:
        method = "PATCH", path = rule->patch;
        break;
    case GOOGLE__API__HTTP_RULE__PATTERN_CUSTOM:
        method = rule->custom->kind, path = rule->custom->path;
        break;
    default:
        return false;
    }
    out->method = gw_arena_dup(s->arena, gw_str_of(method));
    out->path = gw_arena_dup(s->arena, gw_str_of(path));
    out->body = gw_arena_dup(s->arena, gw_str_of(rule->body));
    return out->path.len > 0 && out->path.ptr[0] == '/';
}

static gw_status read_http(gw_schema *s, const ProtobufCMessageUnknownField *u, gw_method *m,
                           gw_error *err)
{
    Google__Api__HttpRule *rule =
        (Google__Api__HttpRule *)unpack(u, &google__api__http_rule__descriptor);
    if (!rule)
        return bad_option(m, "google.api.http", err);
    size_t n = 1 + rule->n_additional_bindings;
    gw_http_binding *bindings = gw_arena_array(s->arena, gw_http_binding, n);
    bool ok = bindings && copy_binding(s, rule, &bindings[0]);
    for (size_t i = 1; ok && i < n; i++)
        ok = copy_binding(s, rule->additional_bindings[i - 1], &bindings[i]);
    if (ok) {
        m->bindings = bindings;
        m->binding_count = n;
    }
    google__api__http_rule__free_unpacked(rule, NULL);
    return ok ? GW_OK : bad_option(m, "google.api.http", err);
}

gw_status gw_schema_read_options(gw_schema *s, const Google__Protobuf__MethodOptions *options,
                                 gw_method *m, gw_error *err)
{
    m->max_deadline_ms = m->server_streaming ? INT64_MAX : GW_METHOD_DEADLINE_MS;
    m->default_deadline_ms = m->max_deadline_ms;
    if (!options)
        return GW_OK;
    m->idempotent = options->has_idempotency_level &&
                    options->idempotency_level !=
                        GOOGLE__PROTOBUF__METHOD_OPTIONS__IDEMPOTENCY_LEVEL__IDEMPOTENCY_UNKNOWN;
    const ProtobufCMessageUnknownField *deadline = extension(&options->base, EXTENSION_DEADLINE);
    const ProtobufCMessageUnknownField *access = extension(&options->base, EXTENSION_ACCESS);
    const ProtobufCMessageUnknownField *http = extension(&options->base, EXTENSION_HTTP);
    gw_status rc = access ? read_access(s, access, m, err) : GW_OK;
    if (rc == GW_OK && deadline)
        rc = read_deadline(deadline, m, err);
    return rc == GW_OK && http ? read_http(s, http, m, err) : rc;
}
