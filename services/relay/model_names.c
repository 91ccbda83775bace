#include "model_names.h"

#include <stdlib.h>

typedef struct name_list {
    listed_model *items;
    size_t count;
} name_list;

static void add(name_list *l, gw_str id, gw_str owned_by)
{
    l->items[l->count++] = (listed_model){id, owned_by};
}

bool model_names_pass(const model_route *route, const route_target *t)
{
    return !route->is_exact && t->upstream_model.len == 0 && !t->provider->unusable;
}

bool model_names_need(const relay_config *c, const provider_config *p)
{
    for (size_t i = 0; i < c->route_count; i++)
        for (size_t k = 0; k < c->routes[i].target_count; k++)
            if (c->routes[i].targets[k].provider == p &&
                model_names_pass(&c->routes[i], &c->routes[i].targets[k]))
                return true;
    return false;
}

static bool passes_to(const model_route *route, gw_str provider)
{
    for (size_t i = 0; i < route->target_count; i++)
        if (model_names_pass(route, &route->targets[i]) &&
            gw_str_eq(route->targets[i].provider->name, provider))
            return true;
    return false;
}

/* Those that would be sent there: another route may have the name. */
static void add_said(name_list *l, const relay_config *c, const provider_models *said)
{
    for (size_t i = 0; i < said->count; i++) {
        const model_route *route = relay_config_route(c, said->ids[i]);
        if (route && passes_to(route, said->provider))
            add(l, said->ids[i], route->owned_by);
    }
}

static int by_id(const void *a, const void *b)
{
    return gw_str_cmp(((const listed_model *)a)->id, ((const listed_model *)b)->id);
}

static void sort_once_each(name_list *l)
{
    size_t unique = 0;
    qsort(l->items, l->count, sizeof(*l->items), by_id);
    for (size_t i = 0; i < l->count; i++)
        if (i == 0 || !gw_str_eq(l->items[i].id, l->items[unique - 1].id))
            l->items[unique++] = l->items[i];
    l->count = unique;
}

size_t model_names(const relay_config *c, const provider_models *said, size_t said_count,
                   gw_arena *arena, const listed_model **ret)
{
    size_t most = 1;
    for (size_t i = 0; i < c->route_count; i++)
        most += 1 + c->routes[i].listed_count;
    for (size_t i = 0; i < said_count; i++)
        most += said[i].count;
    name_list l = {.items = gw_arena_array(arena, listed_model, most)};
    if (!l.items)
        return 0;
    for (size_t i = 0; i < c->route_count; i++) {
        const model_route *r = &c->routes[i];
        if (r->is_exact)
            add(&l, r->pattern, r->owned_by);
        for (size_t k = 0; k < r->listed_count; k++)
            add(&l, r->listed_models[k], r->owned_by);
    }
    for (size_t i = 0; i < said_count; i++)
        add_said(&l, c, &said[i]);
    sort_once_each(&l);
    *ret = l.items;
    return l.count;
}
