#include "provider_rpc.h"

#include "message_fields.h"
#include "price_book_store.h"
#include "provider_store.h"

#include "crypto/cursor.h"

#include "apirelay/relay/v1/provider_service.pb-c.h"

#include <stdlib.h>

#define SERVICE_PATH      "/apirelay.relay.v1.ProviderService/"
#define PAGE_SIZE_DEFAULT 50
#define PAGE_SIZE_MAX     500

/* One rpc from its call to its answer. Request and arena are the call's: it lives until the answer is given. */
typedef struct provider_op {
    gw_mongo_job job;
    provider_rpc *rpc;
    gw_rpc_call *call;
    const ProtobufCMessage *request;
    /* As they were when the call came: the loop may read them again meanwhile. */
    const struct Apirelay__Relay__V1__RelayConfigFile *file;
    const struct Apirelay__Relay__V1__PriceBook *file_prices;
    gw_status (*run)(struct provider_op *o, provider_store *s, gw_error *err);
    entity_kind kind;
    bool changes;
    config_store_wait wait; /* until what was written is in force */
    ProtobufCMessage *response;
} provider_op;

static gw_status run_op(gw_mongo_job *job, mongoc_client_t *client, mongoc_database_t *db,
                        gw_error *err)
{
    (void)client;
    provider_op *o = GW_CONTAINER_OF(job, provider_op, job);
    provider_store s = {
        .db = {db, o->rpc->mongo},
        .file = o->file,
        .file_prices = o->file_prices,
        .arena = gw_rpc_call_arena(o->call),
        .now_ms = gw_clock_wall_ms(&gw_system_clock),
    };
    o->response = message_make(s.arena, gw_rpc_call_method(o->call)->descriptor->output);
    if (!o->response)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the answer");
    return o->run(o, &s, err);
}

static void answer(provider_op *o)
{
    gw_rpc_reply(o->call, o->response);
    free(o);
}

static void answer_change(config_store_wait *w)
{
    answer(GW_CONTAINER_OF(w, provider_op, wait));
}

static void op_done(gw_mongo_job *job, gw_status rc, const gw_error *err)
{
    provider_op *o = GW_CONTAINER_OF(job, provider_op, job);
    if (rc != GW_OK) {
        gw_rpc_fail(o->call, err);
        free(o);
    } else if (o->changes) {
        gw_log_info(o->rpc->log, "relay_config_written",
                    gw_kv("rpc.method", gw_rpc_call_method(o->call)->name),
                    gw_kv("user.name", gw_rpc_call_caller(o->call)->name));
        o->wait.done = answer_change;
        config_store_refresh(o->rpc->config, &o->wait);
    } else {
        answer(o);
    }
}

static void start_op(gw_rpc_call *call, const ProtobufCMessage *request, provider_rpc *rpc,
                     entity_kind kind, bool changes,
                     gw_status (*run)(provider_op *, provider_store *, gw_error *))
{
    provider_op *o = calloc(1, sizeof(*o));
    gw_error err;
    if (!o) {
        gw_fail(&err, GW_ERR_NO_MEMORY, "no memory for the request");
        gw_rpc_fail(call, &err);
        return;
    }
    o->job.run = run_op;
    o->job.done = op_done;
    o->rpc = rpc;
    o->call = call;
    o->request = request;
    o->run = run;
    o->kind = kind;
    o->changes = changes;
    o->file = config_store_file(rpc->config);
    o->file_prices = config_store_file_prices(rpc->config);
    gw_mongo_submit(rpc->mongo, &o->job);
}

/* ---- the acts, on a worker ---- */

static const char *member_of(entity_kind kind)
{
    return kind == ENTITY_PROVIDER ? "provider" : "model_route";
}

static const char *id_of(const provider_op *o)
{
    return message_text(o->request, o->kind == ENTITY_PROVIDER ? "name" : "id");
}

static void set_message(provider_op *o, const char *name, ProtobufCMessage *m)
{
    *(ProtobufCMessage **)message_field(o->response, name) = m;
}

static gw_status create(provider_op *o, provider_store *s, gw_error *err)
{
    ProtobufCMessage *m = NULL;
    entity_change c = {
        .id = "", .etag = "", .entity = message_child(o->request, member_of(o->kind))};
    gw_status rc = entity_create(s, o->kind, &c, &m, err);
    set_message(o, member_of(o->kind), m);
    return rc;
}

static gw_status get(provider_op *o, provider_store *s, gw_error *err)
{
    ProtobufCMessage *m = NULL;
    gw_status rc = entity_get(s, o->kind, id_of(o), &m, err);
    set_message(o, member_of(o->kind), m);
    return rc;
}

/* The condition stands in the request, or as the etag of the message in it. */
static const char *etag_of(const ProtobufCMessage *request, const ProtobufCMessage *entity)
{
    const char *etag = message_text(request, "etag");
    return *etag == '\0' && entity ? message_text(entity, "etag") : etag;
}

static gw_status update(provider_op *o, provider_store *s, gw_error *err)
{
    ProtobufCMessage *m = NULL;
    const ProtobufCMessage *entity = message_child(o->request, member_of(o->kind));
    const Google__Protobuf__FieldMask *mask =
        (const Google__Protobuf__FieldMask *)(const void *)message_child(o->request, "update_mask");
    entity_change c = {.id = id_of(o),
                       .etag = etag_of(o->request, entity),
                       .entity = entity,
                       .paths = mask ? mask->paths : NULL,
                       .path_count = mask ? mask->n_paths : 0};
    gw_status rc = entity_update(s, o->kind, &c, &m, err);
    set_message(o, member_of(o->kind), m);
    return rc;
}

