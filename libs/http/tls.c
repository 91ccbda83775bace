#include "http/tls.h"

#include "core/net.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <limits.h>
#include <stdlib.h>

struct gw_tls_context {
    SSL_CTX *ctx;
};

struct gw_tls {
    SSL *ssl;
    BIO *in, *out; /* owned by ssl */
};

static const char *library_reason(void)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    return reason ? reason : "the TLS library gave no reason";
}

static gw_status library_failed(gw_error *err, const char *what)
{
    return gw_fail(err, GW_ERR_INTERNAL, "%s: %s", what, library_reason());
}

void gw_tls_session_fini(gw_tls_session *s)
{
    SSL_SESSION_free(s->session);
    s->session = NULL;
}

/* TLS 1.3 sends its tickets after the handshake, so sessions come by callback and not by asking. */
static int keep_session(SSL *ssl, SSL_SESSION *session)
{
    gw_tls_session *slot = SSL_get_app_data(ssl);
    gw_tls_session_fini(slot);
    slot->session = session;
    return 1; /* the reference is ours now */
}

static gw_status load_authorities(SSL_CTX *ctx, const char *ca_file, gw_error *err)
{
    if (!ca_file) {
        if (SSL_CTX_set_default_verify_paths(ctx) != 1)
            return library_failed(err, "cannot load the system's certificate authorities");
        return GW_OK;
    }
    if (SSL_CTX_load_verify_file(ctx, ca_file) != 1)
        return gw_fail(err, GW_ERR_FAILED_PRECONDITION,
                       "cannot load certificate authorities from %s: %s", ca_file,
                       library_reason());
    return GW_OK;
}

