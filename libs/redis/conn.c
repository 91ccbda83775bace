#include "redis/conn.h"

#include "redis/resp.h"

#include <inttypes.h>
#include <stdlib.h>

typedef enum conn_state { RESOLVING, CONNECTING, SECURING, GREETING, READY, CLOSED } conn_state;

struct gw_redis_conn {
    gw_loop *loop;
    gw_redis_resolver *resolver;
    const gw_redis_target *target;
    const gw_redis_conn_events *events;
    void *arg;
    conn_state state;
    /* the owner's, and one for each handle, look-up and deferred call that points here */
    unsigned holds;
    gw_timer deadline;

    gw_redis_addresses addresses;
    size_t next_address;
    uv_tcp_t tcp;
    bool tcp_is_open;
    uv_connect_t connecting;
    int connect_error;
    gw_tls *tls; /* NULL: plain, or CLOSED */

    unsigned greetings; /* replies to come before it is READY */
    redisReplyObjectFunctions reader_functions;
    redisReader *reader;
    int64_t heard_ms;
    char input[16 * 1024];

    gw_buf out; /* plain commands */
    gw_buf leaving; /* what libuv is writing */
    uv_write_t writing;
    bool is_writing;
    bool is_flush_due;
};

static void release(gw_redis_conn *c)
{
    if (--c->holds > 0)
        return;
    if (c->reader)
        redisReaderFree(c->reader);
    gw_buf_fini(&c->out);
    gw_buf_fini(&c->leaving);
    free(c);
}

static void try_next_address(gw_redis_conn *c);

static void on_tcp_closed(uv_handle_t *h)
{
    gw_redis_conn *c = h->data;
    if (c->state == CONNECTING) /* the address before did not answer */
        try_next_address(c);
    release(c);
}

static void close_tcp(gw_redis_conn *c)
{
    if (!c->tcp_is_open)
        return;
    c->tcp_is_open = false;
    uv_close((uv_handle_t *)&c->tcp, on_tcp_closed);
}

void gw_redis_conn_close(gw_redis_conn *c)
{
    if (c->state == CLOSED)
        return;
    c->state = CLOSED;
    gw_timer_cancel(c->loop, &c->deadline);
    gw_tls_free(c->tls); /* now: its context may not outlive this call */
    c->tls = NULL;
    close_tcp(c);
    release(c);
}

GW_PRINTF(3, 4) static void fail(gw_redis_conn *c, gw_status code, const char *format, ...)
{
    if (c->state == CLOSED)
        return;
    gw_error err = {0};
    va_list args;
    va_start(args, format);
    (void)gw_vfail(&err, code, format, args);
    va_end(args);
    (void)gw_error_prefix(&err, "redis at %s port %u", c->target->host, c->target->port);
    const gw_redis_conn_events *events = c->events;
    void *arg = c->arg;
    gw_redis_conn_close(c);
    events->on_closed(arg, &err);
}

/* ---- writing ---- */

static void flush(gw_redis_conn *c);

static void on_written(uv_write_t *w, int status)
{
    gw_redis_conn *c = w->data;
    c->is_writing = false;
    gw_buf_clear(&c->leaving);
    if (status == UV_ECANCELED || c->state == CLOSED)
        return;
    if (status < 0)
        fail(c, GW_ERR_UNAVAILABLE, "cannot send: %s", uv_strerror(status));
    else
        flush(c);
}

/* What TLS makes of the commands, and what it says by itself. */
static gw_status encrypt(gw_redis_conn *c, gw_error *err)
{
    gw_status rc = c->state == SECURING ? GW_OK : gw_tls_write(c->tls, gw_buf_str(&c->out), err);
    if (rc != GW_OK)
        return rc;
    if (c->state != SECURING)
        gw_buf_clear(&c->out);
    gw_buf_append_str(&c->leaving, gw_tls_output(c->tls));
    gw_tls_output_clear(c->tls);
    return gw_buf_failed(&c->leaving) ? gw_fail(err, GW_ERR_NO_MEMORY, "out of memory for commands")
                                      : GW_OK;
}

static void flush(gw_redis_conn *c)
{
    gw_error err = {0};
    if (c->is_writing || c->state == CLOSED)
        return;
    if (gw_buf_failed(&c->out)) { /* half a command must not go out */
        fail(c, GW_ERR_NO_MEMORY, "out of memory for commands");
        return;
    }
    if (c->tls) {
        if (encrypt(c, &err) != GW_OK) {
            fail(c, err.code, "%s", err.message);
            return;
        }
    } else {
        gw_buf empty = c->leaving;
        c->leaving = c->out;
        c->out = empty;
    }
    if (c->leaving.len == 0)
        return;
    uv_buf_t bytes = {.base = c->leaving.data, .len = c->leaving.len};
    c->writing.data = c;
    int rc = uv_write(&c->writing, (uv_stream_t *)&c->tcp, &bytes, 1, on_written);
    if (rc == 0)
        c->is_writing = true;
    else
        fail(c, GW_ERR_UNAVAILABLE, "cannot send: %s", uv_strerror(rc));
}

