/*
 * Update masks of API keys: which fields of a request are written, and which may be.
 *
 * Paths are proto or JSON names ("limits.cost_limit", "limits.costLimit"); a message's path stands for
 * all of it. A path named but absent in the request is cleared.
 *
 * Thread: pure; memory from the arena.
 */
#pragma once

#include "api_key.h"
#include "core/violations.h"

typedef enum api_key_write { API_KEY_CREATE, API_KEY_UPDATE } api_key_write;

/*
 * Writes `from`'s fields into `to`. `paths` are the mask's; none means every field present in `from`.
 * Unknown and read-only paths are violations, and nothing is written then. With limits.costLimit
 * written and its twin not named, the twin is cleared, so that the pair can be made anew.
 */
void api_key_apply(gw_arena *a, api_key_view *to, const api_key_view *from, char *const *paths,
                   size_t n, api_key_write write, gw_violations *v);
/* Whether the write named the path or something above it, or (no paths) `from` has it. */
bool api_key_mask_names(const api_key_view *from, char *const *paths, size_t n, const char *path);
