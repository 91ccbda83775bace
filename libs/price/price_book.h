/*
 * Price book: what tokens cost, and the price of one request. Integer nano-USD throughout, one
 * rounding at the end. The relay prices requests by it, usage prices its rows anew.
 *
 * cost = ((prompt - cached - cache write) × prompt price + cached × cached price
 *         + (cache write - long cache write) × cache write price + long cache write × its price
 *         + (completion - reasoning) × completion price + reasoning × reasoning price) / 1,000,000,
 * rounded half to even, + the price of a request + images × the price of an image. prompt_tokens include
 * cached and cache write, completion_tokens include reasoning (OpenAI's usage object).
 *
 * A model may have other prices in some service tiers of its provider: price_tier.h. And all tokens of a request may cost more when its
 * prompt is long: that goes by prompt tokens alone, and price_of() sees to it.
 */
#pragma once

#include "core/arena.h"
#include "core/status.h"
#include "core/str.h"

#include "apirelay/relay/v1/price_book.pb-c.h"

/* Dearer requests than this make no row in usage: a million dollars. */
#define REQUEST_COST_MAX_NANO_USD 1000000000000000LL
/*
 * What a price may be. 400 million tokens at the dearest, which is the most that one answer's counts come to (four of
 * TOKENS_BELIEVED_MAX: Anthropic states three parts of a prompt), stay below the cost above with a million images beside them.
 */
#define PRICE_PER_MILLION_MAX_NANO_USD 2000000000000LL /* 2,000 dollars a million tokens */
#define PRICE_PER_IMAGE_MAX_NANO_USD   100000000LL /* 10 cents */
#define PRICE_PER_REQUEST_MAX_NANO_USD 100000000000LL /* 100 dollars */

typedef struct model_price {
    gw_str model; /* exact name or glob */
    gw_str provider; /* "" = any */
    int64_t prompt_per_million_nano_usd; /* >= 0; so are the others */
    int64_t completion_per_million_nano_usd;
    int64_t cached_prompt_per_million_nano_usd; /* = prompt's when the book has none */
    int64_t reasoning_per_million_nano_usd; /* = completion's when the book has none */
    int64_t request_nano_usd;
    int64_t cache_write_per_million_nano_usd; /* = prompt's when the book has none */
    int64_t long_cache_write_per_million_nano_usd; /* = the other writes' when the book has none */
    int64_t image_nano_usd; /* of the prompt, beside its tokens */
    int64_t max_output_tokens; /* that the model can make; 0: not known */
    const struct price_tier *tiers; /* its prices in other service tiers */
    size_t tier_count;
    const struct price_long *longs; /* of longer prompts, the shortest first */
    size_t long_count;
} model_price;

typedef struct price_long {
    int64_t above_prompt_tokens; /* > 0 */
    model_price price; /* names no model, has no tiers and no longer prompts of its own */
} price_long;

typedef struct token_counts {
    int64_t prompt, completion, cached, reasoning; /* >= 0 */
    int64_t cache_write; /* of the prompt, put into the provider's cache */
    int64_t images; /* in the prompt */
    int64_t long_cache_write; /* of cache_write: to be kept for an hour (Anthropic) */
} token_counts;

/* Saturates at REQUEST_COST_MAX_NANO_USD. Counts that contradict each other (cached > prompt) are clamped. */
int64_t price_of(const model_price *p, const token_counts *t);

/* Best match, as of routes: exact name before glob, more special glob first (gw_glob_rank), named provider before any. NULL: the
 * model is unpriced. */
const model_price *price_find(const model_price *prices, size_t count, gw_str model,
                              gw_str provider);

/* The price of the name that the provider knows the model by ("" = as asked), else of the name asked for. */
const model_price *price_find_of_target(const model_price *prices, size_t count, gw_str upstream,
                                        gw_str asked, gw_str provider);

/* As its message says it; model and provider are borrowed from it, tiers live in the arena. False when out of memory. */
GW_CHECK bool price_from_message(gw_arena *a, const Apirelay__Relay__V1__ModelPrice *m,
                                 model_price *ret);

/* Nano-USD as dollars for people. */
double nano_usd_to_usd(int64_t nano_usd);
