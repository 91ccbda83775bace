/*
 * Key cache: the policies a loop has fetched from auth, and the watch that keeps them right
 * (DESIGN.md §5).
 *
 * Rules: a fetched policy is stored only if its generation is not below the last invalidation seen
 * for that key, so a fetch in flight cannot bring a revoked key back; nothing writes a cached
 * policy back. While the watch gives heartbeats policies stay; without one for 1 s they live at
 * most `stale_max_ms`. Unknown keys are remembered for `negative_ttl_ms`. One fetch a key at a
 * time, whoever asks. The cache is keyed by SHA-256 of the presented key: it holds no key in clear.
 *
 * Thread: one loop.
 */
#pragma once

#include "access/key_format.h"
#include "core/list.h"
#include "log/log.h"
#include "loop/loop.h"
#include "metrics/metrics.h"
#include "policy.h"
#include "rpc/client.h"

typedef struct key_cache key_cache;

typedef struct key_cache_options {
    gw_rpc_channel *auth;
    gw_str service_token; /* copied */
    int64_t stale_max_ms; /* RELAY_KEY_STALE_MAX, 60 s */
    int64_t negative_ttl_ms; /* 5 s */
    size_t max_entries; /* 200,000; least recently used go first */
    int64_t resolve_timeout_ms; /* 3 s */
    void (*changed)(void *arg); /* some key, or all of them; may be NULL */
    void *changed_arg;
    gw_log *log;
    gw_metrics_shard *metrics; /* may be NULL */
} key_cache_options;

/* Starts fetching the tag keys and the watch; both retry for ever with backoff. */
GW_CHECK gw_status key_cache_new(gw_loop *l, const key_cache_options *o, key_cache **ret,
                                 gw_error *err);
/* From now on: for calls that begin, for entries that are looked at. Out of memory keeps the token. */
void key_cache_adjust(key_cache *c, gw_str service_token, int64_t stale_max_ms);
void key_cache_free(key_cache *c); /* no wait is pending */
bool key_cache_is_ready(const key_cache *c); /* has tag keys: can tell keys apart */
/* The watch has stood once: what is cached is as of then or later, and stays so. Its later loss is stale_max_ms' business. */
bool key_cache_has_been_watched(const key_cache *c);

typedef enum key_lookup { KEY_FOUND, KEY_REFUSED, KEY_PENDING } key_lookup;

/* Embedded in the asker; `done` once, on the loop, never inside key_cache_authenticate(). `policy`
 * is a reference given. */
typedef struct key_wait {
    gw_list node;
    void (*done)(void *arg, gw_status rc, key_policy *policy, const gw_error *err);
    void *arg;
} key_wait;

/*
 * KEY_FOUND: *ret is a reference for the caller (any status: the caller checks state). KEY_REFUSED:
 * err says GW_ERR_KEY_INVALID (malformed, bad tag, unknown) or GW_ERR_UNAVAILABLE (no tag keys
 * yet). KEY_PENDING: `wait->done` follows, with GW_ERR_KEY_INVALID for an unknown key,
 * GW_ERR_UNAVAILABLE when auth cannot be asked.
 */
key_lookup key_cache_authenticate(key_cache *c, gw_str presented, key_wait *wait, key_policy **ret,
                                  gw_error *err);
void key_cache_forget_wait(key_wait *wait); /* the asker goes away before `done` */

/*
 * Grows with each change that is heard of, of whichever key: a policy that was looked up under the same stamp is the newest. 0: the watch is
 * down, and none is known to be.
 */
uint64_t key_cache_stamp(const key_cache *c);

/* Reports use to auth in batches, at most once a minute a key. */
void key_cache_note_use(key_cache *c, const key_policy *p, int64_t now_wall_ms);
