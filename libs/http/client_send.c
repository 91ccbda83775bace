#include "http/client_internal.h"

#include <stdlib.h>
#include <string.h>

#define TLS_BATCH_BYTES ((size_t)64 * 1024) /* encrypted before one write */

static void pump_tls(gw_http_conn *conn);

size_t gw_http_conn_unsent(const gw_http_conn *conn)
{
    if (!conn->has_tcp)
        return 0;
    return uv_stream_get_write_queue_size((const uv_stream_t *)&conn->tcp) +
           (conn->call->buf_count - conn->part);
}

static void note_request_sent(gw_http_conn *conn)
{
    gw_http_call *call = conn->call;
    if (!call || call->request_is_sent)
        return;
    call->request_is_sent = true;
    if (call->stage == GW_HTTP_AWAITING)
        gw_http_call_touch(call);
}

/* A failed write ends nothing: an early answer may wait to be read, and the read tells of the connection's end. */
static void on_written(uv_write_t *w, int status)
{
    gw_http_conn *conn = w->data;
    free(w);
    conn->write = NULL;
    if (conn->state == GW_HTTP_CONN_CLOSED)
        return;
    if (status < 0)
        conn->write_failed = true;
    else if (conn->tls)
        pump_tls(conn);
    else
        note_request_sent(conn);
}

static void queue(gw_http_conn *conn, const uv_buf_t *bufs, size_t count)
{
    conn->write = malloc(sizeof(*conn->write));
    if (conn->write) {
        conn->write->data = conn;
        if (uv_write(conn->write, gw_http_conn_stream(conn), bufs, (unsigned)count, on_written) ==
            0)
            return;
        free(gw_steal(&conn->write));
    }
    conn->write_failed = true;
}

/* Head and body go straight from the caller's memory, also what the socket does not take at once. */
static void send_plain(gw_http_conn *conn)
{
    gw_http_call *call = conn->call;
    int taken = uv_try_write(gw_http_conn_stream(conn), call->bufs, (unsigned)call->buf_count);
    if (taken < 0 && taken != UV_EAGAIN) {
        conn->write_failed = true;
        return;
    }
    call->was_sent = true;
    size_t skip = taken > 0 ? (size_t)taken : 0;
    if (skip == call->request_bytes) {
        note_request_sent(conn);
        return;
    }
    size_t i = 0;
    while (skip >= call->bufs[i].len)
        skip -= call->bufs[i++].len;
    uv_buf_t whole = call->bufs[i]; /* a retry sends it again */
    call->bufs[i] = (uv_buf_t){.base = whole.base + skip, .len = whole.len - skip};
    queue(conn, call->bufs + i, call->buf_count - i);
    call->bufs[i] = whole;
}

void gw_http_conn_flush_tls(gw_http_conn *conn)
{
    gw_str out = gw_tls_output(conn->tls);
    if (conn->write || conn->write_failed || out.len == 0)
        return;
    uv_buf_t buf = {.base = (char *)(uintptr_t)out.ptr, .len = out.len};
    int taken = uv_try_write(gw_http_conn_stream(conn), &buf, 1);
    if (taken < 0 && taken != UV_EAGAIN) {
        conn->write_failed = true;
        return;
    }
    size_t skip = taken > 0 ? (size_t)taken : 0;
    if (skip < out.len) {
        gw_buf_clear(&conn->cipher);
        gw_buf_append_str(&conn->cipher, gw_str_slice(out, skip, out.len));
        if (gw_buf_failed(&conn->cipher)) {
            conn->write_failed = true;
            return;
        }
        buf = (uv_buf_t){.base = conn->cipher.data, .len = conn->cipher.len};
        queue(conn, &buf, 1);
    }
    gw_tls_output_clear(conn->tls);
}

/* One record's worth of the request: a small head and body share a record, and so a packet. */
static size_t gather(gw_http_conn *conn, char *record)
{
    const gw_http_call *call = conn->call;
    size_t len = 0;
    while (conn->part < call->buf_count && len < GW_HTTP_RECORD_BYTES) {
        const uv_buf_t *b = &call->bufs[conn->part];
        size_t n = GW_MIN(b->len - conn->part_offset, GW_HTTP_RECORD_BYTES - len);
        memcpy(record + len, b->base + conn->part_offset, n);
        len += n;
        conn->part_offset += n;
        if (conn->part_offset == b->len) {
            conn->part++;
            conn->part_offset = 0;
        }
    }
    return len;
}

/* Encrypts as the socket takes it, so that a large body is never held twice. */
static void pump_tls(gw_http_conn *conn)
{
    GW_UNINITIALIZED char record[GW_HTTP_RECORD_BYTES];
    gw_http_call *call = conn->state == GW_HTTP_CONN_BUSY ? conn->call : NULL;
    gw_http_conn_flush_tls(conn);
    while (call && !conn->write && !conn->write_failed && conn->part < call->buf_count) {
        call->was_sent = true;
        while (conn->part < call->buf_count && gw_tls_output(conn->tls).len < TLS_BATCH_BYTES) {
            GW_UNINITIALIZED gw_error err;
            size_t len = gather(conn, record);
            gw_status rc = gw_tls_write(conn->tls, gw_str_n(record, len), &err);
            explicit_bzero(record, len); /* a credential is in the first */
            if (rc != GW_OK) {
                gw_http_conn_end(conn, &err);
                return;
            }
        }
        gw_http_conn_flush_tls(conn);
    }
    if (call && !conn->write && !conn->write_failed)
        note_request_sent(conn);
}

void gw_http_conn_start(gw_http_conn *conn, gw_http_call *call)
{
    if (conn->state == GW_HTTP_CONN_IDLE)
        gw_http_conn_leave_pool(conn);
    conn->state = GW_HTTP_CONN_BUSY;
    conn->call = call;
    call->carrier = &conn->carrier;
    conn->part = conn->part_offset = 0;
    conn->may_have_more = false;
    gw_http_answer_begin(conn);
    gw_http_call_enter(call, GW_HTTP_AWAITING);
    if (call->paused)
        gw_http_conn_stop_reading(conn);
    call->is_put_off = true;
    gw_http_client_schedule(conn->client, call);
}

void gw_http_conn_send(gw_http_conn *conn)
{
    gw_http_call *call = conn->call;
    call->is_put_off = false;
    if (!call->paused) /* it may have been, meanwhile */
        gw_http_conn_read_on(conn);
    if (conn->tls)
        pump_tls(conn);
    else
        send_plain(conn);
}
