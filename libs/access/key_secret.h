/*
 * Secrets of an API key as they rest and travel: sealed, and bound to their place, so that one that is copied to another key or
 * another field does not open.
 *
 *     sealed = gw_seal(secret), bound to "api_keys/<ApiKey.id>/<field>"
 *
 * Thread: reentrant.
 */
#pragma once

#include "crypto/crypto.h"

#define GW_KEY_SECRET_SIGNING   "signing.secret"
#define GW_KEY_SECRET_LIBRECHAT "librechat.secret"

/* Appends it sealed. GW_ERR_NO_MEMORY, GW_ERR_INTERNAL. */
GW_CHECK gw_status gw_key_secret_seal(const gw_master_keys *k, gw_str api_key_id, const char *field,
                                      gw_str secret, gw_buf *out, gw_error *err);
/* Appends the secret to `out`, which the caller wipes. Errors as of gw_unseal(). */
GW_CHECK gw_status gw_key_secret_open(const gw_master_keys *k, gw_str api_key_id, const char *field,
                                      gw_str sealed, gw_buf *out, gw_error *err);
