/*
 * API keys as documents of api_keys (DATA.md): names and types are fixed there.
 *
 * The messages' JSON names are the document's names, so the nested parts are mapped by descriptor;
 * what the contract does not show (hashes, ids as ObjectId) is mapped by hand.
 *
 * Thread: pure; memory from the arena.
 */
#pragma once

#include "api_key.h"
#include "core/status.h"

#include <bson/bson.h>

typedef enum api_key_part {
    API_KEY_WHOLE, /* the document as inserted */
    API_KEY_POLICY, /* what a change of the key sets: no _id, lastUsedAt or secrets */
    API_KEY_SECRETS /* POLICY and the secrets */
} api_key_part;

/* Appends the fields of `part`. */
void api_key_to_bson(const api_key_record *k, api_key_part part, bson_t *doc);
/* Names of the top-level fields that are absent now: what a change unsets. */
void api_key_absent_to_bson(const api_key_record *k, bson_t *unset);

/* Reads a stored document; DATA_LOSS when _id or keyId is missing. What others left out gets its
 * default. */
GW_CHECK gw_status api_key_from_bson(gw_arena *a, const bson_t *doc, api_key_record *ret,
                                     gw_error *err);

/* The permissions, limits and security of a document of another collection; those it has not stay NULL.
 * DATA_LOSS when something of them cannot be read. */
GW_CHECK gw_status api_key_parts_from_bson(gw_arena *a, const bson_t *doc, api_key_view *ret,
                                           gw_error *err);
