/*
 * Unpriced extras: what a request may ask for that its provider bills beside the tokens, or at rates that a price book has no words for:
 * searches of the web, sound in and out, a place to be answered in. Keys with a budget are refused them by name.
 *
 *                           in the body's        is sent to
 *     EXTRA_SEARCHES        tools                who is sent the caller's own members
 *     EXTRA_PLACE           inference_geo        the same
 *     EXTRA_SEARCH          web_search_options   the same
 *     EXTRA_SOUND_OUT       modalities           the same
 *     EXTRA_SOUND_IN        messages             the same, and Google, whose request is written anew with it
 *
 * Thread: pure.
 */
#pragma once

#include "openai_body.h"
#include "provider_kind.h"

typedef enum unpriced_extra {
    EXTRA_SEARCHES = 1,
    EXTRA_PLACE = 2,
    EXTRA_SEARCH = 4, /* one a request, which a price of each request may be for */
    EXTRA_SOUND_OUT = 8,
    EXTRA_SOUND_IN = 16,
} unpriced_extra;

/* All that the body asks for, or'ed. Before the JSON is forgotten. */
unsigned unpriced_extras(const openai_body *b, relay_endpoint endpoint);
/* Those of `extras` that such a provider is sent. `passes_members`: it is sent the caller's own. */
unsigned unpriced_extras_sent(unsigned extras, provider_kind kind, bool passes_members);
/* The member of the body that asks for one of them; NULL: `extras` is 0. */
const char *unpriced_extras_member(unsigned extras);
