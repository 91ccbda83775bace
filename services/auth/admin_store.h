/*
 * Admin store: the people who administer (admin_users) and their keys (admin_keys).
 *
 *   admin_users {_id: ObjectId, username (unique), passwordHash: PHC, role, status, sessionEpoch, version,
 *                createdAt, updatedAt, lastSignInAt}
 *   admin_keys  {_id: public part, hash: SHA-256 of the whole key, name, role, status, expiresAt,
 *                createdAt, createdBy, lastUsedAt}
 *
 * A session carries the epoch it was made in; a change of password, role or status begins a new epoch,
 * which ends all sessions of the admin at once, whatever Redis holds.
 *
 * Thread: on a worker. Records live in the arena given.
 */
#pragma once

#include "core/arena.h"
#include "mongo/db.h"

#include <apirelay/auth/v1/admin.pb-c.h>

typedef Apirelay__Auth__V1__AdminUser admin_user_view;
typedef Apirelay__Auth__V1__AdminKey admin_key_view;

typedef struct admin_user_record {
    admin_user_view *view; /* without password */
    gw_str password_hash;
    int64_t session_epoch, version;
} admin_user_record;

typedef struct admin_key_record {
    admin_key_view *view;
    gw_str hash; /* 32 bytes */
} admin_key_record;

GW_CHECK gw_status admin_store_ensure_indexes(mongoc_database_t *database, gw_error *err);

/* ---- users ---- */
/* *ret_found false when there is none; *ret is untouched then. */
GW_CHECK gw_status admin_store_find_user(const gw_db *d, gw_arena *a, gw_str id, bool *ret_found,
                                         admin_user_record *ret, gw_error *err);
GW_CHECK gw_status admin_store_find_username(const gw_db *d, gw_arena *a, gw_str username,
                                             bool *ret_found, admin_user_record *ret,
                                             gw_error *err);
/* By username; those after `after`. `ret` has room for `limit`. */
GW_CHECK gw_status admin_store_list_users(const gw_db *d, gw_arena *a, gw_str after, int64_t limit,
                                          admin_user_record *ret, size_t *ret_count, gw_error *err);
/* Sets view->id and etag. GW_ERR_ALREADY_EXISTS: the username is taken. */
GW_CHECK gw_status admin_store_insert_user(const gw_db *d, gw_arena *a, admin_user_record *u,
                                           int64_t now_ms, gw_error *err);
/* Writes role, status, password hash and epoch over the version read; GW_ERR_ABORTED when another
 * write came between. */
GW_CHECK gw_status admin_store_update_user(const gw_db *d, gw_arena *a, admin_user_record *u,
                                           int64_t now_ms, gw_error *err);
/* Begins a new epoch. */
GW_CHECK gw_status admin_store_end_sessions(const gw_db *d, gw_str id, gw_error *err);
GW_CHECK gw_status admin_store_delete_user(const gw_db *d, const admin_user_record *u,
                                           gw_error *err);
GW_CHECK gw_status admin_store_count_owners(const gw_db *d, int64_t *ret_active, gw_error *err);
GW_CHECK gw_status admin_store_has_users(const gw_db *d, bool *ret, gw_error *err);
GW_CHECK gw_status admin_store_signed_in(const gw_db *d, gw_str id, int64_t now_ms, gw_error *err);
/* Puts a removed user back, as it was. */
GW_CHECK gw_status admin_store_restore_user(const gw_db *d, const admin_user_record *u,
                                            gw_error *err);

/* ---- keys ---- */
GW_CHECK gw_status admin_store_find_key(const gw_db *d, gw_arena *a, gw_str id, bool *ret_found,
                                        admin_key_record *ret, gw_error *err);
typedef struct
    admin_key_position { /* createdAt and id of the last one shown; zeroed for the first page */
    int64_t created_ms;
    gw_str id;
} admin_key_position;
/* Newest first. */
GW_CHECK gw_status admin_store_list_keys(const gw_db *d, gw_arena *a, admin_key_position after,
                                         int64_t limit, admin_key_record *ret, size_t *ret_count,
                                         gw_error *err);
GW_CHECK gw_status admin_store_insert_key(const gw_db *d, const admin_key_record *k, gw_error *err);
GW_CHECK gw_status admin_store_revoke_key(const gw_db *d, gw_str id, gw_error *err);
GW_CHECK gw_status admin_store_key_used(const gw_db *d, gw_str id, int64_t now_ms, gw_error *err);
