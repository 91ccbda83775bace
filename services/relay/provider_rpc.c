#include "provider_rpc.h"

#include "message_fields.h"
#include "provider_op.h"

#include "crypto/cursor.h"

#include "apirelay/relay/v1/provider_service.pb-c.h"

#include <stdlib.h>

#define SERVICE_PATH "/apirelay.relay.v1.ProviderService/"

/* ---- the acts, on a worker ---- */

static const char *member_of(entity_kind kind)
{
    return kind == ENTITY_PROVIDER ? "provider" : "model_route";
}

static const char *id_of(const provider_op *o)
{
    return message_text(o->request, o->kind->entity == ENTITY_PROVIDER ? "name" : "id");
}

static gw_status get(provider_op *o, provider_store *s, gw_error *err)
{
    ProtobufCMessage *m = NULL;
    gw_status rc = entity_get(s, o->kind->entity, id_of(o), &m, err);
    provider_op_set(o, member_of(o->kind->entity), m);
    return rc;
}

/* The audit log has the version as the history will have it; of a very long route only who, when and why. */
static const char *describe(provider_store *s, const config_version *v)
{
    const char *whole = provider_op_payload(s->arena, &v->base);
    config_version head = *v;
    head.provider = NULL;
    head.model_route = NULL;
    return whole ? whole : provider_op_payload(s->arena, &head.base);
}

typedef gw_status (*plan_fn)(provider_store *s, entity_kind kind, const entity_change *c,
                             entity_plan *ret, gw_error *err);

static gw_status plan(provider_op *o, provider_store *s, plan_fn make, const entity_change *c,
                      gw_error *err)
{
    entity_plan *p = gw_arena_new_of(s->arena, entity_plan);
    gw_status rc = p ? make(s, o->kind->entity, c, p, err)
                     : gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the request");
    if (rc != GW_OK)
        return rc;
    o->data = p;
    o->target = p->id;
    o->payload = describe(s, p->version);
    if (p->after)
        provider_op_set(o, member_of(o->kind->entity), p->after);
    return GW_OK;
}

static gw_status create(provider_op *o, provider_store *s, gw_error *err)
{
    const entity_change c = {
        .id = "", .etag = "", .entity = message_child(o->request, member_of(o->kind->entity))};
    return plan(o, s, entity_plan_create, &c, err);
}

static gw_status update(provider_op *o, provider_store *s, gw_error *err)
{
    const ProtobufCMessage *entity = message_child(o->request, member_of(o->kind->entity));
    const Google__Protobuf__FieldMask *mask =
        (const Google__Protobuf__FieldMask *)(const void *)message_child(o->request, "update_mask");
    const entity_change c = {.id = id_of(o),
                             .etag = provider_op_etag(o->request, entity),
                             .entity = entity,
                             .paths = mask ? mask->paths : NULL,
                             .path_count = mask ? mask->n_paths : 0};
    return plan(o, s, entity_plan_update, &c, err);
}

static gw_status delete_entity(provider_op *o, provider_store *s, gw_error *err)
{
    const entity_change c = {.id = id_of(o),
                             .etag = message_text(o->request, "etag"),
                             .note = message_text(o->request, "note")};
    return plan(o, s, entity_plan_delete, &c, err);
}

static gw_status restore(provider_op *o, provider_store *s, gw_error *err)
{
    const entity_change c = {.id = id_of(o),
                             .etag = message_text(o->request, "etag"),
                             .note = message_text(o->request, "note"),
                             .version = *(const int64_t *)message_field(
                                 (ProtobufCMessage *)(uintptr_t)o->request, "version")};
    return plan(o, s, entity_plan_restore, &c, err);
}

static gw_status apply(provider_op *o, provider_store *s, gw_error *err)
{
    const entity_plan *p = o->data;
    gw_status rc = entity_write(s, p, err);
    if (rc == GW_OK)
        o->result_payload =
            gw_arena_printf(s->arena, "{\"version\":%lld}", (long long)p->version->version).ptr;
    return rc;
}

