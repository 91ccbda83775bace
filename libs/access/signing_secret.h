/*
 * Signing secret of an API key: what its requests are signed with (HMAC-SHA256). auth makes and seals it, the relay opens it
 * for each request; it rests and travels sealed.
 *
 *     lcsig_<base62:43>            the HMAC key is this text itself, prefix included
 *     sealed = gw_seal(text), bound to "api_keys/<ApiKey.id>/signing.secret"
 *
 * Thread: reentrant.
 */
#pragma once

#include "crypto/crypto.h"

#define GW_SIGNING_SECRET_PREFIX "lcsig_"
#define GW_SIGNING_SECRET_LEN    (6 + 43) /* 62^43 > 2^256 */

/* A new one, NUL-terminated. */
void gw_signing_secret_mint(char out[GW_SIGNING_SECRET_LEN + 1]);

/* Appends it sealed. GW_ERR_NO_MEMORY, GW_ERR_INTERNAL. */
GW_CHECK gw_status gw_signing_secret_seal(const gw_master_keys *k, gw_str api_key_id, gw_str secret,
                                          gw_buf *out, gw_error *err);
/* Appends the secret to `out`, which the caller wipes. Errors as of gw_unseal(). */
GW_CHECK gw_status gw_signing_secret_open(const gw_master_keys *k, gw_str api_key_id, gw_str sealed,
                                          gw_buf *out, gw_error *err);
