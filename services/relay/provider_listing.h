/*
 * How a provider is asked for the models that it has, and how its answer is read.
 *
 *     openai, local, librechat   GET {base}/models                 {"data": [{"id": "gpt-4o"}]}
 *     anthropic                  GET {base}/models?limit=1000      {"data": [{"id": "claude-…"}]}
 *     google                     GET {base}/models?pageSize=1000   {"models": [{"name": "models/gemini-…",
 *                                                                   "supportedGenerationMethods": ["generateContent"]}]}
 *
 * Only the first page is asked for. Thread: pure.
 */
#pragma once

#include "relay_config.h"

#define LISTING_MODELS_MAX 2000
#define LISTING_NAME_MAX   200

gw_str provider_listing_target(gw_arena *arena,
                               const provider_config *p); /* GW_STR_NULL: no memory */

/*
 * The names, into `arena`: those that can be asked for, at most LISTING_MODELS_MAX; what is longer than LISTING_NAME_MAX or has
 * control characters is left out. GW_ERR_UPSTREAM_PROTOCOL when it is no such answer, GW_ERR_NO_MEMORY.
 */
GW_CHECK gw_status provider_listing_read(gw_arena *arena, provider_kind kind, gw_str json,
                                         const gw_str **ret, size_t *ret_count, gw_error *err);
