/*
 * Keys that sign users in, made for the run of a test. Include only in tests.
 */
#pragma once

#include "oidc_signer.h"

#include "testing/cmocka.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define OIDC_ISSUER "https://login.example/realm"

/* Writes a half of `pkey` to a file that the caller unlinks. */
static inline void write_key(EVP_PKEY *pkey, bool is_public, char path[32])
{
    (void)snprintf(path, 32, "/tmp/relay_oidc_XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    FILE *f = fdopen(fd, "w");
    assert_non_null(f);
    assert_int_equal(is_public ? PEM_write_PUBKEY(f, pkey)
                               : PEM_write_PKCS8PrivateKey(f, pkey, NULL, NULL, 0, NULL, NULL),
                     1);
    fclose(f);
}

/* `old` may be NULL. */
static inline oidc_signer *signer_of(EVP_PKEY *pkey, EVP_PKEY *old, const char *issuer)
{
    char path[32], old_path[32];
    oidc_signer *s = NULL;

    write_key(pkey, false, path);
    if (old)
        write_key(old, true, old_path);
    assert_int_equal(oidc_signer_load(issuer, path, old ? old_path : NULL, &s, NULL), GW_OK);
    unlink(path);
    if (old)
        unlink(old_path);
    return s;
}
