/*
 * Provider store: providers and routes in MongoDB, as ProviderService reads and changes them.
 *
 * Both are treated alike, as entities described by a table. A change has two steps, so that its audit entry can stand between them:
 * the plan reads, checks the rules and the etag, and says what is to be stored; the write stores that, under the etag that was read
 * as a condition, keeps the version (entity_history.h) and raises the version document so that every relay reads again.
 *
 * Thread: on a worker, inside a gw_mongo_job. Results live in the arena given, or borrow from the request.
 */
#pragma once

#include "provider_rules.h"

#include "mongo/db.h"

#include "apirelay/relay/v1/config_file.pb-c.h"
#include "apirelay/relay/v1/config_version.pb-c.h"

typedef Apirelay__Relay__V1__ConfigVersion config_version;

typedef struct provider_store {
    gw_db db;
    /* entries of the settings file: shown, not changed */
    const Apirelay__Relay__V1__RelayConfigFile *file;
    const price_book_message *file_prices; /* NULL: none */
    gw_arena *arena;
    const char *by; /* who asks: updated_by of what is written */
    int64_t now_ms;
    int64_t history_keep_ms; /* of versions that are in force no more */
    gw_violations *further; /* what is wrong beside the error that a call returns */
} provider_store;

typedef enum entity_kind { ENTITY_PROVIDER, ENTITY_ROUTE } entity_kind;

GW_CHECK gw_status entity_get(provider_store *s, entity_kind kind, const char *id,
                              ProtobufCMessage **ret, gw_error *err);
/* All of them, the file's too where none of the API hides them, sorted by name or pattern. */
GW_CHECK gw_status entity_list(provider_store *s, entity_kind kind, ProtobufCMessage ***ret,
                               size_t *ret_count, gw_error *err);
const char *entity_sort_key(entity_kind kind, const ProtobufCMessage *m); /* name or pattern */

/* What a change asks for: texts "" when not given; `entity` is the caller's message, `paths` its update mask. */
typedef struct entity_change {
    const char *id;
    const char *etag;
    const char *note; /* of a deletion or restore: others have it in `entity` */
    const ProtobufCMessage *entity; /* NULL when the request has none */
    char *const *paths;
    size_t path_count;
    int64_t version; /* to restore */
} entity_change;

/* A change that may be made. */
typedef struct entity_plan {
    entity_kind kind;
    const char *id;
    const ProtobufCMessage *before; /* as it is stored; NULL: it is not */
    ProtobufCMessage *after; /* as it will be stored; NULL: not any more */
    config_version *version; /* the same for the history; its number is given by the write */
} entity_plan;

GW_CHECK gw_status entity_plan_create(provider_store *s, entity_kind kind, const entity_change *c,
                                      entity_plan *ret, gw_error *err);
GW_CHECK gw_status entity_plan_update(provider_store *s, entity_kind kind, const entity_change *c,
                                      entity_plan *ret, gw_error *err);
GW_CHECK gw_status entity_plan_delete(provider_store *s, entity_kind kind, const entity_change *c,
                                      entity_plan *ret, gw_error *err);
GW_CHECK gw_status entity_plan_restore(provider_store *s, entity_kind kind, const entity_change *c,
                                       entity_plan *ret, gw_error *err);

/*
 * GW_ERR_ABORTED when somebody else wrote since the plan, GW_ERR_ALREADY_EXISTS when the name or pattern is taken: nothing has changed
 * then. GW_ERR_INVALID_ARGUMENT or GW_ERR_FAILED_PRECONDITION when a provider went, or a route that names it came, at the same time:
 * the write was taken back.
 */
GW_CHECK gw_status entity_write(provider_store *s, const entity_plan *p, gw_error *err);

GW_CHECK gw_status provider_store_ensure_indexes(mongoc_database_t *db, gw_error *err);
