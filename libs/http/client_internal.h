/*
 * Inside of the HTTP client: who owns what, and how its files talk to each other.
 *
 *   client ── origins ── idle connections (LIFO)
 *      └───── calls ──── at most one carrier each: a connection of ours or a transfer of libcurl's
 *
 * client.c             client, origins, pools, gw_http_send()
 * client_call.c        one call: request head, deadline, pause, cancel, end
 * client_dial.c        a connection's beginning
 * client_send.c        a connection outwards: the request, plain or encrypted
 * client_connection.c  a connection inwards: read, keep, retry, close
 * client_answer.c      llhttp's callbacks: head, body, end of an answer
 * client_transfer*.c   a call that libcurl carries
 *
 * A call ends exactly once, by gw_http_call_end(), from the loop. A connection with anything odd about it is closed; its
 * memory goes with its handle. Nothing here is called from two threads.
 */
#pragma once

#include "core/map.h"
#include "http/client.h"
#include "http/connector.h"
#include "http/curl_loop.h"
#include "tls/tls.h"

#include <llhttp.h>

#define GW_HTTP_READ_BYTES         ((size_t)64 * 1024)
#define GW_HTTP_RECORD_BYTES       ((size_t)16 * 1024) /* of plain text in one TLS record */
#define GW_HTTP_ANSWER_HEADERS_MAX 256
#define GW_HTTP_FREE_EASY_MAX      64 /* handles of libcurl kept for the next transfers */
#define GW_HTTP_STALE_MS           1000 /* longer than any round trip */

/* An answer's head while it comes in; lent to a connection from its first header to on_head. */
typedef struct gw_http_head {
    struct gw_http_head *next; /* free list */
    size_t used;
    size_t count;
    uint64_t names; /* as in gw_headers */
    gw_header items[GW_HTTP_ANSWER_HEADERS_MAX];
    char bytes[]; /* options.head_max_bytes */
} gw_http_head;

typedef struct gw_http_origin {
    gw_http_client *client;
    gw_list idle;
    size_t idle_count, idle_max;
    size_t connections; /* open or opening */
    gw_tls_session session;
    bool is_tls;
    uint16_t port;
    char key[260]; /* of the map */
    size_t key_len;
    char host[256]; /* lower case, no brackets */
    char authority[272]; /* as in Host and in messages */
} gw_http_origin;

typedef struct gw_http_conn gw_http_conn;

/* What carries a call, the first member of a connection and of a transfer. */
typedef struct gw_http_carrier gw_http_carrier;
typedef struct gw_http_carrier_ops {
    /* Ends the call from the loop; the message gets the origin's name in front. */
    void (*end)(gw_http_carrier *k, gw_error *err);
    void (*drop)(gw_http_carrier *k); /* the call lets go of it */
    void (*pause)(gw_http_carrier *k);
    void (*resume)(gw_http_carrier *k); /* from the loop; also when nothing was paused */
    size_t (*unsent)(gw_http_carrier *k); /* bytes of the request that are still here */
} gw_http_carrier_ops;
struct gw_http_carrier {
    const gw_http_carrier_ops *ops;
};

typedef struct gw_http_transfer gw_http_transfer;

struct gw_http_client {
    gw_loop *loop;
    gw_log *log;
    gw_http_client_options options;
    gw_connector *connector;
    gw_curl_loop *transfers;
    CURL *free_easy[GW_HTTP_FREE_EASY_MAX];
    size_t free_easy_count;
    gw_tls_context *tls;
    gw_map *origins;
    llhttp_settings_t parser_settings;
    gw_list idle; /* all kept connections, the longest idle first */
    gw_timer idle_timer;
    gw_list calls;
    gw_list work; /* calls with something to do outside of the caller's stack */
    bool work_is_deferred;
    gw_list free_calls;
    size_t free_call_count;
    gw_http_head *free_heads;
    size_t free_head_count;
    size_t connections; /* and transfers: memory not yet returned */
    bool closing;
    unsigned finishing; /* parts that have still to close, once all calls are gone */
    void (*closed)(void *arg);
    void *closed_arg;
    char read_buffer[GW_HTTP_READ_BYTES]; /* from the sockets */
    char plain_buffer[GW_HTTP_RECORD_BYTES]; /* out of TLS */
};

typedef enum gw_http_stage {
    GW_HTTP_CONNECTING,
    GW_HTTP_AWAITING, /* from the request on to the answer's head */
    GW_HTTP_ANSWERING,
} gw_http_stage;

struct gw_http_call {
    gw_list node; /* client->calls or free_calls */
    gw_list work_node; /* client->work */
    gw_http_client *client;
    gw_http_carrier *carrier;
    gw_http_call_ops ops;
    void *arg;
    gw_buf head;
    uv_buf_t *bufs; /* head, then the body's parts */
    size_t buf_count;
    size_t buf_cap;
    size_t request_bytes;
    gw_http_timeouts timeouts;
    gw_http_stage stage;
    int64_t stage_since_ms;
    int64_t total_due_ms;
    gw_timer timer;
    size_t unsent_seen; /* bytes queued when the first-byte timer last fired */
    bool is_head_method;
    bool paused;
    bool was_sent;
    bool is_put_off; /* on a connection that sends it when the loop's turn ends */
    bool request_is_sent; /* all of it is with the kernel */
    bool was_retried;
    bool has_ended; /* no callback but on_done any more */
    gw_status rc;
    /* of an end that is still to be told; NULL: there is none, or no memory for it */
    gw_error *err;
};

