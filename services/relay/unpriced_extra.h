/*
 * Unpriced extras: what a request may ask for that its provider bills beside the tokens, or at rates that a price book has no words for:
 * searches of the web, sound in and out, a place to be answered in. Keys with a budget are refused them by name.
 *
 * Thread: pure.
 */
#pragma once

#include "openai_body.h"

/* The member of the body that asks for it; NULL: none does. For providers that are sent the caller's own members. Before the JSON is forgotten. */
const char *unpriced_extra(const openai_body *b, relay_endpoint endpoint);
/* It is one search a request, which a price of each request may be for. */
bool unpriced_extra_is_search_of_request(const char *member);
