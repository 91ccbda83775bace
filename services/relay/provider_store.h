/*
 * Provider store: the changes that ProviderService makes to providers and routes in MongoDB.
 *
 * Providers and routes are treated alike, as entities described by a table; each change checks the rules, holds the etag as a
 * condition, and raises the version document so that every relay reads again.
 *
 * Thread: on a worker, inside a gw_mongo_job. Results live in the arena given, or borrow from the request.
 */
#pragma once

#include "provider_rules.h"

#include "mongo/db.h"

#include "apirelay/relay/v1/config_file.pb-c.h"

typedef struct provider_store {
    gw_db db;
    const Apirelay__Relay__V1__RelayConfigFile
        *file; /* entries of the settings file: shown, not changed */
    const price_book_message *file_prices; /* NULL: none */
    gw_arena *arena;
    const char *by; /* who asks: updated_by of what is written */
    int64_t now_ms;
} provider_store;

typedef enum entity_kind { ENTITY_PROVIDER, ENTITY_ROUTE } entity_kind;

/* What a change asks for: id and etag "" when not given; `entity` is the caller's message, `paths` its update mask. */
typedef struct entity_change {
    const char *id;
    const char *etag;
    const ProtobufCMessage *entity; /* NULL when the request has none */
    char *const *paths;
    size_t path_count;
} entity_change;

GW_CHECK gw_status entity_create(provider_store *s, entity_kind kind, const entity_change *c,
                                 ProtobufCMessage **ret, gw_error *err);
GW_CHECK gw_status entity_get(provider_store *s, entity_kind kind, const char *id,
                              ProtobufCMessage **ret, gw_error *err);
/* All of them, the file's too where none of the API hides them, sorted by name or pattern. */
GW_CHECK gw_status entity_list(provider_store *s, entity_kind kind, ProtobufCMessage ***ret,
                               size_t *ret_count, gw_error *err);
GW_CHECK gw_status entity_update(provider_store *s, entity_kind kind, const entity_change *c,
                                 ProtobufCMessage **ret, gw_error *err);
GW_CHECK gw_status entity_delete(provider_store *s, entity_kind kind, const entity_change *c,
                                 gw_error *err);
const char *entity_sort_key(entity_kind kind, const ProtobufCMessage *m); /* name or pattern */

GW_CHECK gw_status provider_store_ensure_indexes(mongoc_database_t *db, gw_error *err);
