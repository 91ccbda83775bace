/*
 * Key settings store: the one document of key_defaults.
 *
 *   key_defaults {_id: "settings", keyDefaults: {permissions, limits, security},
 *                 environments: [{env, maxAgeDays}], rotationDuePercent, version, updatedAt}
 *
 * Thread: on a worker. Settings live in the arena given.
 */
#pragma once

#include "key_settings.h"
#include "mongo/db.h"

/* Nothing set when there is no document. DATA_LOSS: what would narrow new keys cannot be read. */
GW_CHECK gw_status key_settings_store_get(const gw_db *d, gw_arena *a, key_settings *ret,
                                          gw_error *err);
/* Sets rotation_due of keys that are shown. Settings that cannot be read do not hide a key: it goes by its
 * own greatest age then. */
void key_settings_store_show(const gw_db *d, gw_arena *a, api_key_record *keys, size_t n,
                             int64_t now_ms);
/* Applies and writes; tries again when another write came between. *ret is as stored then. */
GW_CHECK gw_status key_settings_store_change(const gw_db *d, gw_arena *a, key_settings_update *u,
                                             key_settings *ret, gw_error *err);
