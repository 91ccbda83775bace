/*
 * For the tests of the HTTP server: a server with a scripted handler, and raw clients on the same loop, so that a test
 * says byte for byte what comes in and sees byte for byte what goes out. Time is the fake clock's. Made with
 * kit_new_tls() all of it happens inside TLS: every rule of the server holds there, too.
 *
 * The handler does what the path says:
 *   /hold…    keeps the exchange in kit.held at its head      /early…  answers 200 without reading the body
 *   /wait…    keeps it when its body is there                 /small…  reads at most 8 bytes of body
 *   /fail…    fails with KEY_INVALID and an extra header      others   answer 200 "<method> <path>?<query> <body>"
 */
#pragma once

#include "http/server.h"
#include "testing/cmocka.h"
#include "testing/fake_clock.h"
#include "tls/tls_testing.h"

#include <stdio.h>
#include <stdlib.h>

#define GET(path) "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"

enum { KIT_BODY_MAX = 1024 * 1024, KIT_PATIENCE_MS = 120000 };

typedef struct kit {
    gw_fake_clock time;
    gw_clock clock;
    gw_loop *loop;
    gw_http_server *server;
    bool server_is_gone;
    uv_timer_t guard; /* a wait for what never comes ends in a failure, not in a hang */
    size_t heads, bodies, closed, completed, drained;
    gw_exchange *held;
    gw_list clients;
    bool is_tls;
    tls_test_folder folder;
    tls_test_identity ca;
    gw_tls_files *server_files, *client_files;
    gw_tls_context *client_context;
} kit;

typedef struct kit_client {
    uv_tcp_t tcp;
    uv_connect_t connect;
    gw_list node;
    gw_buf in;
    size_t reads; /* that brought something */
    gw_tls *tls; /* NULL: plain */
    gw_error err; /* of TLS */
    bool is_secure; /* the handshake is done */
    bool is_connected, is_ended, is_reset;
} kit_client;

static inline int64_t kit_real_ms(void)
{
    return gw_clock_mono_ms(&gw_system_clock);
}

