/*
 * API key: one document of api_keys as this service holds it.
 *
 * What admins see is the contract's own message, so that there is one shape of it; beside it stands
 * what never leaves: the secrets' hashes. Everything lives in the arena it was made in.
 *
 * Thread: as the arena.
 */
#pragma once

#include "core/arena.h"
#include "core/clock.h"

#include <apirelay/auth/v1/api_key.pb-c.h>

typedef Apirelay__Auth__V1__ApiKey api_key_view;

#define API_KEY_ENV_DEFAULT  "prod"
#define API_KEY_PREVIOUS_MAX 4 /* secrets in their grace period; older ones end early */

typedef struct api_key_secret {
    gw_str phc; /* Argon2id PHC string; "" when only the verifier was stored */
    char pepper_id; /* of the verifier */
    gw_str hmac; /* 32 bytes: HMAC-SHA256(pepper, whole key); "" when there is no verifier */
    int64_t created_ms; /* wall; the greatest age counts from here */
    int64_t expires_ms; /* end of the grace of a previous secret; unused in the current one */
} api_key_secret;

typedef struct api_key_record {
    api_key_view *view;
    api_key_secret current;
    api_key_secret previous[API_KEY_PREVIOUS_MAX]; /* newest first */
    size_t previous_count;
    gw_str signing_sealed; /* sealed signing secret; "" when there is none */
    gw_str signing_previous_sealed; /* the one before it; "" when there is none */
    int64_t signing_previous_expires_ms; /* end of its grace */
    /* sealed LibreChat key; "" when there is none, as is view->librechat */
    gw_str librechat_sealed;
    int64_t version; /* counts the writes that admins made; the etag */
} api_key_record;

/* A value per field where DATA says what its absence means, and ids spelt as they are stored; stored keys state them all. */
void api_key_fill_defaults(gw_arena *a, api_key_view *v);

/*
 * The current secret becomes previous[0] until `expires_ms`; a grace that ended is dropped. Without a grace (`expires_ms` <= `now_ms`)
 * older ones end too: there is no other way to end theirs.
 */
void api_key_retire_secret(api_key_record *k, int64_t now_ms, int64_t expires_ms);

/*
 * When the secret ends: the earliest of the key's expiry, its greatest age and, for a previous secret,
 * its grace. 0 = never. `secret` is one of the record's.
 */
int64_t api_key_secret_end_ms(const api_key_record *k, const api_key_secret *secret);

/* The signing secret becomes the previous one until `expires_ms`; one whose grace is over is dropped. */
void api_key_retire_signing_secret(api_key_record *k, int64_t now_ms, int64_t expires_ms);

/* The LibreChat key goes, with what the view says of it. */
void api_key_drop_librechat(api_key_record *k);

/* Sets what the view derives from the rest: etag, secret_created_at,
 * previous_expires_at, signing.configured and its previous_expires_at. */
void api_key_refresh_view(gw_arena *a, api_key_record *k, int64_t now_ms);
