/*
 * Model names: what /v1/models lists. Configured names and listed models, and of each route with a glob those that the
 * providers behind it say they have.
 *
 * Thread: pure.
 */
#pragma once

#include "relay_config.h"

/* What a provider said it has. */
typedef struct provider_models {
    gw_str provider; /* its name in the configuration */
    const gw_str *ids;
    size_t count;
} provider_models;

typedef struct listed_model {
    gw_str id;
    gw_str owned_by;
} listed_model;

/* Each name once, sorted, into `arena`. 0 also when it has no memory. */
size_t model_names(const relay_config *c, const provider_models *said, size_t said_count,
                   gw_arena *arena, const listed_model **ret);

/* Some route passes names on to `p`: what it has is worth to be asked for. */
bool model_names_need(const relay_config *c, const provider_config *p);

/* A target that `route` sends the name asked for to, as it is: what its provider has can be asked for. */
bool model_names_pass(const model_route *route, const route_target *t);
