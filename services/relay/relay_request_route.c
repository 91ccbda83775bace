/* The route of a request: which model it is, and whose turn it is to answer. */
#include "relay_request_internal.h"

#include "unpriced_extra.h"
#include "user_key.h"

const model_price *relay_request_price(const relay_request *r, const route_target *t)
{
    return r->route->is_exact ? t->price
                              : model_memo_price(r->core->models, r->config, t, r->body.model);
}

/* ---- what speaks against a target ---- */

/* What it is sent that its price is not for; of a model that has one. */
static unsigned unpriced_extras_of(const relay_request *r, const route_target *t)
{
    if (r->extras == 0)
        return 0;
    unsigned sent =
        unpriced_extras_sent(r->extras, t->provider->kind, relay_request_passes_members(r, t));
    return relay_request_price(r, t)->request_nano_usd > 0 ? sent & ~(unsigned)EXTRA_SEARCH : sent;
}

/* What has no price would pass every budget by. */
static bool is_unpriced(const relay_request *r, const route_target *t)
{
    return r->policy->has_budget && endpoint_describe(r->call.endpoint)->is_billed &&
           (!relay_request_price(r, t) || !relay_request_tier_is_priced(r, t) ||
            unpriced_extras_of(r, t) != 0);
}

/* A target has a price, and only the tier that is asked for has none. */
static bool lacks_tier_only(const relay_request *r)
{
    for (size_t i = 0; i < r->route->target_count; i++)
        if (!relay_request_tier_is_priced(r, &r->route->targets[i]))
            return true;
    return false;
}

/* What the first target lacks a price for that has one for the rest; 0: there is none. */
static unsigned extras_without_price(const relay_request *r)
{
    unsigned lacking = 0;

    for (size_t i = 0; lacking == 0 && i < r->route->target_count; i++)
        if (relay_request_price(r, &r->route->targets[i]))
            lacking = unpriced_extras_of(r, &r->route->targets[i]);
    return lacking;
}

static bool is_forbidden(const relay_request *r, const route_target *t)
{
    return t->upstream_model.len > 0 && !key_policy_allows_model(r->policy, t->upstream_model);
}

bool relay_request_may_use(const relay_request *r, const model_route *route)
{
    for (size_t i = 0; i < route->target_count; i++)
        if (!is_forbidden(r, &route->targets[i]))
            return true;
    return false;
}

static gw_status tell_no_model(const relay_request *r, gw_error *err)
{
    return gw_fail_field(err, GW_ERR_MODEL_NOT_FOUND, "model",
                         "The model `%.*s` does not exist or you do not have access to it.",
                         GW_STR_ARG(r->body.model));
}

gw_status relay_request_check_target(const relay_request *r, gw_error *err)
{
    return is_forbidden(r, r->target) ? tell_no_model(r, err) : GW_OK;
}

target_state relay_request_state_of(const relay_request *r, const route_target *t)
{
    if (is_forbidden(r, t))
        return TARGET_FORBIDDEN;
    if (t->provider->unusable)
        return TARGET_UNUSABLE;
    if (user_key_is_missing(r->policy, t->provider))
        return TARGET_NO_USER_KEY;
    if (is_unpriced(r, t))
        return TARGET_UNPRICED;
    if (!relay_request_hold_covers(r, t))
        return TARGET_TOO_DEAR;
    if (target_health_is_quiet(r->core->health))
        return TARGET_READY;
    if (target_health_closed_ms(r->core->health, relay_request_target_name(r, t),
                                gw_loop_now_ms(r->core->loop)) > 0)
        return TARGET_OPEN;
    return relay_request_is_limited(r, t) ? TARGET_LIMITED : TARGET_READY;
}

static target_state state_of(void *arg, const route_target *t)
{
    return relay_request_state_of(arg, t);
}

route_view relay_request_view(relay_request *r)
{
    return (route_view){state_of, r};
}

void relay_request_turn_to(relay_request *r, const route_target *t)
{
    r->target = t;
    if (target_health_open_count(r->core->health) > 0)
        r->turn = target_health_chosen(r->core->health, relay_request_target_name(r, t),
                                       gw_loop_now_ms(r->core->loop));
}

/* Every target that could be asked is failing. The caller is told when one of them will be asked. */
static gw_status tell_when(relay_request *r, gw_error *err)
{
    int64_t least_ms = INT64_MAX;

    for (size_t i = 0; i < r->route->target_count; i++) {
        target_name name = relay_request_target_name(r, &r->route->targets[i]);
        int64_t ms = target_health_closed_ms(r->core->health, name, gw_loop_now_ms(r->core->loop));
        least_ms = ms > 0 ? GW_MIN(least_ms, ms) : least_ms;
    }
    int64_t seconds = (least_ms + 999) / 1000;
    r->retry_after = gw_arena_int(r->arena, seconds);
    return gw_fail(err, GW_ERR_UPSTREAM_UNAVAILABLE,
                   "the provider %.*s is failing; it is asked again in %lld s",
                   GW_STR_ARG(r->route->targets[0].provider->name), (long long)seconds);
}

static gw_status tell_why(relay_request *r, const route_view *view, gw_error *err)
{
    target_state best = route_plan_best(r->route, view);
    const char *tier_field = r->body.tier_is_speed ? "speed" : "service_tier";
    const char *extra = unpriced_extras_member(extras_without_price(r));

    if (best == TARGET_OPEN)
        return tell_when(r, err);
    if (best == TARGET_UNPRICED && lacks_tier_only(r))
        return gw_fail_field(
            err, GW_ERR_TIER_UNPRICED, tier_field,
            "The service tier `%.*s` of the model `%.*s` has no price, and this API key has a "
            "budget (costLimit) that nothing could be counted against: ask an administrator to put "
            "the tier into the price book, leave out %s, or use a key without a budget.",
            GW_STR_ARG(gw_str_slice(r->body.service_tier, 0, 32)), GW_STR_ARG(r->body.model),
            tier_field);
    if (best == TARGET_UNPRICED && extra)
        return gw_fail_field(
            err, GW_ERR_EXTRA_UNPRICED, extra,
            "`%s` asks for something that is billed beside the tokens or at other rates (a search, "
            "sound, a place), for which there is no price, and this API key has a budget "
            "(costLimit) that it could not be counted against: leave it out, or use a key without "
            "a budget.",
            extra);
    if (best == TARGET_UNPRICED)
        return gw_fail_field(
            err, GW_ERR_MODEL_UNPRICED, "model",
            "The model `%.*s` has no price, and this API key has a budget (costLimit) that nothing "
            "could be counted against: ask an administrator to put the model into the price book, "
            "or use a key without a budget.",
            GW_STR_ARG(r->body.model));
    if (best == TARGET_NO_USER_KEY)
        return relay_request_lacks_user_key(r, err);
    r->waiting_does_not_help = best == TARGET_UNUSABLE;
    if (best == TARGET_UNUSABLE)
        return gw_fail(err, GW_ERR_UPSTREAM_UNAVAILABLE, "the provider %.*s is not set up",
                       GW_STR_ARG(r->route->targets[0].provider->name));
    return tell_no_model(r, err);
}

gw_status relay_request_find_route(relay_request *r, gw_error *err)
{
    route_view view = relay_request_view(r);

    r->route = r->config ? model_memo_route(r->core->models, r->config, r->body.model) : NULL;
    if (!r->route)
        return tell_no_model(r, err);
    const route_target *t = route_plan_next(&r->plan, r->route, &view, &r->core->route_seed);
    if (!t)
        return tell_why(r, &view, err);
    relay_request_turn_to(r, t);
    return GW_OK;
}
