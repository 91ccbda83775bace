#include "crypto/crypto.h"

#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <pthread.h>
#include <stdlib.h>

/* The callers of the infallible functions have no way to go on without a digest: only a broken
 * OpenSSL gets here. */
static void must(bool ok)
{
    if (!ok)
        abort();
}

/* Fetched once: SHA256() and EVP_sha256() look the algorithm up under a lock in each call. Never freed. */
static pthread_once_t sha256_once = PTHREAD_ONCE_INIT;
static EVP_MD *sha256;

/* Kept as well: a hash of some bytes costs less than the memory for it. OpenSSL wipes what was hashed. */
static pthread_key_t contexts;

static void free_context(void *context)
{
    EVP_MD_CTX_free(context);
}

static void fetch_sha256(void)
{
    sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    must(sha256 != NULL && pthread_key_create(&contexts, free_context) == 0);
}

static EVP_MD_CTX *context_of_thread(void)
{
    EVP_MD_CTX *context = pthread_getspecific(contexts);
    if (context)
        return context;
    context = EVP_MD_CTX_new();
    must(context && pthread_setspecific(contexts, context) == 0);
    return context;
}

void gw_sha256(const void *data, size_t len, uint8_t out[GW_SHA256_SIZE])
{
    (void)pthread_once(&sha256_once, fetch_sha256);
    EVP_MD_CTX *context = context_of_thread();
    must(EVP_DigestInit_ex2(context, sha256, NULL) == 1 &&
         EVP_DigestUpdate(context, len ? data : "", len) == 1 &&
         EVP_DigestFinal_ex(context, out, NULL) == 1);
}

void gw_hmac_sha256(const void *key, size_t key_len, const void *data, size_t len,
                    uint8_t out[GW_SHA256_SIZE])
{
    unsigned out_len = 0;
    uint8_t hashed[GW_SHA256_SIZE];
    if (key_len > INT_MAX) { /* OpenSSL counts key bytes in an int; RFC 2104 §2 hashes long keys
                                first anyway */
        gw_sha256(key, key_len, hashed);
        key = hashed;
        key_len = sizeof(hashed);
    }
    must(HMAC(EVP_sha256(), key_len ? key : "", (int)key_len,
              (const unsigned char *)(len ? data : ""), len, out, &out_len) != NULL);
    must(out_len == GW_SHA256_SIZE);
}

/*
 * RFC 5869 §2.3: T(i) = HMAC(PRK, T(i-1) | info | i), the output is T(1) | T(2) | … cut to length.
 */
static gw_status expand(const uint8_t prk[GW_SHA256_SIZE], gw_str info, uint8_t *out, size_t len,
                        gw_error *err)
{
    gw_auto_buf message = {0};
    uint8_t block[GW_SHA256_SIZE] = {0};
    for (unsigned i = 1; len > 0; i++) {
        gw_buf_clear(&message);
        if (i > 1)
            gw_buf_append(&message, block, sizeof(block));
        gw_buf_append_str(&message, info);
        gw_buf_append_char(&message, (char)i);
        if (gw_buf_failed(&message))
            return gw_fail(err, GW_ERR_NO_MEMORY, "out of memory deriving a key");
        gw_hmac_sha256(prk, GW_SHA256_SIZE, message.data, message.len, block);
        size_t part = GW_MIN(len, sizeof(block));
        memcpy(out, block, part);
        out += part;
        len -= part;
    }
    if (message.data)
        gw_secret_wipe(message.data, message.cap);
    gw_secret_wipe(block, sizeof(block));
    return GW_OK;
}

gw_status gw_hkdf_sha256(const void *key, size_t key_len, gw_str info, uint8_t *out, size_t len,
                         gw_error *err)
{
    if (len > 8160) /* 255 blocks */
        return gw_fail(err, GW_ERR_INVALID_ARGUMENT,
                       "HKDF-SHA256 gives at most 8160 bytes, not %zu", len);
    const uint8_t salt[GW_SHA256_SIZE] = {
        0}; /* RFC 5869 §2.2: an absent salt is a block of zeros */
    uint8_t prk[GW_SHA256_SIZE];
    gw_hmac_sha256(salt, sizeof(salt), key, key_len, prk);
    gw_status rc = expand(prk, info, out, len, err);
    gw_secret_wipe(prk, sizeof(prk));
    return rc;
}

bool gw_secret_eq(const void *a, size_t a_len, const void *b, size_t b_len)
{
    return a_len == b_len && (a_len == 0 || CRYPTO_memcmp(a, b, a_len) == 0);
}

void gw_secret_wipe(void *p, size_t len)
{
    if (p)
        OPENSSL_cleanse(p, len);
}
