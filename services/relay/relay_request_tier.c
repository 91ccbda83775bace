/*
 * The service tier of a request: which one its targets are asked for, and which one it is billed by.
 *
 *     the answer states its tier        by that tier
 *       which the book does not have    unpriced when the caller asked for it, else by the model's own price: the account is set to it
 *     it does not                       by the dearest that was possible
 */
#include "relay_request_internal.h"

#include "price/price_tier.h"

/* Adapters that write the request anew leave them out, or refuse them. */
bool relay_request_passes_members(const relay_request *r, const route_target *t)
{
    provider_kind kind = t->provider->kind;

    if (endpoint_is_messages(r->call.endpoint))
        return kind == PROVIDER_ANTHROPIC;
    return kind == PROVIDER_OPENAI || kind == PROVIDER_LOCAL;
}

gw_str relay_request_tier(const relay_request *r, const route_target *t)
{
    return relay_request_passes_members(r, t) ? r->body.service_tier : GW_STR("");
}

bool relay_request_tier_is_priced(const relay_request *r, const route_target *t)
{
    const model_price *p = relay_request_price(r, t);

    return !p || price_in_tier(p, relay_request_tier(r, t));
}

/* "": it does not say. */
static gw_str stated_tier(const relay_request *r)
{
    gw_str tier = gw_str_of(r->tap.service_tier);

    return price_tier_is_open(tier) ? GW_STR("") : tier;
}

static const model_price *by_stated(const relay_request *r, gw_str stated, gw_str *ret_tier)
{
    const model_price *p = price_in_tier(r->price, stated);

    *ret_tier = price_tier_is_standard(stated) ? GW_STR("") : stated;
    return p || gw_str_eq(stated, relay_request_tier(r, r->asked)) ? p : r->price;
}

static const model_price *by_dearest(const relay_request *r, const token_counts *tokens,
                                     gw_str *ret_tier)
{
    gw_str asked = relay_request_tier(r, r->asked);
    const model_price *dearest = NULL, *p;
    int64_t most = -1;
    size_t at = 0;

    *ret_tier = GW_STR("");
    if (!price_in_tier(r->price, asked)) {
        *ret_tier = asked;
        return NULL;
    }
    if (r->price->tier_count == 0) /* nearly always */
        return r->price;
    while ((p = price_next_possible(r->price, asked, &at))) {
        int64_t cost = price_of(p, tokens);
        if (cost <= most)
            continue;
        most = cost;
        dearest = p;
        if (p != r->price)
            *ret_tier = GW_CONTAINER_OF((uintptr_t)p, price_tier, price)->name;
    }
    return dearest;
}

const model_price *relay_request_billed_price(const relay_request *r, const token_counts *tokens,
                                              gw_str *ret_tier)
{
    gw_str stated = stated_tier(r);

    *ret_tier = GW_STR("");
    if (!r->price)
        return NULL;
    return stated.len > 0 ? by_stated(r, stated, ret_tier) : by_dearest(r, tokens, ret_tier);
}

int64_t relay_request_cost(const relay_request *r, const token_counts *tokens)
{
    gw_str tier;
    const model_price *p = relay_request_billed_price(r, tokens, &tier);

    return p ? price_of(p, tokens) : 0;
}

bool relay_request_tier_is_unknown(const relay_request *r)
{
    gw_str stated = stated_tier(r);

    return r->price && stated.len > 0 && !price_in_tier(r->price, stated) &&
           !gw_str_eq(stated, relay_request_tier(r, r->asked));
}
