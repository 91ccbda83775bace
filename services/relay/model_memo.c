#include "model_memo.h"

#include <stdlib.h>

enum { PLACES = 64, NAME_MAX_BYTES = 63 }; /* longer names are looked for each time */

/* Names that share a place drive each other out. */
typedef struct place {
    uint8_t name_len; /* 0: free */
    char name[NAME_MAX_BYTES];
    const model_route *route;
    const route_target *target; /* whose price is known; NULL: none is */
    const model_price *price; /* NULL: the book has none */
} place;

struct model_memo {
    const relay_config *config;
    place places[PLACES];
};

model_memo *model_memo_new(void)
{
    return calloc(1, sizeof(model_memo));
}

void model_memo_free(model_memo *m)
{
    free(m);
}

void model_memo_begin(model_memo *m, const relay_config *c)
{
    *m = (model_memo){.config = c};
}

/* Where the name is, or would be. NULL: it is not remembered. */
static place *place_of(model_memo *m, const relay_config *c, gw_str model)
{
    uint32_t hash = 2166136261U; /* FNV-1a */

    if (!m || m->config != c || model.len == 0 || model.len > NAME_MAX_BYTES)
        return NULL;
    for (size_t i = 0; i < model.len; i++)
        hash = (hash ^ (unsigned char)model.ptr[i]) * 16777619U;
    return &m->places[(hash ^ hash >> 16) % PLACES];
}

static bool is_of(const place *p, gw_str model)
{
    return gw_str_eq(gw_str_n(p->name, p->name_len), model);
}

const model_route *model_memo_route(model_memo *m, const relay_config *c, gw_str model)
{
    place *p = place_of(m, c, model);

    if (p && is_of(p, model))
        return p->route;
    const model_route *route = relay_config_route(c, model);
    if (p && route) {
        *p = (place){.name_len = (uint8_t)model.len, .route = route};
        memcpy(p->name, model.ptr, model.len);
    }
    return route;
}

const model_price *model_memo_price(model_memo *m, const relay_config *c, const route_target *t,
                                    gw_str model)
{
    place *p = place_of(m, c, model);
    bool is_here = p && is_of(p, model);

    if (is_here && p->target == t)
        return p->price;
    const model_price *price = price_find_of_target(c->prices, c->price_count, t->upstream_model,
                                                    model, t->provider->name);
    if (is_here) {
        p->target = t;
        p->price = price;
    }
    return price;
}
