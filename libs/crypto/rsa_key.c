#include "crypto/rsa_key.h"

#include "crypto/crypto.h"
#include "crypto/secret_file.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdatomic.h>
#include <stdlib.h>

#define BITS_MIN   2048
#define BITS_MAX   8192
#define NUMBER_MAX (BITS_MAX / 8)

struct gw_rsa_key {
    EVP_PKEY *pkey;
    char kid[GW_RSA_KID_SIZE];
    gw_buf n, e; /* base64url */
    atomic_uint references;
};

/* ---- file ---- */

/* OpenSSL would ask at the terminal. */
static int no_passphrase(char *buf, int size, int rwflag, void *arg)
{
    (void)buf;
    (void)size;
    (void)rwflag;
    (void)arg;
    return -1;
}

typedef EVP_PKEY *read_pem_fn(BIO *bio, EVP_PKEY **to, pem_password_cb *cb, void *arg);

/* Takes over `pkey`. */
static gw_status make_key(EVP_PKEY *pkey, const char *path, gw_rsa_key **ret, gw_error *err);

/* Those that `read_pem` finds, behind those that are there; others are passed over. */
static gw_status parse(gw_str text, read_pem_fn *read_pem, const char *path, gw_rsa_key **ret,
                       size_t max, size_t *count, gw_error *err)
{
    BIO *bio = BIO_new_mem_buf(text.ptr, (int)text.len);
    gw_status rc =
        bio ? GW_OK : gw_fail(err, GW_ERR_NO_MEMORY, "no memory to read the key file %s", path);
    EVP_PKEY *pkey;

    while (rc == GW_OK && *count < max && (pkey = read_pem(bio, NULL, no_passphrase, NULL))) {
        rc = make_key(pkey, path, &ret[*count], err);
        *count += rc == GW_OK;
    }
    BIO_free(bio);
    ERR_clear_error();
    return rc;
}

/* ---- JWK ---- */

static bool append_base64url(gw_buf *out, const void *bytes, size_t len)
{
    if (!gw_buf_reserve(out, 4 * ((len + 2) / 3) + 1))
        return false;
    out->len += gw_base64url_encode(bytes, len, out->data + out->len);
    return true;
}

/* Big-endian in as few bytes as it has (RFC 7518 §6.3.1). */
static bool read_number(const EVP_PKEY *pkey, const char *name, gw_buf *out)
{
    uint8_t bytes[NUMBER_MAX];
    BIGNUM *number = NULL;
    bool ok = EVP_PKEY_get_bn_param(pkey, name, &number) == 1 &&
              BN_num_bytes(number) <= (int)sizeof(bytes) &&
              append_base64url(out, bytes, (size_t)BN_bn2bin(number, bytes));

    BN_free(number);
    return ok;
}

/* The required members alone, in the order of their names (RFC 7638 §3). */
static bool name_key(gw_rsa_key *k)
{
    gw_auto_buf text = {0};
    uint8_t digest[GW_SHA256_SIZE];

    gw_buf_appendf(&text, "{\"e\":\"%s\",\"kty\":\"RSA\",\"n\":\"%s\"}", k->e.data, k->n.data);
    if (gw_buf_failed(&text))
        return false;
    gw_sha256(text.data, text.len, digest);
    gw_base64url_encode(digest, sizeof(digest), k->kid);
    return true;
}

void gw_rsa_key_append_jwk(const gw_rsa_key *k, gw_buf *out)
{
    gw_buf_appendf(out,
                   "{\"kty\":\"RSA\",\"use\":\"sig\",\"alg\":\"RS256\",\"kid\":\"%s\",\"n\":"
                   "\"%s\",\"e\":\"%s\"}",
                   k->kid, k->n.data, k->e.data);
}

const char *gw_rsa_key_id(const gw_rsa_key *k)
{
    return k->kid;
}

/* ---- signing ---- */

static bool sign(EVP_MD_CTX *ctx, EVP_PKEY *pkey, gw_str text, uint8_t *signature, size_t *len)
{
    return ctx && EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, pkey) == 1 &&
           EVP_DigestSign(ctx, signature, len, (const unsigned char *)text.ptr, text.len) == 1;
}

