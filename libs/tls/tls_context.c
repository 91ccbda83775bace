#include "tls/tls_internal.h"

#include <openssl/err.h>
#include <openssl/pem.h>

#include <limits.h>
#include <stdlib.h>

/* TLS 1.2 with forward secrecy and authenticated encryption only (RFC 9325 §4.2); TLS 1.3 has nothing else. */
#define SERVER_CIPHERS "ECDHE+AESGCM:ECDHE+CHACHA20"

static const unsigned char http_1_1[] = "\x08http/1.1"; /* as ALPN writes a list */

/* ---- PEM into a context ---- */

static BIO *text_bio(gw_str text)
{
    return BIO_new_mem_buf(text.ptr, (int)GW_MIN(text.len, (size_t)INT_MAX));
}

/* The own certificate, then its intermediates. */
static bool use_certificates(SSL_CTX *ctx, gw_str text)
{
    BIO *in = text_bio(text);
    X509 *cert = in ? PEM_read_bio_X509(in, NULL, NULL, NULL) : NULL;
    bool ok = cert && SSL_CTX_use_certificate(ctx, cert) == 1;
    X509_free(cert);
    while (ok && (cert = PEM_read_bio_X509(in, NULL, NULL, NULL))) {
        ok = SSL_CTX_add0_chain_cert(ctx, cert) == 1;
        if (!ok)
            X509_free(cert);
    }
    BIO_free(in);
    return ok;
}

static bool use_key(SSL_CTX *ctx, gw_str text)
{
    BIO *in = text_bio(text);
    EVP_PKEY *key = in ? PEM_read_bio_PrivateKey(in, NULL, NULL, (void *)(uintptr_t) "") : NULL;
    bool ok = key && SSL_CTX_use_PrivateKey(ctx, key) == 1;
    EVP_PKEY_free(key);
    BIO_free(in);
    return ok;
}

/* A server names its authorities to clients, which may choose their certificate by them. */
static bool trust(SSL_CTX *ctx, gw_str text, bool is_server)
{
    BIO *in = text_bio(text);
    bool ok = in != NULL;
    for (X509 *cert; ok && (cert = PEM_read_bio_X509(in, NULL, NULL, NULL));) {
        ok = X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), cert) == 1 &&
             (!is_server || SSL_CTX_add_client_CA(ctx, cert) == 1);
        X509_free(cert);
    }
    BIO_free(in);
    return ok;
}

static gw_status use_files(SSL_CTX *ctx, const gw_tls_context *c, gw_error *err)
{
    static const gw_tls_pem none = {0};
    const gw_tls_pem *pem = c->files ? gw_tls_files_pem(c->files) : &none;
    if (pem->cert.len > 0 && (!use_certificates(ctx, pem->cert) || !use_key(ctx, pem->key)))
        return tls_library_failed(err, "cannot use the certificate");
    if (pem->ca.len > 0 && !trust(ctx, pem->ca, c->is_server))
        return tls_library_failed(err, "cannot use the certificate authorities");
    if (pem->ca.len == 0 && !c->is_server && SSL_CTX_set_default_verify_paths(ctx) != 1)
        return tls_library_failed(err, "cannot load the system's certificate authorities");
    ERR_clear_error(); /* the end of each PEM text is one for OpenSSL */
    return GW_OK;
}

/* ---- contexts ---- */

/* RFC 7301 §3.2: a client that offers only what we do not speak is told so. */
static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                           const unsigned char *in, unsigned in_len, void *arg)
{
    (void)ssl;
    (void)arg;
    unsigned char *chosen = NULL;
    if (SSL_select_next_proto(&chosen, out_len, http_1_1, sizeof(http_1_1) - 1, in, in_len) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static bool set_up_client(SSL_CTX *ctx, const gw_tls_context *c)
{
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, tls_keep_session);
    return !c->offers_http || SSL_CTX_set_alpn_protos(ctx, http_1_1, sizeof(http_1_1) - 1) ==
                                  0; /* 0 is success here */
}

static bool set_up_server(SSL_CTX *ctx, const gw_tls_context *c)
{
    static const int verify[] = {[GW_TLS_CLIENTS_ANY] = SSL_VERIFY_NONE,
                                 [GW_TLS_CLIENTS_MAY_PROVE] = SSL_VERIFY_PEER,
                                 [GW_TLS_CLIENTS_MUST_PROVE] =
                                     SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT};
    static const unsigned char scope[] = "apirelay";
    SSL_CTX_set_verify(ctx, verify[c->clients], NULL);
    SSL_CTX_set_alpn_select_cb(ctx, choose_protocol, NULL);
    SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    /* Tickets hold the sessions; their keys are this SSL_CTX's own and go with it. */
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    return SSL_CTX_set_session_id_context(ctx, scope, sizeof(scope) - 1) == 1 &&
           SSL_CTX_set_cipher_list(ctx, SERVER_CIPHERS) == 1;
}

static gw_status make_ctx(const gw_tls_context *c, SSL_CTX **ret, gw_error *err)
{
    ERR_clear_error();
    SSL_CTX *ctx = SSL_CTX_new(c->is_server ? TLS_server_method() : TLS_client_method());
    gw_status rc = GW_OK;
    if (!ctx || SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) != 1 ||
        !(c->is_server ? set_up_server(ctx, c) : set_up_client(ctx, c)))
        rc = tls_library_failed(err, "cannot make a TLS context");
    else
        rc = use_files(ctx, c, err);
    if (rc != GW_OK) {
        SSL_CTX_free(ctx);
        return rc;
    }
    /* Idle connections keep no record buffers; what is sent is the file's chain, without the root of our authorities. */
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    *ret = ctx;
    return GW_OK;
}

