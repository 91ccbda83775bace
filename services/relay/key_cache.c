#include "key_cache_internal.h"

#include <assert.h>
#include <stdlib.h>

gw_rpc_call_options key_cache_call(const key_cache *c, const char *path,
                                   const ProtobufCMessageDescriptor *response, int64_t deadline_ms)
{
    return (gw_rpc_call_options){.path = path,
                                 .response = response,
                                 .credential = gw_buf_str(&c->service_token),
                                 .deadline_ms = deadline_ms};
}

/* ---- slots and entries ---- */

static key_slot *slot_of(key_cache *c, gw_str key_id)
{
    key_slot *s = gw_map_get(c->slots, key_id);
    if (s)
        return s;
    s = calloc(1, sizeof(*s));
    if (!s || !gw_map_put(c->slots, key_id, s)) {
        free(s);
        return NULL;
    }
    gw_list_init(&s->entries);
    gw_list_init(&s->use_node);
    memcpy(s->key_id, key_id.ptr, GW_MIN(key_id.len, sizeof(s->key_id) - 1));
    return s;
}

static void slot_free(void *p)
{
    key_slot *s = p;
    gw_list_remove(&s->use_node);
    free(s);
}

/* Drops slots that hold nothing and whose last change no answer can overtake any more. */
void key_cache_prune_slots(key_cache *c)
{
    int64_t now = gw_loop_now_ms(c->loop);
    gw_str id;
    void *value;
    size_t at = 0;
    gw_str empty[256]; /* a bounded number a turn: the map must not change under the iteration */
    size_t count = 0;
    while (count < GW_ARRAY_LEN(empty) && gw_map_next(c->slots, &at, &id, &value)) {
        const key_slot *s = value;
        if (gw_list_is_empty(&s->entries) && !gw_list_is_linked(&s->use_node) &&
            now - s->changed_ms > KEY_CHANGE_MEMORY_MS)
            empty[count++] = gw_str_of(s->key_id);
    }
    for (size_t i = 0; i < count; i++)
        gw_map_remove(c->slots, empty[i]);
}

void key_entry_forget_presented(key_entry *e)
{
    if (e->presented.data)
        gw_secret_wipe(e->presented.data, e->presented.len);
    gw_buf_fini(&e->presented);
}

static void entry_free(void *p)
{
    key_entry *e = p;
    assert(gw_list_is_empty(&e->waits) && !e->fetch);
    gw_list_remove(&e->lru_node);
    gw_list_remove(&e->slot_node);
    key_groups_leave(e);
    key_policy_unref(e->policy);
    key_entry_forget_presented(e);
    free(e);
}

static gw_str entry_key(const key_entry *e)
{
    return gw_str_n(e->hash, sizeof(e->hash));
}

void key_entry_remove(key_entry *e)
{
    gw_map_remove(e->cache->entries, entry_key(e));
}

/* The one that was used longest ago goes first; one that is being fetched stays. */
static void make_room(key_cache *c)
{
    while (gw_map_count(c->entries) >= c->options.max_entries) {
        gw_list *oldest = gw_list_last(&c->lru);
        while (oldest && oldest != &c->lru && GW_CONTAINER_OF(oldest, key_entry, lru_node)->fetch)
            oldest = oldest->prev;
        if (!oldest || oldest == &c->lru)
            return;
        key_entry_remove(GW_CONTAINER_OF(oldest, key_entry, lru_node));
    }
}

static key_entry *entry_new(key_cache *c, const uint8_t hash[GW_SHA256_SIZE], gw_str key_id)
{
    make_room(c);
    key_slot *slot = slot_of(c, key_id);
    key_entry *e = slot ? calloc(1, sizeof(*e)) : NULL;
    if (!e)
        return NULL;
    memcpy(e->hash, hash, sizeof(e->hash));
    e->cache = c;
    e->slot = slot;
    gw_list_init(&e->waits);
    gw_list_init(&e->lru_node);
    gw_list_init(&e->slot_node);
    for (int kind = 0; kind < KEY_GROUP_KINDS; kind++) {
        gw_list_init(&e->groups[kind].node);
        e->groups[kind].entry = e;
    }
    if (!gw_map_put(c->entries, entry_key(e), e)) {
        free(e);
        return NULL;
    }
    gw_list_push_front(&c->lru, &e->lru_node);
    gw_list_push_back(&slot->entries, &e->slot_node);
    return e;
}

/* ---- asking ---- */

/* What is cached holds while the watch is up; without it, for a bounded time after the last sign of life. */
static bool entry_is_usable(const key_entry *e)
{
    const key_cache *c = e->cache;
    int64_t now = gw_loop_now_ms(c->loop);
    if (e->is_unknown)
        return now - e->fetched_ms < c->options.negative_ttl_ms;
    if (!e->policy)
        return false;
    return key_watch_is_alive(c) ||
           now - GW_MAX(c->heartbeat_ms, e->fetched_ms) < c->options.stale_max_ms;
}

