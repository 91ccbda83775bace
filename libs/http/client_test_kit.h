/*
 * For the tests of the HTTP client: a scripted raw server on the client's own loop, and a recorder of one call.
 *
 * The server hands each whole request to `on_request` (or sends `answer`), so that a test says byte for byte what comes
 * back and when. With `tls` set it speaks TLS.
 */
#pragma once

#include "http/client.h"
#include "testing/cmocka.h"

#include <openssl/ssl.h>

#include <stdio.h>
#include <stdlib.h>

typedef struct kit_server kit_server;

typedef struct kit_peer { /* one accepted connection */
    uv_tcp_t tcp;
    gw_list node;
    kit_server *server;
    gw_buf in; /* plain bytes not yet handed to on_request */
    size_t requests;
    size_t index; /* 0 = the first connection accepted */
    bool closing;
    SSL *ssl;
    bool handshake_done;
    gw_str later; /* second half of a split answer */
    int turns;
    uv_idle_t idle;
} kit_peer;

struct kit_server {
    gw_loop *loop;
    uv_tcp_t listener;
    uint16_t port;
    gw_list peers;
    size_t accepted, closed_by_client, requests, handles;
    gw_buf last_request;
    SSL_CTX *tls;
    size_t resumed;
    void (*on_request)(kit_peer *p);
    gw_str answer;
    size_t split_at; /* > 0: the client reads that many bytes first */
    bool close_after;
    bool is_deaf; /* reads nothing */
    bool hears_one; /* a connection's second request is cut at its first bytes */
};

typedef struct kit {
    gw_loop *loop;
    gw_http_client *client;
    gw_tls_files *files; /* the client's, of tests that make some */
    kit_server server;
    size_t pending; /* calls */
    void *mine; /* the test's own */
    gw_timer nudge; /* see kit_turn */
    gw_http_transport transport; /* of every request */
} kit;

typedef struct kit_call {
    kit *k;
    gw_http_call *call;
    int heads, dones, status;
    size_t bodies;
    gw_buf headers, body;
    gw_status rc;
    gw_error err;
    gw_timer timer;
    void (*in_head)(struct kit_call *c);
    void (*in_body)(struct kit_call *c);
    void (*in_done)(struct kit_call *c);
} kit_call;

/* ---- server ---- */

static inline void kit_on_peer_handle_closed(uv_handle_t *h)
{
    kit_peer *p = h->data;
    p->server->handles--;
    if (h == (uv_handle_t *)&p->idle) {
        uv_close((uv_handle_t *)&p->tcp, kit_on_peer_handle_closed);
        return;
    }
    gw_list_remove(&p->node);
    gw_buf_fini(&p->in);
    SSL_free(p->ssl);
    free(p);
}

static inline kit_peer *kit_first_peer(kit *k) /* there is one */
{
    gw_list *node = gw_list_first(&k->server.peers);

    assert_non_null(node);
    if (!node)
        abort(); /* for compilers that do not know cmocka */
    return GW_CONTAINER_OF(node, kit_peer, node);
}

static inline void kit_close(kit_peer *p)
{
    if (p->closing)
        return;
    p->closing = true;
    uv_close((uv_handle_t *)&p->idle, kit_on_peer_handle_closed);
}

typedef struct kit_write {
    uv_write_t req;
    char bytes[];
} kit_write;

static inline void kit_on_written(uv_write_t *w, int status)
{
    (void)status;
    free(w);
}

static inline void kit_send_raw(kit_peer *p, gw_str bytes)
{
    if (bytes.len == 0 || p->closing)
        return;
    kit_write *w = malloc(sizeof(*w) + bytes.len);
    assert_non_null(w);
    memcpy(w->bytes, bytes.ptr, bytes.len);
    uv_buf_t buf = {.base = w->bytes, .len = bytes.len};
    if (uv_write(&w->req, (uv_stream_t *)&p->tcp, &buf, 1, kit_on_written) != 0)
        free(w);
}

