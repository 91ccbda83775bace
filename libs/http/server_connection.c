#include "http/server_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/socket.h>

enum {
    LEFTOVER_MAX_BYTES =
        16 * 1024, /* read ahead of a running exchange, only to see the client leave */
    LINGER_MS = 5000,
    LINGERING_MAX =
        128, /* connections beyond the limit that may still read why they were refused */
    KEEPALIVE_PROBE_S = 60,
};

static void set_timer(connection *c, int64_t delay_ms)
{
    gw_timer_set(c->server->loop, &c->timer, delay_ms);
}

/* ---- the end ---- */

static void free_connection(connection *c)
{
    connection_free_writer(c);
    gw_tls_free(c->tls);
    gw_buf_fini(&c->leftover);
    server_forget_connection(c->server, c);
}

static void on_tcp_closed(uv_handle_t *h)
{
    connection *c = h->data;
    c->state = STATE_CLOSED;
    if (!c->is_scheduled) /* else the deferred call frees it */
        free_connection(c);
}

static void release_exchange(connection *c, bool complete)
{
    gw_exchange *x = c->x;
    if (!x)
        return;
    if (x->was_given)
        c->server->ops->on_closed(x, complete, c->server->arg);
    c->x = NULL;
    server_return_exchange(c->server, x);
}

static void close_now(connection *c)
{
    connection_flush(c);
    if (!c->x) /* else an answer is cut, and must look so */
        connection_say_goodbye(c);
    c->state = STATE_CLOSING;
    gw_timer_cancel(c->server->loop, &c->timer);
    release_exchange(c, false);
    if (!c->resets || uv_tcp_close_reset(&c->tcp, on_tcp_closed) != 0)
        uv_close((uv_handle_t *)&c->tcp, on_tcp_closed);
}

void connection_stop_reading_request(connection *c)
{
    c->state = STATE_RUNNING;
    gw_timer_cancel(c->server->loop, &c->timer);
    connection_watch_writing(c);
}

void connection_break(connection *c)
{
    c->is_broken = true;
    connection_schedule(c);
}

static void linger(connection *c)
{
    const gw_http_server *s = c->server;
    bool is_crowded = s->connection_count > s->options.connections_max + LINGERING_MAX;
    uv_os_fd_t fd;
    connection_say_goodbye(c);
    if (c->is_eof || is_crowded || uv_fileno((uv_handle_t *)&c->tcp, &fd) != 0 ||
        shutdown(fd, SHUT_WR) != 0) {
        close_now(c);
        return;
    }
    c->state = STATE_LINGERING;
    set_timer(c, LINGER_MS);
}

/* The answer is written: the next request, or the end. */
static void finish_exchange(connection *c)
{
    gw_exchange *x = c->x;
    bool keeps = x && x->keeps && !c->is_eof;
    /* A close with unread bytes sends a RST, and that may overtake the answer. */
    bool has_unread = !x || !x->message_is_read || c->in.len > 0;
    bool complete = x && !x->failed_by_server;
    release_exchange(c, complete);
    if (keeps) {
        c->state = STATE_IDLE;
        c->is_fresh = false;
        llhttp_resume(&c->parser);
        set_timer(c, c->server->options.idle_timeout_ms);
    } else if (has_unread) {
        linger(c);
    } else {
        close_now(c);
    }
}

/* ---- what happens next ---- */

/* Takes one step; false when there is none to take now. */
static bool step(connection *c)
{
    gw_exchange *x = c->x;
    if (c->is_broken) {
        close_now(c);
        return false;
    }
    switch ((connection_state)c->state) {
    case STATE_IDLE:
        if (c->in.len > 0 && request_start_head(c))
            return true;
        if (c->server->is_draining)
            close_now(c);
        return false;
    case STATE_HANDSHAKING:
        if (c->server->is_draining)
            close_now(c);
        return false;
    case STATE_HEAD:
        if (c->in.len == 0)
            return false;
        request_read_head(c);
        return true;
    case STATE_BODY:
        if (x->message_is_read)
            request_give_body(c);
        else if (x->answer != ANSWER_NONE) /* the handler did not wait for the body */
            connection_stop_reading_request(c);
        else if (c->in.len > 0)
            request_read_body(c);
        else
            return false;
        return true;
    case STATE_DECIDING:
        if (x->answer == ANSWER_NONE && x->body_is_wanted) {
            request_start_body(c);
            return true;
        }
        __attribute__((fallthrough));
    case STATE_RUNNING:
        if (c->writer || (x && x->answer != ANSWER_ENDED))
            return false;
        finish_exchange(c);
        return true;
    default:
        return false;
    }
}

/* Gives back what was read but not parsed to `leftover`, and reads on when there is room for more. */
static void settle_input(connection *c)
{
    gw_str rest = c->in;
    c->in = GW_STR_NULL;
    bool was_leftover = c->leftover.len > 0;
    if (rest.len == 0 || c->state >= STATE_LINGERING)
        gw_buf_fini(&c->leftover); /* idle connections hold no buffer */
    else if (was_leftover)
        gw_buf_drop_front(&c->leftover, c->leftover.len - rest.len);
    else
        gw_buf_append_str(&c->leftover, rest);
    if (gw_buf_failed(&c->leftover))
        connection_break(c);
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buffer);

