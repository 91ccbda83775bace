#include "relay_core.h"

#include "relay_request_internal.h"

#include <stdlib.h>

#define SCRATCH_BYTES ((size_t)64 * 1024) /* chunks up to some 4 KB are parsed in it */

const relay_limits relay_limits_defaults = {
    .body_max_bytes = (size_t)32 * 1024 * 1024,
    .answer_max_bytes = (size_t)128 * 1024 * 1024,
    .preamble_max_bytes = (size_t)64 * 1024,
    .event_max_bytes = (size_t)8 * 1024 * 1024,
    .stream_max_bytes = INT64_C(256) * 1024 * 1024,
    .request_timeout_ms = 600 * GW_MS_PER_S,
    .drain_max_ms = 120 * GW_MS_PER_S,
    .drains_max = 100,
    .keep_alive_ms = 15 * GW_MS_PER_S,
    .max_in_flight = 1000,
};

gw_status relay_core_init(relay_core *c, gw_error *err)
{
    *c = (relay_core){.limits = relay_limits_defaults};
    gw_list_init(&c->requests);
    gw_list_init(&c->spares);
    c->route_seed = gw_random_u64();
    c->scratch.size = SCRATCH_BYTES;
    c->scratch.bytes = malloc(SCRATCH_BYTES);
    c->event_texts = gw_arena_new();
    c->models = model_memo_new();
    c->counted = counted_models_new();
    c->health = target_health_new();
    c->credentials = credential_loads_new();
    if (c->scratch.bytes && c->event_texts && c->models && c->counted && c->health &&
        c->credentials)
        return GW_OK;
    relay_core_fini(c);
    return relay_request_no_memory(err);
}

void relay_core_fini(relay_core *c)
{
    relay_request_free_spares(c);
    relay_config_unref(c->config);
    c->config = NULL;
    free(c->scratch.bytes);
    c->scratch.bytes = NULL;
    gw_arena_free(c->event_texts);
    c->event_texts = NULL;
    model_memo_free(c->models);
    c->models = NULL;
    counted_models_free(c->counted);
    c->counted = NULL;
    target_health_free(c->health);
    credential_loads_free(c->credentials);
    c->credentials = NULL;
    c->health = NULL;
}

void relay_core_set_config(relay_core *c, relay_config *config)
{
    relay_config_unref(c->config);
    c->config = config;
    model_memo_begin(c->models, config);
}

void relay_core_end_all(relay_core *c)
{
    gw_list all;
    gw_error err;

    c->ending = true;
    (void)gw_fail(&err, GW_ERR_SHUTTING_DOWN, "the gateway is shutting down");
    gw_list_init(&all);
    for (gw_list *node; (node = gw_list_pop_front(&c->requests));)
        gw_list_push_back(&all, node);
    /* A request leaves the list at once, or once its upstream has confirmed the end; and may end others, which leave `all`. */
    for (gw_list *node; (node = gw_list_pop_front(&all));) {
        gw_list_push_back(&c->requests, node);
        relay_request *r = GW_CONTAINER_OF(node, relay_request, node);
        if (r->stage == STAGE_DONE) {
            if (r->call_upstream)
                gw_http_cancel(r->call_upstream);
        } else {
            relay_request_cancel(r, &err);
        }
    }
}