gw_status gw_rsa_sign(const gw_rsa_key *k, gw_str text, gw_buf *out, gw_error *err)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    uint8_t signature[NUMBER_MAX];
    size_t len = sizeof(signature);
    bool ok = sign(ctx, k->pkey, text, signature, &len);

    EVP_MD_CTX_free(ctx);
    ERR_clear_error();
    if (!ok)
        return gw_fail(err, GW_ERR_INTERNAL, "the key %s does not sign", k->kid);
    if (!append_base64url(out, signature, len))
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for a signature");
    return GW_OK;
}

/* ---- life ---- */

static gw_status make_key(EVP_PKEY *pkey, const char *path, gw_rsa_key **ret, gw_error *err)
{
    int bits = EVP_PKEY_get_bits(pkey);
    gw_auto(gw_rsa_key) k = calloc(1, sizeof(*k));

    if (!k) {
        EVP_PKEY_free(pkey);
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for a key");
    }
    atomic_init(&k->references, 1);
    k->pkey = pkey;
    if (!EVP_PKEY_is_a(pkey, "RSA") || bits < BITS_MIN || bits > BITS_MAX)
        return gw_fail(err, GW_ERR_INVALID_ARGUMENT,
                       "the key file %s holds another key than RSA of %d to %d bits", path,
                       BITS_MIN, BITS_MAX);
    if (!read_number(pkey, OSSL_PKEY_PARAM_RSA_N, &k->n) ||
        !read_number(pkey, OSSL_PKEY_PARAM_RSA_E, &k->e) || !name_key(k))
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for a key");
    *ret = gw_steal(&k);
    return GW_OK;
}

static gw_status parse_file(gw_str text, const char *path, bool for_signing, gw_rsa_key **ret,
                            size_t *count, gw_error *err)
{
    size_t max = for_signing ? 1 : GW_RSA_KEYS_MAX;
    gw_status rc = parse(text, PEM_read_bio_PrivateKey, path, ret, max, count, err);

    if (rc == GW_OK && !for_signing)
        rc = parse(text, PEM_read_bio_PUBKEY, path, ret, max, count, err);
    if (rc == GW_OK && *count == 0)
        rc = gw_fail(err, GW_ERR_INVALID_ARGUMENT,
                     "the key file %s holds no %skey in PEM without passphrase", path,
                     for_signing ? "private " : "");
    return rc;
}

static gw_status load(const char *path, bool for_signing, gw_rsa_key **ret, size_t *ret_count,
                      gw_error *err)
{
    char *bytes = malloc(SECRET_FILE_BYTES_MAX);
    size_t len = 0;

    *ret_count = 0;
    if (!bytes)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory to read the key file %s", path);
    gw_status rc = secret_file_read(path, "key file", bytes, &len, err);
    if (rc == GW_OK)
        rc = parse_file(gw_str_n(bytes, len), path, for_signing, ret, ret_count, err);
    gw_secret_wipe(bytes, SECRET_FILE_BYTES_MAX);
    free(bytes);
    while (rc != GW_OK && *ret_count > 0)
        gw_rsa_key_free(ret[--*ret_count]);
    return rc;
}

gw_status gw_rsa_key_load(const char *path, gw_rsa_key **ret, gw_error *err)
{
    size_t count;

    return load(path, true, ret, &count, err);
}

gw_status gw_rsa_keys_load(const char *path, gw_rsa_key *ret[GW_RSA_KEYS_MAX], size_t *ret_count,
                           gw_error *err)
{
    return load(path, false, ret, ret_count, err);
}

gw_rsa_key *gw_rsa_key_ref(gw_rsa_key *k)
{
    atomic_fetch_add_explicit(&k->references, 1, memory_order_relaxed);
    return k;
}

void gw_rsa_key_free(gw_rsa_key *k)
{
    if (!k || atomic_fetch_sub_explicit(&k->references, 1, memory_order_acq_rel) != 1)
        return;
    EVP_PKEY_free(k->pkey);
    gw_buf_fini(&k->n);
    gw_buf_fini(&k->e);
    free(k);
}