static inline void kit_flush_tls(kit_peer *p)
{
    char *data = NULL;
    long len = BIO_get_mem_data(SSL_get_wbio(p->ssl), &data);
    kit_send_raw(p, gw_str_n(data, (size_t)len));
    (void)BIO_reset(SSL_get_wbio(p->ssl));
}

static inline void kit_send(kit_peer *p, gw_str bytes)
{
    if (!p->ssl) {
        kit_send_raw(p, bytes);
        return;
    }
    if (bytes.len > 0)
        assert_true(SSL_write(p->ssl, bytes.ptr, (int)bytes.len) > 0);
    kit_flush_tls(p);
}

static inline void kit_on_idle(uv_idle_t *idle)
{
    kit_peer *p = idle->data;
    if (++p->turns <
        2) /* one whole turn of the loop in between: the client reads the first half alone */
        return;
    uv_idle_stop(idle);
    kit_send(p, p->later);
    if (p->server->close_after)
        kit_close(p);
}

static inline void kit_answer(kit_peer *p)
{
    kit_server *s = p->server;
    size_t split = s->split_at > 0 ? s->split_at : s->answer.len;
    kit_send(p, gw_str_slice(s->answer, 0, split));
    if (split < s->answer.len) {
        p->later = gw_str_slice(s->answer, split, s->answer.len);
        p->turns = 0;
        uv_idle_start(&p->idle, kit_on_idle);
    } else if (s->close_after) {
        kit_close(p);
    }
}

/* Cuts whole requests off p->in. */
static inline void kit_take_requests(kit_peer *p)
{
    static const char end[] = "\r\n\r\n";
    kit_server *s = p->server;
    while (!p->closing && p->in.len > 0) {
        char *head_end = strstr(p->in.data, end);
        if (!head_end)
            return;
        size_t len = (size_t)(head_end - p->in.data) + sizeof(end) - 1;
        const char *framing = strstr(p->in.data, "Content-Length: ");
        if (framing && framing < head_end)
            len += strtoul(framing + 16, NULL, 10);
        if (p->in.len < len)
            return;
        gw_buf_clear(&s->last_request);
        gw_buf_append(&s->last_request, p->in.data, len);
        gw_buf_drop_front(&p->in, len);
        p->requests++;
        s->requests++;
        if (s->on_request)
            s->on_request(p);
        else
            kit_answer(p);
    }
}

static inline void kit_take_tls(kit_peer *p, const char *bytes, size_t len)
{
    char plain[16384];
    BIO_write(SSL_get_rbio(p->ssl), bytes, (int)len);
    if (!p->handshake_done) {
        p->handshake_done = SSL_do_handshake(p->ssl) == 1;
        if (p->handshake_done && SSL_session_reused(p->ssl))
            p->server->resumed++;
    }
    for (int n; p->handshake_done && (n = SSL_read(p->ssl, plain, sizeof(plain))) > 0;)
        gw_buf_append(&p->in, plain, (size_t)n);
    kit_flush_tls(p);
}

static inline void kit_on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
    (void)h;
    *buf = uv_buf_init(malloc(suggested), (unsigned)suggested);
}

static inline void kit_on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *buf)
{
    kit_peer *p = stream->data;
    if (len > 0 && p->server->hears_one && p->requests > 0)
        kit_close(p);
    else if (len > 0 && p->ssl)
        kit_take_tls(p, buf->base, (size_t)len);
    else if (len > 0)
        gw_buf_append(&p->in, buf->base, (size_t)len);
    free(buf->base);
    if (len < 0) {
        p->server->closed_by_client++;
        kit_close(p);
    } else if (len > 0 && !p->closing) {
        kit_take_requests(p);
    }
}

