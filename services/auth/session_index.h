/*
 * Session index: which sessions an admin has, so that they can be shown and ended one by one.
 *
 *   auth:sessions:<admin id> = sorted set of "<session id> <address or -> <user agent>" by time of sign-in
 *
 * A session is in its index before it holds (session_store_put() follows session_index_add()); what stands
 * there and has ended is passed over, and goes when it is listed or after 12 h.
 *
 * Thread: the loop's. Each `done` exactly once; inside the call only when out of memory.
 */
#pragma once

#include "core/arena.h"
#include "session_store.h"

#define SESSIONS_LISTED_MAX  100
#define SESSION_ADDRESS_SIZE 46
#define SESSION_AGENT_SIZE   257
#define SESSION_INDEXED_SIZE (SESSION_ID_SIZE + SESSION_ADDRESS_SIZE + SESSION_AGENT_SIZE)

typedef struct indexed_session {
    char id[SESSION_ID_SIZE];
    char address[SESSION_ADDRESS_SIZE], user_agent[SESSION_AGENT_SIZE]; /* "" when unknown */
} indexed_session;

/* What is stored, and back; false when malformed. What is no printable ASCII becomes '?'. */
void indexed_session_format(const indexed_session *s, char out[SESSION_INDEXED_SIZE]);
GW_CHECK bool indexed_session_parse(gw_str text, indexed_session *ret);

void session_index_add(gw_redis *r, const session *s, const indexed_session *i,
                       session_done_fn done, void *arg);

typedef struct listed_session {
    indexed_session indexed;
    session session;
    int64_t idle_left_ms; /* until it ends unused */
} listed_session;
/* Those that Redis has, newest first, in the arena; none unless GW_OK. Whether an epoch still holds is the
 * caller's to tell. */
typedef void (*sessions_listed_fn)(void *arg, gw_status rc, const listed_session *sessions,
                                   size_t count, const gw_error *err);
void session_index_list(gw_redis *r, gw_arena *a, const char *admin_id, sessions_listed_fn done,
                        void *arg);
