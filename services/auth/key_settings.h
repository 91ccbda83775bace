/*
 * Key settings: what new keys get and when their secrets are due for rotation (SettingsService, the
 * one document of key_defaults), as decisions.
 *
 * Thread: pure; memory from the arena.
 */
#pragma once

#include "api_key.h"
#include "core/violations.h"

#include <apirelay/auth/v1/settings_service.pb-c.h>

#define ROTATION_DUE_PERCENT_DEFAULT 80

typedef Apirelay__Auth__V1__Settings key_settings_view;

typedef struct key_settings {
    key_settings_view *view; /* as stored: what nobody has set is absent */
    int64_t version; /* counts the writes; 0: none yet */
} key_settings;

/* Nothing set. NULL view: out of memory. */
key_settings key_settings_none(gw_arena *a);

/*
 * Gives `k` what it lacks, by member; what it has wins. `k` is as the request has it, before
 * api_key_fill_defaults(): that takes absent features for true. False when out of memory.
 */
GW_CHECK bool key_settings_complete(gw_arena *a, const key_settings *s, api_key_view *k);

/* Whether a secret made at `created_ms` is past the stated share of its greatest age. */
bool key_settings_rotation_is_due(const key_settings *s, const api_key_view *k, int64_t created_ms,
                                  int64_t now_ms);

/* The view with the defaults of what is absent, and its etag: for answers. NULL: out of memory. */
key_settings_view *key_settings_shown(gw_arena *a, const key_settings *s);

typedef struct key_settings_update {
    const key_settings_view *from;
    char *const *paths;
    size_t path_count;
    gw_str etag; /* condition; "" for none */
    int64_t now_ms;
    gw_violations violations; /* of the last try, when it was refused for them */
} key_settings_update;
/* Writes the fields named and checks the whole. GW_ERR_ABORTED (etag), GW_ERR_INVALID_ARGUMENT. */
GW_CHECK gw_status key_settings_apply(key_settings_update *u, gw_arena *a, key_settings *s,
                                      gw_error *err);
