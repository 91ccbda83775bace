/*
 * New API key: from the fields that a request gives to the key as it is stored.
 *
 * Thread: pure; memory from the arena.
 */
#pragma once

#include "api_key.h"
#include "core/violations.h"
#include "key_settings.h"

/*
 * Writes `wanted`'s fields into `ret` and checks them as the key will be with its defaults. What the
 * request has not stays absent but env and signing, which are needed at once; with violations `ret` is of
 * no use. `gets_signing`: a signing secret is made for a key that has to sign. GW_ERR_NO_MEMORY.
 */
GW_CHECK gw_status api_key_new_read(gw_arena *a, const api_key_view *wanted, int64_t now_ms,
                                    bool gets_signing, api_key_view *ret, gw_violations *v,
                                    gw_error *err);

/* Gives it what it lacks: from the settings, then DATA's values. GW_ERR_NO_MEMORY. */
GW_CHECK gw_status api_key_new_complete(gw_arena *a, const key_settings *s, api_key_view *k,
                                        gw_error *err);
