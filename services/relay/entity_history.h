/*
 * Entity history: the versions of providers and routes, and which of them there really were.
 *
 *     relay_history   _id "providers/openai/12", entity "providers/openai", number 12, etag, before, change, version {ConfigVersion}
 *
 * A version is announced before it is written (decision 037): inserted here with its etag and the etag it is to replace (`before`), then
 * the entity is written on the condition that it still has that one. So none is ever in force that is not here, and one counts when the
 * entity has its etag, or a version that counts names it as `before`; of an entity that is gone the newest deletion does. What lost a
 * race, or died in between, is passed over.
 *
 *     providers {_id "openai", etag D} ─▶ 12 {D, before B} ─▶ 10 {B, before A} ─▶ 9 {A}        11 {C, before B} lost
 *
 * What was stored before there was a history, or by a relay that knew none, becomes a version with the change after it.
 *
 * Bounds: HISTORY_MAX versions of an entity; each expires (TTL) history_keep_ms after it was replaced, a deletion after it was made.
 *
 * Thread: on a worker, inside a gw_mongo_job. Results live in the store's arena.
 */
#pragma once

#include "provider_store.h"

#define HISTORY_COLLECTION "relay_history"
#define HISTORY_MAX        200

typedef struct history_entry {
    int64_t number;
    const char *etag;
    const char *before;
    bool is_deletion;
} history_entry;

typedef struct entity_history {
    char *entity;
    history_entry *entries; /* that count, the newest first */
    size_t count;
    int64_t newest; /* number, whether it counts or not; 0: none */
    /* the first of the entries, when it is only stored as the entity yet; else NULL */
    config_version *unkept;
} entity_history;

/* The version that `m`, an entity with its stamp, is. Borrows from it; NULL when out of memory. */
config_version *config_version_of(provider_store *s, entity_kind kind, const char *change,
                                  const ProtobufCMessage *m);

/* `stored` NULL: it is not stored. No entries when there never was one. */
GW_CHECK gw_status entity_history_read(provider_store *s, entity_kind kind, const char *id,
                                       const ProtobufCMessage *stored, entity_history *ret,
                                       gw_error *err);
/* Entries from `first` on, at most `max`, fewer when they are large. `ret` has room for `max`. What cannot be read is left out; *next
 * is the first entry that was not looked at. */
GW_CHECK gw_status entity_history_fetch(provider_store *s, const entity_history *h, size_t first,
                                        size_t max, config_version **ret, size_t *ret_count,
                                        size_t *next, gw_error *err);
/* GW_ERR_NOT_FOUND. */
GW_CHECK gw_status entity_history_find(provider_store *s, const entity_history *h, int64_t number,
                                       config_version **ret, gw_error *err);

/* Before the write: gives the plan's version its number. */
GW_CHECK gw_status entity_history_announce(provider_store *s, const entity_plan *p, gw_error *err);
/* After a write that changed nothing for certain. */
void entity_history_withdraw(provider_store *s, const entity_plan *p);
/* After a write: what it replaced begins to expire. What fails here is done by the next one. */
void entity_history_tidy(provider_store *s, const entity_plan *p);

GW_CHECK gw_status entity_history_ensure_indexes(mongoc_database_t *db, gw_error *err);
