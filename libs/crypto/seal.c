#include "core/id.h"
#include "crypto/master_keys.h"

#include <limits.h>
#include <openssl/evp.h>

#define NONCE_SIZE 12 /* NIST SP 800-38D §8.2.2: a random nonce of 96 bits */
#define TAG_SIZE   16
#define INPUT_MAX  ((size_t)64 << 20)

/*
 *   1        kid_len   12      any          16
 * +---------+---------+-------+------------+-----+
 * | kid_len | kid     | nonce | ciphertext | tag |
 * +---------+---------+-------+------------+-----+
 *
 * The kid is not in the AAD: naming another key already fails the tag.
 */
typedef struct sealed_parts {
    gw_str kid, nonce, ciphertext, tag;
} sealed_parts;

static bool split_sealed(gw_str s, sealed_parts *p)
{
    if (s.len < 1)
        return false;
    size_t kid_len = (uint8_t)s.ptr[0];
    if (s.len < 1 + kid_len + NONCE_SIZE + TAG_SIZE || s.len > INPUT_MAX)
        return false;
    size_t nonce_at = 1 + kid_len;
    p->kid = gw_str_slice(s, 1, nonce_at);
    p->nonce = gw_str_slice(s, nonce_at, nonce_at + NONCE_SIZE);
    p->ciphertext = gw_str_slice(s, nonce_at + NONCE_SIZE, s.len - TAG_SIZE);
    p->tag = gw_str_slice(s, s.len - TAG_SIZE, s.len);
    return gw_kid_is_valid(p->kid);
}

static const unsigned char *bytes_of(gw_str s)
{
    return (const unsigned char *)(s.len ? s.ptr : "");
}

static bool encrypt(const gw_master_key *key, const uint8_t *nonce, gw_str plain, gw_str aad,
                    uint8_t *ciphertext, uint8_t *tag)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int n = 0;
    int tail = 0;
    bool ok = ctx && EVP_EncryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key->bytes, nonce) == 1 &&
              EVP_EncryptUpdate(ctx, NULL, &n, bytes_of(aad), (int)aad.len) == 1 &&
              EVP_EncryptUpdate(ctx, ciphertext, &n, bytes_of(plain), (int)plain.len) == 1 &&
              EVP_EncryptFinal_ex(ctx, ciphertext + n, &tail) == 1 &&
              EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, TAG_SIZE, tag) == 1;
    EVP_CIPHER_CTX_free(ctx);
    return ok && (size_t)n + (size_t)tail == plain.len;
}

static bool decrypt(const gw_master_key *key, const sealed_parts *p, gw_str aad, uint8_t *plain)
{
    uint8_t tag[TAG_SIZE]; /* the control call takes it without const */
    memcpy(tag, p->tag.ptr, TAG_SIZE);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int n = 0;
    int tail = 0;
    bool ok =
        ctx &&
        EVP_DecryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key->bytes, bytes_of(p->nonce)) == 1 &&
        EVP_DecryptUpdate(ctx, NULL, &n, bytes_of(aad), (int)aad.len) == 1 &&
        EVP_DecryptUpdate(ctx, plain, &n, bytes_of(p->ciphertext), (int)p->ciphertext.len) == 1 &&
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_TAG, TAG_SIZE, tag) == 1 &&
        EVP_DecryptFinal_ex(ctx, plain + n, &tail) == 1;
    EVP_CIPHER_CTX_free(ctx);
    return ok;
}

gw_status gw_seal(const gw_master_keys *k, gw_str plain, gw_str aad, gw_buf *out, gw_error *err)
{
    if (plain.len > INPUT_MAX / 2 || aad.len > INPUT_MAX)
        return gw_fail(err, GW_ERR_INVALID_ARGUMENT, "a secret of %zu bytes is too long to seal",
                       plain.len);
    const gw_master_key *key = gw_master_keys_first(k);
    size_t kid_len = strlen(key->kid);
    size_t total = 1 + kid_len + NONCE_SIZE + plain.len + TAG_SIZE;
    if (!gw_buf_reserve(out, total + 1))
        return gw_fail(err, GW_ERR_NO_MEMORY, "out of memory sealing a secret");
    uint8_t *at = (uint8_t *)out->data + out->len;
    uint8_t *nonce = at + 1 + kid_len;
    at[0] = (uint8_t)kid_len;
    memcpy(at + 1, key->kid, kid_len);
    gw_random_bytes(nonce, NONCE_SIZE);
    if (!encrypt(key, nonce, plain, aad, nonce + NONCE_SIZE, at + total - TAG_SIZE)) {
        out->data[out->len] = '\0';
        return gw_fail(err, GW_ERR_INTERNAL, "AES-256-GCM failed to seal");
    }
    out->len += total;
    out->data[out->len] = '\0';
    return GW_OK;
}

gw_status gw_unseal(const gw_master_keys *k, gw_str sealed, gw_str aad, gw_buf *out, gw_error *err)
{
    sealed_parts p;
    if (!split_sealed(sealed, &p) || aad.len > INPUT_MAX)
        return gw_fail(err, GW_ERR_DATA_LOSS, "a sealed secret of %zu bytes is torn", sealed.len);
    const gw_master_key *key = gw_master_keys_find(k, p.kid);
    if (!key)
        return gw_fail(err, GW_ERR_FAILED_PRECONDITION,
                       "the master key \"" GW_STR_FMT "\" is not in the file", GW_STR_ARG(p.kid));
    if (!gw_buf_reserve(out, p.ciphertext.len + 1))
        return gw_fail(err, GW_ERR_NO_MEMORY, "out of memory unsealing a secret");
    char *at = out->data + out->len;
    if (!decrypt(key, &p, aad, (uint8_t *)at)) {
        gw_secret_wipe(at, p.ciphertext.len); /* GCM decrypts before it knows the tag is wrong */
        *at = '\0';
        return gw_fail(err, GW_ERR_DATA_LOSS,
                       "a secret sealed by master key \"" GW_STR_FMT "\" is forged or torn",
                       GW_STR_ARG(p.kid));
    }
    out->len += p.ciphertext.len;
    out->data[out->len] = '\0';
    return GW_OK;
}

bool gw_seal_is_newest(const gw_master_keys *k, gw_str sealed)
{
    sealed_parts p;

    return split_sealed(sealed, &p) && gw_str_eq_c(p.kid, gw_master_keys_first(k)->kid);
}
