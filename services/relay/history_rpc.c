/* ProviderService's rpcs about versions of providers and routes. */
#include "entity_history.h"
#include "message_fields.h"
#include "provider_op.h"

#include "crypto/cursor.h"

#include "apirelay/relay/v1/provider_service.pb-c.h"

#define SERVICE_PATH "/apirelay.relay.v1.ProviderService/"

static const char *id_of(const provider_op *o)
{
    return message_text(o->request, o->kind->entity == ENTITY_PROVIDER ? "name" : "id");
}

/* No versions of what only the settings file has; GW_ERR_NOT_FOUND when there never was one, or all have expired. */
static gw_status read_history(provider_op *o, provider_store *s, entity_history *ret, gw_error *err)
{
    ProtobufCMessage *shown = NULL;
    gw_status rc = entity_get(s, o->kind->entity, id_of(o), &shown, err);
    gw_error missing = *err;
    if (rc != GW_OK && rc != GW_ERR_NOT_FOUND)
        return rc;
    bool is_stored = shown && gw_str_eq_c(gw_str_of(message_text(shown, "source")), "api");
    gw_status read =
        entity_history_read(s, o->kind->entity, id_of(o), is_stored ? shown : NULL, ret, err);
    if (read != GW_OK || ret->count || shown)
        return read;
    *err = missing;
    return rc;
}

/* ---- list ---- */

/* A place in the list is the number of a version: those below it come next. */
static gw_status read_place(const provider_op *o, gw_str filters, int64_t *below, gw_error *err)
{
    gw_str cursor = gw_str_of(message_text(o->request, "cursor"));
    gw_auto_buf text = {0};
    if (cursor.len == 0)
        return GW_OK;
    gw_status rc = gw_cursor_read(o->rpc->cursor_key, filters, cursor, &text, err);
    if (rc == GW_OK && !gw_str_to_int64(gw_buf_str(&text), below))
        rc = gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, "cursor", "is not of this list");
    return rc;
}

static void set_list(provider_op *o, config_version **list, size_t count)
{
    const ProtobufCFieldDescriptor *f =
        protobuf_c_message_descriptor_get_field_by_name(o->response->descriptor, "versions");
    *(config_version ***)message_field(o->response, "versions") = list;
    *(size_t *)(void *)((char *)o->response + f->quantifier_offset) = count;
}

static gw_status list(provider_op *o, provider_store *s, gw_error *err)
{
    gw_str filters =
        gw_arena_printf(s->arena, "versions of %s %s",
                        o->kind->entity == ENTITY_PROVIDER ? "provider" : "model route", id_of(o));
    int64_t below = INT64_MAX;
    size_t size = 0, first = 0, count = 0, next = 0;
    entity_history h;
    gw_status rc = provider_op_page_size(o->request, &size, err);
    if (rc == GW_OK)
        rc = read_place(o, filters, &below, err);
    if (rc == GW_OK)
        rc = read_history(o, s, &h, err);
    if (rc != GW_OK)
        return rc;
    config_version **versions = gw_arena_array(s->arena, config_version *, size);
    if (!versions)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the list");
    while (first < h.count && h.entries[first].number >= below)
        first++;
    rc = entity_history_fetch(s, &h, first, size, versions, &count, &next, err);
    if (rc != GW_OK)
        return rc;
    set_list(o, versions, count);
    if (next < h.count) {
        gw_auto_buf cursor = {0};
        gw_cursor_write(o->rpc->cursor_key, filters,
                        gw_arena_int(s->arena, h.entries[next - 1].number), &cursor);
        message_set_text(o->response, "next_cursor",
                         gw_arena_strdup(s->arena, gw_buf_str(&cursor)));
    }
    return GW_OK;
}

/* ---- get ---- */

static gw_status get(provider_op *o, provider_store *s, gw_error *err)
{
    int64_t number =
        *(const int64_t *)message_field((ProtobufCMessage *)(uintptr_t)o->request, "version");
    config_version *v = NULL;
    entity_history h;
    gw_status rc = read_history(o, s, &h, err);
    if (rc == GW_OK)
        rc = entity_history_find(s, &h, number, &v, err);
    if (rc == GW_OK)
        provider_op_set(o, "version", &v->base);
    return rc;
}

/* ---- the handlers ---- */

static const provider_op_kind list_providers = {.run = list, .entity = ENTITY_PROVIDER};
static const provider_op_kind get_provider = {.run = get, .entity = ENTITY_PROVIDER};
static const provider_op_kind list_routes = {.run = list, .entity = ENTITY_ROUTE};
static const provider_op_kind get_route = {.run = get, .entity = ENTITY_ROUTE};
PROVIDER_HANDLER(list_providers)
PROVIDER_HANDLER(get_provider)
PROVIDER_HANDLER(list_routes)
PROVIDER_HANDLER(get_route)

const gw_rpc_handler history_rpc_handlers[] = {
    {.path = SERVICE_PATH "ListProviderVersions", .start = on_list_providers},
    {.path = SERVICE_PATH "GetProviderVersion", .start = on_get_provider},
    {.path = SERVICE_PATH "ListModelRouteVersions", .start = on_list_routes},
    {.path = SERVICE_PATH "GetModelRouteVersion", .start = on_get_route},
    {.path = NULL},
};
