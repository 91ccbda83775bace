/*
 * Cryptographic primitives over OpenSSL 3 and the reference Argon2. No domain words in here.
 *
 * Thread: every function is reentrant. Failures of the library itself are GW_ERR_INTERNAL.
 */
#pragma once

#include "core/status.h"
#include "core/str.h"

#define GW_SHA256_SIZE 32

void gw_sha256(const void *data, size_t len, uint8_t out[GW_SHA256_SIZE]);
void gw_hmac_sha256(const void *key, size_t key_len, const void *data, size_t len,
                    uint8_t out[GW_SHA256_SIZE]);
/* HKDF-SHA256 (RFC 5869) with an empty salt; `len` <= 255 * 32. */
GW_CHECK gw_status gw_hkdf_sha256(const void *key, size_t key_len, gw_str info, uint8_t *out,
                                  size_t len, gw_error *err);

/* Constant time in the length of the inputs; different lengths are unequal. */
bool gw_secret_eq(const void *a, size_t a_len, const void *b, size_t b_len);
void gw_secret_wipe(void *p, size_t len); /* not optimised away */

/* Argon2id (RFC 9106), PHC string "$argon2id$v=19$m=19456,t=2,p=1$…$…". Slow by design (30 ms): on
 * workers only. */
typedef struct gw_argon2_cost {
    uint32_t memory_kib, passes, lanes;
} gw_argon2_cost;
extern const gw_argon2_cost gw_argon2_default; /* 19 MiB, 2, 1 */
#define GW_ARGON2_PHC_SIZE 128
GW_CHECK gw_status gw_argon2id_hash(gw_str secret, gw_argon2_cost cost,
                                    char out[GW_ARGON2_PHC_SIZE], gw_error *err);
/* Costs above 64 MiB or 10 passes in `phc` are refused (false): a stored string is not a licence to
 * burn memory. */
GW_CHECK bool gw_argon2id_verify(const char *phc, gw_str secret);

/*
 * Sealing: AES-256-GCM under one of several master keys, chosen by key id.
 *   sealed = kid length (1 B), kid, random 96-bit nonce, ciphertext, 128-bit tag
 * `aad` binds the secret to its place ("collection/_id/field").
 */
typedef struct gw_master_keys gw_master_keys;
/*
 * File: one `kid base64-of-32-bytes` a line, # comments, the first key seals. kid:
 * [A-Za-z0-9._-]{1,32}. All bad lines are named by number, never by content.
 */
GW_CHECK gw_status gw_master_keys_load(const char *path, gw_master_keys **ret, gw_error *err);
void gw_master_keys_free(gw_master_keys *k);
GW_DEFINE_FREEP(gw_master_keys)
GW_CHECK gw_status gw_seal(const gw_master_keys *k, gw_str plain, gw_str aad, gw_buf *out,
                           gw_error *err);
/* Whether it is sealed under the key that seals; false for what is no sealed secret, too. */
GW_CHECK bool gw_seal_is_newest(const gw_master_keys *k, gw_str sealed);
/* GW_ERR_FAILED_PRECONDITION naming the kid when that master key is not there; GW_ERR_DATA_LOSS
 * when forged or torn. */
GW_CHECK gw_status gw_unseal(const gw_master_keys *k, gw_str sealed, gw_str aad, gw_buf *out,
                             gw_error *err);

/* Raw base62 of a big-endian number, fixed width, alphabet 0-9A-Za-z. False when it does not fit /
 * is malformed. */
GW_CHECK bool gw_base62_encode(uint64_t value, char *out, size_t width);
GW_CHECK bool gw_base62_decode(gw_str text, uint64_t *ret);