static gw_status delete_entity(provider_op *o, provider_store *s, gw_error *err)
{
    entity_change c = {.id = id_of(o), .etag = message_text(o->request, "etag")};
    return entity_delete(s, o->kind, &c, err);
}

static gw_status page_size_of(const ProtobufCMessage *request, size_t *ret, gw_error *err)
{
    int32_t size =
        *(const int32_t *)message_field((ProtobufCMessage *)(uintptr_t)request, "page_size");
    if (size < 0 || size > PAGE_SIZE_MAX)
        return gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, "pageSize", "must be 1 to %d",
                             PAGE_SIZE_MAX);
    *ret = size ? (size_t)size : PAGE_SIZE_DEFAULT;
    return GW_OK;
}

static gw_status list(provider_op *o, provider_store *s, gw_error *err)
{
    bool providers = o->kind == ENTITY_PROVIDER;
    gw_str filters = providers ? GW_STR("providers") : GW_STR("models");
    gw_str cursor = gw_str_of(message_text(o->request, "cursor"));
    gw_auto_buf after = {0};
    ProtobufCMessage **all = NULL;
    size_t count = 0, size = 0, from = 0;
    gw_status rc = page_size_of(o->request, &size, err);
    if (rc == GW_OK && cursor.len)
        rc = gw_cursor_read(o->rpc->cursor_key, filters, cursor, &after, err);
    if (rc == GW_OK)
        rc = entity_list(s, o->kind, &all, &count, err);
    if (rc != GW_OK)
        return rc;
    while (cursor.len && from < count &&
           strcmp(entity_sort_key(o->kind, all[from]), after.data ? after.data : "") <= 0)
        from++;
    size_t n = GW_MIN(size, count - from);
    *(ProtobufCMessage ***)message_field(o->response, providers ? "providers" : "model_routes") =
        all + from;
    const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field_by_name(
        o->response->descriptor, providers ? "providers" : "model_routes");
    *(size_t *)(void *)((char *)o->response + f->quantifier_offset) = n;
    if (from + n < count) {
        gw_auto_buf next = {0};
        gw_cursor_write(o->rpc->cursor_key, filters,
                        gw_str_of(entity_sort_key(o->kind, all[from + n - 1])), &next);
        message_set_text(o->response, "next_cursor", gw_arena_strdup(s->arena, gw_buf_str(&next)));
    }
    return GW_OK;
}

static gw_status get_prices(provider_op *o, provider_store *s, gw_error *err)
{
    ProtobufCMessage *m = NULL;
    gw_status rc = price_book_get(s, message_text(o->request, "version"), &m, err);
    set_message(o, "price_book", m);
    return rc;
}

static gw_status put_prices(provider_op *o, provider_store *s, gw_error *err)
{
    ProtobufCMessage *m = NULL;
    const ProtobufCMessage *book = message_child(o->request, "price_book");
    entity_change c = {.id = "", .etag = etag_of(o->request, book), .entity = book};
    gw_status rc = price_book_put(s, &c, &m, err);
    set_message(o, "price_book", m);
    return rc;
}

/* ---- the handlers, one a line ---- */

#define HANDLER(name, kind, changes, run)                                                          \
    static void name(gw_rpc_call *call, const ProtobufCMessage *request, void *arg)                \
    {                                                                                              \
        start_op(call, request, arg, kind, changes, run);                                          \
    }

HANDLER(on_create_provider, ENTITY_PROVIDER, true, create)
HANDLER(on_get_provider, ENTITY_PROVIDER, false, get)
HANDLER(on_list_providers, ENTITY_PROVIDER, false, list)
HANDLER(on_update_provider, ENTITY_PROVIDER, true, update)
HANDLER(on_delete_provider, ENTITY_PROVIDER, true, delete_entity)
HANDLER(on_create_route, ENTITY_ROUTE, true, create)
HANDLER(on_get_route, ENTITY_ROUTE, false, get)
HANDLER(on_list_routes, ENTITY_ROUTE, false, list)
HANDLER(on_update_route, ENTITY_ROUTE, true, update)
HANDLER(on_delete_route, ENTITY_ROUTE, true, delete_entity)
HANDLER(on_get_prices, ENTITY_PROVIDER, false, get_prices)
HANDLER(on_put_prices, ENTITY_PROVIDER, true, put_prices)

const gw_rpc_handler provider_rpc_handlers[] = {
    {.path = SERVICE_PATH "CreateProvider", .start = on_create_provider},
    {.path = SERVICE_PATH "GetProvider", .start = on_get_provider},
    {.path = SERVICE_PATH "ListProviders", .start = on_list_providers},
    {.path = SERVICE_PATH "UpdateProvider", .start = on_update_provider},
    {.path = SERVICE_PATH "DeleteProvider", .start = on_delete_provider},
    {.path = SERVICE_PATH "CreateModelRoute", .start = on_create_route},
    {.path = SERVICE_PATH "GetModelRoute", .start = on_get_route},
    {.path = SERVICE_PATH "ListModelRoutes", .start = on_list_routes},
    {.path = SERVICE_PATH "UpdateModelRoute", .start = on_update_route},
    {.path = SERVICE_PATH "DeleteModelRoute", .start = on_delete_route},
    {.path = SERVICE_PATH "GetPriceBook", .start = on_get_prices},
    {.path = SERVICE_PATH "PutPriceBook", .start = on_put_prices},
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
