/*
 * Session store: sessions of admins in Redis, found by their id, which is the hash of their token.
 *
 *   auth:session:<id> = "<admin id> <epoch> <created ms>", expiring when idle
 *
 * A session ends 30 min after its last use and 12 h after sign-in. Redis away is GW_ERR_UNAVAILABLE:
 * who signed in cannot be known then.
 *
 * Thread: the loop's. Each `done` exactly once; inside the call only when out of memory.
 */
#pragma once

#include "core/id.h"
#include "crypto/crypto.h"
#include "redis/redis.h"

#define SESSION_IDLE_MS     (30LL * 60 * 1000)
#define SESSION_ABSOLUTE_MS (12LL * 3600 * 1000)
#define SESSION_ID_SIZE     (2 * GW_SHA256_SIZE + 1)
#define SESSION_CSRF_SIZE   44

typedef struct session {
    char admin_id[GW_OBJECT_ID_HEX_SIZE];
    int64_t epoch; /* admin_user_record.session_epoch at sign-in */
    int64_t created_ms;
} session;

/* The public id of a token: its SHA-256 in hex. */
void session_id(gw_str token, char out[SESSION_ID_SIZE]);
GW_CHECK bool session_id_is_shaped(gw_str id);
/* The CSRF token that belongs to a session token: derived from it, so that it needs no store. */
void session_csrf(gw_str token, char out[SESSION_CSRF_SIZE]);
static inline int64_t session_end_ms(const session *s)
{
    return s->created_ms + SESSION_ABSOLUTE_MS;
}
/* What is stored, and back; false when malformed. */
void session_format(const session *s, char out[96]);
GW_CHECK bool session_parse(gw_str text, session *ret);

/* Where a session of this id rests. */
typedef struct session_key {
    char text[sizeof("auth:session:") + SESSION_ID_SIZE];
} session_key;
session_key session_key_of(gw_str id);
/* Whatever Redis' trouble is: GW_ERR_UNAVAILABLE. */
gw_status session_store_unavailable(gw_error *err);

typedef void (*session_done_fn)(void *arg, gw_status rc, const gw_error *err);
void session_store_put(gw_redis *r, gw_str id, const session *s, session_done_fn done, void *arg);
/* The session is NULL when there is none. */
typedef void (*session_found_fn)(void *arg, gw_status rc, const session *found,
                                 const gw_error *err);
void session_store_get(gw_redis *r, gw_str id, session_found_fn found, void *arg);
/* Used now: idle time starts anew. Nobody waits for it. */
void session_store_touch(gw_redis *r, gw_str id, const session *s, int64_t now_ms);
void session_store_delete(gw_redis *r, gw_str id, session_done_fn done, void *arg);
