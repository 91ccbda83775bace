/*
 * Positive answers of auth, each for at most a second. Own header for its test; see access.h.
 */
#pragma once

#include "access/identity.h"

typedef struct gw_identity_cache gw_identity_cache;

gw_identity_cache *gw_identity_cache_new(size_t max); /* NULL when out of memory */
void gw_identity_cache_free(gw_identity_cache *c);
GW_DEFINE_FREEP(gw_identity_cache)

/* NULL when absent or over at `now_ms` (monotonic). Lives until the next call. */
const gw_caller *gw_identity_cache_get(gw_identity_cache *c, gw_str key, int64_t now_ms);
/* Copies. `until_ms` (monotonic); a cache that has no memory keeps nothing. */
void gw_identity_cache_put(gw_identity_cache *c, gw_str key, const gw_caller *caller,
                           int64_t now_ms, int64_t until_ms);
size_t gw_identity_cache_count(const gw_identity_cache *c);