static void run_flush(void *arg)
{
    gw_redis_conn *c = arg;
    c->is_flush_due = false;
    flush(c);
    release(c);
}

gw_buf *gw_redis_conn_out(gw_redis_conn *c)
{
    if (!c->is_flush_due) {
        c->is_flush_due = true;
        c->holds++;
        gw_loop_defer(c->loop, run_flush, c);
    }
    return &c->out;
}

int64_t gw_redis_conn_heard_ms(const gw_redis_conn *c)
{
    return c->heard_ms;
}

/* ---- reading ---- */

static void take_greeting(gw_redis_conn *c, const redisReply *reply)
{
    gw_status rc = gw_resp_status(reply);
    if (rc != GW_OK) { /* not what it quotes: that may be the password */
        size_t said = 0;
        while (said < GW_MIN(reply->len, 120) && !strchr("'`\"", reply->str[said]))
            said++;
        fail(c, rc, "refused: " GW_STR_FMT, (int)said, reply->str);
        return;
    }
    if (--c->greetings > 0)
        return;
    gw_timer_cancel(c->loop, &c->deadline);
    c->state = READY;
    c->events->on_ready(c->arg);
}

static void take_replies(gw_redis_conn *c)
{
    void *reply = NULL;
    int rc = REDIS_OK;
    while (c->state != CLOSED && (rc = redisReaderGetReply(c->reader, &reply)) == REDIS_OK &&
           reply) {
        if (c->state == GREETING)
            take_greeting(c, reply);
        else
            c->events->on_reply(c->arg, reply);
        freeReplyObject(reply);
        reply = NULL;
    }
    if (rc != REDIS_OK)
        fail(c, GW_ERR_UNAVAILABLE, "sent what is no reply: %s", c->reader->errstr);
    else if (c->state != CLOSED && c->reader->len > GW_REDIS_REPLY_BYTES_MAX)
        fail(c, GW_ERR_UNAVAILABLE, "sent a reply of more than %zu bytes",
             GW_REDIS_REPLY_BYTES_MAX);
}

static void take_bytes(gw_redis_conn *c, const char *bytes, size_t len)
{
    if (redisReaderFeed(c->reader, bytes, len) != REDIS_OK)
        fail(c, GW_ERR_NO_MEMORY, "out of memory for a reply");
    else
        take_replies(c);
}

static void greet(gw_redis_conn *c);

/* Goes on with the handshake; false until it is done. */
static bool shake_hands(gw_redis_conn *c)
{
    gw_error err = {0};
    bool done = false;
    gw_status rc = gw_tls_handshake(c->tls, &done, &err);
    flush(c); /* also the alert that says why */
    if (rc != GW_OK)
        fail(c, GW_ERR_UNAVAILABLE, "%s", err.message);
    return done && c->state == SECURING;
}

static void take_cipher(gw_redis_conn *c, gw_str bytes)
{
    char plain[16 * 1024];
    gw_error err = {0};
    size_t len = 1;
    if (gw_tls_feed(c->tls, bytes, &err) != GW_OK) {
        fail(c, err.code, "%s", err.message);
        return;
    }
    if (c->state == SECURING) {
        if (!shake_hands(c))
            return;
        greet(c);
    }
    while (c->state != CLOSED && len > 0) { /* a callback may close it */
        if (gw_tls_read(c->tls, plain, sizeof(plain), &len, &err) != GW_OK) {
            fail(c, GW_ERR_UNAVAILABLE, "%s", err.message);
            return;
        }
        if (len > 0)
            take_bytes(c, plain, len);
    }
    if (c->state != CLOSED && gw_tls_is_closed(c->tls))
        fail(c, GW_ERR_UNAVAILABLE, "closed the connection");
    if (c->state != CLOSED && gw_tls_output(c->tls).len > 0) /* an answer to a key update */
        flush(c);
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *ret)
{
    (void)suggested;
    gw_redis_conn *c = h->data;
    *ret = (uv_buf_t){.base = c->input, .len = sizeof(c->input)};
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *bytes)
{
    gw_redis_conn *c = s->data;
    if (n == 0 || c->state == CLOSED)
        return;
    if (n < 0) {
        fail(c, GW_ERR_UNAVAILABLE, "%s%s",
             n == UV_EOF ? "closed the connection" : uv_strerror((int)n),
             c->state == SECURING ? " during the TLS handshake" : "");
        return;
    }
    c->heard_ms = gw_loop_now_ms(c->loop);
    if (c->tls)
        take_cipher(c, gw_str_n(bytes->base, (size_t)n));
    else
        take_bytes(c, bytes->base, (size_t)n);
}

