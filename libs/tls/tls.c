#include "tls/tls_internal.h"

#include "core/net.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include <limits.h>
#include <stdlib.h>

enum { KEPT_BYTES = 4096 }; /* of an empty buffer; an idle connection holds no more */

const char *tls_library_reason(void)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    return reason ? reason : "the TLS library gave no reason";
}

gw_status tls_library_failed(gw_error *err, const char *what)
{
    return gw_fail(err, GW_ERR_INTERNAL, "%s: %s", what, tls_library_reason());
}

/* ---- sessions of clients ---- */

void gw_tls_session_fini(gw_tls_session *s)
{
    SSL_SESSION_free(s->session);
    s->session = NULL;
}

/* TLS 1.3 sends its tickets after the handshake, so sessions come by callback and not by asking. */
int tls_keep_session(SSL *ssl, SSL_SESSION *session)
{
    const gw_tls *t = SSL_get_app_data(ssl);
    if (!t->session)
        return 0;
    gw_tls_session_fini(t->session);
    t->session->session = session;
    t->session->generation = t->generation;
    return 1; /* the reference is ours now */
}

static void offer_session(gw_tls *t)
{
    if (!t->session || !t->session->session)
        return;
    if (t->session->generation != t->generation)
        gw_tls_session_fini(t->session); /* resuming would skip the authorities of today */
    else
        (void)SSL_set_session(t->ssl, t->session->session); /* refused: a full handshake */
}

/* ---- the beginning and the end ---- */

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

static bool attach_buffers(gw_tls *t, const gw_tls_context *c)
{
    BIO *b = BIO_new(c->method);
    if (!b)
        return false;
    BIO_set_data(b, t);
    BIO_set_init(b, 1);
    SSL_set_bio(t->ssl, b, b); /* takes the one reference */
    return true;
}

static gw_status open_connection(const gw_tls_context *c, gw_tls **ret, gw_error *err)
{
    gw_auto(gw_tls) t = calloc(1, sizeof(*t));
    if (!t)
        return gw_fail(err, GW_ERR_NO_MEMORY, "out of memory for a TLS connection");
    ERR_clear_error();
    t->is_server = c->is_server;
    t->generation = c->generation;
    t->ssl = SSL_new(c->ctx);
    if (!t->ssl || !attach_buffers(t, c))
        return tls_library_failed(err, "cannot set up a TLS connection");
    SSL_set_app_data(t->ssl, t);
    *ret = gw_steal(&t);
    return GW_OK;
}

gw_status gw_tls_connect(gw_tls_context *c, const char *host, gw_tls_session *session, gw_tls **ret,
                         gw_error *err)
{
    gw_auto(gw_tls) t = NULL;
    gw_status rc = open_connection(c, &t, err);
    if (rc != GW_OK)
        return rc;
    if (!expect_host(t->ssl, host))
        return tls_library_failed(err, "cannot set up a TLS connection");
    SSL_set_connect_state(t->ssl);
    t->session = session;
    offer_session(t);
    *ret = gw_steal(&t);
    return GW_OK;
}

gw_status gw_tls_accept(gw_tls_context *c, gw_tls **ret, gw_error *err)
{
    gw_status rc = open_connection(c, ret, err);
    if (rc == GW_OK)
        SSL_set_accept_state((*ret)->ssl);
    return rc;
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
    gw_buf_fini(&t->in);
    gw_buf_fini(&t->out);
    free(t);
}

/* ---- bytes ---- */

/* An idle connection holds no large buffer. */
static void empty(gw_buf *b)
{
    if (b->cap > KEPT_BYTES)
        gw_buf_fini(b);
    else
        gw_buf_clear(b);
}

/* Of what was fed, or of a record that is read in part. To ask OpenSSL for more than there is costs half of a record. */
static bool has_input(const gw_tls *t)
{
    return t->in_used < t->in.len || SSL_pending(t->ssl) > 0;
}

static void drop_used_input(gw_tls *t)
{
    if (t->in_used == t->in.len)
        empty(&t->in);
    else
        gw_buf_drop_front(&t->in, t->in_used);
    t->in_used = 0;
}

gw_status gw_tls_feed(gw_tls *t, gw_str cipher, gw_error *err)
{
    drop_used_input(t);
    gw_buf_append_str(&t->in, cipher);
    if (gw_buf_failed(&t->in))
        return gw_fail(err, GW_ERR_NO_MEMORY, "out of memory for TLS input");
    return GW_OK;
}

static gw_status connection_failed(const gw_tls *t, const char *what, gw_error *err)
{
    gw_status rc = t->is_server ? GW_ERR_IO : GW_ERR_UPSTREAM_FAILED;
    if (gw_buf_failed(&t->out))
        return gw_fail(err, GW_ERR_NO_MEMORY, "out of memory for TLS output");
    long verdict = SSL_get_verify_result(t->ssl);
    if (verdict == X509_V_ERR_HOSTNAME_MISMATCH || verdict == X509_V_ERR_IP_ADDRESS_MISMATCH)
        return gw_fail(err, rc, "%s: the certificate is for another name (%s)", what,
                       X509_verify_cert_error_string(verdict));
    if (verdict != X509_V_OK)
        return gw_fail(err, rc, "%s: %s", what, X509_verify_cert_error_string(verdict));
    return gw_fail(err, rc, "%s: %s", what, tls_library_reason());
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

const char *gw_tls_version(const gw_tls *t)
{
    return SSL_get_version(t->ssl);
}

void gw_tls_peer_names(const gw_tls *t, void (*each)(void *arg, gw_str name), void *arg)
{
    X509 *cert = SSL_get0_peer_certificate(t->ssl);
    if (!cert || SSL_get_verify_result(t->ssl) != X509_V_OK)
        return;
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) { /* -1 of NULL */
        int type = 0;
        const ASN1_STRING *s = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, i), &type);
        if (type == GEN_DNS || type == GEN_URI)
            each(arg, gw_str_n(ASN1_STRING_get0_data(s), (size_t)ASN1_STRING_length(s)));
    }
    GENERAL_NAMES_free(names);
}

gw_status gw_tls_read(gw_tls *t, char *buffer, size_t cap, size_t *ret_len, gw_error *err)
{
    *ret_len = 0;
    if (!has_input(t)) {
        drop_used_input(t);
        return GW_OK;
    }
    ERR_clear_error();
    int n = SSL_read(t->ssl, buffer, (int)GW_MIN(cap, (size_t)INT_MAX));
    if (n > 0) {
        *ret_len = (size_t)n;
        return GW_OK;
    }
    int why = SSL_get_error(t->ssl, n);
    if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_ZERO_RETURN)
        return connection_failed(t, "TLS failed", err);
    drop_used_input(t);
    return GW_OK;
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

void gw_tls_goodbye(gw_tls *t)
{
    ERR_clear_error();
    if (SSL_is_init_finished(t->ssl))
        (void)SSL_shutdown(t->ssl);
}

gw_str gw_tls_output(const gw_tls *t)
{
    return gw_buf_str(&t->out);
}

void gw_tls_output_clear(gw_tls *t)
{
    empty(&t->out);
}
