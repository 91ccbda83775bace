/* The plans of changes: what may be changed, and into what. */
#include "provider_store_internal.h"

#include "config_store.h"
#include "message_fields.h"
#include "write_rules.h"

#include "core/clock.h"
#include "core/id.h"
#include "json/field.h"

static gw_status check_provider(const ProtobufCMessage *m, gw_violations *v, gw_error *err)
{
    const provider_message *p = (const void *)m;
    gw_violations further = {0};
    gw_status rc = provider_check(p, "", v, err);
    if (rc != GW_OK)
        return rc;
    provider_write_check(p, &further);
    return gw_violations_split(&further, err, v);
}

static gw_status check_route(const ProtobufCMessage *m, gw_violations *v, gw_error *err)
{
    const route_message *r = (const void *)m;
    gw_violations further = {0};
    gw_status rc = route_check(r, "", v, err);
    if (rc != GW_OK)
        return rc;
    route_write_check(r, &further);
    return gw_violations_split(&further, err, v);
}

static const entity entities[] = {
    [ENTITY_PROVIDER] = {{"provider", PROVIDERS_COLLECTION,
                          &apirelay__relay__v1__provider__descriptor, "name"},
                         .id_field = "name",
                         .fixed = {"name", "kind"},
                         .check = check_provider},
    [ENTITY_ROUTE] = {{"model route", ROUTES_COLLECTION,
                       &apirelay__relay__v1__model_route__descriptor, "model"},
                      .id_field = "id",
                      .fixed = {"id", NULL},
                      .check = check_route},
};

const entity *entity_of(entity_kind kind)
{
    return &entities[kind];
}

static const char *const read_only[] = {"id", "source", "created_at", "updated_at", "updated_by"};

/* ---- before a change ---- */

/* The stored entity to change: what only the file has cannot be changed over the API. */
static gw_status find_to_change(provider_store *s, entity_kind kind, const entity_change *c,
                                ProtobufCMessage **ret, gw_error *err)
{
    const entity *e = entity_of(kind);
    ProtobufCMessage *found = NULL;
    gw_status rc = config_document_find(s, &e->c, c->id, &found, err);
    if (rc != GW_OK)
        return rc;
    if (!found && entity_in_file(s, kind, c->id))
        return gw_fail(
            err, GW_ERR_FAILED_PRECONDITION,
            "%s \"%.100s\" comes from the settings file; create one of the same %s to override it",
            e->c.what, c->id, e->c.key_field);
    if (!found)
        return entity_not_found(e, c->id, err);
    if (*c->etag && strcmp(c->etag, message_text(found, "etag")) != 0)
        return gw_fail_field(err, GW_ERR_ABORTED, "etag", "the %s has changed since it was read",
                             e->c.what);
    *ret = found;
    return GW_OK;
}

/* ---- create ---- */

static gw_status check_target_exists(provider_store *s, size_t i, const char *name,
                                     gw_violations *v, gw_error *err)
{
    ProtobufCMessage *found = NULL;
    char field[48];
    if (entity_in_file(s, ENTITY_PROVIDER, name))
        return GW_OK;
    gw_status rc = config_document_find(s, &entity_of(ENTITY_PROVIDER)->c, name, &found, err);
    if (rc != GW_OK || found)
        return rc;
    snprintf(field, sizeof(field), "targets[%zu].provider", i);
    gw_violations_add(v, field, "there is no provider \"%.63s\"", name);
    return GW_OK;
}

gw_status route_refuse_if_astray(provider_store *s, const route_message *r, gw_error *err)
{
    gw_violations v = {0};
    gw_status rc = GW_OK;
    for (size_t i = 0; i < r->n_targets && rc == GW_OK; i++)
        rc = check_target_exists(s, i, r->targets[i]->provider, &v, err);
    return rc == GW_OK ? gw_violations_split(&v, err, s->further) : rc;
}

static gw_status refuse_read_only(provider_store *s, const entity *e, const ProtobufCMessage *m,
                                  gw_error *err)
{
    gw_violations v = {0};
    for (size_t i = 0; i < GW_ARRAY_LEN(read_only); i++) {
        const ProtobufCFieldDescriptor *f =
            protobuf_c_message_descriptor_get_field_by_name(e->c.descriptor, read_only[i]);
        char name[GW_JSON_NAME_SIZE];
        gw_json_name(read_only[i], name);
        if (f && gw_field_is_set(m, f))
            gw_violations_add(&v, name, "is read only");
    }
    return gw_violations_split(&v, err, s->further);
}

/* What is stored is stated in full, so that a later default changes nothing that exists. */
static void state_defaults(entity_kind kind, ProtobufCMessage *m)
{
    const char *field = kind == ENTITY_PROVIDER ? "transport" : "unsupported_params";
    if (*message_text(m, "status") == '\0')
        message_set_text(m, "status", "active");
    if (*message_text(m, field) == '\0')
        message_set_text(m, field, kind == ENTITY_PROVIDER ? "own" : "refuse");
}

