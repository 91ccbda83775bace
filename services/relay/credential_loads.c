#include "credential_loads.h"

#include "core/map.h"

#include <assert.h>
#include <stdlib.h>

struct credential_loads {
    gw_map *providers; /* name -> load */
};

typedef struct load {
    uint32_t under_way[CREDENTIALS_MAX];
    unsigned next; /* whose turn it is among equals */
} load;

credential_loads *credential_loads_new(void)
{
    credential_loads *l = calloc(1, sizeof(*l));

    if (l)
        l->providers = gw_map_new(free);
    if (l && l->providers)
        return l;
    free(l);
    return NULL;
}

void credential_loads_free(credential_loads *l)
{
    if (l)
        gw_map_free(l->providers);
    free(l);
}

/* NULL when out of memory. */
static load *load_of(credential_loads *l, gw_str provider)
{
    load *found = gw_map_get(l->providers, provider);

    if (found)
        return found;
    found = calloc(1, sizeof(*found));
    if (found && !gw_map_put(l->providers, provider, found)) {
        free(found);
        return NULL;
    }
    return found;
}

unsigned credential_loads_take(credential_loads *l, gw_str provider, unsigned count,
                               uint32_t usable)
{
    load *of = load_of(l, provider);
    uint32_t all = (1U << count) - 1, among = usable & all ? usable & all : all;
    unsigned best = (unsigned)__builtin_ctz(among);
    bool found = false;

    assert(count >= 1 && count <= CREDENTIALS_MAX);
    if (!of)
        return best;
    for (unsigned i = 0; i < count; i++) {
        unsigned at = (of->next + i) % count;
        if (!(among & (1U << at)) || (found && of->under_way[at] >= of->under_way[best]))
            continue;
        best = at;
        found = true;
    }
    of->next = (best + 1) % count;
    of->under_way[best]++;
    return best;
}

void credential_loads_give_back(credential_loads *l, gw_str provider, unsigned credential)
{
    load *of = gw_map_get(l->providers, provider);

    if (of && of->under_way[credential] > 0)
        of->under_way[credential]--;
}