key_lookup key_cache_authenticate(key_cache *c, gw_str presented, key_wait *wait, key_policy **ret,
                                  gw_error *err)
{
    gw_key_parts parts;
    if (!gw_key_parse(presented, &parts)) {
        key_is_unknown(err);
        return KEY_REFUSED;
    }
    if (!key_cache_is_ready(c)) {
        key_cannot_be_checked(err);
        return KEY_REFUSED;
    }
    uint8_t hash[GW_SHA256_SIZE];
    gw_sha256(presented.ptr, presented.len, hash);
    key_entry *e = gw_map_get(c->entries, gw_str_n(hash, sizeof(hash)));
    if (e && entry_is_usable(e)) {
        gw_list_remove(&e->lru_node);
        gw_list_push_front(&c->lru, &e->lru_node);
        if (e->is_unknown) {
            key_is_unknown(err);
            return KEY_REFUSED;
        }
        *ret = key_policy_ref(e->policy);
        return KEY_FOUND;
    }
    /* What is cached has passed here before: only strangers cost a HMAC, and only those with a tag a call of auth. */
    if (!gw_key_tag_is_valid(c->tag_keys, c->tag_key_count, &parts)) {
        key_is_unknown(err);
        return KEY_REFUSED;
    }
    if (!e)
        e = entry_new(c, hash, parts.key_id);
    if (!e) {
        gw_fail(err, GW_ERR_NO_MEMORY, "no memory to check the API key");
        return KEY_REFUSED;
    }
    return key_fetch(e, presented, wait, err);
}

uint64_t key_cache_stamp(const key_cache *c)
{
    return key_watch_is_alive(c) ? c->stamp : 0;
}

void key_cache_forget_wait(key_wait *wait)
{
    gw_list_remove(&wait->node);
}

/* ---- what the watch brings ---- */

void key_entry_invalidate(key_entry *e)
{
    key_groups_leave(e);
    key_policy_unref(e->policy);
    e->policy = NULL;
    e->is_unknown = false;
    if (!e->fetch)
        key_entry_remove(e);
}

void key_cache_apply_change(key_cache *c, gw_str key_id, int64_t generation)
{
    key_slot *s = key_id.len == GW_KEY_ID_LEN ? slot_of(c, key_id) : NULL;
    if (!s) { /* an unknowable key, or no memory to remember it: nothing cached is safe then */
        key_cache_apply_reset(c);
        return;
    }
    c->stamp++;
    s->changed_generation = GW_MAX(s->changed_generation, generation);
    s->changed_ms = gw_loop_now_ms(c->loop);
    gw_list_each_safe (node, &s->entries) {
        key_entry *e = GW_CONTAINER_OF(node, key_entry, slot_node);
        if (!e->policy || e->policy->generation < generation)
            key_entry_invalidate(e);
    }
}

void key_cache_apply_reset(key_cache *c)
{
    c->stamp++;
    c->epoch++;
    gw_list_each_safe (node, &c->lru) {
        key_entry_invalidate(GW_CONTAINER_OF(node, key_entry, lru_node));
    }
}

/* ---- life ---- */

gw_status key_cache_new(gw_loop *l, const key_cache_options *o, key_cache **ret, gw_error *err)
{
    key_cache *c = calloc(1, sizeof(*c));
    if (!c)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the key cache");
    c->loop = l;
    c->options = *o;
    c->stamp = 1;
    gw_list_init(&c->lru);
    gw_list_init(&c->used);
    gw_buf_append_str(&c->service_token, o->service_token);
    c->entries = gw_map_new(entry_free);
    c->slots = gw_map_new(slot_free);
    bool has_groups = key_groups_open(c);
    if (!c->entries || !c->slots || !has_groups || gw_buf_failed(&c->service_token)) {
        key_groups_close(c);
        gw_map_free(c->entries);
        gw_map_free(c->slots);
        gw_buf_fini(&c->service_token);
        free(c);
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the key cache");
    }
    key_watch_start(c);
    *ret = c;
    return GW_OK;
}

void key_cache_adjust(key_cache *c, gw_str service_token, int64_t stale_max_ms)
{
    gw_auto_buf token = {0};
    c->options.stale_max_ms = stale_max_ms;
    gw_buf_append_str(&token, service_token);
    if (gw_buf_failed(&token))
        return;
    const gw_buf before = c->service_token;
    c->service_token = token;
    token = before;
    if (token.data)
        gw_secret_wipe(token.data, token.len);
}

static void release(key_cache *c)
{
    gw_map_free(c->entries);
    gw_map_free(c->slots);
    key_groups_close(c);
    if (c->tag_keys)
        gw_secret_wipe(c->tag_keys, c->tag_key_count * sizeof(*c->tag_keys));
    free(c->tag_keys);
    gw_buf_fini(&c->service_token);
    free(c);
}

void key_cache_operation_begun(key_cache *c)
{
    c->operations++;
}

bool key_cache_operation_ended(key_cache *c)
{
    c->operations--;
    if (!c->closing)
        return true;
    if (c->operations == 0)
        release(c);
    return false;
}

void key_cache_free(key_cache *c)
{
    if (!c)
        return;
    c->closing = true;
    c->operations++; /* held until everything below is cancelled */
    key_watch_stop(c);
    gw_list_each (node, &c->lru) {
        key_entry *e = GW_CONTAINER_OF(node, key_entry, lru_node);
        if (e->fetch)
            gw_rpc_cancel(e->fetch);
    }
    key_cache_operation_ended(c);
}

bool key_cache_is_ready(const key_cache *c)
{
    return c->tag_key_count > 0;
}

bool key_cache_has_been_watched(const key_cache *c)
{
    return c->heartbeat_ms != 0;
}