static bool give_id(provider_store *s, ProtobufCMessage *m)
{
    gw_object_id id;
    char *hex = gw_arena_alloc(s->arena, GW_OBJECT_ID_HEX_SIZE);
    if (!hex)
        return false;
    gw_object_id_make(&id, s->now_ms);
    gw_object_id_format(&id, hex);
    message_set_text(m, "id", hex);
    return true;
}

/* The rules, and then the plan: `after` has its stamp. */
static gw_status finish_plan(provider_store *s, entity_kind kind, const char *change,
                             const ProtobufCMessage *before, ProtobufCMessage *after,
                             entity_plan *ret, gw_error *err)
{
    const entity *e = entity_of(kind);
    state_defaults(kind, after);
    gw_status rc = e->check(after, s->further, err);
    if (rc == GW_OK && kind == ENTITY_ROUTE)
        rc = route_refuse_if_astray(s, (const void *)after, err);
    if (rc != GW_OK)
        return rc;
    *ret = (entity_plan){.kind = kind,
                         .id = message_text(after, e->id_field),
                         .before = before,
                         .after = after,
                         .version = config_version_of(s, kind, change, after)};
    return ret->version ? GW_OK : config_no_memory(err);
}

gw_status entity_plan_create(provider_store *s, entity_kind kind, const entity_change *c,
                             entity_plan *ret, gw_error *err)
{
    const entity *e = entity_of(kind);
    if (!c->entity)
        return gw_fail_field(err, GW_ERR_INVALID_ARGUMENT,
                             kind == ENTITY_ROUTE ? "modelRoute" : "provider", "must be given");
    gw_status rc = refuse_read_only(s, e, c->entity, err);
    ProtobufCMessage *m = message_shallow_copy(s->arena, c->entity);
    if (rc != GW_OK)
        return rc;
    if (!m || !config_document_stamp(s, m) || (kind == ENTITY_ROUTE && !give_id(s, m)))
        return config_no_memory(err);
    *(Google__Protobuf__Timestamp **)message_field(m, "created_at") = config_timestamp(s);
    return finish_plan(s, kind, "create", NULL, m, ret, err);
}

/* ---- update ---- */

static bool is_in(const char *name, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (names[i] && strcmp(names[i], name) == 0)
            return true;
    }
    return false;
}

static void apply_field(const entity *e, ProtobufCMessage *to, const ProtobufCMessage *from,
                        const ProtobufCFieldDescriptor *f, gw_violations *v)
{
    char path[GW_JSON_NAME_SIZE];
    if (strcmp(f->name, "etag") == 0)
        return; /* a condition, not a change */
    gw_json_name(f->name, path);
    if (is_in(f->name, read_only, GW_ARRAY_LEN(read_only)))
        gw_violations_add(v, path, "is read only");
    else if (is_in(f->name, e->fixed, GW_ARRAY_LEN(e->fixed)) &&
             strcmp(message_text(to, f->name), message_text(from, f->name)) != 0)
        gw_violations_add(v, path, "is fixed after creation");
    else
        gw_field_share(to, from, f);
}

static gw_status apply(provider_store *s, const entity *e, ProtobufCMessage *to,
                       const entity_change *c, gw_error *err)
{
    gw_violations v = {0};
    for (size_t i = 0; i < c->path_count; i++) {
        const ProtobufCFieldDescriptor *f = gw_field_named(e->c.descriptor, gw_str_of(c->paths[i]));
        if (f)
            apply_field(e, to, c->entity, f, &v);
        else
            gw_violations_add(&v, c->paths[i], "is no field of a %s", e->c.what);
    }
    for (unsigned i = 0; c->path_count == 0 && i < e->c.descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &e->c.descriptor->fields[i];
        if (gw_field_is_set(c->entity, f))
            apply_field(e, to, c->entity, f, &v);
    }
    return gw_violations_split(&v, err, s->further);
}

/* By the mask, or without one by having a value. */
static bool is_stated(const entity_change *c, const char *field, bool has_value)
{
    bool stated = c->path_count == 0 && has_value;
    for (size_t i = 0; i < c->path_count; i++) {
        const ProtobufCFieldDescriptor *f =
            gw_field_named(c->entity->descriptor, gw_str_of(c->paths[i]));
        stated = stated || (f && strcmp(f->name, field) == 0);
    }
    return stated;
}

/* A credential must not follow a provider to another host unless whoever moves it says so. */
static gw_status check_origin(const entity_change *c, const ProtobufCMessage *before,
                              const ProtobufCMessage *after, gw_error *err)
{
    const provider_message *a = (const provider_message *)(const void *)before;
    const provider_message *b = (const provider_message *)(const void *)after;
    const provider_message *stated = (const provider_message *)(const void *)c->entity;
    bool states_first = is_stated(c, "credential", *stated->credential != '\0');
    bool states_more = is_stated(c, "more_credentials", stated->n_more_credentials > 0);
    bool needs_more = a->n_more_credentials > 0 && b->n_more_credentials > 0 && !states_more;
    if (!provider_origin_changed(a, b))
        return GW_OK;
    if (needs_more)
        return gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, "moreCredentials",
                             "must be given anew when the scheme, host or port of baseUrl changes");
    if (*a->credential == '\0' || states_first)
        return GW_OK;
    return gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, "credential",
                         "must be given anew when the scheme, host or port of baseUrl changes");
}

