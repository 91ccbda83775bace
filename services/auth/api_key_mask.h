/*
 * Update masks of API keys: field_mask.h with what of a key may be written when.
 *
 * Thread: pure; memory from the arena.
 */
#pragma once

#include "api_key.h"
#include "core/violations.h"

typedef enum api_key_write { API_KEY_CREATE, API_KEY_UPDATE } api_key_write;

/* field_mask_apply() on keys; signing.configured stays as it is. */
void api_key_apply(gw_arena *a, api_key_view *to, const api_key_view *from, char *const *paths,
                   size_t n, api_key_write write, gw_violations *v);
bool api_key_mask_names(const api_key_view *from, char *const *paths, size_t n, const char *path);
