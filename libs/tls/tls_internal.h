/*
 * What tls_context.c and tls.c share. Not for others.
 */
#pragma once

#include "tls/tls.h"

#include <openssl/ssl.h>

struct gw_tls_context {
    SSL_CTX *ctx; /* the newest; a connection holds a reference to its own */
    unsigned generation; /* of ctx */
    BIO_METHOD *method;
    bool is_server;
    bool offers_http;
    gw_tls_clients clients;
    gw_tls_files *files;
    gw_tls_subscription subscription;
    gw_log *log;
};

struct gw_tls {
    SSL *ssl;
    gw_buf in, out; /* cipher text */
    size_t in_used; /* bytes of `in` that OpenSSL has taken */
    bool is_server;
    gw_tls_session *session; /* a client's, may be NULL */
    unsigned generation;
};

/* tls.c: keeps a client's new session. */
int tls_keep_session(SSL *ssl, SSL_SESSION *session);

/* Why OpenSSL failed last. */
const char *tls_library_reason(void);
gw_status tls_library_failed(gw_error *err, const char *what); /* GW_ERR_INTERNAL */
