/*
 * TLS of a client connection: OpenSSL over memory BIOs, so that the caller owns the socket and the loop.
 *
 * TLS 1.2 or later, the certificate chain and the host name (or IP address, by subjectAltName) are always verified; ALPN
 * offers http/1.1 only. Messages name the reason of a refusal ("certificate has expired") and never key material.
 *
 * Flow: bytes from the socket go into gw_tls_feed(); then gw_tls_handshake() until done, then gw_tls_read(); after every
 * call send what gw_tls_output() holds.
 *
 * Thread: a context and its connections belong to one loop.
 */
#pragma once

#include "core/status.h"
#include "core/str.h"

typedef struct gw_tls_context gw_tls_context;
typedef struct gw_tls gw_tls;

/* Where the newest session of one origin is kept for resumption. Zero-initialised is empty. */
typedef struct gw_tls_session {
    void *session;
} gw_tls_session;
void gw_tls_session_fini(gw_tls_session *s);

/* `ca_file` PEM, or NULL for the system's authorities. */
GW_CHECK gw_status gw_tls_context_new(const char *ca_file, gw_tls_context **ret, gw_error *err);
void gw_tls_context_free(gw_tls_context *c);
GW_DEFINE_FREEP(gw_tls_context)

/* `host` is a name or an IP address without brackets; `session` outlives the connection. */
GW_CHECK gw_status gw_tls_new(gw_tls_context *c, const char *host, gw_tls_session *session,
                              gw_tls **ret, gw_error *err);
void gw_tls_free(gw_tls *t);
GW_DEFINE_FREEP(gw_tls)

GW_CHECK gw_status gw_tls_feed(gw_tls *t, gw_str cipher, gw_error *err);
GW_CHECK gw_status gw_tls_handshake(gw_tls *t, bool *done, gw_error *err);
bool gw_tls_was_resumed(const gw_tls *t);

/* *ret_len 0: nothing more until the next feed, or the peer said goodbye (gw_tls_is_closed). */
GW_CHECK gw_status gw_tls_read(gw_tls *t, char *buffer, size_t cap, size_t *ret_len, gw_error *err);
bool gw_tls_is_closed(
    const gw_tls *t); /* a close_notify came: what was read is all there was to read */
GW_CHECK gw_status gw_tls_write(gw_tls *t, gw_str plain, gw_error *err);

/* Bytes for the socket; the view lives until the next call on `t`. */
gw_str gw_tls_output(const gw_tls *t);
void gw_tls_output_clear(gw_tls *t);
