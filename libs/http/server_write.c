#include "http/server_internal.h"

#include <stdlib.h>

#define GATHERED_MAX_BYTES     ((size_t)16 * 1024)
#define SPARE_WRITERS_MAX      64
#define SPARE_WRITER_MAX_BYTES ((size_t)16 * 1024)

size_t connection_queued_bytes(const connection *c)
{
    if (!c->writer)
        return 0;
    return uv_stream_get_write_queue_size((const uv_stream_t *)&c->tcp) + c->writer->waiting.len;
}

/* ---- writers are used again: most are there for one turn of the loop ---- */

static bool take_writer(connection *c)
{
    gw_http_server *s = c->server;
    gw_list *spare = gw_list_pop_front(&s->spare_writers);
    if (spare) {
        s->spare_writer_count--;
        c->writer = GW_CONTAINER_OF(spare, writer, spare_node);
        return true;
    }
    c->writer = calloc(1, sizeof(*c->writer));
    if (c->writer)
        gw_list_init(&c->writer->spare_node);
    return c->writer != NULL;
}

static void free_writer(writer *w)
{
    gw_buf_fini(&w->in_flight);
    gw_buf_fini(&w->waiting);
    free(w);
}

void connection_free_writer(connection *c)
{
    gw_http_server *s = c->server;
    writer *w = gw_steal(&c->writer);
    if (!w)
        return;
    w->is_gathering = false;
    gw_buf_fini(&w->in_flight);
    gw_buf_clear(&w->waiting);
    if (s->spare_writer_count == SPARE_WRITERS_MAX || w->waiting.cap > SPARE_WRITER_MAX_BYTES) {
        free_writer(w);
        return;
    }
    gw_list_push_front(&s->spare_writers, &w->spare_node);
    s->spare_writer_count++;
}

void server_free_spare_writers(gw_http_server *s)
{
    for (gw_list *node; (node = gw_list_pop_front(&s->spare_writers));)
        free_writer(GW_CONTAINER_OF(node, writer, spare_node));
}

/* ---- what the socket does not take at once ---- */

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

void connection_tell_drained(connection *c)
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
    connection_tell_drained(c);
}

/* Keeps what is behind the first `taken` bytes of `parts`. */
static bool keep(connection *c, const uv_buf_t *parts, unsigned count, size_t taken)
{
    gw_buf *waiting = &c->writer->waiting;
    for (unsigned i = 0; i < count; i++) {
        size_t skip = GW_MIN(taken, parts[i].len);
        taken -= skip;
        gw_buf_append(waiting, parts[i].base + skip, parts[i].len - skip);
    }
    if (gw_buf_failed(waiting))
        connection_break(c);
    return !gw_buf_failed(waiting);
}

/* How much of it the socket takes now; false: it is broken. */
static bool try_write(connection *c, uv_buf_t *parts, unsigned count, size_t *ret_taken)
{
    int rc = uv_try_write((uv_stream_t *)&c->tcp, parts, count);
    *ret_taken = rc > 0 ? (size_t)rc : 0;
    if (rc >= 0 || rc == UV_EAGAIN)
        return true;
    connection_break(c);
    return false;
}

void connection_flush(connection *c)
{
    writer *w = c->writer;
    size_t taken = 0;
    if (!w || !w->is_gathering || c->state >= STATE_CLOSING)
        return;
    w->is_gathering = false;
    uv_buf_t whole = uv_buf_init(w->waiting.data, (unsigned)w->waiting.len);
    if (!try_write(c, &whole, 1, &taken))
        return;
    if (taken < whole.len) {
        gw_buf_drop_front(&w->waiting, taken);
        write_waiting(c);
        connection_watch_writing(c);
    } else {
        connection_free_writer(c);
        if (c->state == STATE_DECIDING || c->state == STATE_RUNNING)
            gw_timer_cancel(c->server->loop, &c->timer);
    }
}

/* More than is gathered: goes out now, behind what was, and is copied only when the socket is full. */
static void write_large(connection *c, uv_buf_t *parts, unsigned count, size_t total)
{
    size_t taken = 0;
    connection_flush(c);
    if (c->is_broken || (!c->writer && !try_write(c, parts, count, &taken)) || taken == total)
        return;
    bool is_first = !c->writer;
    if (is_first && !take_writer(c)) {
        connection_break(c);
    } else if (keep(c, parts, count, taken) && is_first) {
        write_waiting(c);
        connection_watch_writing(c);
    }
}

static void gather(connection *c, const uv_buf_t *parts, unsigned count)
{
    if (!c->writer) {
        if (!take_writer(c)) {
            connection_break(c);
            return;
        }
        c->writer->is_gathering = true;
        connection_schedule(c);
    }
    (void)keep(c, parts, count, 0);
}

void connection_write_raw(connection *c, uv_buf_t *parts, unsigned count)
{
    if (c->is_broken || c->state >= STATE_CLOSING)
        return;
    size_t total = 0;
    for (unsigned i = 0; i < count; i++)
        total += parts[i].len;
    bool waits = c->writer && !c->writer->is_gathering;
    size_t gathered = c->writer ? c->writer->waiting.len : 0;
    if (waits)
        (void)keep(c, parts, count, 0);
    else if (gathered + total <= GATHERED_MAX_BYTES)
        gather(c, parts, count);
    else
        write_large(c, parts, count, total);
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
