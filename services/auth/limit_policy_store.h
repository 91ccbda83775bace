/*
 * Limit policy store: the limit_policies collection (limit_policy.h).
 *
 * Thread: on a worker. Policies live in the arena given.
 */
#pragma once

#include "limit_policy.h"
#include "mongo/db.h"

#include <apirelay/auth/v1/key_access_service.pb-c.h>

GW_CHECK gw_status limit_policy_store_ensure_indexes(mongoc_database_t *database, gw_error *err);

/* A policy without limits when none are set. DATA_LOSS: what is stored cannot be read. */
GW_CHECK gw_status limit_policy_store_get(const gw_db *d, gw_arena *a, const change_subject *s,
                                          limit_policy *ret, gw_error *err);

typedef struct limit_policy_filter {
    const char *kind; /* "clients", "users" or "" for both */
    gw_str after; /* stored ids over this one; "" from the first */
    int64_t limit;
} limit_policy_filter;
/* Those with limits, by stored id. `ret` has room for filter->limit. */
GW_CHECK gw_status limit_policy_store_list(const gw_db *d, gw_arena *a,
                                           const limit_policy_filter *filter, limit_policy *ret,
                                           size_t *ret_count, gw_error *err);

/* Announces and writes what the plan makes of it. GW_ERR_ABORTED (etag), what `apply` says. */
GW_CHECK gw_status limit_policy_store_change(const gw_db *d, gw_arena *a, const change_subject *s,
                                             limit_policy_plan *plan, limit_policy *ret,
                                             bool *ret_changed, gw_error *err);

/*
 * What a relay is told of a key's client and owner ("" for none) in one reading; NULL where there is no
 * document. Limits that were lifted are there, empty, with the generation that lifted them.
 */
typedef struct shared_limits {
    Apirelay__Auth__V1__SharedLimits *client, *owner;
} shared_limits;
GW_CHECK gw_status limit_policy_store_shared(const gw_db *d, gw_arena *a, gw_str client_id,
                                             gw_str user_id, shared_limits *ret, gw_error *err);
