#include "price/price_tier.h"

bool price_tier_is_open(gw_str tier)
{
    return tier.len == 0 || gw_str_eq_c(tier, "auto");
}

bool price_tier_is_standard(gw_str tier)
{
    static const char *const names[] = {
        "default", /* OpenAI */
        "standard", "standard_only", /* Anthropic: of an answer, and of a request */
        "on_demand", /* Groq */
    };

    for (size_t i = 0; i < GW_ARRAY_LEN(names); i++)
        if (gw_str_eq_c(tier, names[i]))
            return true;
    return false;
}

const model_price *price_in_tier(const model_price *p, gw_str tier)
{
    if (price_tier_is_open(tier) || price_tier_is_standard(tier))
        return p;
    for (size_t i = 0; i < p->tier_count; i++)
        if (gw_str_eq(p->tiers[i].name, tier))
            return &p->tiers[i].price;
    return NULL;
}

const model_price *price_next_possible(const model_price *p, gw_str asked, size_t *at)
{
    bool is_open = price_tier_is_open(asked);

    if (*at == 0) {
        ++*at;
        return p;
    }
    while (*at <= p->tier_count) {
        const price_tier *t = &p->tiers[*at - 1];
        ++*at;
        if (is_open ? t->applies_unasked : gw_str_eq(t->name, asked))
            return &t->price;
    }
    return NULL;
}
