#include "http/client_internal.h"

#include <assert.h>
#include <stdarg.h>
#include <stdlib.h>

static void drain_tls(gw_http_conn *conn);
static void take_cipher(gw_http_conn *conn, gw_str bytes);

/* ---- the end of a connection ---- */

static void free_conn(void *arg)
{
    gw_http_conn *conn = arg;
    gw_http_client *c = conn->client;
    gw_http_answer_drop_head(conn);
    gw_tls_free(conn->tls);
    gw_buf_fini(&conn->cipher);
    gw_buf_fini(&conn->held);
    gw_http_origin_release(conn->origin);
    free(conn);
    c->connections--;
    gw_http_client_check_closed(c);
}

static void on_closed(uv_handle_t *h)
{
    free_conn(h->data);
}

void gw_http_conn_leave_pool(gw_http_conn *conn)
{
    gw_list_remove(&conn->origin_node);
    gw_list_remove(&conn->idle_node);
    conn->origin->idle_count--;
}

void gw_http_conn_close(gw_http_conn *conn)
{
    if (conn->state == GW_HTTP_CONN_CLOSED)
        return;
    if (conn->state == GW_HTTP_CONN_IDLE)
        gw_http_conn_leave_pool(conn);
    conn->state = GW_HTTP_CONN_CLOSED;
    if (conn->dial)
        gw_dial_cancel(conn->dial);
    conn->dial = NULL;
    if (conn->has_tcp)
        uv_close((uv_handle_t *)&conn->tcp, on_closed);
    else
        gw_loop_defer(conn->client->loop, free_conn, conn);
}

void gw_http_conn_end(gw_http_conn *conn, gw_error *err)
{
    gw_http_call *call = conn->call;
    gw_error_prefix(err, "upstream %s", conn->origin->authority);
    conn->call = NULL;
    gw_http_conn_close(conn);
    if (call)
        gw_http_call_end_later(call, err->code, err);
}

void gw_http_conn_fail(gw_http_conn *conn, gw_status rc, const char *format, ...)
{
    gw_error err = {0};
    va_list args;
    va_start(args, format);
    gw_vfail(&err, rc, format, args);
    va_end(args);
    gw_http_conn_end(conn, &err);
}

/* ---- kept connections ---- */

static void keep(gw_http_conn *conn)
{
    gw_http_client *c = conn->client;
    gw_http_origin *o = conn->origin;
    conn->state = GW_HTTP_CONN_IDLE;
    conn->was_used = true;
    conn->idle_since_ms = gw_loop_now_ms(c->loop);
    gw_list_push_front(&o->idle, &conn->origin_node);
    gw_list_push_back(&c->idle, &conn->idle_node);
    o->idle_count++;
    if (!gw_timer_is_armed(&c->idle_timer))
        gw_timer_set(c->loop, &c->idle_timer, c->options.idle_timeout_ms);
    if (o->idle_count > o->idle_max) /* the coldest goes */
        gw_http_conn_close(GW_CONTAINER_OF(gw_list_last(&o->idle), gw_http_conn, origin_node));
}

/* Bytes after the answer that the socket or TLS holds: without the check they would answer the next request. */
static bool has_bytes_left(gw_http_conn *conn)
{
    char byte;
    if (conn->tls) {
        size_t len = 0;
        if (gw_tls_read(conn->tls, &byte, 1, &len, NULL) != GW_OK || len > 0 ||
            gw_tls_is_closed(conn->tls))
            return true;
    }
    uv_os_fd_t fd;
    return conn->may_have_more && (uv_fileno((uv_handle_t *)&conn->tcp, &fd) != 0 ||
                                   recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) != -1);
}

static void complete(gw_http_conn *conn, size_t bytes_left)
{
    gw_http_call *call = conn->call;
    bool fit = conn->keep_alive && bytes_left == 0 && call->request_is_sent && !conn->write &&
               !conn->write_failed && !conn->client->closing && !has_bytes_left(conn);
    conn->call = NULL;
    call->carrier = NULL;
    if (fit) {
        gw_http_conn_read_on(
            conn); /* it may have been stopped: an idle connection hears of its end */
        gw_http_answer_drop_head(conn); /* one that trailers were counted in */
        keep(conn);
    } else {
        gw_http_conn_close(conn);
    }
    gw_http_call_end(call, GW_OK, NULL);
}

/* ---- answer ---- */

