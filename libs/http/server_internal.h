/*
 * What the files of the HTTP server share. Not for others.
 *
 *   server.c             listen, accept, drain, close; what all connections share
 *   server_connection.c  one connection: what happens next, timers, closing
 *   server_reading.c     a request's way in: head, admission of the body, body
 *   server_request.c     llhttp's callbacks and the checks of a head
 *   server_exchange.c    what a handler reads and answers
 *   server_write.c       the way out: gathered for a turn of the loop, then tried, then queued
 *   server_tls.c         TLS between the socket and all of these
 *
 * A connection's states:
 *
 *   IDLE -> HEAD -> DECIDING -> BODY -> RUNNING -> IDLE …        a kept connection
 *             |        |          |        |
 *             +--------+----------+--------+-> LINGERING -> CLOSED
 *
 * With TLS it begins in HANDSHAKING.
 *
 * Every decision is taken in advance(); what handlers call only leaves a mark and schedules it, so no callback
 * of a handler ever runs inside a call the handler makes.
 */
#pragma once

#include "http/server.h"

#include <llhttp.h>

typedef enum connection_state {
    STATE_IDLE, /* between requests, not one byte of the next */
    STATE_HANDSHAKING, /* TLS has not begun to carry requests */
    STATE_HEAD, /* in a head */
    STATE_DECIDING, /* the handler has the head; the parser rests before the body */
    STATE_BODY, /* in a body the handler asked for */
    STATE_RUNNING, /* nothing is read for the exchange any more; bytes that come are kept, within bounds */
    STATE_LINGERING, /* answered and shut: what the client still sends is thrown away, so that no RST eats the answer */
    STATE_CLOSING,
    STATE_CLOSED,
} connection_state;

typedef struct span { /* offsets into the raw head */
    uint32_t at, len;
} span;

typedef struct header_span {
    span name, value;
} header_span;

typedef enum answer_state { ANSWER_NONE, ANSWER_STARTED, ANSWER_ENDED } answer_state;

typedef enum framing {
    FRAMING_NO_BODY,
    FRAMING_LENGTH,
    FRAMING_CHUNKED,
    FRAMING_UNTIL_CLOSE
} framing;

typedef struct connection connection;

struct gw_exchange {
    connection *connection;
    gw_arena *arena;
    gw_list spare_node; /* in the server's spares */
    void *data;

    /* the head: raw bytes are gathered here only when they come in more than one read */
    gw_buf raw;
    size_t raw_len;
    span target_span;
    header_span *spans;
    size_t span_count, span_cap;

    gw_str method, target, path, query;
    gw_headers headers;
    int64_t arrival_ns;
    bool was_given; /* to on_head, so on_closed is owed */
    bool is_http_1_0;
    bool wants_keep; /* by version and Connection */
    bool expects_body;
    bool expects_continue;

    bool body_is_wanted; /* gw_exchange_read_body() was called */
    bool message_is_read; /* the parser stands behind the request's last byte */
    size_t body_max;
    size_t body_charged; /* to the server's body memory */
    size_t trailer_bytes;
    gw_buf body;

    answer_state answer;
    framing framing;
    bool keeps; /* the connection outlives this answer */
    bool has_sent;
    bool was_congested;
    bool failed_by_server; /* the answer is the server's own: not complete for the handler */
    int64_t length_left;
    gw_str head_waiting; /* goes out with the first write */
};

typedef struct
    writer { /* there while bytes wait: for the end of the loop's turn, or for the socket */
    gw_list spare_node; /* in the server's spare_writers */
    bool is_gathering; /* nothing was tried yet */
    uv_write_t request;
    gw_buf in_flight;
    gw_buf waiting;
} writer;

struct connection {
    uv_tcp_t tcp;
    gw_http_server *server;
    gw_list node;
    llhttp_t parser;
    gw_timer timer;
    gw_exchange *x; /* from a request's first byte to the end of its answer */
    writer *writer;
    gw_tls *tls; /* NULL: plain */
    size_t unasked_bytes; /* of TLS itself, put into a queue that does not move */
    gw_buf leftover; /* bytes read but not parsed yet */
    gw_str in; /* what advance() parses from: the server's read buffer, or `leftover` */
    size_t write_left; /* when the write timer was set */
    gw_status failure; /* set by a parser callback */
    gw_ip peer;
    uint8_t state; /* connection_state */
    bool is_fresh; /* not one request yet: the head's time runs from accept */
    bool has_spoken; /* TLS: the first byte has come */
    bool is_reading;
    bool is_eof; /* the client sends no more, but still waits for a whole answer */
    bool is_advancing;
    bool is_scheduled;
    bool is_broken; /* to be closed at once */
    bool resets; /* … with a RST: the framing alone would not show that the answer is incomplete */
};

