#include "counted_models.h"

#include "core/clock.h"
#include "core/map.h"
#include "mongo/bson_read.h"

#include <stdlib.h>

#define FIGURES_BYTES 150 /* of one model in a document, its name not counted */

struct counted_models {
    gw_map *names;
    int64_t day_ms; /* when the day of `names` began */
    size_t bytes; /* what they take in a document */
};

counted_models *counted_models_new(void)
{
    counted_models *m = calloc(1, sizeof(*m));
    if (m && !(m->names = gw_map_new(NULL))) {
        free(m);
        return NULL;
    }
    return m;
}

void counted_models_free(counted_models *m)
{
    if (!m)
        return;
    gw_map_free(m->names);
    free(m);
}

static bool is_configured(const model_route *route, gw_str model)
{
    if (route->is_exact)
        return true;
    for (size_t i = 0; i < route->listed_count; i++)
        if (gw_str_eq(route->listed_models[i], model))
            return true;
    return false;
}

bool counted_models_take(counted_models *m, const model_route *route, gw_str model, int64_t wall_ms)
{
    int64_t day_ms = gw_day_start_ms(wall_ms);

    if (is_configured(route, model))
        return true;
    if (day_ms != m->day_ms) {
        gw_map_clear(m->names);
        m->bytes = 0;
        m->day_ms = day_ms;
    }
    if (gw_map_get(m->names, model))
        return true;
    size_t bytes = FIGURES_BYTES + gw_bson_key_bytes(model);
    if (m->bytes + bytes > COUNTED_MODELS_BYTES || !gw_map_put(m->names, model, m))
        return false;
    m->bytes += bytes;
    return true;
}
