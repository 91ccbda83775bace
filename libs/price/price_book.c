#include "price/price_tier.h"

#include "core/pattern.h"

#define NANO_USD_PER_USD   1e9
#define TOKENS_PER_MILLION 1000000

/* 128 bits hold any sum of seven products of int64, so the one rounding is the only loss. */
typedef unsigned __int128 wide;

static wide wide_of(int64_t value)
{
    return value > 0 ? (wide)value : 0;
}

/* Half to even, so that many small amounts do not drift upwards. */
static wide divide_half_even(wide value, uint64_t by)
{
    wide quotient = value / by;
    wide twice = (value % by) * 2;
    bool up = twice > by || (twice == by && (quotient & 1));
    return quotient + up;
}

/* Of the longest prompts that this one is among. */
static const model_price *of_length(const model_price *p, int64_t prompt_tokens)
{
    for (size_t i = p->long_count; i > 0; i--)
        if (prompt_tokens > p->longs[i - 1].above_prompt_tokens)
            return &p->longs[i - 1].price;
    return p;
}

int64_t price_of(const model_price *p, const token_counts *t)
{
    if (p->long_count > 0)
        p = of_length(p, t->prompt);
    wide prompt = wide_of(t->prompt);
    wide cached = GW_MIN(wide_of(t->cached), prompt);
    wide written = GW_MIN(wide_of(t->cache_write), prompt - cached);
    wide kept_long = GW_MIN(wide_of(t->long_cache_write), written);
    wide completion = wide_of(t->completion);
    wide reasoning = GW_MIN(wide_of(t->reasoning), completion);
    wide micro = (prompt - cached - written) * wide_of(p->prompt_per_million_nano_usd) +
                 cached * wide_of(p->cached_prompt_per_million_nano_usd) +
                 (written - kept_long) * wide_of(p->cache_write_per_million_nano_usd) +
                 kept_long * wide_of(p->long_cache_write_per_million_nano_usd) +
                 (completion - reasoning) * wide_of(p->completion_per_million_nano_usd) +
                 reasoning * wide_of(p->reasoning_per_million_nano_usd);
    wide total = divide_half_even(micro, TOKENS_PER_MILLION) + wide_of(p->request_nano_usd) +
                 wide_of(t->images) * wide_of(p->image_nano_usd);
    return (int64_t)GW_MIN(total, (wide)REQUEST_COST_MAX_NANO_USD);
}

static bool is_for(const model_price *p, gw_str provider)
{
    return p->provider.len == 0 || gw_str_eq(p->provider, provider);
}

/* A price of that very name; one that names the provider before one that does not. */
static const model_price *find_exact(const model_price *prices, size_t count, gw_str model,
                                     gw_str provider)
{
    const model_price *best = NULL;
    for (size_t i = 0; i < count; i++) {
        const model_price *p = &prices[i];
        if (!gw_str_eq(p->model, model) || !gw_glob_is_exact(p->model) || !is_for(p, provider))
            continue;
        if (!best || (best->provider.len == 0 && p->provider.len > 0))
            best = p;
    }
    return best;
}

static const model_price *find_glob(const model_price *prices, size_t count, gw_str model,
                                    gw_str provider)
{
    const model_price *best = NULL;
    uint64_t best_rank = 0;
    for (size_t i = 0; i < count; i++) {
        const model_price *p = &prices[i];
        uint64_t named = p->provider.len > 0;
        if ((uint64_t)gw_glob_rank_max(p->model.len) * 2 + named <= best_rank)
            continue; /* too short to be more special */
        if (!is_for(p, provider) || !gw_glob_match(p->model, model))
            continue;
        uint64_t rank = (uint64_t)gw_glob_rank(p->model) * 2 + named;
        if (rank > best_rank) {
            best = p;
            best_rank = rank;
        }
    }
    return best;
}

const model_price *price_find(const model_price *prices, size_t count, gw_str model,
                              gw_str provider)
{
    const model_price *exact = find_exact(prices, count, model, provider);
    return exact ? exact : find_glob(prices, count, model, provider);
}

const model_price *price_find_of_target(const model_price *prices, size_t count, gw_str upstream,
                                        gw_str asked, gw_str provider)
{
    const model_price *p = upstream.len > 0 ? price_find(prices, count, upstream, provider) : NULL;
    return p ? p : price_find(prices, count, asked, provider);
}

