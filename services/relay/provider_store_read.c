/* The reading side: entities of MongoDB over those of the settings file. */
#include "provider_store_internal.h"

#include "config_store.h"
#include "message_fields.h"

#include <stdlib.h>

#define ENTITIES_MAX 10000

static size_t file_count(const provider_store *s, entity_kind kind)
{
    return kind == ENTITY_PROVIDER ? s->file->n_providers : s->file->n_models;
}

static const ProtobufCMessage *file_entry(const provider_store *s, entity_kind kind, size_t i)
{
    return kind == ENTITY_PROVIDER ? &s->file->providers[i]->base : &s->file->models[i]->base;
}

/* As shown: source "file", status stated, and a route's pattern as its id. */
static ProtobufCMessage *show_file_entry(provider_store *s, entity_kind kind,
                                         const ProtobufCMessage *m)
{
    ProtobufCMessage *shown = message_shallow_copy(s->arena, m);
    if (!shown)
        return NULL;
    message_set_text(shown, "source", "file");
    if (*message_text(shown, "status") == '\0')
        message_set_text(shown, "status", "active");
    if (kind == ENTITY_ROUTE)
        message_set_text(shown, "id", message_text(m, "model"));
    return shown;
}

const ProtobufCMessage *entity_in_file(const provider_store *s, entity_kind kind, const char *key)
{
    for (size_t i = 0; i < file_count(s, kind); i++) {
        const ProtobufCMessage *m = file_entry(s, kind, i);
        if (strcmp(entity_sort_key(kind, m), key) == 0)
            return m;
    }
    return NULL;
}

const char *entity_sort_key(entity_kind kind, const ProtobufCMessage *m)
{
    return message_text(m, entity_of(kind)->c.key_field);
}

gw_status entity_get(provider_store *s, entity_kind kind, const char *id, ProtobufCMessage **ret,
                     gw_error *err)
{
    const entity *e = entity_of(kind);
    ProtobufCMessage *found = NULL;
    gw_status rc = config_document_find(s, &e->c, id, &found, err);
    if (rc != GW_OK)
        return rc;
    const ProtobufCMessage *from_file = found ? NULL : entity_in_file(s, kind, id);
    if (!found && from_file)
        found = show_file_entry(s, kind, from_file);
    if (!found)
        return from_file ? config_no_memory(err) : entity_not_found(e, id, err);
    *ret = found;
    return GW_OK;
}

typedef struct listing {
    provider_store *store;
    entity_kind kind;
    ProtobufCMessage **items; /* room for ENTITIES_MAX, in the arena */
    size_t count;
} listing;

static gw_status listing_add(listing *l, ProtobufCMessage *m, gw_error *err)
{
    if (!m || l->count == ENTITIES_MAX)
        return m ? gw_fail(err, GW_ERR_OUT_OF_RANGE, "more than %d entries", ENTITIES_MAX)
                 : config_no_memory(err);
    l->items[l->count++] = m;
    return GW_OK;
}

static gw_status list_document(void *arg, const bson_t *doc, gw_error *err)
{
    listing *l = arg;
    ProtobufCMessage *m = NULL;
    gw_error skipped;
    /* What another version wrote is not shown, as it is not used either (config_store). */
    if (config_document_keep(l->store, &entity_of(l->kind)->c, doc, &m, &skipped) != GW_OK)
        return GW_OK;
    return listing_add(l, m, err);
}

static bool is_hidden(const listing *l, const char *key)
{
    for (size_t i = 0; i < l->count; i++) {
        if (strcmp(entity_sort_key(l->kind, l->items[i]), key) == 0)
            return true;
    }
    return false;
}

static int by_provider_name(const void *a, const void *b)
{
    return strcmp(entity_sort_key(ENTITY_PROVIDER, *(ProtobufCMessage *const *)a),
                  entity_sort_key(ENTITY_PROVIDER, *(ProtobufCMessage *const *)b));
}

static int by_route_pattern(const void *a, const void *b)
{
    return strcmp(entity_sort_key(ENTITY_ROUTE, *(ProtobufCMessage *const *)a),
                  entity_sort_key(ENTITY_ROUTE, *(ProtobufCMessage *const *)b));
}

gw_status entity_list(provider_store *s, entity_kind kind, ProtobufCMessage ***ret,
                      size_t *ret_count, gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER;
    listing l = {.store = s,
                 .kind = kind,
                 .items = gw_arena_array(s->arena, ProtobufCMessage *, ENTITIES_MAX)};
    if (!l.items)
        return config_no_memory(err);
    gw_status rc =
        gw_db_find(&s->db, entity_of(kind)->c.name, &filter, NULL, list_document, &l, err);
    for (size_t i = 0; rc == GW_OK && i < file_count(s, kind); i++) {
        const ProtobufCMessage *m = file_entry(s, kind, i);
        if (!is_hidden(&l, entity_sort_key(kind, m)))
            rc = listing_add(&l, show_file_entry(s, kind, m), err);
    }
    if (rc != GW_OK)
        return rc;
    qsort(l.items, l.count, sizeof(*l.items),
          kind == ENTITY_PROVIDER ? by_provider_name : by_route_pattern);
    *ret = l.items;
    *ret_count = l.count;
    return GW_OK;
}
