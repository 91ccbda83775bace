/*
 * HTTP/1.1 server on llhttp (strict) and libuv.
 *
 * One exchange is one request and its answer. The handler decides stepwise: at on_head nothing of
 * the body was read yet and no 100-continue was sent, so a key can be checked first (asynchronously
 * if need be); the connection reads on when the handler calls gw_exchange_read_body(). Pipelined
 * requests wait: one exchange at a time a connection.
 *
 * What the server answers by itself, through ops.write_error in the handler's dialect: malformed or
 * smuggled HTTP 400 and close (SECURITY: Content-Length with Transfer-Encoding, several
 * Content-Lengths, any coding but one `chunked`, obs-fold, bare CR, space before a colon,
 * absolute-form with another Host, HTTP/1.1 without exactly one Host), head too large 431, body too
 * large 413, slow head or body 408, too many body bytes over all connections 503, unknown Expect
 * 417.
 *
 * Backpressure: while more than `write_high_water` bytes wait for a slow client,
 * gw_exchange_is_congested() is true; on_drained tells when it is over. A client that takes nothing
 * for `write_idle_timeout_ms` is closed.
 *
 * A client that closes while an exchange runs, even only its sending side, is gone (as for nginx): on_closed, not
 * complete. An answer that is only waiting to be written still goes out.
 *
 * With `tls` the listener speaks TLS only: the handshake counts as part of the head's time, plain HTTP gets a plain 400, a
 * connection too many is closed without an answer, and a close_notify ends what is whole. A change of the files holds for
 * new connections. All limits above hold for what is inside.
 *
 * Thread: the loop's. Callbacks may call any function here, but an exchange is gone after on_closed. No callback is ever
 * made inside a function the handler calls.
 */
#pragma once

#include "core/net.h"
#include "http/message.h"
#include "log/log.h"
#include "loop/loop.h"
#include "metrics/metrics.h"
#include "tls/tls.h"

typedef struct gw_http_server gw_http_server;
typedef struct gw_exchange gw_exchange;

typedef struct gw_http_server_options {
    const char *host; /* address to bind, "127.0.0.1" or "::" */
    uint16_t port; /* 0 = any free port, see gw_http_server_port() */
    bool shares_port; /* with other processes of this user that share it: the kernel spreads
                         connections over them (SO_REUSEPORT, socket(7)) */
    int64_t head_timeout_ms; /* from accept, or the first byte of a later request, to the end of the
                                head */
    int64_t body_timeout_ms; /* without one body byte */
    int64_t idle_timeout_ms; /* a kept connection without a request */
    int64_t write_idle_timeout_ms;
    size_t head_max_bytes; /* 32 KiB */
    size_t headers_max; /* lines, 100 */
    size_t body_memory_max_bytes; /* request bodies held at once over all connections */
    size_t write_high_water; /* bytes, 64 KiB */
    size_t connections_max; /* beyond it: accepted and closed with 503 */
    gw_tls_files *tls; /* NULL: plain. Outlives the server */
    gw_tls_clients tls_clients; /* what clients have to show */
} gw_http_server_options;

extern const gw_http_server_options gw_http_server_defaults;

typedef struct gw_http_handler_ops {
    /* The head is there. Must end in gw_exchange_read_body() or an answer, now or later. */
    void (*on_head)(gw_exchange *x, void *arg);
    /* The whole body is there: gw_exchange_body(). */
    void (*on_body)(gw_exchange *x, void *arg);
    /* The client's queue fell below half of the high-water mark. May be NULL. */
    void (*on_drained)(gw_exchange *x, void *arg);
    /*
     * The exchange is over: answered whole (`complete`), or the client went away or broke the
     * protocol before. Called exactly once for each on_head; gw_exchange_set_data()'s pointer is
     * the handler's to release here.
     */
    void (*on_closed)(gw_exchange *x, bool complete, void *arg);
    /* Body of an error answer in the handler's dialect: append it, name its content type. `x` NULL
     * before a head was read. */
    void (*write_error)(gw_exchange *x, const gw_error *err, gw_buf *body,
                        const char **content_type, void *arg);
    /* Its status, where the handler's dialect has another one than the table of errors. May be NULL. `x` as for write_error. */
    int (*error_status)(gw_exchange *x, const gw_error *err, void *arg);
    /*
     * Headers for an answer the server gives by itself, asked for after write_error; writes at most `max` into `out` and
     * returns how many. Their texts live until the next call. May be NULL. `x` as for write_error.
     */
    size_t (*error_headers)(gw_exchange *x, gw_header *out, size_t max, void *arg);
} gw_http_handler_ops;

