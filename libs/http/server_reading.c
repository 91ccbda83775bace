#include "http/server_internal.h"

#include <assert.h>

static void set_timer(connection *c, int64_t delay_ms)
{
    gw_timer_set(c->server->loop, &c->timer, delay_ms);
}

static void fail_reading(connection *c, gw_status why, const char *detail)
{
    gw_error err;
    switch (why) {
    case GW_ERR_HEAD_TOO_LARGE:
        (void)gw_fail(&err, why,
                      "the request's head is larger than %zu bytes or has more than %zu lines",
                      c->server->options.head_max_bytes, c->server->options.headers_max);
        break;
    case GW_ERR_BODY_TOO_LARGE:
        (void)gw_fail(&err, why, "the request's body is larger than %zu bytes", c->x->body_max);
        break;
    case GW_ERR_OVERLOADED:
        (void)gw_fail(&err, why, "too many request bodies are held already, try again later");
        break;
    case GW_ERR_NO_MEMORY:
        (void)gw_fail(&err, why, "no memory for a request");
        break;
    default:
        (void)gw_fail(&err, GW_ERR_MALFORMED_HTTP, "malformed request: %s",
                      detail ? detail : "not HTTP");
        break;
    }
    connection_answer_error(c, &err);
}

/* Gives the parser at most `max` bytes of what came; GW_OK also when it paused. */
static gw_status parse(connection *c, size_t max, size_t *ret_used, bool *ret_paused)
{
    size_t len = GW_MIN(c->in.len, max);
    c->failure = GW_OK;
    llhttp_errno_t rc = llhttp_execute(&c->parser, c->in.ptr, len);
    *ret_paused = rc == HPE_PAUSED;
    *ret_used = len;
    if (rc == HPE_OK)
        return GW_OK;
    if (rc == HPE_PAUSED) {
        *ret_used = (size_t)(llhttp_get_error_pos(&c->parser) - c->in.ptr);
        return GW_OK;
    }
    return c->failure != GW_OK ? c->failure : GW_ERR_MALFORMED_HTTP;
}

static void consume(connection *c, size_t len)
{
    c->in = gw_str_n(c->in.ptr + len, c->in.len - len);
}

static void give_head(connection *c, gw_str raw)
{
    gw_exchange *x = c->x;
    GW_UNINITIALIZED gw_error err;
    if (request_accept(x, raw, &err) != GW_OK) {
        connection_answer_error(c, &err);
        return;
    }
    if (!x->expects_body) { /* needs no byte more to be complete */
        llhttp_resume(&c->parser);
        (void)llhttp_execute(&c->parser, raw.ptr + raw.len, 0);
        assert(x->message_is_read);
    }
    gw_timer_cancel(c->server->loop, &c->timer);
    x->arrival_ns = gw_clock_mono_ns(gw_loop_clock(c->server->loop));
    c->state = STATE_DECIDING;
    connection_watch_writing(c); /* TLS's own bytes may wait since before the head */
    x->was_given = true;
    c->server->ops->on_head(x, c->server->arg);
}

bool request_start_head(connection *c)
{
    size_t blank = 0; /* empty lines before a request line are ignored (RFC 9112 §2.2) */
    while (blank < c->in.len && (c->in.ptr[blank] == '\r' || c->in.ptr[blank] == '\n'))
        blank++;
    consume(c, blank);
    if (c->in.len == 0)
        return false;
    c->x = server_take_exchange(c->server, c);
    if (!c->x) {
        connection_break(c);
        return true;
    }
    c->state = STATE_HEAD;
    return true;
}

void request_read_head(connection *c)
{
    gw_exchange *x = c->x;
    gw_str part = c->in;
    bool is_complete = false;
    gw_status rc =
        parse(c, c->server->options.head_max_bytes - x->raw_len, &part.len, &is_complete);
    if (rc != GW_OK) {
        fail_reading(c, rc, llhttp_get_error_reason(&c->parser));
        return;
    }
    consume(c, part.len);
    /* One that comes whole, as most do, is not waited for. The time of a connection's first head runs from accept. */
    if (!is_complete && x->raw_len == 0 && !c->is_fresh)
        set_timer(c, c->server->options.head_timeout_ms);
    gw_str raw = part;
    if (!is_complete || x->raw_len > 0) {
        gw_buf_append_str(&x->raw, part);
        raw = gw_buf_failed(&x->raw) ? GW_STR_NULL : gw_buf_str(&x->raw);
    }
    if (is_complete && raw.ptr)
        raw = gw_arena_dup(x->arena, raw); /* what is held on to later is all in the arena */
    x->raw_len += part.len;
    if (!raw.ptr)
        fail_reading(c, GW_ERR_NO_MEMORY, NULL);
    else if (is_complete)
        give_head(c, raw);
    else if (x->raw_len >= c->server->options.head_max_bytes)
        fail_reading(c, GW_ERR_HEAD_TOO_LARGE, NULL);
}

void request_give_body(connection *c)
{
    connection_stop_reading_request(c);
    c->server->ops->on_body(c->x, c->server->arg);
}

static gw_status admit_body(connection *c)
{
    gw_http_server *s = c->server;
    gw_exchange *x = c->x;
    if (!(c->parser.flags & F_CONTENT_LENGTH))
        return GW_OK;
    uint64_t length = c->parser.content_length;
    if (length > x->body_max)
        return GW_ERR_BODY_TOO_LARGE;
    if (length > server_body_room(s))
        return GW_ERR_OVERLOADED;
    x->body_charged = (size_t)length;
    s->body_bytes += x->body_charged;
    return gw_buf_reserve(&x->body, x->body_charged) ? GW_OK : GW_ERR_NO_MEMORY;
}

void request_start_body(connection *c)
{
    gw_exchange *x = c->x;
    if (x->message_is_read) {
        request_give_body(c);
        return;
    }
    gw_status rc = admit_body(c);
    if (rc != GW_OK) {
        fail_reading(c, rc, NULL);
        return;
    }
    c->state = STATE_BODY;
    if (c->in.len == 0)
        set_timer(c, c->server->options.body_timeout_ms);
    else /* it may be here already */
        gw_timer_cancel(c->server->loop, &c->timer);
    if (x->expects_continue && c->in.len == 0) {
        static char line[] = "HTTP/1.1 100 Continue\r\n\r\n";
        uv_buf_t part = uv_buf_init(line, sizeof(line) - 1);
        connection_write(c, &part, 1);
        x->has_sent = false; /* not of the answer proper */
    }
    llhttp_resume(&c->parser);
}

void request_read_body(connection *c)
{
    gw_exchange *x = c->x;
    size_t had = x->body.len;
    size_t used = 0;
    bool is_complete = false;
    gw_status rc = parse(c, c->in.len, &used, &is_complete);
    if (rc != GW_OK) {
        fail_reading(c, rc, llhttp_get_error_reason(&c->parser));
        return;
    }
    consume(c, used);
    if (!is_complete && (x->body.len > had || !gw_timer_is_armed(&c->timer)))
        set_timer(c, c->server->options.body_timeout_ms);
}
