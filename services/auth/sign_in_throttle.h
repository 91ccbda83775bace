/*
 * Sign-in throttle: tries by account and by address (of IPv6 by its /64), counted in Redis for all replicas.
 *
 * A try counts before the password is looked at, so that tries at once cannot slip through; a sign-in
 * that succeeds clears its account's count. Redis away is GW_ERR_UNAVAILABLE: there could be no session
 * either.
 *
 * Thread: the loop's.
 */
#pragma once

#include "redis/redis.h"

#define SIGN_IN_WINDOW_MS         (15LL * 60 * 1000)
#define SIGN_IN_TRIES_PER_ACCOUNT 10
#define SIGN_IN_TRIES_PER_ADDRESS 50

typedef struct sign_in_throttle sign_in_throttle;
GW_CHECK gw_status sign_in_throttle_new(gw_redis *r, sign_in_throttle **ret, gw_error *err);
void sign_in_throttle_free(sign_in_throttle *t);
GW_DEFINE_FREEP(sign_in_throttle)

/*
 * GW_OK, GW_ERR_RATE_LIMITED, GW_ERR_UNAVAILABLE; exactly once. `address` "" counts by account only. `retry_after_ms`: of
 * GW_ERR_RATE_LIMITED, when it helps to try again; else 0.
 */
typedef void (*sign_in_allowed_fn)(void *arg, gw_status rc, int64_t retry_after_ms,
                                   const gw_error *err);
void sign_in_throttle_try(sign_in_throttle *t, gw_str username, gw_str address,
                          sign_in_allowed_fn done, void *arg);
void sign_in_throttle_succeeded(sign_in_throttle *t, gw_str username);
