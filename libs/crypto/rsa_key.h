/*
 * RSA keys: they sign with RS256 (RFC 7518 §3.3), and are shown to those who check it as a JWK (RFC 7517) under its thumbprint (RFC 7638).
 *
 * Thread: immutable, references are counted with atomics: one key may sign on several threads at once.
 */
#pragma once

#include "core/status.h"
#include "core/str.h"

#define GW_RSA_KID_SIZE 44 /* a SHA-256 in base64url, and NUL */

typedef struct gw_rsa_key gw_rsa_key;

/*
 * The first private key of a PEM file without passphrase, of 2048 to 8192 bits. GW_ERR_NOT_FOUND, GW_ERR_IO; GW_ERR_INVALID_ARGUMENT for
 * what holds no such key, in words that name the file and nothing of its content.
 */
GW_CHECK gw_status gw_rsa_key_load(const char *path, gw_rsa_key **ret, gw_error *err);
/* All keys of such a file, public or private, to be shown: 1 to GW_RSA_KEYS_MAX, each the caller's. Errors as above, *ret_count is 0 then. */
#define GW_RSA_KEYS_MAX 8
GW_CHECK gw_status gw_rsa_keys_load(const char *path, gw_rsa_key *ret[GW_RSA_KEYS_MAX],
                                    size_t *ret_count, gw_error *err);
gw_rsa_key *gw_rsa_key_ref(gw_rsa_key *k);
void gw_rsa_key_free(gw_rsa_key *k); /* a reference; NULL is fine */
GW_DEFINE_FREEP(gw_rsa_key)

const char *gw_rsa_key_id(const gw_rsa_key *k); /* the thumbprint */
void gw_rsa_key_append_jwk(const gw_rsa_key *k, gw_buf *out); /* the public half */

/* Appends the signature in base64url. 0.6 ms with 2048 bits: not for a loop. GW_ERR_INTERNAL, GW_ERR_NO_MEMORY. */
GW_CHECK gw_status gw_rsa_sign(const gw_rsa_key *k, gw_str text, gw_buf *out, gw_error *err);