gw_status entity_plan_update(provider_store *s, entity_kind kind, const entity_change *c,
                             entity_plan *ret, gw_error *err)
{
    const entity *e = entity_of(kind);
    ProtobufCMessage *before = NULL;
    if (!c->entity)
        return gw_fail_field(err, GW_ERR_INVALID_ARGUMENT,
                             kind == ENTITY_ROUTE ? "modelRoute" : "provider", "must be given");
    gw_status rc = find_to_change(s, kind, c, &before, err);
    if (rc != GW_OK)
        return rc;
    ProtobufCMessage *after = message_shallow_copy(s->arena, before);
    if (!after)
        return config_no_memory(err);
    message_set_text(after, "note", ""); /* it was for the change before */
    rc = apply(s, e, after, c, err);
    if (rc == GW_OK && kind == ENTITY_PROVIDER)
        rc = check_origin(c, before, after, err);
    if (rc == GW_OK && !config_document_stamp(s, after))
        rc = config_no_memory(err);
    return rc == GW_OK ? finish_plan(s, kind, "update", before, after, ret, err) : rc;
}

/* ---- delete ---- */

gw_status entity_plan_delete(provider_store *s, entity_kind kind, const entity_change *c,
                             entity_plan *ret, gw_error *err)
{
    ProtobufCMessage *found = NULL;
    gw_status rc = find_to_change(s, kind, c, &found, err);
    if (rc == GW_OK)
        rc = note_check(c->note, err);
    if (rc == GW_OK && kind == ENTITY_PROVIDER)
        rc = provider_refuse_if_used(s, c->id, err);
    if (rc != GW_OK)
        return rc;
    ProtobufCMessage *last = message_shallow_copy(s->arena, found);
    if (!last || !config_document_stamp(s, last))
        return config_no_memory(err);
    message_set_text(last, "note", c->note);
    config_version *v = config_version_of(s, kind, "delete", last);
    if (!v)
        return config_no_memory(err);
    v->provider = NULL; /* what it was, the version before says */
    v->model_route = NULL;
    *ret = (entity_plan){.kind = kind, .id = c->id, .before = found, .version = v};
    return GW_OK;
}

/* ---- restore ---- */

static gw_status check_fixed(const entity *e, const ProtobufCMessage *stored,
                             const ProtobufCMessage *m, gw_error *err)
{
    for (size_t i = 0; stored && i < GW_ARRAY_LEN(e->fixed) && e->fixed[i]; i++) {
        if (strcmp(message_text(stored, e->fixed[i]), message_text(m, e->fixed[i])) != 0)
            return gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, "version",
                                 "has another %s, which is fixed after creation", e->fixed[i]);
    }
    return GW_OK;
}

/* The version to restore, and what is stored now (NULL: nothing). */
static gw_status find_to_restore(provider_store *s, entity_kind kind, const entity_change *c,
                                 ProtobufCMessage **stored, config_version **ret, gw_error *err)
{
    const entity *e = entity_of(kind);
    entity_history h;
    gw_status rc = config_document_find(s, &e->c, c->id, stored, err);
    if (rc == GW_OK)
        rc = entity_history_read(s, kind, c->id, *stored, &h, err);
    if (rc == GW_OK && h.count == 0)
        rc = entity_not_found(e, c->id, err);
    if (rc == GW_OK && *c->etag && (!*stored || strcmp(c->etag, message_text(*stored, "etag"))))
        rc = gw_fail_field(err, GW_ERR_ABORTED, "etag", "the %s has changed since it was read",
                           e->c.what);
    if (rc == GW_OK)
        rc = note_check(c->note, err);
    return rc == GW_OK ? entity_history_find(s, &h, c->version, ret, err) : rc;
}

gw_status entity_plan_restore(provider_store *s, entity_kind kind, const entity_change *c,
                              entity_plan *ret, gw_error *err)
{
    ProtobufCMessage *stored = NULL;
    config_version *v = NULL;
    gw_status rc = find_to_restore(s, kind, c, &stored, &v, err);
    if (rc != GW_OK)
        return rc;
    const ProtobufCMessage *was =
        message_child(&v->base, kind == ENTITY_PROVIDER ? "provider" : "model_route");
    if (!was)
        return gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, "version", "is of a deletion");
    rc = check_fixed(entity_of(kind), stored, was, err);
    ProtobufCMessage *m = message_shallow_copy(s->arena, was);
    if (rc != GW_OK)
        return rc;
    if (!m || !config_document_stamp(s, m))
        return config_no_memory(err);
    message_set_text(m, "note", c->note);
    rc = finish_plan(s, kind, "restore", stored, m, ret, err);
    if (rc == GW_OK)
        ret->version->restored_version = c->version;
    return rc;
}
