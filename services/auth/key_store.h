/*
 * Key store: the api_keys collection.
 *
 * Thread: on a worker. Records live in the arena given.
 */
#pragma once

#include "api_key.h"
#include "mongo/db.h"

GW_CHECK gw_status key_store_ensure_indexes(mongoc_database_t *database, gw_error *err);

/* GW_ERR_NOT_FOUND; GW_ERR_INVALID_ARGUMENT (field "id") for an id that is none. */
GW_CHECK gw_status key_store_get(const gw_db *d, gw_arena *a, gw_str id, api_key_record *ret,
                                 gw_error *err);
/* *ret_found false when there is no such key; *ret is untouched then. */
GW_CHECK gw_status key_store_find(const gw_db *d, gw_arena *a, gw_str key_id, bool *ret_found,
                                  api_key_record *ret, gw_error *err);

/* Announces and inserts; sets the record's generation. GW_ERR_ALREADY_EXISTS: the key id is taken. */
GW_CHECK gw_status key_store_insert(const gw_db *d, api_key_record *k, int64_t now_ms,
                                    gw_error *err);

/*
 * What a change does to the record it is given; it may be called again on a fresh record when another
 * write came between. *ret_changed false leaves the key as it is.
 */
typedef struct key_change_plan key_change_plan;
struct key_change_plan {
    gw_status (*apply)(key_change_plan *p, gw_arena *a, api_key_record *k, bool *ret_changed,
                       gw_error *err);
    gw_str etag; /* condition; "" for none */
    bool writes_secrets;
    int64_t now_ms;
};
/* Does it to a record that was read, and writes nothing: GW_ERR_ABORTED (etag), what `apply` says. */
GW_CHECK gw_status key_store_plan(api_key_record *k, gw_arena *a, key_change_plan *plan,
                                  bool *ret_changed, gw_error *err);
/* GW_ERR_NOT_FOUND, GW_ERR_ABORTED (etag), what `apply` says. *ret is the record as stored then. */
GW_CHECK gw_status key_store_change(const gw_db *d, gw_arena *a, gw_str id, key_change_plan *plan,
                                    api_key_record *ret, bool *ret_changed, gw_error *err);

typedef struct key_filter {
    gw_str status; /* "" = all but revoked */
    gw_str client_id, user_id, q;
    gw_str after_id; /* ids below this one; "" from the newest */
    int64_t limit;
} key_filter;
/* Newest first. `ret` has room for filter->limit records. */
GW_CHECK gw_status key_store_list(const gw_db *d, gw_arena *a, const key_filter *filter,
                                  api_key_record *ret, size_t *ret_count, gw_error *err);

/* Calls `each` for every origin of a key that is not revoked; one that several keys list comes several times. */
GW_CHECK gw_status key_store_each_origin(const gw_db *d, void (*each)(void *arg, gw_str origin),
                                         void *arg, gw_error *err);

/* The last use; times only grow. */
typedef struct key_use {
    gw_str key_id;
    int64_t at_ms;
} key_use;
GW_CHECK gw_status key_store_report_use(const gw_db *d, const key_use *uses, size_t n,
                                        gw_error *err);

/* Takes out the secrets whose grace ended by `now_ms`; *ret_keys: of how many keys. Nobody needs to be
 * told: they were refused already. */
GW_CHECK gw_status key_store_drop_ended_secrets(const gw_db *d, int64_t now_ms, int64_t *ret_keys,
                                                gw_error *err);

/* Keeps the verifier of a current secret that Argon2id has just confirmed, unless it was replaced. */
GW_CHECK gw_status key_store_keep_verifier(const gw_db *d, gw_str id,
                                           const api_key_secret *confirmed, gw_error *err);

/* Unordered insert of many; all carry their generation already. GW_ERR_ALREADY_EXISTS when one was
 * there. */
GW_CHECK gw_status key_store_insert_many(const gw_db *d, const api_key_record *keys, size_t n,
                                         gw_error *err);
