/*
 * How a provider is asked for the models that it has, and how its answer is read.
 *
 *     openai, local, librechat   GET {base}/models                 {"data": [{"id": "gpt-4o"}]}
 *     anthropic                  GET {base}/models?limit=1000      {"data": [{"id": "claude-…"}], "has_more": true,
 *                                    &after_id=<last_id>            "last_id": "claude-…"}
 *     google                     GET {base}/models?pageSize=1000   {"models": [{"name": "models/gemini-…",
 *                                    &pageToken=<nextPageToken>     "supportedGenerationMethods": ["generateContent"]}],
 *                                                                   "nextPageToken": "…"}
 *
 * Thread: pure.
 */
#pragma once

#include "relay_config.h"

#define LISTING_MODELS_MAX 5000 /* of all pages */
#define LISTING_NAME_MAX   200
#define LISTING_TOKEN_MAX  1024 /* of a next page */

/* `after` is what the page before said of the next one, "" for the first. GW_STR_NULL: no memory. */
gw_str provider_listing_target(gw_arena *arena, const provider_config *p, gw_str after);

/* What was read so far, in the arena. */
typedef struct listed_models {
    gw_arena *arena; /* borrowed */
    gw_str *ids; /* room for LISTING_MODELS_MAX; NULL: nothing yet */
    size_t count;
} listed_models;

/*
 * Adds a page's names: those that can be asked for, until there are LISTING_MODELS_MAX; what is longer than LISTING_NAME_MAX or has
 * control characters is left out. *ret_next is what to ask on with, in the arena; "" on the last page, and when there is no room for
 * more. GW_ERR_UPSTREAM_PROTOCOL when it is no such answer, or names no next page that could be asked for; GW_ERR_NO_MEMORY.
 */
GW_CHECK gw_status provider_listing_read(listed_models *l, provider_kind kind, gw_str json,
                                         gw_str *ret_next, gw_error *err);
