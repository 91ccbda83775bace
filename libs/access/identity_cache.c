#include "access/identity_cache.h"

#include "core/arena.h"
#include "core/list.h"
#include "core/map.h"

#include <stdlib.h>

typedef struct entry {
    gw_list node; /* oldest first */
    gw_arena *arena;
    gw_str key;
    gw_caller caller;
    int64_t until_ms;
} entry;

struct gw_identity_cache {
    gw_map *by_key;
    gw_list entries;
    size_t max;
};

gw_identity_cache *gw_identity_cache_new(size_t max)
{
    gw_identity_cache *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->max = max;
    gw_list_init(&c->entries);
    c->by_key = gw_map_new(NULL);
    if (!c->by_key) {
        free(c);
        return NULL;
    }
    return c;
}

static void drop(gw_identity_cache *c, entry *e)
{
    (void)gw_map_remove(c->by_key, e->key);
    gw_list_remove(&e->node);
    gw_arena_free(e->arena); /* the entry lies in it */
}

void gw_identity_cache_free(gw_identity_cache *c)
{
    if (!c)
        return;
    for (gw_list *node = gw_list_first(&c->entries); node; node = gw_list_first(&c->entries))
        drop(c, GW_CONTAINER_OF(node, entry, node));
    gw_map_free(c->by_key);
    free(c);
}

const gw_caller *gw_identity_cache_get(gw_identity_cache *c, gw_str key, int64_t now_ms)
{
    entry *e = gw_map_get(c->by_key, key);
    if (!e)
        return NULL;
    if (now_ms < e->until_ms)
        return &e->caller;
    drop(c, e);
    return NULL;
}

/* The oldest are over first, but for those that expire before their second is up. */
static void make_room(gw_identity_cache *c, int64_t now_ms)
{
    for (gw_list *node = gw_list_first(&c->entries); node; node = gw_list_first(&c->entries)) {
        entry *e = GW_CONTAINER_OF(node, entry, node);
        if (now_ms < e->until_ms && gw_map_count(c->by_key) < c->max)
            return;
        drop(c, e);
    }
}

static entry *new_entry(gw_str key, const gw_caller *caller)
{
    gw_arena *a = gw_arena_new();
    entry *e = a ? gw_arena_new_of(a, entry) : NULL;
    if (!e) {
        gw_arena_free(a);
        return NULL;
    }
    e->arena = a;
    e->key = gw_arena_dup(a, key);
    e->caller = (gw_caller){.kind = caller->kind,
                            .role = caller->role,
                            .name = gw_arena_dup(a, caller->name),
                            .id = gw_arena_dup(a, caller->id),
                            .key_id = gw_arena_dup(a, caller->key_id),
                            .session_id = gw_arena_dup(a, caller->session_id)};
    if (!e->key.ptr || !e->caller.name.ptr || !e->caller.id.ptr || !e->caller.key_id.ptr ||
        !e->caller.session_id.ptr) {
        gw_arena_free(a);
        return NULL;
    }
    return e;
}

void gw_identity_cache_put(gw_identity_cache *c, gw_str key, const gw_caller *caller,
                           int64_t now_ms, int64_t until_ms)
{
    entry *old = gw_map_get(c->by_key, key);
    if (old)
        drop(c, old);
    make_room(c, now_ms);
    entry *e = until_ms > now_ms ? new_entry(key, caller) : NULL;
    if (!e)
        return;
    e->until_ms = until_ms;
    if (gw_map_put(c->by_key, e->key, e))
        gw_list_push_back(&c->entries, &e->node);
    else
        gw_arena_free(e->arena);
}

size_t gw_identity_cache_count(const gw_identity_cache *c)
{
    return gw_map_count(c->by_key);
}