typedef enum gw_http_conn_state {
    GW_HTTP_CONN_DIALING,
    GW_HTTP_CONN_HANDSHAKING,
    GW_HTTP_CONN_BUSY,
    GW_HTTP_CONN_IDLE,
    GW_HTTP_CONN_CLOSED,
} gw_http_conn_state;

struct gw_http_conn {
    gw_http_carrier carrier;
    gw_http_client *client;
    gw_http_origin *origin;
    gw_http_call *call;
    gw_list origin_node; /* origin->idle */
    gw_list idle_node; /* client->idle */
    int64_t idle_since_ms;
    gw_http_conn_state state;
    gw_dial *dial;
    gw_tls *tls;
    uv_tcp_t tcp;
    uv_write_t *write; /* there while bytes wait for the socket */
    gw_buf cipher; /* queued TLS bytes */
    gw_buf held; /* answer bytes read but not parsed since the caller paused */
    size_t part; /* TLS: next byte of the request to encrypt */
    size_t part_offset;
    bool write_failed;
    bool was_used; /* an earlier exchange succeeded on it */
    bool has_answered; /* a byte of the current answer came */
    bool keep_alive;
    bool answer_is_whole;
    bool has_tcp;
    bool parser_is_paused; /* by the caller, in mid-answer */
    bool may_have_more; /* the socket may hold bytes that no read has seen */
    gw_status problem_rc; /* found by our own checks inside the parser */
    const char *problem;
    gw_http_head *head;
    llhttp_t parser;
};

/* client.c */
void gw_http_client_schedule(gw_http_client *c, gw_http_call *call);
void gw_http_client_check_closed(gw_http_client *c);
void gw_http_origin_release(gw_http_origin *o); /* one connection fewer */
gw_http_head *gw_http_client_take_head(gw_http_client *c); /* NULL when out of memory */
void gw_http_client_return_head(gw_http_client *c, gw_http_head *h);

/* client_call.c */
GW_CHECK gw_status gw_http_call_check(const gw_http_request *r, gw_error *err);
bool gw_http_method_has_body(
    const char *method); /* RFC 9110 §8.6: says Content-Length: 0 when empty */
gw_http_call *gw_http_call_take(gw_http_client *c); /* NULL when out of memory */
void gw_http_call_return(gw_http_call *call); /* to the free list, without a callback */
void gw_http_call_free(gw_http_call *call);
GW_CHECK gw_status gw_http_call_format(gw_http_call *call, const gw_http_origin *o,
                                       const gw_http_request *r, gw_error *err);
void gw_http_call_enter(gw_http_call *call, gw_http_stage stage); /* restarts the stage's clock */
void gw_http_call_touch(gw_http_call *call); /* something moved */
void gw_http_call_end(gw_http_call *call, gw_status rc, const gw_error *err);
void gw_http_call_end_later(gw_http_call *call, gw_status rc,
                            const gw_error *err); /* outside of the caller's stack */
void gw_http_call_work(gw_http_call *call); /* what gw_http_client_schedule() asked for */

/* client_dial.c */
GW_CHECK gw_status gw_http_conn_open(gw_http_origin *o, gw_http_call *call, gw_error *err);

/* client_connection.c */
extern const gw_http_carrier_ops gw_http_conn_ops;
void gw_http_conn_close(gw_http_conn *conn);
void gw_http_conn_leave_pool(gw_http_conn *conn);
void gw_http_conn_read_on(gw_http_conn *conn);
void gw_http_conn_stop_reading(gw_http_conn *conn);
void gw_http_conn_handshake(
    gw_http_conn *conn); /* as far as the bytes go; then the exchange starts */
/* Closes the connection; its call ends from the loop. The message gets the origin's name in front. */
void gw_http_conn_fail(gw_http_conn *conn, gw_status rc, const char *format, ...) GW_PRINTF(3, 4);
void gw_http_conn_end(gw_http_conn *conn, gw_error *err); /* the same with a filled error */
static inline uv_stream_t *gw_http_conn_stream(gw_http_conn *conn)
{
    return (uv_stream_t *)&conn->tcp;
}

/* client_send.c */
/*
 * The call has the connection; its request goes out when the loop's turn ends, with those of all others that came in it: who waits for
 * them is woken once, and the code that reads and the code that writes do not push each other out of the caches.
 */
void gw_http_conn_start(gw_http_conn *conn, gw_http_call *call);
void gw_http_conn_send(gw_http_conn *conn); /* what was put off */
void gw_http_conn_flush_tls(gw_http_conn *conn);
size_t gw_http_conn_unsent(const gw_http_conn *conn);

/* client_answer.c */
void gw_http_answer_settings(llhttp_settings_t *s);
void gw_http_answer_begin(gw_http_conn *conn);
void gw_http_answer_drop_head(gw_http_conn *conn);
/*
 * RFC 9112 §6.1: the framing must be beyond doubt, or the next answer on this connection is somebody else's. NULL when
 * it is.
 */
const char *gw_http_answer_framing_problem(unsigned major, unsigned minor, gw_headers headers);

/* client_transfer.c */
GW_CHECK gw_status gw_http_transfer_open(gw_http_origin *o, gw_http_call *call,
                                         const gw_http_request *r, gw_error *err);
