/*
 * Key import: one key of many, from the fields an admin gave to what is stored; and storing them. Behind
 * `auth import` (import.h) and ImportApiKeys.
 *
 * Thread: reading is pure, memory from the arena; storing is a worker's.
 */
#pragma once

#include "key_mint.h"
#include "mongo/db.h"

/*
 * Checks a key as CreateApiKey does and gives it its secret: `given`, a whole key of
 * ours made elsewhere, or "" for a new one. Without Argon2id string, which is the caller's. Nothing is
 * stored. GW_ERR_INVALID_ARGUMENT.
 */
GW_CHECK gw_status key_import_read(gw_arena *a, const peppers *p, const api_key_view *wanted,
                                   gw_str given, int64_t now_ms, api_key_record *ret,
                                   minted_key *ret_minted, gw_error *err);

/*
 * Gives the keys what they lack by the settings, announces and inserts; `n` > 0. GW_ERR_ALREADY_EXISTS
 * when one was there: the others are stored.
 */
GW_CHECK gw_status key_import_store(const gw_db *d, gw_arena *a, api_key_record *keys, size_t n,
                                    int64_t now_ms, gw_error *err);