/* ---- opening ---- */

/* PING at the end: the first error of a server that is loading, or wants a password, comes before any command. */
static void greet(gw_redis_conn *c)
{
    const gw_redis_target *t = c->target;
    gw_buf *out = gw_redis_conn_out(c);
    c->state = GREETING;
    c->heard_ms = gw_loop_now_ms(c->loop);
    if (t->password[0]) {
        const gw_str argv[] = {GW_STR("AUTH"), gw_str_of(t->user), gw_str_of(t->password)};
        const gw_str plain[] = {argv[0], argv[2]};
        gw_resp_append_command(out, t->user[0] ? 3 : 2, t->user[0] ? argv : plain);
        c->greetings++;
    }
    if (t->db != 0) {
        char number[16];
        int len = snprintf(number, sizeof(number), "%" PRIu32, t->db);
        gw_resp_append_command(out, 2,
                               (const gw_str[]){GW_STR("SELECT"), gw_str_n(number, (size_t)len)});
        c->greetings++;
    }
    gw_resp_append_command(out, 1, (const gw_str[]){GW_STR("PING")});
    c->greetings++;
}

static void secure(gw_redis_conn *c)
{
    gw_error err = {0};
    c->state = SECURING;
    if (gw_tls_connect(c->target->tls, c->target->host, NULL, &c->tls, &err) != GW_OK)
        fail(c, err.code, "%s", err.message);
    else
        (void)shake_hands(c); /* done only when the server has answered */
}

static void on_connected(uv_connect_t *r, int status)
{
    gw_redis_conn *c = r->data;
    if (c->state == CLOSED)
        return;
    if (status == 0) {
        int rc = uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read);
        if (rc != 0)
            fail(c, GW_ERR_UNAVAILABLE, "cannot read: %s", uv_strerror(rc));
        else if (c->target->is_tls)
            secure(c);
        else
            greet(c);
        return;
    }
    c->connect_error = status;
    close_tcp(c);
}

static void try_next_address(gw_redis_conn *c)
{
    if (c->next_address == c->addresses.count) {
        fail(c, GW_ERR_UNAVAILABLE, "cannot connect: %s", uv_strerror(c->connect_error));
        return;
    }
    const struct sockaddr_storage *address = &c->addresses.list[c->next_address++];
    int rc = uv_tcp_init(gw_loop_uv(c->loop), &c->tcp);
    if (rc != 0) {
        fail(c, GW_ERR_UNAVAILABLE, "cannot make a socket: %s", uv_strerror(rc));
        return;
    }
    c->tcp_is_open = true;
    c->holds++;
    c->tcp.data = c;
    c->connecting.data = c;
    (void)uv_tcp_nodelay(&c->tcp, 1);
    rc = uv_tcp_connect(&c->connecting, &c->tcp, (const struct sockaddr *)address, on_connected);
    if (rc != 0) {
        c->connect_error = rc;
        close_tcp(c);
    }
}

static void on_resolved(void *arg, const gw_redis_addresses *addresses, const gw_error *err)
{
    gw_redis_conn *c = arg;
    if (c->state == RESOLVING) {
        if (!addresses || addresses->count == 0) {
            fail(c, GW_ERR_UNAVAILABLE, "%s", err ? err->message : "the name has no address");
        } else {
            c->state = CONNECTING;
            c->addresses = *addresses;
            try_next_address(c);
        }
    }
    release(c);
}

/* Deferred, so that no event comes inside gw_redis_conn_open(). The look-up takes the hold over. */
static void start(void *arg)
{
    gw_redis_conn *c = arg;
    if (c->state == CLOSED)
        release(c);
    else
        gw_redis_resolve(c->resolver, c->target->host, c->target->port, on_resolved, c);
}

static void on_deadline(void *arg)
{
    gw_redis_conn *c = arg;
    fail(c, GW_ERR_UNAVAILABLE, "no answer%s within %" PRId64 " ms",
         c->state == SECURING ? " to the TLS handshake" : "", c->target->connect_timeout_ms);
}

gw_redis_conn *gw_redis_conn_open(gw_loop *l, gw_redis_resolver *v, const gw_redis_target *t,
                                  const gw_redis_conn_events *events, void *arg)
{
    gw_redis_conn *c = calloc(1, sizeof(*c));
    if (!c)
        return NULL;
    c->reader = gw_resp_reader_new(&c->reader_functions);
    if (!c->reader) {
        free(c);
        return NULL;
    }
    c->loop = l;
    c->resolver = v;
    c->target = t;
    c->events = events;
    c->arg = arg;
    c->holds = 2; /* the owner's, and start()'s */
    gw_timer_init(&c->deadline, on_deadline, c);
    gw_timer_set(l, &c->deadline, t->connect_timeout_ms);
    gw_loop_defer(l, start, c);
    return c;
}
