/*
 * Service tiers: the same model, answered sooner or later at another price (OpenAI's "priority" and "flex", Anthropic's "priority").
 *
 * A request asks for a tier by name; "auto", and no name, leave it to the provider's account. The standard tier has several
 * names and the model's own prices. Which tier answered, the answer says.
 *
 * Thread: values.
 */
#pragma once

#include "price/price_book.h"

typedef struct price_tier {
    gw_str name; /* neither a name of the standard tier nor "auto" */
    /* the account may be set to it: requests that leave it open may be billed so */
    bool applies_unasked;
    model_price price; /* names no model and has no tiers of its own */
} price_tier;

/* "" and "auto". */
bool price_tier_is_open(gw_str tier);
/* What providers call the tier that the model's own prices are of. */
bool price_tier_is_standard(gw_str tier);

/* What an answer in `tier` is billed by; open and standard ones by `p` itself. NULL: the book does not have that tier. */
const model_price *price_in_tier(const model_price *p, gw_str tier);

/*
 * Each price that a request asking for `asked` may be billed by, the model's own first: a provider may fall back to it. Begins with
 * *at = 0; NULL after the last.
 */
const model_price *price_next_possible(const model_price *p, gw_str asked, size_t *at);