gw_status gw_tls_context_new(const char *ca_file, gw_tls_context **ret, gw_error *err)
{
    gw_auto(gw_tls_context) c = calloc(1, sizeof(*c));
    if (!c)
        return gw_fail(err, GW_ERR_NO_MEMORY, "out of memory for a TLS context");
    ERR_clear_error();
    c->ctx = SSL_CTX_new(TLS_client_method());
    if (!c->ctx || SSL_CTX_set_min_proto_version(c->ctx, TLS1_2_VERSION) != 1)
        return library_failed(err, "cannot make a TLS context");

    gw_status rc = load_authorities(c->ctx, ca_file, err);
    if (rc != GW_OK)
        return rc;
    static const unsigned char alpn[] = "\x08http/1.1";
    if (SSL_CTX_set_alpn_protos(c->ctx, alpn, sizeof(alpn) - 1) != 0)
        return library_failed(err, "cannot offer http/1.1");
    SSL_CTX_set_verify(c->ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_mode(c->ctx,
                     SSL_MODE_RELEASE_BUFFERS); /* an idle connection keeps no record buffers */
    SSL_CTX_set_options(c->ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_session_cache_mode(c->ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(c->ctx, keep_session);
    *ret = gw_steal(&c);
    return GW_OK;
}

void gw_tls_context_free(gw_tls_context *c)
{
    if (!c)
        return;
    SSL_CTX_free(c->ctx);
    free(c);
}

/* Names by SAN only: the subject's CN says nothing since RFC 6125 §6.4.4. */
static bool expect_host(SSL *ssl, const char *host)
{
    gw_ip ip;
    if (gw_ip_parse(gw_str_of(host), &ip))
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1;
    SSL_set_hostflags(ssl,
                      X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    return SSL_set1_host(ssl, host) == 1 &&
           SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
                    (void *)(uintptr_t)host) == 1; /* the macro casts const away too */
}

static bool attach_bios(gw_tls *t)
{
    t->in = BIO_new(BIO_s_mem());
    t->out = BIO_new(BIO_s_mem());
    if (!t->in || !t->out) {
        BIO_free(t->in);
        BIO_free(t->out);
        return false;
    }
    BIO_set_mem_eof_return(t->in, -1); /* empty means "wait", not "ended" */
    SSL_set_bio(t->ssl, t->in, t->out);
    return true;
}

gw_status gw_tls_new(gw_tls_context *c, const char *host, gw_tls_session *session, gw_tls **ret,
                     gw_error *err)
{
    gw_auto(gw_tls) t = calloc(1, sizeof(*t));
    if (!t)
        return gw_fail(err, GW_ERR_NO_MEMORY, "out of memory for a TLS connection");
    ERR_clear_error();
    t->ssl = SSL_new(c->ctx);
    if (!t->ssl || !attach_bios(t) || !expect_host(t->ssl, host))
        return library_failed(err, "cannot set up a TLS connection");
    SSL_set_app_data(t->ssl, session);
    SSL_set_connect_state(t->ssl);
    if (session->session)
        (void)SSL_set_session(t->ssl, session->session); /* refused: a full handshake */
    *ret = gw_steal(&t);
    return GW_OK;
}

void gw_tls_free(gw_tls *t)
{
    if (!t)
        return;
    if (t->ssl) {
        /* Without it OpenSSL takes the end for a failure and spoils the session for resumption. */
        SSL_set_shutdown(t->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
        SSL_free(t->ssl);
    }
    free(t);
}

gw_status gw_tls_feed(gw_tls *t, gw_str cipher, gw_error *err)
{
    while (cipher.len > 0) {
        int n = BIO_write(t->in, cipher.ptr, (int)GW_MIN(cipher.len, (size_t)INT_MAX));
        if (n <= 0)
            return gw_fail(err, GW_ERR_NO_MEMORY, "out of memory for TLS input");
        cipher = gw_str_slice(cipher, (size_t)n, cipher.len);
    }
    return GW_OK;
}

static gw_status connection_failed(const gw_tls *t, const char *what, gw_error *err)
{
    long verdict = SSL_get_verify_result(t->ssl);
    if (verdict == X509_V_ERR_HOSTNAME_MISMATCH || verdict == X509_V_ERR_IP_ADDRESS_MISMATCH)
        return gw_fail(err, GW_ERR_UPSTREAM_FAILED, "%s: the certificate is for another name (%s)",
                       what, X509_verify_cert_error_string(verdict));
    if (verdict != X509_V_OK)
        return gw_fail(err, GW_ERR_UPSTREAM_FAILED, "%s: %s", what,
                       X509_verify_cert_error_string(verdict));
    return gw_fail(err, GW_ERR_UPSTREAM_FAILED, "%s: %s", what, library_reason());
}

gw_status gw_tls_handshake(gw_tls *t, bool *done, gw_error *err)
{
    ERR_clear_error();
    int n = SSL_do_handshake(t->ssl);
    *done = n == 1;
    if (n == 1 || SSL_get_error(t->ssl, n) == SSL_ERROR_WANT_READ)
        return GW_OK;
    return connection_failed(t, "TLS handshake failed", err);
}

bool gw_tls_was_resumed(const gw_tls *t)
{
    return SSL_session_reused(t->ssl) == 1;
}

gw_status gw_tls_read(gw_tls *t, char *buffer, size_t cap, size_t *ret_len, gw_error *err)
{
    ERR_clear_error();
    *ret_len = 0;
    int n = SSL_read(t->ssl, buffer, (int)GW_MIN(cap, (size_t)INT_MAX));
    if (n > 0) {
        *ret_len = (size_t)n;
        return GW_OK;
    }
    int why = SSL_get_error(t->ssl, n);
    if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_ZERO_RETURN)
        return GW_OK;
    return connection_failed(t, "TLS failed", err);
}

bool gw_tls_is_closed(const gw_tls *t)
{
    return (SSL_get_shutdown(t->ssl) & SSL_RECEIVED_SHUTDOWN) != 0;
}

gw_status gw_tls_write(gw_tls *t, gw_str plain, gw_error *err)
{
    ERR_clear_error();
    while (plain.len > 0) {
        int n = SSL_write(t->ssl, plain.ptr, (int)GW_MIN(plain.len, (size_t)INT_MAX));
        if (n <= 0)
            return connection_failed(t, "TLS failed", err);
        plain = gw_str_slice(plain, (size_t)n, plain.len);
    }
    return GW_OK;
}

gw_str gw_tls_output(const gw_tls *t)
{
    char *data = NULL;
    long len = BIO_get_mem_data(t->out, &data);
    return gw_str_n(data, len > 0 ? (size_t)len : 0);
}

void gw_tls_output_clear(gw_tls *t)
{
    (void)BIO_reset(t->out);
}