/* Turns the loop until `condition` holds. */
#define kit_wait(k, condition)                                                                     \
    do {                                                                                           \
        int64_t kit_end_ms = kit_real_ms() + KIT_PATIENCE_MS;                                      \
        while (!(condition)) {                                                                     \
            if (kit_real_ms() > kit_end_ms)                                                        \
                fail_msg("waited in vain for %s", #condition);                                     \
            uv_run(gw_loop_uv((k)->loop), UV_RUN_ONCE);                                            \
        }                                                                                          \
    } while (0)

/* Lets what is on its way arrive: loopback delivers at once, so a few turns are enough. */
static inline void kit_settle(kit *k)
{
    for (int i = 0; i < 6; i++)
        uv_run(gw_loop_uv(k->loop), UV_RUN_NOWAIT);
}

static inline void kit_advance_ms(kit *k, int64_t ms)
{
    gw_fake_clock_advance_ms(&k->time, ms);
    kit_settle(k);
}

/* ---- the handler ---- */

static inline bool kit_path_is(const gw_exchange *x, const char *prefix)
{
    return gw_str_starts_with(gw_exchange_path(x), gw_str_of(prefix));
}

static inline void kit_answer(gw_exchange *x, const char *text)
{
    const gw_header header = {GW_STR("Content-Type"), GW_STR("text/plain")};
    gw_exchange_respond(x,
                        &(gw_response_head){.status = 200, .headers = &header, .header_count = 1},
                        gw_str_of(text));
}

static inline void kit_on_head(gw_exchange *x, void *arg)
{
    kit *k = arg;
    k->heads++;
    if (kit_path_is(x, "/hold"))
        k->held = x;
    else if (kit_path_is(x, "/early"))
        kit_answer(x, "early");
    else
        gw_exchange_read_body(x, kit_path_is(x, "/small") ? 8 : KIT_BODY_MAX);
}

static inline void kit_on_body(gw_exchange *x, void *arg)
{
    kit *k = arg;
    k->bodies++;
    if (kit_path_is(x, "/hold"))
        return;
    if (kit_path_is(x, "/wait")) {
        k->held = x;
    } else if (kit_path_is(x, "/fail")) {
        gw_error err;
        (void)gw_fail(&err, GW_ERR_KEY_INVALID, "no such key");
        const gw_header extra = {GW_STR("X-Extra"), GW_STR("yes")};
        gw_exchange_fail(x, &err, &extra, 1);
    } else {
        gw_str method = gw_exchange_method(x), path = gw_exchange_path(x),
               query = gw_exchange_query(x), body = gw_exchange_body(x);
        gw_str text = gw_arena_printf(
            gw_exchange_arena(x), GW_STR_FMT " " GW_STR_FMT "?" GW_STR_FMT " " GW_STR_FMT,
            GW_STR_ARG(method), GW_STR_ARG(path), GW_STR_ARG(query), GW_STR_ARG(body));
        kit_answer(x, text.ptr);
    }
}

static inline void kit_on_drained(gw_exchange *x, void *arg)
{
    (void)x;
    ((kit *)arg)->drained++;
}

static inline void kit_on_closed(gw_exchange *x, bool complete, void *arg)
{
    kit *k = arg;
    k->closed++;
    k->completed += complete ? 1 : 0;
    if (k->held == x)
        k->held = NULL;
}

static inline void kit_write_error(gw_exchange *x, const gw_error *err, gw_buf *body,
                                   const char **content_type, void *arg)
{
    (void)x;
    (void)arg;
    *content_type = "text/x-error";
    gw_buf_appendf(body, "%s: %s", gw_status_describe(err->code)->name, err->message);
}

static const gw_http_handler_ops kit_handler = {
    .on_head = kit_on_head,
    .on_body = kit_on_body,
    .on_drained = kit_on_drained,
    .on_closed = kit_on_closed,
    .write_error = kit_write_error,
};

/* ---- the server ---- */

static inline void kit_on_guard(uv_timer_t *t)
{
    (void)t;
}

static inline void kit_make_tls(kit *k)
{
    k->is_tls = true;
    tls_test_folder_make(&k->folder);
    k->ca = tls_test_make(&(tls_test_spec){.name = "authority", .is_ca = true});
    tls_test_identity server =
        tls_test_make(&(tls_test_spec){.san = "DNS:first.test", .issuer = &k->ca});
    tls_test_put_identity(&k->folder, &server);
    tls_test_drop(&server);
    tls_test_put_ca(&k->folder, &k->ca);
    const gw_tls_paths paths = tls_test_paths(&k->folder);
    assert_int_equal(gw_tls_files_new(k->loop, &paths, NULL, &k->server_files, NULL), GW_OK);
    const gw_tls_paths only_ca = {.ca_file = k->folder.ca};
    assert_int_equal(gw_tls_files_new(k->loop, &only_ca, NULL, &k->client_files, NULL), GW_OK);
    assert_int_equal(
        gw_tls_client_context_new(k->client_files, true, NULL, &k->client_context, NULL), GW_OK);
}

static inline kit *kit_open(const gw_http_server_options *wanted, bool is_tls)
{
    kit *k = calloc(1, sizeof(*k));
    assert_non_null(k);
    k->clock = gw_fake_clock_init(&k->time, 1795417521000); /* 2026-11-23T07:05:21Z */
    gw_list_init(&k->clients);
    assert_int_equal(gw_loop_new(&k->clock, &k->loop, NULL), GW_OK);
    gw_http_server_options o = *wanted;
    if (is_tls) {
        kit_make_tls(k);
        o.tls = k->server_files;
    }
    assert_int_equal(gw_http_server_new(k->loop, &o, &kit_handler, k, NULL, &k->server, NULL),
                     GW_OK);
    uv_timer_init(gw_loop_uv(k->loop), &k->guard);
    uv_timer_start(&k->guard, kit_on_guard, 10, 10);
    return k;
}

static inline kit *kit_new(const gw_http_server_options *o)
{
    return kit_open(o, false);
}

static inline kit *kit_new_tls(const gw_http_server_options *o)
{
    return kit_open(o, true);
}

static inline void kit_on_server_closed(void *arg)
{
    ((kit *)arg)->server_is_gone = true;
}

static inline void kit_client_free(kit_client *c);

static inline void kit_free(kit *k)
{
    if (k->server)
        gw_http_server_close(gw_steal(&k->server), kit_on_server_closed, k);
    kit_wait(k, k->server_is_gone);
    gw_list_each_safe (node, &k->clients)
        kit_client_free(GW_CONTAINER_OF(node, kit_client, node));
    uv_close((uv_handle_t *)&k->guard, NULL);
    kit_settle(k);
    gw_tls_context_free(k->client_context);
    gw_tls_files_free(k->server_files);
    gw_tls_files_free(k->client_files);
    tls_test_drop(&k->ca);
    if (k->is_tls)
        tls_test_folder_drop(&k->folder);
    gw_loop_free(k->loop);
    free(k);
}

/* For cmocka: with the options by default, plain or inside TLS. */
static inline int kit_setup(void **state)
{
    *state = kit_new(&gw_http_server_defaults);
    return 0;
}

static inline int kit_setup_tls(void **state)
{
    *state = kit_new_tls(&gw_http_server_defaults);
    return 0;
}

static inline int kit_teardown(void **state)
{
    kit_free(*state);
    return 0;
}

/* ---- raw clients ---- */

static inline void kit_on_connect(uv_connect_t *r, int status)
{
    kit_client *c = r->handle->data;
    c->is_connected = status == 0;
}

static inline void kit_on_allocate(uv_handle_t *h, size_t suggested, uv_buf_t *ret)
{
    (void)h;
    *ret = uv_buf_init(malloc(suggested), (unsigned)suggested);
}

static inline void kit_send_raw(kit_client *c, gw_str bytes);

static inline void kit_flush_tls(kit_client *c)
{
    kit_send_raw(c, gw_tls_output(c->tls));
    gw_tls_output_clear(c->tls);
}

static inline void kit_take_cipher(kit_client *c, gw_str bytes)
{
    char plain[4096];
    size_t len = 1;
    gw_status rc = gw_tls_feed(c->tls, bytes, &c->err);
    if (rc == GW_OK && !c->is_secure)
        rc = gw_tls_handshake(c->tls, &c->is_secure, &c->err);
    while (rc == GW_OK && c->is_secure && len > 0) {
        rc = gw_tls_read(c->tls, plain, sizeof(plain), &len, &c->err);
        gw_buf_append(&c->in, plain, rc == GW_OK ? len : 0);
    }
    kit_flush_tls(c);
}

static inline void kit_on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *b)
{
    kit_client *c = s->data;
    c->reads += n > 0;
    if (n > 0 && c->tls)
        kit_take_cipher(c, gw_str_n(b->base, (size_t)n));
    else if (n > 0)
        gw_buf_append(&c->in, b->base, (size_t)n);
    else if (n < 0) {
        c->is_ended = true;
        c->is_reset = n != UV_EOF;
        uv_read_stop(s);
    }
    free(b->base);
}

