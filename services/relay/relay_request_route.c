/* The route of a request: which model it is, and whose turn it is to answer. */
#include "relay_request_internal.h"

const model_price *relay_request_price(const relay_request *r, const route_target *t)
{
    return r->route->is_exact
               ? t->price
               : price_find_of_target(r->config->prices, r->config->price_count, t->upstream_model,
                                      r->body.model, t->provider->name);
}

/* ---- what speaks against a target ---- */

target_state relay_request_state_of(const relay_request *r, const route_target *t)
{
    if (t->upstream_model.len > 0 && !key_policy_allows_model(r->policy, t->upstream_model))
        return TARGET_FORBIDDEN;
    if (t->provider->unusable)
        return TARGET_UNUSABLE;
    return relay_request_hold_covers(r, t) ? TARGET_READY : TARGET_TOO_DEAR;
}

static target_state state_of(void *arg, const route_target *t)
{
    return relay_request_state_of(arg, t);
}

static gw_status tell_why(const relay_request *r, const route_view *view, gw_error *err)
{
    if (route_plan_best(r->route, view) == TARGET_UNUSABLE)
        return gw_fail(err, GW_ERR_UPSTREAM_UNAVAILABLE, "the provider %.*s is not set up",
                       GW_STR_ARG(r->route->targets[0].provider->name));
    return gw_fail_field(err, GW_ERR_MODEL_NOT_FOUND, "model",
                         "The model `%.*s` does not exist or you do not have access to it.",
                         GW_STR_ARG(r->body.model));
}

gw_status relay_request_find_route(relay_request *r, gw_error *err)
{
    route_view view = {state_of, r};

    r->route = r->config ? relay_config_route(r->config, r->body.model) : NULL;
    if (!r->route)
        return gw_fail_field(err, GW_ERR_MODEL_NOT_FOUND, "model",
                             "The model `%.*s` does not exist or you do not have access to it.",
                             GW_STR_ARG(r->body.model));
    r->target = route_plan_next(&r->plan, r->route, &view, &r->core->route_seed);
    return r->target ? GW_OK : tell_why(r, &view, err);
}
