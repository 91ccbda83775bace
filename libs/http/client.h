/*
 * HTTP/1.1 client for upstreams: keep-alive pools on llhttp, connections opened by libcurl (DNS,
 * happy eyeballs), TLS by OpenSSL with hostname verification. A request may ask for libcurl's own
 * transfer instead (gw_http_transport).
 *
 * Limits and rules: connect, first-byte, idle and total timeouts; head <= 64 KiB; 1xx answers are
 * skipped; a reused connection that dies before any answer byte, within a second of the request, is
 * taken to have ended before it: it is retried once on a fresh one; a connection with bytes left over
 * or unasked for is closed, never pooled, and they answer no call; no redirects, no proxies from the
 * environment. The address really connected to is checked against the rules for outgoing connections
 * in the connector's socket callback, so DNS rebinding fails.
 *
 * Thread: the loop's. Callbacks are never made inside gw_http_send().
 */
#pragma once

#include "core/net.h"
#include "core/url.h"
#include "http/message.h"
#include "log/log.h"
#include "loop/loop.h"
#include "tls/tls_files.h"

typedef struct gw_http_client gw_http_client;
typedef struct gw_http_call gw_http_call;

typedef struct gw_http_client_options {
    const gw_cidr *allow_cidrs; /* private and loopback blocks that may be connected to; copied */
    size_t allow_cidr_count;
    /* authorities, own certificate; outlives the client. NULL = the system's, none */
    gw_tls_files *tls;
    size_t idle_max_per_origin; /* kept connections, 64; the pool is LIFO */
    int64_t idle_timeout_ms; /* of a kept connection, 60 s */
    size_t head_max_bytes; /* 64 KiB */
} gw_http_client_options;
extern const gw_http_client_options gw_http_client_defaults;

GW_CHECK gw_status gw_http_client_new(gw_loop *l, const gw_http_client_options *o, gw_log *log,
                                      gw_http_client **ret, gw_error *err);
/* Calls in flight end with GW_ERR_CANCELLED, then everything is closed; `closed(arg)` on the loop,
 * NULL is fine. */
void gw_http_client_close(gw_http_client *c, void (*closed)(void *arg), void *arg);

typedef struct gw_http_timeouts { /* ms; 0 = none */
    int64_t connect_ms; /* DNS, TCP and TLS */
    int64_t first_byte_ms; /* from the request sent to the answer's head */
    int64_t idle_ms; /* between answer bytes, while not paused */
    int64_t total_ms;
} gw_http_timeouts;

/*
 * Who speaks HTTP. The limits and rules above hold for both; GW_HTTP_OWN is twice as fast. libcurl's is there for a
 * provider that ours does not get on with, and for cold work. Over TLS it refuses
 * an answer that only the connection's end ends.
 */
typedef enum gw_http_transport { GW_HTTP_OWN, GW_HTTP_CURL } gw_http_transport;

typedef struct gw_http_request {
    gw_http_transport transport;
    const char *method; /* "POST" */
    gw_url url; /* http or https; views must live during the call of gw_http_send only */
    gw_str target; /* path and query as sent; starts with "/" */
    const gw_header *headers; /* checked; Host, Content-Length and framing are the client's */
    size_t header_count;
    /* of the headers: of the program, valid and not the client's; not looked at again */
    bool names_are_constants;
    const gw_str *body; /* parts, borrowed until on_done: no copy of bodies */
    size_t body_parts; /* … or until gw_http_release_request() */
    gw_http_timeouts timeouts;
    /* kept connections of this origin from now on; 0: as the client's options say */
    size_t idle_max;
} gw_http_request;

/*
 * Calls back on the loop: on_head at most once, then on_body any number of times, then on_done
 * exactly once, last, also after gw_http_cancel() (then with GW_ERR_CANCELLED). Views live during
 * the callback.
 */
typedef struct gw_http_call_ops {
    void (*on_head)(gw_http_call *c, int status, gw_headers headers, void *arg);
    void (*on_body)(gw_http_call *c, gw_str bytes, void *arg);
    /*
     * GW_OK: the answer is complete by its framing. Else GW_ERR_UPSTREAM_UNAVAILABLE (refused, no
     * such host), GW_ERR_UPSTREAM_TIMEOUT (err says which), GW_ERR_UPSTREAM_PROTOCOL (not HTTP),
     * GW_ERR_UPSTREAM_CUT (ended in mid-answer), GW_ERR_ADDRESS_REFUSED, GW_ERR_UPSTREAM_FAILED
     * (TLS), GW_ERR_CANCELLED.
     */
    void (*on_done)(gw_http_call *c, gw_status rc, const gw_error *err, void *arg);
} gw_http_call_ops;

/* Errors of the request itself (bad header value, unknown scheme) return at once and make no
 * callback. */
GW_CHECK gw_status gw_http_send(gw_http_client *client, const gw_http_request *request,
                                const gw_http_call_ops *ops, void *arg, gw_http_call **ret,
                                gw_error *err);
void gw_http_pause(gw_http_call *c); /* stops reading: backpressure */
void gw_http_resume(gw_http_call *c);
/* Aborts; its connection is closed. on_done follows from the loop, not from inside. */
void gw_http_cancel(gw_http_call *c);
/*
 * From on_head on, for an answer that may take long: gives back what the request was sent from. True: the body's parts are
 * borrowed no more. False: some of it may still be sent.
 */
bool gw_http_release_request(gw_http_call *c);
bool gw_http_call_was_sent(
    const gw_http_call *c); /* at least one request byte may have reached the upstream */