static void parse(gw_http_conn *conn, gw_str bytes)
{
    llhttp_errno_t rc = llhttp_execute(&conn->parser, bytes.ptr, bytes.len);
    if (conn->state == GW_HTTP_CONN_CLOSED || rc == HPE_OK)
        return;
    if (rc == HPE_PAUSED) {
        const char *at = llhttp_get_error_pos(&conn->parser);
        size_t left = (size_t)(bytes.ptr + bytes.len - at);
        if (conn->answer_is_whole) {
            complete(conn, left);
            return;
        }
        conn->parser_is_paused = true;
        gw_buf_append(&conn->held, at, left);
        if (gw_buf_failed(&conn->held))
            gw_http_conn_fail(conn, GW_ERR_NO_MEMORY, "out of memory for its paused answer");
        return;
    }
    if (conn->problem)
        gw_http_conn_fail(conn, conn->problem_rc, "%s", conn->problem);
    else
        gw_http_conn_fail(conn, GW_ERR_UPSTREAM_PROTOCOL, "its answer is not HTTP: %s",
                          llhttp_get_error_reason(&conn->parser));
}

/* RFC 9112 §9.3.1: an idle server may close just as we send. It is tried anew, once, on a fresh connection. */
static void retry(gw_http_conn *conn)
{
    gw_http_call *call = conn->call;
    gw_error err = {0};
    gw_log_debug(conn->client->log, "upstream_request_retried",
                 gw_kv("upstream", (const char *)conn->origin->authority));
    call->was_retried = true;
    call->request_is_sent = call->is_put_off = false;
    conn->call = NULL;
    gw_status rc = gw_http_conn_open(conn->origin, call, &err);
    gw_http_conn_close(conn);
    if (rc != GW_OK)
        gw_http_call_end_later(call, rc, &err);
}

/* An end that was on its way as we sent is here within a round trip; who closes later has the request, and may have acted on it. */
static bool may_be_retried(const gw_http_conn *conn)
{
    const gw_http_call *call = conn->call;
    int64_t since_ms = gw_loop_now_ms(conn->client->loop) - call->stage_since_ms;
    return conn->was_used && !call->was_retried && !conn->client->closing &&
           (!call->request_is_sent || since_ms <= GW_HTTP_STALE_MS);
}

static void take_bytes(gw_http_conn *conn, gw_str bytes)
{
    if (!conn->call) { /* unasked for */
        gw_http_conn_close(conn);
        return;
    }
    if (conn->call->is_put_off && conn->was_used) { /* so is this: nothing of the call was sent */
        retry(conn);
        return;
    }
    conn->has_answered = true;
    gw_http_call_touch(conn->call);
    parse(conn, bytes);
}

static void take_end(gw_http_conn *conn, ssize_t why)
{
    gw_http_call *call = conn->call;
    if (!call) {
        gw_http_conn_close(conn);
        return;
    }
    if (conn->state == GW_HTTP_CONN_HANDSHAKING) {
        gw_http_conn_fail(conn, GW_ERR_UPSTREAM_FAILED,
                          "it closed the connection during the TLS handshake");
        return;
    }
    if (!conn->has_answered) {
        if (may_be_retried(conn))
            retry(conn);
        else
            gw_http_conn_fail(conn, GW_ERR_UPSTREAM_CUT,
                              "it closed the connection before it answered");
        return;
    }
    /* Over TLS only a close_notify ends an answer: anybody can cut the TCP connection (RFC 8446 §6.1). */
    if (why == UV_EOF && (!conn->tls || gw_tls_is_closed(conn->tls)))
        (void)llhttp_finish(&conn->parser);
    if (conn->answer_is_whole) {
        conn->keep_alive = false;
        complete(conn, 0);
        return;
    }
    gw_http_conn_fail(conn, GW_ERR_UPSTREAM_CUT,
                      "it closed the connection in the middle of its answer");
}

/* ---- reading ---- */

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
    (void)suggested;
    gw_http_conn *conn = h->data;
    *buf = uv_buf_init(conn->client->read_buffer, GW_HTTP_READ_BYTES);
}

static void on_read(uv_stream_t *s, ssize_t len, const uv_buf_t *buf)
{
    gw_http_conn *conn = s->data;
    if (len == 0 || conn->state == GW_HTTP_CONN_CLOSED)
        return;
    if (len < 0) {
        take_end(conn, len);
        return;
    }
    conn->may_have_more = (size_t)len == GW_HTTP_READ_BYTES;
    gw_str bytes = gw_str_n(buf->base, (size_t)len);
    if (conn->tls)
        take_cipher(conn, bytes);
    else
        take_bytes(conn, bytes);
}

