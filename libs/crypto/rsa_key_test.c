#include "crypto/rsa_key.h"

#include "crypto/crypto.h"
#include "testing/cmocka.h"
#include "testing/exhaust.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* The public key of RFC 7638 §3.1, whose thumbprint is printed there. */
static const char rfc_key[] = "-----BEGIN PUBLIC KEY-----\n"
                              "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA0vx7agoebGcQSuuPiLJX\n"
                              "ZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tS\n"
                              "oc/BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ/2W+5JsGY4Hc5n9yBXArwl93lqt\n"
                              "7/RN5w6Cf0h4QyQ5v+65YGjQR0/FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0\n"
                              "zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt+bFTWhAI4vMQFh6WeZu0f\n"
                              "M4lFd2NcRwr3XPksINHaQ+G/xBniIqbw0Ls1jF44+csFCur+kEgU8awapJzKnqDK\n"
                              "gwIDAQAB\n"
                              "-----END PUBLIC KEY-----\n";

static char path[] = "/tmp/gw_rsa_key_XXXXXX";
static EVP_PKEY *pkey; /* 2048 bits, made for this run */

static void write_file(const char *text, size_t len)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, len, f), len);
    fclose(f);
}

static void write_private(EVP_PKEY *key, const EVP_CIPHER *cipher)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(PEM_write_PKCS8PrivateKey(f, key, cipher, cipher ? "word" : NULL,
                                               cipher ? 4 : 0, NULL, NULL),
                     1);
    fclose(f);
}

static int make_key(void **state)
{
    (void)state;
    int fd = mkstemp(path);
    pkey = EVP_RSA_gen(2048);
    return fd >= 0 && close(fd) == 0 && pkey ? 0 : -1;
}

static int drop_key(void **state)
{
    (void)state;
    EVP_PKEY_free(pkey);
    return unlink(path);
}

static void a_key_has_the_thumbprint_and_members_of_the_standard(void **state)
{
    (void)state;
    gw_rsa_key *keys[GW_RSA_KEYS_MAX];
    size_t count;
    gw_auto_buf jwk = {0};
    write_file(rfc_key, strlen(rfc_key));
    assert_int_equal(gw_rsa_keys_load(path, keys, &count, NULL), GW_OK);
    assert_int_equal(count, 1);
    gw_auto(gw_rsa_key) k = keys[0];
    assert_string_equal(gw_rsa_key_id(k), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    gw_rsa_key_append_jwk(k, &jwk);
    assert_string_equal(
        jwk.data,
        "{\"kty\":\"RSA\",\"use\":\"sig\",\"alg\":\"RS256\",\"kid\":"
        "\"NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs\",\"n\":"
        "\"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_"
        "BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-"
        "65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-"
        "bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw\","
        "\"e\":\"AQAB\"}");
}

static void what_is_signed_is_verified_by_the_public_half(void **state)
{
    (void)state;
    gw_auto(gw_rsa_key) k = NULL;
    gw_auto_buf text = {0};
    uint8_t signature[256];
    write_private(pkey, NULL);
    assert_int_equal(gw_rsa_key_load(path, &k, NULL), GW_OK);
    gw_auto(gw_rsa_key) second = gw_rsa_key_ref(k);
    assert_int_equal(gw_rsa_sign(second, GW_STR("head.claims"), &text, NULL), GW_OK);
    assert_int_equal(gw_base64_decode(gw_buf_str(&text), signature, sizeof(signature)), 256);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    assert_int_equal(EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, pkey), 1);
    assert_int_equal(
        EVP_DigestVerify(ctx, signature, sizeof(signature), (const uint8_t *)"head.claims", 11), 1);
    EVP_MD_CTX_free(ctx);
}

static void assert_refused(bool for_signing, const char *words)
{
    gw_rsa_key *keys[GW_RSA_KEYS_MAX] = {NULL};
    size_t count = 0;
    gw_error err;
    gw_status rc = for_signing ? gw_rsa_key_load(path, keys, &err)
                               : gw_rsa_keys_load(path, keys, &count, &err);
    assert_int_equal(rc, GW_ERR_INVALID_ARGUMENT);
    assert_int_equal(count, 0);
    if (!strstr(err.message, words) || !strstr(err.message, path))
        fail_msg("%s", err.message);
}

static void what_is_no_such_key_is_refused(void **state)
{
    (void)state;
    EVP_PKEY *small = EVP_RSA_gen(1024), *curve = EVP_EC_gen("P-256");
    gw_rsa_key *k = NULL;
    gw_error err;
    write_file("", 0);
    assert_refused(false, "holds no key in PEM");
    write_file(rfc_key, strlen(rfc_key));
    assert_refused(true, "holds no private key in PEM");
    write_private(pkey, EVP_aes_128_cbc());
    assert_refused(true, "without passphrase");
    write_private(small, NULL);
    assert_refused(true, "2048");
    write_private(curve, NULL);
    assert_refused(true, "RSA");
    char *large = calloc(1, (size_t)64 << 10);
    write_file(large, (size_t)64 << 10);
    assert_refused(true, "64 KiB");
    free(large);
    assert_int_equal(gw_rsa_key_load("/nowhere/key", &k, &err), GW_ERR_NOT_FOUND);
    EVP_PKEY_free(small);
    EVP_PKEY_free(curve);
}

static void all_keys_of_a_file_are_shown_whichever_half_is_there(void **state)
{
    (void)state;
    gw_rsa_key *keys[GW_RSA_KEYS_MAX];
    size_t count;
    write_private(pkey, NULL);
    FILE *f = fopen(path, "a");
    assert_non_null(f);
    for (size_t i = 0; i < GW_RSA_KEYS_MAX; i++) /* one more than there is room for */
        fputs(rfc_key, f);
    fclose(f);
    assert_int_equal(gw_rsa_keys_load(path, keys, &count, NULL), GW_OK);
    assert_int_equal(count, GW_RSA_KEYS_MAX);
    assert_string_not_equal(gw_rsa_key_id(keys[0]), gw_rsa_key_id(keys[1]));
    assert_string_equal(gw_rsa_key_id(keys[1]), gw_rsa_key_id(keys[2]));
    while (count > 0)
        gw_rsa_key_free(keys[--count]);
    EVP_PKEY *small = EVP_RSA_gen(1024);
    write_file(rfc_key, strlen(rfc_key));
    f = fopen(path, "a");
    assert_int_equal(PEM_write_PUBKEY(f, small), 1);
    fclose(f);
    assert_refused(false, "2048"); /* and the good one before it is not half taken */
    EVP_PKEY_free(small);
}

static gw_status load_and_sign(void *arg)
{
    gw_auto(gw_rsa_key) k = NULL;
    gw_auto_buf out = {0};
    gw_error err;
    gw_status rc = gw_rsa_key_load(arg, &k, &err);
    return rc == GW_OK ? gw_rsa_sign(k, GW_STR("x"), &out, &err) : rc;
}

static void without_memory_there_is_no_key_and_no_signature(void **state)
{
    (void)state;
    write_private(pkey, NULL);
    gw_exhaust(load_and_sign, path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_has_the_thumbprint_and_members_of_the_standard),
        cmocka_unit_test(what_is_signed_is_verified_by_the_public_half),
        cmocka_unit_test(what_is_no_such_key_is_refused),
        cmocka_unit_test(all_keys_of_a_file_are_shown_whichever_half_is_there),
        cmocka_unit_test(without_memory_there_is_no_key_and_no_signature),
    };
    return cmocka_run_group_tests(tests, make_key, drop_key);
}
