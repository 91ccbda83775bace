/*
 * What key_cache.c (entries), key_fetch.c (asking auth), key_group.c (whose keys they are) and key_watch.c (tag keys, watch, reports of
 * use) share.
 *
 *     slot: one key id ─┬─ entry: one presented secret ── policy | unknown | being fetched, with who waits
 *                       └─ entry: another secret of that key id (before a regenerate, or a wrong one)
 *
 * The slot remembers the last change seen of its key, so that an answer made from older data is never stored.
 * So does the group of a client or an owner of the last change of its limits; an entry with a policy stands
 * in the groups of both.
 */
#pragma once

#include "key_cache.h"

#include "core/map.h"

#include "crypto/crypto.h"

#define KEY_WATCH_ALIVE_MS                                                                         \
    1000 /* SECURITY bound: without a heartbeat for this long the watch counts as down */

typedef struct key_slot {
    gw_list entries; /* of key_entry.slot_node */
    char key_id[GW_KEY_ID_LEN + 1];
    int64_t changed_generation; /* newest change seen; 0 = none */
    int64_t changed_ms;
    int64_t used_wall_ms, reported_wall_ms; /* last use; the use auth was told of last */
    gw_list use_node;
} key_slot;

typedef enum key_group_kind { KEY_GROUP_CLIENT, KEY_GROUP_OWNER, KEY_GROUP_KINDS } key_group_kind;

typedef struct key_entry key_entry;

/* An entry's place in one of its groups; not linked without a policy, or when it has no client or owner. */
typedef struct key_membership {
    gw_list node;
    key_entry *entry;
} key_membership;

struct key_entry {
    gw_list lru_node, slot_node;
    gw_list waits; /* of key_wait.node; not empty only while fetching */
    key_membership groups[KEY_GROUP_KINDS];
    key_cache *cache;
    key_slot *slot;
    uint8_t hash[GW_SHA256_SIZE];
    gw_buf presented; /* wiped when the fetch ends */
    key_policy *policy; /* NULL: unknown, or not fetched yet */
    int64_t fetched_ms; /* when the policy or its absence was learnt */
    bool is_unknown;
    gw_rpc_client_call *fetch; /* NULL when none runs */
    uint64_t fetch_epoch; /* key_cache.epoch when the fetch began */
    unsigned fetch_attempts;
};

struct key_cache {
    gw_loop *loop;
    key_cache_options options;
    gw_buf service_token;
    gw_map *entries; /* SHA-256 of the presented key -> key_entry */
    gw_map *slots; /* key id -> key_slot */
    gw_map *groups[KEY_GROUP_KINDS]; /* client id, user id -> key_group */
    gw_list lru; /* most recently used first */
    uint64_t stamp; /* grows with each change and reset; from 1 */
    uint64_t epoch; /* grows with each reset: answers to older fetches are asked again */

    gw_tag_key *tag_keys;
    size_t tag_key_count;
    gw_rpc_client_call *tag_call;
    gw_timer tag_timer;

    gw_rpc_client_call *watch;
    bool watch_is_new; /* opened without a generation to go on from, and silent so far */
    gw_timer watch_timer; /* reconnect, or the check of the heartbeat */
    int64_t watch_backoff_ms;
    int64_t heartbeat_ms; /* monotonic; 0 = never */
    int64_t generation; /* applied up to here */

    gw_list used; /* of key_slot.use_node: to report */
    gw_timer use_timer;
    gw_rpc_client_call *use_call;

    unsigned operations; /* calls whose `done` is still to come */
    bool closing;
};

/* Longer than any fetch: a change older than this can no longer be overtaken by an answer from before it. */
#define KEY_CHANGE_MEMORY_MS 60000

/* ---- key_cache.c ---- */
void key_entry_remove(key_entry *e); /* nobody waits, nothing is fetched */
void key_entry_forget_presented(key_entry *e);
void key_entry_invalidate(key_entry *e); /* the entry may be gone */
void key_cache_apply_change(key_cache *c, gw_str key_id, int64_t generation);
void key_cache_apply_reset(key_cache *c);
void key_cache_prune_slots(key_cache *c);
gw_rpc_call_options key_cache_call(const key_cache *c, const char *path,
                                   const ProtobufCMessageDescriptor *response, int64_t deadline_ms);

/* Each call counts as an operation from its start to its `done`; the cache goes with the last one. */
void key_cache_operation_begun(key_cache *c);
bool key_cache_operation_ended(
    key_cache *c); /* false: the cache is closing, do no more (it may be gone) */

/* ---- key_fetch.c ---- */
/* Asks auth, or waits for who has asked already: KEY_PENDING. KEY_REFUSED: auth cannot be asked, and the entry is gone. */
key_lookup key_fetch(key_entry *e, gw_str presented, key_wait *wait, gw_error *err);
gw_status key_is_unknown(gw_error *err); /* GW_ERR_KEY_INVALID */
gw_status key_cannot_be_checked(gw_error *err); /* GW_ERR_UNAVAILABLE */

/* ---- key_group.c ---- */
bool key_groups_open(key_cache *c); /* false: out of memory */
void key_groups_close(key_cache *c); /* no entry is left */
void key_groups_leave(key_entry *e); /* twice is fine */
/* Puts the entry into the groups of its policy; false when out of memory: a change could not find it. */
GW_CHECK bool key_groups_join(key_entry *e);
/* Whether a policy was made before the newest change seen of the limits of its client or owner. */
bool key_groups_outdate(const key_cache *c, const Apirelay__Auth__V1__KeyPolicy *p);
void key_cache_apply_limits_change(key_cache *c,
                                   const Apirelay__Auth__V1__WatchResponse__LimitsChange *change);
void key_groups_prune(key_cache *c);

/* ---- key_watch.c ---- */
void key_watch_start(key_cache *c);
void key_watch_stop(key_cache *c);
bool key_watch_is_alive(const key_cache *c);