void gw_http_conn_read_on(gw_http_conn *conn)
{
    (void)uv_read_start(gw_http_conn_stream(conn), on_alloc, on_read); /* UV_EALREADY is fine */
}

void gw_http_conn_stop_reading(gw_http_conn *conn)
{
    if (conn->state == GW_HTTP_CONN_BUSY) /* a handshake goes on: its answer waits behind it */
        uv_read_stop(gw_http_conn_stream(conn));
}

static void resume(gw_http_carrier *k)
{
    gw_http_conn *conn = GW_CONTAINER_OF(k, gw_http_conn, carrier);
    if (conn->state != GW_HTTP_CONN_BUSY)
        return;
    gw_http_call *call = conn->call;
    assert(call); /* BUSY is: it has one */
    conn->may_have_more = true;
    if (conn->parser_is_paused) {
        gw_auto_buf held = conn->held;
        conn->held = (gw_buf){0};
        conn->parser_is_paused = false;
        llhttp_resume(&conn->parser);
        parse(conn, gw_str_n(held.data ? held.data : "", held.len));
    }
    if (conn->call == call && conn->tls && !call->paused)
        drain_tls(conn);
    if (conn->call == call && conn->state == GW_HTTP_CONN_BUSY && !call->paused)
        gw_http_conn_read_on(conn);
}

/* ---- what a call may ask of its connection ---- */

static void end_call(gw_http_carrier *k, gw_error *err)
{
    gw_http_conn_end(GW_CONTAINER_OF(k, gw_http_conn, carrier), err);
}

static void drop(gw_http_carrier *k)
{
    gw_http_conn *conn = GW_CONTAINER_OF(k, gw_http_conn, carrier);
    conn->call = NULL;
    gw_http_conn_close(conn);
}

static void pause_reading(gw_http_carrier *k)
{
    gw_http_conn_stop_reading(GW_CONTAINER_OF(k, gw_http_conn, carrier));
}

static size_t unsent(gw_http_carrier *k)
{
    return gw_http_conn_unsent(GW_CONTAINER_OF(k, gw_http_conn, carrier));
}

const gw_http_carrier_ops gw_http_conn_ops = {
    .end = end_call,
    .drop = drop,
    .pause = pause_reading,
    .resume = resume,
    .unsent = unsent,
};

/* ---- TLS, inwards ---- */

static void drain_tls(gw_http_conn *conn)
{
    gw_http_client *c = conn->client;
    while (conn->state != GW_HTTP_CONN_CLOSED && !(conn->call && conn->call->paused)) {
        GW_UNINITIALIZED gw_error err;
        size_t len = 0;
        if (gw_tls_read(conn->tls, c->plain_buffer, sizeof(c->plain_buffer), &len, &err) != GW_OK) {
            gw_http_conn_end(conn, &err);
            return;
        }
        if (len == 0)
            break;
        take_bytes(conn, gw_str_n(c->plain_buffer, len));
    }
    if (conn->state == GW_HTTP_CONN_CLOSED)
        return;
    gw_http_conn_flush_tls(conn); /* a key update asks for an answer */
    if (gw_tls_is_closed(conn->tls) && !(conn->call && conn->call->paused))
        take_end(conn, UV_EOF);
}

void gw_http_conn_handshake(gw_http_conn *conn)
{
    gw_error err = {0};
    bool done = false;
    gw_status rc = gw_tls_handshake(conn->tls, &done, &err);
    gw_http_conn_flush_tls(conn); /* also the alert that says why */
    if (rc != GW_OK) {
        gw_http_conn_end(conn, &err);
        return;
    }
    if (done) {
        gw_http_conn_start(conn, conn->call);
        drain_tls(conn);
    }
}

static void take_cipher(gw_http_conn *conn, gw_str bytes)
{
    GW_UNINITIALIZED gw_error err;
    if (gw_tls_feed(conn->tls, bytes, &err) != GW_OK)
        gw_http_conn_end(conn, &err);
    else if (conn->state == GW_HTTP_CONN_HANDSHAKING)
        gw_http_conn_handshake(conn);
    else
        drain_tls(conn);
}
