#include "http/server_internal.h"

#include <stdlib.h>

size_t connection_queued_bytes(const connection *c)
{
    if (!c->writer)
        return 0;
    return uv_stream_get_write_queue_size((const uv_stream_t *)&c->tcp) + c->writer->waiting.len;
}

void connection_free_writer(connection *c)
{
    if (!c->writer)
        return;
    gw_buf_fini(&c->writer->in_flight);
    gw_buf_fini(&c->writer->waiting);
    free(c->writer);
    c->writer = NULL;
}

void connection_watch_writing(connection *c)
{
    /* While a request is read its own timeout rules: it ends in an answer. */
    if (!c->writer || (c->state != STATE_DECIDING && c->state != STATE_RUNNING))
        return;
    c->write_left = connection_queued_bytes(c);
    gw_timer_set(c->server->loop, &c->timer, c->server->options.write_idle_timeout_ms);
}

void connection_on_write_timer(connection *c)
{
    /* The write callback comes once for a whole buffer; a slow client may have taken a part of it. */
    if (!c->writer)
        return;
    if (connection_queued_bytes(c) < c->write_left)
        connection_watch_writing(c);
    else
        connection_break(c);
}

static void on_written(uv_write_t *request, int status);

static void write_waiting(connection *c)
{
    writer *w = c->writer;
    gw_buf sent = w->in_flight;
    w->in_flight = w->waiting;
    w->waiting = sent;
    gw_buf_clear(&w->waiting);
    uv_buf_t whole = uv_buf_init(w->in_flight.data, (unsigned)w->in_flight.len);
    if (uv_write(&w->request, (uv_stream_t *)&c->tcp, &whole, 1, on_written) != 0)
        connection_break(c);
}

static void tell_drained(connection *c)
{
    gw_exchange *x = c->x;
    if (!x || !x->was_congested || x->answer == ANSWER_ENDED ||
        connection_queued_bytes(c) >= c->server->options.write_high_water / 2)
        return;
    x->was_congested = false;
    if (c->server->ops->on_drained)
        c->server->ops->on_drained(x, c->server->arg);
}

static void on_written(uv_write_t *request, int status)
{
    connection *c = request->handle->data;
    if (c->state >= STATE_CLOSING)
        return;
    if (status != 0) {
        connection_break(c);
        return;
    }
    if (c->writer->waiting.len > 0) {
        write_waiting(c);
        connection_watch_writing(c);
    } else {
        connection_free_writer(c);
        if (c->state == STATE_DECIDING || c->state == STATE_RUNNING)
            gw_timer_cancel(c->server->loop, &c->timer);
        connection_schedule(c); /* an ended answer is out now */
    }
    tell_drained(c);
}

/* Keeps what is behind the first `taken` bytes of `parts`. */
static void queue(connection *c, const uv_buf_t *parts, unsigned count, size_t taken)
{
    bool is_first = !c->writer;
    if (is_first)
        c->writer = calloc(1, sizeof(*c->writer));
    if (!c->writer) {
        connection_break(c);
        return;
    }
    gw_buf *waiting = &c->writer->waiting;
    for (unsigned i = 0; i < count; i++) {
        size_t skip = GW_MIN(taken, parts[i].len);
        taken -= skip;
        gw_buf_append(waiting, parts[i].base + skip, parts[i].len - skip);
    }
    if (gw_buf_failed(waiting)) {
        connection_break(c);
        return;
    }
    if (is_first) {
        write_waiting(c);
        connection_watch_writing(c);
    }
}

void connection_write_raw(connection *c, uv_buf_t *parts, unsigned count)
{
    if (c->is_broken || c->state >= STATE_CLOSING)
        return;
    size_t total = 0;
    for (unsigned i = 0; i < count; i++)
        total += parts[i].len;
    size_t taken = 0;
    if (!c->writer) {
        int rc = uv_try_write((uv_stream_t *)&c->tcp, parts, count);
        if (rc < 0 && rc != UV_EAGAIN) {
            connection_break(c);
            return;
        }
        taken = rc > 0 ? (size_t)rc : 0;
    }
    if (taken < total)
        queue(c, parts, count, taken);
    if (c->x && connection_queued_bytes(c) > c->server->options.write_high_water)
        c->x->was_congested = true;
}

void connection_write(connection *c, uv_buf_t *parts, unsigned count)
{
    if (c->is_broken || c->state >= STATE_CLOSING)
        return;
    if (c->tls)
        connection_write_tls(c, parts, count);
    else
        connection_write_raw(c, parts, count);
    if (c->x && !c->is_broken)
        c->x->has_sent = true;
}
