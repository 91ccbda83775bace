/*
 * Origin set: the origins that some key lists in security.domains, as auth has them. A CORS preflight brings no key, so this is what
 * can be said of it.
 *
 * Read at the start, after each change of keys (not oftener than a few times a second) and once a minute. While auth is away the
 * last set stays. Where there are more than auth tells, every origin is taken: the key of the real request decides anyway.
 *
 * Log: origins_unread, at the first failure in a row. Thread: one loop.
 */
#pragma once

#include "log/log.h"
#include "loop/loop.h"
#include "rpc/client.h"

typedef struct origin_set origin_set;

typedef struct origin_set_options {
    gw_rpc_channel *auth; /* borrowed; freed before the set */
    gw_str service_token; /* presented to auth */
    gw_log *log;
} origin_set_options;

GW_CHECK gw_status origin_set_new(gw_loop *l, const origin_set_options *o, origin_set **ret,
                                  gw_error *err);
void origin_set_stop(origin_set *s); /* reads no more; NULL is fine */
void origin_set_free(origin_set *s); /* NULL is fine */
void origin_set_set_service_token(origin_set *s, gw_str token);

/* Keys have changed. */
void origin_set_refresh(origin_set *s);

/* False for NULL, and until it was read once. */
bool origin_set_has(const origin_set *s, gw_str origin);