static gw_status list(provider_op *o, provider_store *s, gw_error *err)
{
    bool providers = o->kind->entity == ENTITY_PROVIDER;
    gw_str filters = providers ? GW_STR("providers") : GW_STR("models");
    gw_str cursor = gw_str_of(message_text(o->request, "cursor"));
    gw_auto_buf after = {0};
    ProtobufCMessage **all = NULL;
    size_t count = 0, size = 0, from = 0;
    gw_status rc = provider_op_page_size(o->request, &size, err);
    if (rc == GW_OK && cursor.len)
        rc = gw_cursor_read(o->rpc->cursor_key, filters, cursor, &after, err);
    if (rc == GW_OK)
        rc = entity_list(s, o->kind->entity, &all, &count, err);
    if (rc != GW_OK)
        return rc;
    while (cursor.len && from < count &&
           strcmp(entity_sort_key(o->kind->entity, all[from]), after.data ? after.data : "") <= 0)
        from++;
    size_t n = gw_rpc_page_fit(all + from, GW_MIN(size, count - from));
    *(ProtobufCMessage ***)message_field(o->response, providers ? "providers" : "model_routes") =
        all + from;
    const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field_by_name(
        o->response->descriptor, providers ? "providers" : "model_routes");
    *(size_t *)(void *)((char *)o->response + f->quantifier_offset) = n;
    if (from + n < count) {
        gw_auto_buf next = {0};
        gw_cursor_write(o->rpc->cursor_key, filters,
                        gw_str_of(entity_sort_key(o->kind->entity, all[from + n - 1])), &next);
        message_set_text(o->response, "next_cursor", gw_arena_strdup(s->arena, gw_buf_str(&next)));
    }
    return GW_OK;
}

/* ---- the handlers, one a line ---- */

#define READING(name, of, act)                                                                     \
    static const provider_op_kind name = {.run = act, .entity = of};                               \
    PROVIDER_HANDLER(name)
#define CHANGE(name, of, act, named)                                                               \
    static const provider_op_kind name = {                                                         \
        .run = act, .apply = apply, .entity = of, .action = named};                                \
    PROVIDER_HANDLER(name)

CHANGE(create_provider, ENTITY_PROVIDER, create, "provider.create")
READING(get_provider, ENTITY_PROVIDER, get)
READING(list_providers, ENTITY_PROVIDER, list)
CHANGE(update_provider, ENTITY_PROVIDER, update, "provider.update")
CHANGE(delete_provider, ENTITY_PROVIDER, delete_entity, "provider.delete")
CHANGE(restore_provider, ENTITY_PROVIDER, restore, "provider.restore")
CHANGE(create_route, ENTITY_ROUTE, create, "model_route.create")
READING(get_route, ENTITY_ROUTE, get)
READING(list_routes, ENTITY_ROUTE, list)
CHANGE(update_route, ENTITY_ROUTE, update, "model_route.update")
CHANGE(delete_route, ENTITY_ROUTE, delete_entity, "model_route.delete")
CHANGE(restore_route, ENTITY_ROUTE, restore, "model_route.restore")

const gw_rpc_handler provider_rpc_handlers[] = {
    {.path = SERVICE_PATH "CreateProvider", .start = on_create_provider},
    {.path = SERVICE_PATH "GetProvider", .start = on_get_provider},
    {.path = SERVICE_PATH "ListProviders", .start = on_list_providers},
    {.path = SERVICE_PATH "UpdateProvider", .start = on_update_provider},
    {.path = SERVICE_PATH "DeleteProvider", .start = on_delete_provider},
    {.path = SERVICE_PATH "RestoreProvider", .start = on_restore_provider},
    {.path = SERVICE_PATH "CreateModelRoute", .start = on_create_route},
    {.path = SERVICE_PATH "GetModelRoute", .start = on_get_route},
    {.path = SERVICE_PATH "ListModelRoutes", .start = on_list_routes},
    {.path = SERVICE_PATH "UpdateModelRoute", .start = on_update_route},
    {.path = SERVICE_PATH "DeleteModelRoute", .start = on_delete_route},
    {.path = SERVICE_PATH "RestoreModelRoute", .start = on_restore_route},
    {.path = NULL},
};

/* ---- indexes ---- */

typedef struct index_job {
    gw_mongo_job job;
    gw_log *log;
} index_job;

static gw_status run_indexes(gw_mongo_job *job, mongoc_client_t *client, mongoc_database_t *db,
                             gw_error *err)
{
    (void)job;
    (void)client;
    return provider_store_ensure_indexes(db, err);
}

static void indexes_done(gw_mongo_job *job, gw_status rc, const gw_error *err)
{
    index_job *j = GW_CONTAINER_OF(job, index_job, job);
    if (rc != GW_OK)
        gw_log_error(j->log, "indexes_failed", gw_kv_error(err));
    free(j);
}

static void make_indexes(void *arg)
{
    provider_rpc *p = arg;
    index_job *j = calloc(1, sizeof(*j));
    if (!j)
        return;
    j->job.run = run_indexes;
    j->job.done = indexes_done;
    j->log = p->log;
    gw_mongo_submit(p->mongo, &j->job);
}

void provider_rpc_prepare(provider_rpc *p)
{
    gw_mongo_when_up(p->mongo, make_indexes, p);
}
