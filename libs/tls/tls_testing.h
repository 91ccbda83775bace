/*
 * For tests: authorities and certificates made on the spot, and files to put them in. Nothing of this is ever committed.
 *
 *     tls_test_identity ca = tls_test_make(&(tls_test_spec){.name = "authority", .is_ca = true});
 *     tls_test_identity server = tls_test_make(&(tls_test_spec){.san = "DNS:localhost,IP:127.0.0.1", .issuer = &ca});
 *     tls_test_folder f;
 *     tls_test_folder_make(&f);
 *     tls_test_put_identity(&f, &server);
 *     tls_test_put_ca(&f, &ca);
 *
 * Thread: values.
 */
#pragma once

#include "core/str.h"
#include "testing/cmocka.h"
#include "tls/tls_files.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

typedef struct tls_test_identity {
    EVP_PKEY *key;
    X509 *cert;
} tls_test_identity;

typedef struct tls_test_spec {
    const char *name; /* the subject's CN; NULL: one that no other has */
    const char *san; /* "DNS:localhost,IP:127.0.0.1", as openssl's subjectAltName; NULL: none */
    const char *key_usage; /* "critical,keyCertSign"; NULL: no such extension */
    int from_days; /* start of validity, days from now; 0: two days ago */
    int days; /* end of validity, days from now; 0: in two days. Negative: expired */
    bool is_ca;
    const tls_test_identity *issuer; /* NULL: signed by itself */
} tls_test_spec;

static inline void tls_test_extend(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    assert_non_null(e);
    assert_int_equal(X509_add_ext(cert, e, -1), 1);
    X509_EXTENSION_free(e);
}

static inline tls_test_identity tls_test_make(const tls_test_spec *s)
{
    static long serial;
    tls_test_identity id = {.key = EVP_EC_gen("P-256"), .cert = X509_new()};
    assert_non_null(id.key);
    assert_non_null(id.cert);
    X509 *issuer = s->issuer ? s->issuer->cert : id.cert;
    X509_NAME *subject = X509_get_subject_name(id.cert);
    X509_set_version(id.cert, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(id.cert), ++serial);
    X509_time_adj_ex(X509_getm_notBefore(id.cert), s->from_days ? s->from_days : -2, 0, NULL);
    X509_time_adj_ex(X509_getm_notAfter(id.cert), s->days ? s->days : 2, 0, NULL);
    char name[64]; /* a certificate with its issuer's name would pass for self-signed */
    (void)snprintf(name, sizeof(name), "test %ld", serial);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC,
                               (const unsigned char *)(s->name ? s->name : name), -1, -1, 0);
    X509_set_issuer_name(id.cert, X509_get_subject_name(issuer));
    X509_set_pubkey(id.cert, id.key);
    if (s->is_ca)
        tls_test_extend(id.cert, issuer, NID_basic_constraints, "critical,CA:TRUE");
    if (s->key_usage)
        tls_test_extend(id.cert, issuer, NID_key_usage, s->key_usage);
    if (s->san)
        tls_test_extend(id.cert, issuer, NID_subject_alt_name, s->san);
    assert_true(X509_sign(id.cert, s->issuer ? s->issuer->key : id.key, EVP_sha256()) > 0);
    return id;
}

static inline void tls_test_drop(tls_test_identity *id) /* zeroed is fine */
{
    X509_free(id->cert);
    EVP_PKEY_free(id->key);
    *id = (tls_test_identity){0};
}

static inline void tls_test_take_bio(BIO *b, gw_buf *out)
{
    char *data = NULL;
    long len = BIO_get_mem_data(b, &data);
    gw_buf_append(out, data, (size_t)len);
    BIO_free(b);
}

/* Appends PEM; several certificates in a row make a chain. */
static inline void tls_test_cert_pem(const tls_test_identity *id, gw_buf *out)
{
    BIO *b = BIO_new(BIO_s_mem());
    assert_int_equal(PEM_write_bio_X509(b, id->cert), 1);
    tls_test_take_bio(b, out);
}

static inline void tls_test_key_pem(const tls_test_identity *id, gw_buf *out)
{
    BIO *b = BIO_new(BIO_s_mem());
    assert_int_equal(PEM_write_bio_PrivateKey(b, id->key, NULL, NULL, 0, NULL, NULL), 1);
    tls_test_take_bio(b, out);
}

/* ---- files ---- */

typedef struct tls_test_folder {
    char path[32];
    char cert[64], key[64], ca[64], staged[64];
} tls_test_folder;

static inline void tls_test_folder_make(tls_test_folder *f)
{
    strcpy(f->path, "/tmp/tls_test_XXXXXX");
    assert_non_null(mkdtemp(f->path));
    (void)snprintf(f->cert, sizeof(f->cert), "%s/cert.pem", f->path);
    (void)snprintf(f->key, sizeof(f->key), "%s/key.pem", f->path);
    (void)snprintf(f->ca, sizeof(f->ca), "%s/ca.pem", f->path);
    (void)snprintf(f->staged, sizeof(f->staged), "%s/staged", f->path);
}

static inline void tls_test_folder_drop(tls_test_folder *f)
{
    (void)unlink(f->cert);
    (void)unlink(f->key);
    (void)unlink(f->ca);
    (void)unlink(f->staged);
    (void)rmdir(f->path);
}

/* Puts a whole file in place of another by rename, mode 0600. */
static inline void tls_test_put(const tls_test_folder *f, const char *path, gw_str text)
{
    /* NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker): an array, never NULL */
    int fd = open(f->staged, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text.ptr, text.len), text.len);
    assert_int_equal(close(fd), 0);
    assert_int_equal(rename(f->staged, path), 0);
}

static inline void tls_test_put_cert(const tls_test_folder *f, const char *path,
                                     const tls_test_identity *id)
{
    gw_auto_buf pem = {0};
    tls_test_cert_pem(id, &pem);
    tls_test_put(f, path, gw_buf_str(&pem));
}

static inline void tls_test_put_key(const tls_test_folder *f, const char *path,
                                    const tls_test_identity *id)
{
    gw_auto_buf pem = {0};
    tls_test_key_pem(id, &pem);
    tls_test_put(f, path, gw_buf_str(&pem));
}

static inline void tls_test_put_identity(const tls_test_folder *f, const tls_test_identity *id)
{
    tls_test_put_cert(f, f->cert, id);
    tls_test_put_key(f, f->key, id);
}

static inline void tls_test_put_ca(const tls_test_folder *f, const tls_test_identity *id)
{
    tls_test_put_cert(f, f->ca, id);
}

static inline gw_tls_paths tls_test_paths(const tls_test_folder *f)
{
    return (gw_tls_paths){f->cert, f->key, f->ca};
}
