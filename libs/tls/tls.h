/*
 * TLS of a connection, either side: OpenSSL over buffers, so that the caller owns the socket and the loop.
 *
 * TLS 1.2 or later, forward secrecy, no renegotiation, no compression, no early data. A client always verifies the
 * server's chain and the host name (or IP address), by subjectAltName only. A server verifies clients when it is asked
 * to. Sessions are resumed by tickets; a change of files ends the tickets issued before. Messages name the reason of a
 * refusal ("certificate has expired") and never key material.
 *
 * Flow: bytes from the socket go into gw_tls_feed(); then gw_tls_handshake() until done, then gw_tls_read(); after every
 * call send what gw_tls_output() holds, also after one that failed: it may be the alert that tells the peer why.
 *
 * Failures of the peer are GW_ERR_UPSTREAM_FAILED for a client and GW_ERR_IO for a server.
 *
 * Thread: a context and its connections belong to one loop.
 */
#pragma once

#include "tls/tls_files.h"

typedef struct gw_tls_context gw_tls_context;
typedef struct gw_tls gw_tls;

/* Where the newest session of one server is kept for resumption. Zero-initialised is empty. */
typedef struct gw_tls_session {
    void *session;
    unsigned generation; /* of the context: a session is not resumed past a change of authorities */
} gw_tls_session;
void gw_tls_session_fini(gw_tls_session *s);

/* What a server asks of its clients. */
typedef enum gw_tls_clients {
    GW_TLS_CLIENTS_ANY, /* no certificate is asked for */
    GW_TLS_CLIENTS_MAY_PROVE, /* one that is sent must hold */
    GW_TLS_CLIENTS_MUST_PROVE,
} gw_tls_clients;

/*
 * Contexts follow `files`, which outlive them: connections made after a change use the new set, others go on. A set that
 * OpenSSL refuses (a key too weak) is logged and the one before stays. `log` may be NULL.
 *
 * Client: verifies by the authorities of `files`, or by the system's when it has none; shows its certificate when there
 * is one. NULL: the system's authorities, no certificate. `offers_http`: ALPN http/1.1.
 */
GW_CHECK gw_status gw_tls_client_context_new(gw_tls_files *files, bool offers_http, gw_log *log,
                                             gw_tls_context **ret, gw_error *err);
/* Server: `files` have a certificate, and authorities when clients prove themselves; else GW_ERR_INVALID_ARGUMENT. Of the
 * protocols that a client offers by ALPN only http/1.1 is accepted. */
GW_CHECK gw_status gw_tls_server_context_new(gw_tls_files *files, gw_tls_clients clients,
                                             gw_log *log, gw_tls_context **ret, gw_error *err);
void gw_tls_context_free(gw_tls_context *c); /* its connections are gone by now */
GW_DEFINE_FREEP(gw_tls_context)

/* A client's connection. `host` is a name or an IP address without brackets; `session` outlives it, NULL is fine. */
GW_CHECK gw_status gw_tls_connect(gw_tls_context *c, const char *host, gw_tls_session *session,
                                  gw_tls **ret, gw_error *err);
GW_CHECK gw_status gw_tls_accept(gw_tls_context *c, gw_tls **ret, gw_error *err);
void gw_tls_free(gw_tls *t);
GW_DEFINE_FREEP(gw_tls)

GW_CHECK gw_status gw_tls_feed(gw_tls *t, gw_str cipher, gw_error *err);
GW_CHECK gw_status gw_tls_handshake(gw_tls *t, bool *done, gw_error *err);
bool gw_tls_was_resumed(const gw_tls *t);
const char *gw_tls_version(const gw_tls *t); /* "TLSv1.3"; static */

/* Each name of the peer's verified certificate (subjectAltName: DNS and URI); none without one. `name` lives during the
 * call. */
void gw_tls_peer_names(const gw_tls *t, void (*each)(void *arg, gw_str name), void *arg);

/* *ret_len 0: nothing more until the next feed, or the peer said goodbye (gw_tls_is_closed). */
GW_CHECK gw_status gw_tls_read(gw_tls *t, char *buffer, size_t cap, size_t *ret_len, gw_error *err);
/* A close_notify came: what was read is all there was to read. */
bool gw_tls_is_closed(const gw_tls *t);
/* After the handshake. One record for each 16 KiB at most: gather small pieces first. */
GW_CHECK gw_status gw_tls_write(gw_tls *t, gw_str plain, gw_error *err);
/* Our close_notify: nothing is written afterwards. Nothing before the handshake is done. */
void gw_tls_goodbye(gw_tls *t);

/* Bytes for the socket; the view lives until the next call on `t`. */
gw_str gw_tls_output(const gw_tls *t);
void gw_tls_output_clear(gw_tls *t);