_Static_assert(sizeof(struct connection) < 1024, "an idle connection costs less than 1 KiB");

#define DATE_SIZE           40
#define GW_TLS_RECORD_BYTES ((size_t)16 * 1024)

typedef struct server_tls {
    gw_tls_context *context;
    char plain[GW_TLS_RECORD_BYTES]; /* out of TLS, while it is parsed */
    char record[GW_TLS_RECORD_BYTES]; /* small parts, gathered */
} server_tls;

struct gw_http_server {
    gw_loop *loop;
    gw_http_server_options options;
    const gw_http_handler_ops *ops;
    void *arg;
    gw_log *log;
    server_tls *tls; /* NULL: plain */
    uv_tcp_t listener;
    gw_list connections;
    size_t connection_count;
    uint16_t port;
    bool is_draining;
    bool is_closing;
    bool listener_is_open;
    void (*closed)(void *arg);
    void *closed_arg;

    size_t body_bytes; /* held by all exchanges */
    gw_list spares; /* exchanges with their arenas */
    size_t spare_count;
    gw_list spare_writers; /* with the memory of what they gathered */
    size_t spare_writer_count;
    gw_buf scratch; /* an answer's head while it is written */
    int64_t date_s;
    char date[DATE_SIZE]; /* "Date: …\r\n" of that second */
    char read_buffer[64 * 1024];
};

/* server.c */
gw_exchange *server_take_exchange(gw_http_server *s, connection *c); /* NULL when out of memory */
void server_return_exchange(gw_http_server *s, gw_exchange *x);
void server_forget_connection(gw_http_server *s, connection *c); /* frees it; may free the server */
size_t server_body_room(const gw_http_server *s);
const char *server_date_line(gw_http_server *s);

/* server_connection.c */
connection *connection_new(
    gw_http_server
        *s); /* NULL when out of memory; connection_start() or connection_break() follow */
void connection_start(connection *c);
void connection_refuse(connection *c); /* 503 and close */
void connection_schedule(connection *c);
/* From now on nothing is parsed for the exchange; the write timer rules. */
void connection_stop_reading_request(connection *c);
void connection_break(connection *c); /* closes soon, from anywhere */
void connection_take(connection *c, gw_str bytes); /* plain bytes that came */
void connection_take_end(connection *c, ssize_t why); /* UV_EOF or an error: no more will come */

/* server_reading.c: steps of advance() */
bool request_start_head(connection *c); /* false when nothing but blank lines came */
void request_read_head(connection *c);
void request_start_body(connection *c);
void request_read_body(connection *c);
void request_give_body(connection *c);

/* server_request.c */
extern const llhttp_settings_t request_parser_settings;
/* The raw head lies at `raw`, which lives as long as the exchange: fills in the request, or says why it is refused. */
GW_CHECK gw_status request_accept(gw_exchange *x, gw_str raw, gw_error *err);

/* server_exchange.c */
/* The server's own answer to a request it refuses; `x` may be one whose head was never read, or NULL. */
void connection_answer_error(connection *c, const gw_error *err);

/* server_write.c */
void connection_write(connection *c, uv_buf_t *parts, unsigned count);
void connection_write_raw(connection *c, uv_buf_t *parts, unsigned count); /* as they go out */
void connection_flush(connection *c); /* what was gathered, as far as the socket takes it */
void connection_tell_drained(
    connection *c); /* the handler, when it waits for that; from the loop */
size_t connection_queued_bytes(const connection *c);
void connection_watch_writing(connection *c); /* sets the write timer when bytes wait */
void connection_on_write_timer(connection *c);
void connection_free_writer(connection *c);
void server_free_spare_writers(gw_http_server *s);

/* server_tls.c */
GW_CHECK gw_status server_open_tls(gw_http_server *s, gw_error *err); /* when options ask for it */
void server_close_tls(gw_http_server *s);
void connection_take_cipher(connection *c, gw_str bytes);
void connection_write_tls(connection *c, const uv_buf_t *parts, unsigned count);
/* What came before is whole: a close_notify, as far as the socket takes it at once. Nothing without TLS. */
void connection_say_goodbye(connection *c);