static inline void kit_client_read(kit_client *c)
{
    uv_read_start((uv_stream_t *)&c->tcp, kit_on_allocate, kit_on_read);
}

/* Connected, and no more: no TLS, no reading. */
static inline kit_client *kit_client_raw(kit *k)
{
    kit_client *c = calloc(1, sizeof(*c));
    assert_non_null(c);
    uv_tcp_init(gw_loop_uv(k->loop), &c->tcp);
    c->tcp.data = c;
    gw_list_push_back(&k->clients, &c->node);
    struct sockaddr_in a;
    uv_ip4_addr("127.0.0.1", gw_http_server_port(k->server), &a);
    assert_int_equal(
        uv_tcp_connect(&c->connect, &c->tcp, (const struct sockaddr *)&a, kit_on_connect), 0);
    kit_wait(k, c->is_connected);
    uv_tcp_nodelay(&c->tcp, 1);
    return c;
}

static inline void kit_client_shake_hands(kit *k, kit_client *c, const char *host)
{
    assert_int_equal(gw_tls_connect(k->client_context, host, NULL, &c->tls, NULL), GW_OK);
    assert_int_equal(gw_tls_handshake(c->tls, &c->is_secure, NULL), GW_OK);
    kit_flush_tls(c);
    kit_client_read(c);
    kit_wait(k, c->is_secure || c->err.code != GW_OK || c->is_ended);
}

