/*
 * Groups: which entries are keys of one client or of one owner, so that a change of its limits finds them all.
 */
#include "key_cache_internal.h"

#include <stdlib.h>

typedef struct key_group {
    gw_list members; /* of key_membership.node */
    int64_t changed_generation; /* newest change seen of its limits; 0 = none */
    int64_t changed_ms;
} key_group;

bool key_groups_open(key_cache *c)
{
    bool opened = true;
    for (int kind = 0; kind < KEY_GROUP_KINDS; kind++) {
        c->groups[kind] = gw_map_new(free);
        opened &= c->groups[kind] != NULL;
    }
    return opened;
}

void key_groups_close(key_cache *c)
{
    for (int kind = 0; kind < KEY_GROUP_KINDS; kind++)
        gw_map_free(c->groups[kind]);
}

static key_group *group_of(key_cache *c, key_group_kind kind, gw_str id)
{
    key_group *g = gw_map_get(c->groups[kind], id);
    if (g)
        return g;
    g = calloc(1, sizeof(*g));
    if (!g || !gw_map_put(c->groups[kind], id, g)) {
        free(g);
        return NULL;
    }
    gw_list_init(&g->members);
    return g;
}

static gw_str group_id(const Apirelay__Auth__V1__KeyPolicy *p, key_group_kind kind)
{
    return gw_str_of(kind == KEY_GROUP_CLIENT ? p->client_id : p->user_id);
}

/* Lifted limits are stated with their generation too; without any statement none were ever set. */
static int64_t limits_generation(const Apirelay__Auth__V1__KeyPolicy *p, key_group_kind kind)
{
    const Apirelay__Auth__V1__SharedLimits *l =
        kind == KEY_GROUP_CLIENT ? p->client_limits : p->owner_limits;
    return l ? l->generation : 0;
}

void key_groups_leave(key_entry *e)
{
    for (int kind = 0; kind < KEY_GROUP_KINDS; kind++)
        gw_list_remove(&e->groups[kind].node);
}

bool key_groups_join(key_entry *e)
{
    for (int kind = 0; kind < KEY_GROUP_KINDS; kind++) {
        gw_str id = group_id(e->policy->message, (key_group_kind)kind);
        if (id.len == 0)
            continue;
        key_group *g = group_of(e->cache, (key_group_kind)kind, id);
        if (!g)
            return false;
        gw_list_push_back(&g->members, &e->groups[kind].node);
    }
    return true;
}

bool key_groups_outdate(const key_cache *c, const Apirelay__Auth__V1__KeyPolicy *p)
{
    for (int kind = 0; kind < KEY_GROUP_KINDS; kind++) {
        const key_group *g = gw_map_get(c->groups[kind], group_id(p, (key_group_kind)kind));
        if (g && limits_generation(p, (key_group_kind)kind) < g->changed_generation)
            return true;
    }
    return false;
}

void key_cache_apply_limits_change(key_cache *c,
                                   const Apirelay__Auth__V1__WatchResponse__LimitsChange *change)
{
    gw_str client = gw_str_of(change->client_id), owner = gw_str_of(change->user_id);
    key_group_kind kind = client.len ? KEY_GROUP_CLIENT : KEY_GROUP_OWNER;
    gw_str id = client.len ? client : owner;
    key_group *g = id.len ? group_of(c, kind, id) : NULL;
    if (!g) { /* nobody's limits, or no memory to remember them: nothing cached is safe then */
        key_cache_apply_reset(c);
        return;
    }
    c->stamp++;
    g->changed_generation = GW_MAX(g->changed_generation, change->generation);
    g->changed_ms = gw_loop_now_ms(c->loop);
    gw_list_each_safe (node, &g->members) {
        key_entry *e = GW_CONTAINER_OF(node, key_membership, node)->entry;
        if (limits_generation(e->policy->message, kind) < change->generation)
            key_entry_invalidate(e);
    }
}

/* Drops groups that have no entries and whose last change no answer can overtake any more. */
static void prune(key_cache *c, gw_map *groups)
{
    int64_t now = gw_loop_now_ms(c->loop);
    gw_str id;
    void *value;
    size_t at = 0, count = 0;
    gw_buf empty[64] = {
        0}; /* a bounded number a turn: the map must not change under the iteration */
    while (count < GW_ARRAY_LEN(empty) && gw_map_next(groups, &at, &id, &value)) {
        const key_group *g = value;
        if (gw_list_is_empty(&g->members) && now - g->changed_ms > KEY_CHANGE_MEMORY_MS)
            gw_buf_append_str(&empty[count++], id);
    }
    for (size_t i = 0; i < count; i++) {
        if (!gw_buf_failed(&empty[i]))
            gw_map_remove(groups, gw_buf_str(&empty[i]));
        gw_buf_fini(&empty[i]);
    }
}

void key_groups_prune(key_cache *c)
{
    for (int kind = 0; kind < KEY_GROUP_KINDS; kind++)
        prune(c, c->groups[kind]);
}