static void on_allocate(uv_handle_t *h, size_t suggested, uv_buf_t *ret)
{
    (void)suggested;
    const connection *c = h->data;
    *ret = uv_buf_init(c->server->read_buffer, sizeof(c->server->read_buffer));
}

static void settle_reading(connection *c)
{
    if (c->state >= STATE_CLOSING)
        return;
    bool wants = !c->is_eof && !c->is_broken && c->leftover.len < LEFTOVER_MAX_BYTES;
    if (wants && !c->is_reading)
        uv_read_start((uv_stream_t *)&c->tcp, on_allocate, on_read);
    else if (!wants && c->is_reading)
        uv_read_stop((uv_stream_t *)&c->tcp);
    c->is_reading = wants;
}

static void advance(connection *c)
{
    c->is_advancing = true;
    while (c->state < STATE_CLOSING && step(c))
        ;
    c->is_advancing = false;
    settle_input(c);
    settle_reading(c);
    if (c->writer && c->writer->is_gathering)
        connection_schedule(c);
}

static void run_scheduled(void *arg)
{
    connection *c = arg;
    c->is_scheduled = false;
    if (c->state == STATE_CLOSED) {
        free_connection(c);
    } else if (c->state < STATE_CLOSING) {
        connection_flush(c);
        connection_tell_drained(c);
        c->in = gw_buf_str(&c->leftover);
        advance(c);
    }
}

void connection_schedule(connection *c)
{
    if (c->is_advancing || c->is_scheduled || c->state >= STATE_CLOSING)
        return;
    c->is_scheduled = true;
    gw_loop_defer(c->server->loop, run_scheduled, c);
}

void connection_take_end(connection *c, ssize_t why)
{
    bool is_answered = c->state == STATE_RUNNING || c->state == STATE_DECIDING;
    if (is_answered && c->x)
        is_answered = c->x->answer == ANSWER_ENDED;
    if (why == UV_EOF && is_answered) { /* half-closed: what is queued may still be wanted */
        c->is_eof = true;
        settle_reading(c);
        return;
    }
    connection_break(c);
}

void connection_take(connection *c, gw_str bytes)
{
    c->in = bytes;
    if (c->leftover.len > 0) {
        gw_buf_append_str(&c->leftover, c->in);
        c->in = gw_buf_str(&c->leftover);
    }
    advance(c);
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buffer)
{
    connection *c = stream->data;
    if (c->state >= STATE_CLOSING || count == 0)
        return;
    if (count < 0) {
        connection_take_end(c, count);
        return;
    }
    if (c->state == STATE_LINGERING)
        return;
    gw_str bytes = gw_str_n(buffer->base, (size_t)count);
    if (c->tls)
        connection_take_cipher(c, bytes);
    else
        connection_take(c, bytes);
}

static void on_timer(void *arg)
{
    connection *c = arg;
    gw_error err;
    switch ((connection_state)c->state) {
    case STATE_HEAD:
    case STATE_BODY:
        if (c->x->answer != ANSWER_NONE) { /* given in this very turn of the loop */
            connection_schedule(c);
            break;
        }
        (void)gw_fail(&err, GW_ERR_REQUEST_TIMEOUT, "the request's %s took too long",
                      c->state == STATE_HEAD ? "head" : "body");
        connection_answer_error(c, &err);
        connection_schedule(c);
        break;
    case STATE_DECIDING:
    case STATE_RUNNING:
        connection_on_write_timer(c);
        break;
    default: /* idle, lingering for long enough, or no handshake in time */
        connection_break(c);
        break;
    }
}

/* ---- the beginning ---- */

connection *connection_new(gw_http_server *s)
{
    connection *c = calloc(1, sizeof(*c));
    if (!c)
        return NULL;
    c->server = s;
    c->is_fresh = true;
    gw_timer_init(&c->timer, on_timer, c);
    uv_tcp_init(gw_loop_uv(s->loop), &c->tcp);
    c->tcp.data = c;
    llhttp_init(&c->parser, HTTP_REQUEST, &request_parser_settings);
    c->parser.data = c;
    return c;
}

void connection_start(connection *c)
{
    struct sockaddr_storage peer;
    int len = sizeof(peer);
    if (uv_tcp_getpeername(&c->tcp, (struct sockaddr *)&peer, &len) != 0 ||
        !gw_ip_from_sockaddr((const struct sockaddr *)&peer, &c->peer)) {
        connection_break(c); /* it left before we looked */
        return;
    }
    if (c->server->tls) {
        c->state = STATE_HANDSHAKING;
        if (gw_tls_accept(c->server->tls->context, &c->tls, NULL) != GW_OK) {
            connection_break(c); /* out of memory */
            return;
        }
    }
    uv_tcp_nodelay(&c->tcp, 1);
    uv_tcp_keepalive(&c->tcp, 1, KEEPALIVE_PROBE_S);
    set_timer(c, c->server->options.head_timeout_ms);
    settle_reading(c);
}

void connection_refuse(connection *c)
{
    gw_error err;
    if (c->server->tls) { /* a handshake is what there is no room for */
        connection_break(c);
        return;
    }
    (void)gw_fail(&err, GW_ERR_OVERLOADED, "too many connections, try again later");
    connection_answer_error(c, &err);
    connection_schedule(c);
}
