#include "http/server_internal.h"

#include <stdlib.h>

enum {
    BATCH_BYTES = 64 * 1024, /* of cipher text: a large answer is never held twice */
    UNASKED_MAX_BYTES = 4096,
};

gw_status server_open_tls(gw_http_server *s, gw_error *err)
{
    if (!s->options.tls)
        return GW_OK;
    s->tls = calloc(1, sizeof(*s->tls));
    if (!s->tls)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for an HTTP server");
    return gw_tls_server_context_new(s->options.tls, s->options.tls_clients, s->log,
                                     &s->tls->context, err);
}

void server_close_tls(gw_http_server *s)
{
    if (!s->tls)
        return;
    gw_tls_context_free(s->tls->context);
    free(s->tls);
}

/* ---- the way out ---- */

static void give_cipher(connection *c)
{
    gw_str out = gw_tls_output(c->tls);
    if (out.len == 0)
        return;
    uv_buf_t part = {.base = (char *)(uintptr_t)out.ptr, .len = out.len};
    connection_write_raw(c, &part, 1);
    gw_tls_output_clear(c->tls);
}

/* What TLS says by itself: handshakes, tickets, answers to key updates, alerts. A client that asks for it again and again,
 * and reads nothing, must not fill our memory. */
static void give_unasked(connection *c)
{
    if (c->writer && !c->writer->is_gathering)
        c->unasked_bytes += gw_tls_output(c->tls).len;
    if (c->unasked_bytes > UNASKED_MAX_BYTES)
        connection_break(c);
    else
        give_cipher(c);
}

static bool encrypt(connection *c, const char *bytes, size_t len)
{
    if (gw_tls_write(c->tls, gw_str_n(bytes, len), NULL) != GW_OK) {
        connection_break(c);
        return false;
    }
    if (gw_tls_output(c->tls).len >= BATCH_BYTES)
        give_cipher(c);
    return true;
}

/* Small parts share a record, and so a packet; what fills a record is encrypted from where it lies. */
void connection_write_tls(connection *c, const uv_buf_t *parts, unsigned count)
{
    char *record = c->server->tls->record;
    size_t gathered = 0;
    for (unsigned i = 0; i < count; i++) {
        for (size_t at = 0; at < parts[i].len;) {
            const char *from = parts[i].base + at;
            size_t n = GW_MIN(parts[i].len - at, GW_TLS_RECORD_BYTES - gathered);
            at += n;
            if (n == GW_TLS_RECORD_BYTES) {
                if (!encrypt(c, from, n))
                    return;
                continue;
            }
            memcpy(record + gathered, from, n);
            gathered += n;
            if (gathered == GW_TLS_RECORD_BYTES) {
                if (!encrypt(c, record, gathered))
                    return;
                gathered = 0;
            }
        }
    }
    if (gathered == 0 || encrypt(c, record, gathered))
        give_cipher(c);
}

void connection_say_goodbye(connection *c)
{
    if (!c->tls || c->writer)
        return;
    gw_tls_goodbye(c->tls);
    gw_str out = gw_tls_output(c->tls);
    uv_buf_t part = {.base = (char *)(uintptr_t)out.ptr, .len = out.len};
    if (out.len > 0)
        (void)uv_try_write((uv_stream_t *)&c->tcp, &part, 1); /* it closes anyhow */
    gw_tls_output_clear(c->tls);
}

/* ---- the way in ---- */

static void fail_tls(connection *c, const gw_error *err)
{
    gw_log_debug(c->server->log, "tls_connection_failed", gw_kv_error(err));
    give_unasked(c); /* the alert that says why */
    connection_break(c);
}

/* Every method begins with a capital, no TLS record does. */
static bool looks_like_http(gw_str bytes)
{
    return bytes.ptr[0] >= 'A' && bytes.ptr[0] <= 'Z';
}

static void refuse_plain_http(connection *c)
{
    gw_error err;
    gw_tls_free(c->tls);
    c->tls = NULL;
    (void)gw_fail(&err, GW_ERR_MALFORMED_HTTP, "this port speaks TLS only: use https://");
    connection_answer_error(c, &err);
    connection_schedule(c);
}

static void decrypt(connection *c)
{
    char *plain = c->server->tls->plain;
    GW_UNINITIALIZED gw_error err;
    size_t len = 1;
    while (len > 0 && c->state < STATE_LINGERING && !c->is_broken) {
        if (gw_tls_read(c->tls, plain, GW_TLS_RECORD_BYTES, &len, &err) != GW_OK) {
            fail_tls(c, &err);
            return;
        }
        if (len > 0)
            connection_take(c, gw_str_n(plain, len));
    }
    if (c->state >= STATE_LINGERING || c->is_broken)
        return;
    give_unasked(c);
    if (gw_tls_is_closed(c->tls))
        connection_take_end(c, UV_EOF);
}

void connection_take_cipher(connection *c, gw_str bytes)
{
    GW_UNINITIALIZED gw_error err;
    bool is_done = c->state != STATE_HANDSHAKING;
    if (!is_done && !c->has_spoken && looks_like_http(bytes)) {
        refuse_plain_http(c);
        return;
    }
    c->has_spoken = true;
    gw_status rc = gw_tls_feed(c->tls, bytes, &err);
    if (rc == GW_OK && !is_done)
        rc = gw_tls_handshake(c->tls, &is_done, &err);
    if (rc != GW_OK) {
        fail_tls(c, &err);
        return;
    }
    give_unasked(c);
    if (!is_done || c->is_broken)
        return;
    if (c->state == STATE_HANDSHAKING)
        c->state = STATE_IDLE; /* the head's time goes on from accept */
    decrypt(c);
}