static inline void kit_on_accept(uv_stream_t *listener, int status)
{
    kit_server *s = listener->data;
    assert_int_equal(status, 0);
    kit_peer *p = calloc(1, sizeof(*p));
    assert_non_null(p);
    p->server = s;
    p->index = s->accepted++;
    uv_tcp_init(gw_loop_uv(s->loop), &p->tcp);
    uv_idle_init(gw_loop_uv(s->loop), &p->idle);
    s->handles += 2;
    p->tcp.data = p->idle.data = p;
    gw_list_push_back(&s->peers, &p->node);
    assert_int_equal(uv_accept(listener, (uv_stream_t *)&p->tcp), 0);
    uv_tcp_nodelay(&p->tcp, 1); /* else the second half of a split answer waits for a delayed ACK */
    if (s->tls) {
        p->ssl = SSL_new(s->tls);
        SSL_set_bio(p->ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
        SSL_set_accept_state(p->ssl);
    }
    if (!s->is_deaf)
        uv_read_start((uv_stream_t *)&p->tcp, kit_on_alloc, kit_on_read);
}

static inline void kit_on_listener_closed(uv_handle_t *h)
{
    ((kit_server *)h->data)->handles--;
}

static inline void kit_server_listen(kit_server *s, gw_loop *loop)
{
    struct sockaddr_in any, bound;
    int size = sizeof(bound);
    *s = (kit_server){.loop = loop};
    gw_list_init(&s->peers);
    uv_ip4_addr("127.0.0.1", 0, &any);
    uv_tcp_init(gw_loop_uv(loop), &s->listener);
    s->listener.data = s;
    s->handles = 1;
    assert_int_equal(uv_tcp_bind(&s->listener, (const struct sockaddr *)&any, 0), 0);
    assert_int_equal(uv_listen((uv_stream_t *)&s->listener, 64, kit_on_accept), 0);
    assert_int_equal(uv_tcp_getsockname(&s->listener, (struct sockaddr *)&bound, &size), 0);
    s->port = ntohs(bound.sin_port);
}

/* ---- fixture ---- */

static inline void kit_on_nudge(void *arg)
{
    (void)arg;
}

/* One turn. What a test waits for may happen just before the loop blocks, so it never blocks for long. */
static inline void kit_turn(kit *k)
{
    if (!gw_timer_is_armed(&k->nudge))
        gw_timer_set(k->loop, &k->nudge, 2);
    uv_run(gw_loop_uv(k->loop), UV_RUN_ONCE);
}

static inline void kit_on_client_closed(void *arg)
{
    *(bool *)arg = true;
}

static inline void kit_close_client(kit *k)
{
    bool closed = false;
    gw_http_client_close(k->client, kit_on_client_closed, &closed);
    assert_false(closed);
    k->client = NULL;
    while (!closed)
        kit_turn(k);
}

static inline void kit_open_client(kit *k, gw_http_client_options o)
{
    gw_error err = {0};
    if (gw_http_client_new(k->loop, &o, NULL, &k->client, &err) != GW_OK)
        fail_msg("%s", err.message);
}

static inline gw_http_client_options kit_options(void)
{
    static gw_cidr loopback;
    assert_true(gw_cidr_parse(GW_STR("127.0.0.0/8"), &loopback));
    gw_http_client_options o = gw_http_client_defaults;
    o.allow_cidrs = &loopback;
    o.allow_cidr_count = 1;
    return o;
}

static inline int kit_setup_at(void **state, const gw_clock *clock)
{
    kit *k = calloc(1, sizeof(*k));
    assert_non_null(k);
    assert_int_equal(gw_loop_new(clock, &k->loop, NULL), GW_OK);
    gw_timer_init(&k->nudge, kit_on_nudge, NULL);
    kit_server_listen(&k->server, k->loop);
    kit_open_client(k, kit_options());
    *state = k;
    return 0;
}

static inline int kit_setup(void **state)
{
    return kit_setup_at(state, &gw_system_clock);
}

static inline void kit_script(kit *k, const char *answer, bool close_after)
{
    k->server.answer = gw_str_of(answer);
    k->server.close_after = close_after;
}

static inline int kit_setup_curl(void **state)
{
    kit_setup(state);
    ((kit *)*state)->transport = GW_HTTP_CURL;
    return 0;
}

static inline int kit_teardown(void **state)
{
    kit *k = *state;
    kit_server *s = &k->server;
    if (k->client)
        kit_close_client(k);
    gw_tls_files_free(k->files);
    uv_close((uv_handle_t *)&s->listener, kit_on_listener_closed);
    gw_list_each (node, &s->peers)
        kit_close(GW_CONTAINER_OF(node, kit_peer, node));
    while (s->handles > 0)
        kit_turn(k);
    gw_timer_cancel(k->loop, &k->nudge);
    gw_buf_fini(&s->last_request);
    SSL_CTX_free(s->tls);
    gw_loop_free(k->loop);
    free(k);
    return 0;
}

/* ---- one call ---- */

static inline void kit_on_head(gw_http_call *call, int status, gw_headers headers, void *arg)
{
    kit_call *c = arg;
    (void)call;
    c->heads++;
    c->status = status;
    for (size_t i = 0; i < headers.count; i++)
        gw_buf_appendf(&c->headers, GW_STR_FMT "=" GW_STR_FMT "|",
                       GW_STR_ARG(headers.items[i].name), GW_STR_ARG(headers.items[i].value));
    if (c->in_head)
        c->in_head(c);
}

static inline void kit_on_body(gw_http_call *call, gw_str bytes, void *arg)
{
    kit_call *c = arg;
    (void)call;
    assert_int_equal(c->heads, 1);
    assert_int_equal(c->dones, 0);
    c->bodies++;
    gw_buf_append_str(&c->body, bytes);
    if (c->in_body)
        c->in_body(c);
}

static inline void kit_on_done(gw_http_call *call, gw_status rc, const gw_error *err, void *arg)
{
    kit_call *c = arg;
    (void)call;
    c->dones++;
    c->rc = rc;
    if (err)
        c->err = *err;
    c->k->pending--;
    if (c->in_done)
        c->in_done(c);
}

static const gw_http_call_ops kit_ops = {kit_on_head, kit_on_body, kit_on_done};

static inline gw_http_request kit_request(const kit *k, const char *method)
{
    gw_http_request r = {
        .transport = k->transport, .method = method, .target = GW_STR("/v1/x?y=1")};
    r.url.scheme = k->server.tls ? GW_STR("https") : GW_STR("http");
    r.url.host = GW_STR("127.0.0.1");
    r.url.port = k->server.port;
    return r;
}

static inline void kit_start(kit *k, kit_call *c, const gw_http_request *r)
{
    gw_error err = {0};
    c->k = k;
    k->pending++;
    if (gw_http_send(k->client, r, &kit_ops, c, &c->call, &err) != GW_OK)
        fail_msg("%s", err.message);
    assert_int_equal(c->dones, 0);
}

static inline void kit_run(kit *k) /* until no call is pending */
{
    while (k->pending > 0)
        kit_turn(k);
}

static inline void kit_call_fini(kit_call *c)
{
    gw_buf_fini(&c->headers);
    gw_buf_fini(&c->body);
}
#define kit_auto_call __attribute__((cleanup(kit_call_fini))) kit_call

static inline void kit_get(kit *k, kit_call *c)
{
    gw_http_request r = kit_request(k, "GET");
    kit_start(k, c, &r);
    kit_run(k);
    assert_int_equal(c->dones, 1);
}

#define KIT_TEST(f) cmocka_unit_test_setup_teardown(f, kit_setup, kit_teardown)
#define KIT_TEST_CURL(f)                                                                           \
    {                                                                                              \
#f " (libcurl)", f, kit_setup_curl, kit_teardown, NULL                                     \
    }
#define KIT_TEST_BOTH(f) KIT_TEST(f), KIT_TEST_CURL(f)

#define kit_assert_ok(c)                                                                           \
    do {                                                                                           \
        if ((c)->rc != GW_OK)                                                                      \
            fail_msg("%s: %s", gw_status_describe((c)->rc)->name, (c)->err.message);               \
    } while (0)