/* Ready to talk but deaf: reads only after kit_client_read(). */
static inline kit_client *kit_client_deaf(kit *k)
{
    kit_client *c = kit_client_raw(k);
    if (k->is_tls) {
        kit_client_shake_hands(k, c, "first.test");
        uv_read_stop((uv_stream_t *)&c->tcp);
    }
    return c;
}

static inline kit_client *kit_client_new(kit *k)
{
    kit_client *c = kit_client_deaf(k);
    kit_client_read(c);
    return c;
}

static inline void kit_on_client_closed(uv_handle_t *h)
{
    kit_client *c = h->data;
    gw_buf_fini(&c->in);
    gw_tls_free(c->tls);
    free(c);
}

static inline void kit_client_free(kit_client *c)
{
    gw_list_remove(&c->node);
    uv_close((uv_handle_t *)&c->tcp, kit_on_client_closed);
}

typedef struct kit_write {
    uv_write_t request;
    char bytes[];
} kit_write;

static inline void kit_on_write(uv_write_t *r, int status)
{
    (void)status; /* a server that refuses may close before it has read everything */
    free(r->data);
}

static inline void kit_send_raw(kit_client *c, gw_str bytes)
{
    if (!bytes.ptr || bytes.len == 0)
        return;
    kit_write *w = malloc(sizeof(*w) + bytes.len);
    assert_non_null(w);
    memcpy(w->bytes, bytes.ptr, bytes.len);
    w->request.data = w;
    uv_buf_t b = uv_buf_init(w->bytes, (unsigned)bytes.len);
    if (uv_write(&w->request, (uv_stream_t *)&c->tcp, &b, 1, kit_on_write) != 0)
        free(w);
}

static inline void kit_send_n(kit_client *c, gw_str bytes)
{
    if (!c->tls) {
        kit_send_raw(c, bytes);
        return;
    }
    assert_int_equal(gw_tls_write(c->tls, bytes, NULL), GW_OK);
    kit_flush_tls(c);
}

static inline void kit_send(kit_client *c, const char *text)
{
    kit_send_n(c, gw_str_of(text));
}

static inline void kit_client_shut(kit_client *c)
{
    uv_os_fd_t fd;
    assert_int_equal(uv_fileno((uv_handle_t *)&c->tcp, &fd), 0);
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
}

static inline size_t kit_count(const kit_client *c, const char *text)
{
    size_t count = 0;
    gw_str rest = gw_buf_str(&c->in);
    while (rest.len > 0) {
        if (gw_str_starts_with(rest, gw_str_of(text)))
            count++;
        rest = gw_str_slice(rest, 1, rest.len);
    }
    return count;
}

static inline bool kit_saw(const kit_client *c, const char *text)
{
    return gw_str_contains(gw_buf_str(&c->in), gw_str_of(text));
}

/* Of the first answer; 0 when none has come. */
static inline int kit_status(const kit_client *c)
{
    return c->in.len > 12 ? (int)strtol(c->in.data + sizeof("HTTP/1.1 ") - 1, NULL, 10) : 0;
}

#define kit_assert_saw(c, text)                                                                    \
    do {                                                                                           \
        if (!kit_saw((c), (text)))                                                                 \
            fail_msg("no %s in: %s", (text), (c)->in.data ? (c)->in.data : "(nothing)");           \
    } while (0)