typedef Apirelay__Relay__V1__ModelPrice price_message;
typedef Apirelay__Relay__V1__TierPrice tier_message;
typedef Apirelay__Relay__V1__LongPromptPrice long_message;

/* What the message leaves out costs what it is a kind of. All three messages have the same names. */
#define GIVEN(m, name, otherwise) ((m)->name##_presence_case ? (m)->name : (otherwise))
#define SET_KINDS(p, m)                                                                            \
    do {                                                                                           \
        int64_t prompt = (p)->prompt_per_million_nano_usd;                                         \
        (p)->cached_prompt_per_million_nano_usd =                                                  \
            GIVEN(m, cached_prompt_per_million_nano_usd, prompt);                                  \
        (p)->cache_write_per_million_nano_usd =                                                    \
            GIVEN(m, cache_write_per_million_nano_usd, prompt);                                    \
        (p)->long_cache_write_per_million_nano_usd = GIVEN(                                        \
            m, long_cache_write_per_million_nano_usd, (p)->cache_write_per_million_nano_usd);      \
        (p)->reasoning_per_million_nano_usd =                                                      \
            GIVEN(m, reasoning_per_million_nano_usd, (p)->completion_per_million_nano_usd);        \
    } while (0)

/* Requests, images and the ceiling are the model's own, whatever its tokens cost. */
static model_price price_with(const model_price *model, int64_t prompt, int64_t completion)
{
    return (model_price){
        .model = GW_STR(""),
        .provider = GW_STR(""),
        .prompt_per_million_nano_usd = prompt,
        .completion_per_million_nano_usd = completion,
        .request_nano_usd = model->request_nano_usd,
        .image_nano_usd = model->image_nano_usd,
        .max_output_tokens = model->max_output_tokens,
    };
}

static bool set_longs(gw_arena *a, model_price *p, long_message *const *m, size_t count)
{
    if (count == 0)
        return true;
    price_long *longs = gw_arena_array(a, price_long, count);
    if (!longs)
        return false;
    for (size_t i = 0; i < count; i++) {
        longs[i] = (price_long){.above_prompt_tokens = m[i]->above_prompt_tokens,
                                .price = price_with(p, m[i]->prompt_per_million_nano_usd,
                                                    m[i]->completion_per_million_nano_usd)};
        SET_KINDS(&longs[i].price, m[i]);
    }
    p->longs = longs;
    p->long_count = count;
    return true;
}

static bool set_tiers(gw_arena *a, model_price *p, tier_message *const *m, size_t count)
{
    if (count == 0)
        return true;
    price_tier *tiers = gw_arena_array(a, price_tier, count);
    if (!tiers)
        return false;
    for (size_t i = 0; i < count; i++) {
        tiers[i] = (price_tier){.name = gw_arena_dup(a, gw_str_of(m[i]->tier)),
                                .applies_unasked = m[i]->applies_unasked,
                                .price = price_with(p, m[i]->prompt_per_million_nano_usd,
                                                    m[i]->completion_per_million_nano_usd)};
        SET_KINDS(&tiers[i].price, m[i]);
        if (!set_longs(a, &tiers[i].price, m[i]->long_prompts, m[i]->n_long_prompts))
            return false;
    }
    p->tiers = tiers;
    p->tier_count = count;
    return true;
}

bool price_from_message(gw_arena *a, const price_message *m, model_price *ret)
{
    model_price p = {
        .model = gw_str_of(m->model),
        .provider = gw_str_of(m->provider),
        .prompt_per_million_nano_usd = m->prompt_per_million_nano_usd,
        .completion_per_million_nano_usd = m->completion_per_million_nano_usd,
        .request_nano_usd = m->request_nano_usd,
        .image_nano_usd = m->image_nano_usd,
        .max_output_tokens = m->max_output_tokens,
    };

    SET_KINDS(&p, m);
    if (!set_longs(a, &p, m->long_prompts, m->n_long_prompts) ||
        !set_tiers(a, &p, m->tiers, m->n_tiers))
        return false;
    *ret = p;
    return true;
}

double nano_usd_to_usd(int64_t nano_usd)
{
    return (double)nano_usd / NANO_USD_PER_USD;
}