/* Binds and listens. `ops` and `arg` outlive the server; `log` may be NULL. GW_ERR_IO when the
 * address is taken. */
GW_CHECK gw_status gw_http_server_new(gw_loop *l, const gw_http_server_options *o,
                                      const gw_http_handler_ops *ops, void *arg, gw_log *log,
                                      gw_http_server **ret, gw_error *err);
uint16_t gw_http_server_port(const gw_http_server *s);

/* Other bounds from now on: the timeouts, body_memory_max_bytes and connections_max of `o`. What runs under the old ones
 * goes on. */
void gw_http_server_adjust(gw_http_server *s, const gw_http_server_options *o);

/* Stops accepting and closes idle connections; answers from now on carry `Connection: close`. */
void gw_http_server_drain(gw_http_server *s);
size_t gw_http_server_connections(const gw_http_server *s);
/* Closes everything (on_closed fires, not complete), then calls `closed(arg)` on the loop and frees
 * the server. */
void gw_http_server_close(gw_http_server *s, void (*closed)(void *arg), void *arg);

/* ---- the request; views live as long as the exchange ---- */
gw_str gw_exchange_method(const gw_exchange *x); /* "POST" */
gw_str gw_exchange_target(const gw_exchange *x); /* raw, as sent */
gw_str gw_exchange_path(
    const gw_exchange *x); /* raw, without the query; absolute-form reduced to its path */
gw_str gw_exchange_query(const gw_exchange *x); /* raw, without "?" */
gw_headers gw_exchange_headers(const gw_exchange *x);
gw_str gw_exchange_body(const gw_exchange *x); /* contiguous; empty before on_body */
const gw_ip *gw_exchange_peer(const gw_exchange *x);
const gw_tls *gw_exchange_tls(const gw_exchange *x); /* NULL on a plain connection */
/* Has all of the above but the body. Lives until on_closed has returned, or as long as whoever took gw_arena_ref(). */
gw_arena *gw_exchange_arena(gw_exchange *x);
int64_t gw_exchange_arrival_ns(const gw_exchange *x); /* monotonic time of the end of the head */
void gw_exchange_set_data(gw_exchange *x, void *data);
void *gw_exchange_data(const gw_exchange *x);
bool gw_exchange_expects_body(const gw_exchange *x); /* Content-Length > 0 or chunked */

/* From on_body on: the body's memory is the handler's, and counts no more. */
gw_buf gw_exchange_take_body(gw_exchange *x);

/* Reads at most `max_bytes` of body, then on_body. Sends `100 Continue` when asked for. Once, from
 * on_head or later. */
void gw_exchange_read_body(gw_exchange *x, size_t max_bytes);

/* ---- the answer: respond once, or start … write … end ---- */
typedef struct gw_response_head {
    int status;
    const gw_header *headers; /* checked with gw_header_*_is_valid: a bad one is dropped and logged.
                                 Framing and Date are the server's. */
    size_t header_count;
    bool names_are_constants; /* of the program, valid and not the server's: not looked at again */
} gw_response_head;

/* A whole answer; Content-Length is set. A body not read yet is not read: the connection closes
 * after the answer. HEAD sends no body. */
void gw_exchange_respond(gw_exchange *x, const gw_response_head *head, gw_str body);
/* An error answer through ops.write_error; `extra` headers may be NULL. */
void gw_exchange_fail(gw_exchange *x, const gw_error *err, const gw_header *extra,
                      size_t extra_count);

/* A streamed answer. `content_length` < 0: chunked (RFC 9112 §7.1), or until close for HTTP/1.0.
 * The head goes out with the first write or flush. */
void gw_exchange_start(gw_exchange *x, const gw_response_head *head, int64_t content_length);
void gw_exchange_write(gw_exchange *x, const gw_str *parts,
                       size_t count); /* copies what the socket does not take at once */
void gw_exchange_flush_head(gw_exchange *x);
void gw_exchange_end(gw_exchange *x); /* last chunk; the connection is kept when it may be */
void gw_exchange_abort(
    gw_exchange *x); /* cuts the connection: the client sees an incomplete answer */
bool gw_exchange_has_started(const gw_exchange *x); /* some answer byte was handed to the socket */
bool gw_exchange_is_congested(const gw_exchange *x);
size_t gw_exchange_queued_bytes(const gw_exchange *x);