static gw_status check_files(const gw_tls_context *c, gw_error *err)
{
    if (!c->is_server)
        return GW_OK;
    const gw_tls_pem *pem = gw_tls_files_pem(c->files);
    if (pem->cert.len == 0)
        return gw_fail(err, GW_ERR_INVALID_ARGUMENT, "a TLS server needs a certificate");
    if (pem->ca.len == 0 && c->clients != GW_TLS_CLIENTS_ANY)
        return gw_fail(err, GW_ERR_INVALID_ARGUMENT,
                       "certificates of clients cannot be verified without authorities");
    return GW_OK;
}

static void on_files_changed(void *arg)
{
    gw_tls_context *c = arg;
    SSL_CTX *ctx = NULL;
    gw_error err = {0};
    if (make_ctx(c, &ctx, &err) != GW_OK) {
        gw_log_error(c->log, "tls_files_refused", gw_kv_error(&err));
        return;
    }
    SSL_CTX_free(c->ctx);
    c->ctx = ctx;
    c->generation++;
}

/* ---- OpenSSL reads and writes our buffers ---- */

static int bio_read(BIO *b, char *bytes, int cap)
{
    gw_tls *t = BIO_get_data(b);
    size_t n = GW_MIN(t->in.len - t->in_used, (size_t)cap);
    BIO_clear_retry_flags(b);
    if (n == 0) {
        BIO_set_retry_read(b);
        return -1;
    }
    memcpy(bytes, t->in.data + t->in_used, n);
    t->in_used += n;
    return (int)n;
}

static int bio_write(BIO *b, const char *bytes, int len)
{
    gw_tls *t = BIO_get_data(b);
    gw_buf_append(&t->out, bytes, (size_t)len);
    return gw_buf_failed(&t->out) ? -1 : len;
}

static long bio_ctrl(BIO *b, int command, long number, void *pointer)
{
    (void)b;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH; /* always done; all other questions: no */
}

static bool make_method(gw_tls_context *c)
{
    c->method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "connection");
    return c->method && BIO_meth_set_read(c->method, bio_read) == 1 &&
           BIO_meth_set_write(c->method, bio_write) == 1 &&
           BIO_meth_set_ctrl(c->method, bio_ctrl) == 1;
}

/* ---- the beginning and the end ---- */

static gw_status open_context(const gw_tls_context *wanted, gw_tls_context **ret, gw_error *err)
{
    gw_auto(gw_tls_context) c = calloc(1, sizeof(*c));
    if (!c)
        return gw_fail(err, GW_ERR_NO_MEMORY, "out of memory for a TLS context");
    *c = *wanted;
    gw_status rc = check_files(c, err);
    if (rc == GW_OK && !make_method(c))
        rc = tls_library_failed(err, "cannot make a TLS context");
    if (rc == GW_OK)
        rc = make_ctx(c, &c->ctx, err);
    if (rc != GW_OK)
        return rc;
    if (c->files)
        gw_tls_files_subscribe(c->files, &c->subscription, on_files_changed, c);
    *ret = gw_steal(&c);
    return GW_OK;
}

gw_status gw_tls_client_context_new(gw_tls_files *files, bool offers_http, gw_log *log,
                                    gw_tls_context **ret, gw_error *err)
{
    return open_context(&(gw_tls_context){.files = files, .offers_http = offers_http, .log = log},
                        ret, err);
}

gw_status gw_tls_server_context_new(gw_tls_files *files, gw_tls_clients clients, gw_log *log,
                                    gw_tls_context **ret, gw_error *err)
{
    return open_context(
        &(gw_tls_context){.files = files, .is_server = true, .clients = clients, .log = log}, ret,
        err);
}

void gw_tls_context_free(gw_tls_context *c)
{
    if (!c)
        return;
    gw_tls_files_unsubscribe(&c->subscription);
    SSL_CTX_free(c->ctx);
    BIO_meth_free(c->method);
    free(c);
}
