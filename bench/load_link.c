#include "load_link.h"

#include "tls/tls.h"

#include <assert.h>
#include <llhttp.h>
#include <stdlib.h>

enum { PARTS_MAX = 4, RECORD_BYTES = 16384 };

struct load_target {
    gw_loop *loop;
    struct sockaddr_in address;
    gw_tls_files *files;
    gw_tls_context *tls; /* NULL: plain */
    llhttp_settings_t parser_settings;
    char read_buffer[256 * 1024];
    char plain_buffer[RECORD_BYTES]; /* out of TLS */
};

struct load_link {
    uv_tcp_t tcp;
    uv_connect_t connecting;
    load_target *target;
    const load_link_ops *ops;
    void *arg;
    llhttp_t parser;
    gw_tls *tls;
    bool is_open; /* connected, and the handshake done */
    bool is_closing;
    bool is_answered; /* by the parser, not told yet */
};

typedef struct pending_write {
    uv_write_t request;
    char bytes[];
} pending_write;

/* ---- the answer ---- */

static int on_body(llhttp_t *p, const char *at, size_t len)
{
    load_link *l = p->data;
    if (l->ops->body && !l->is_closing)
        l->ops->body(l, gw_str_n(at, len), l->arg);
    return l->is_closing ? HPE_USER : 0;
}

static int on_message_complete(llhttp_t *p)
{
    load_link *l = p->data;
    l->is_answered = p->status_code >= 200; /* 1xx comes before an answer */
    return l->is_answered ? HPE_PAUSED : 0;
}

/* ---- life ---- */

static void on_closed(uv_handle_t *h)
{
    load_link *l = h->data;
    gw_tls_free(l->tls);
    free(l);
}

void load_link_close(load_link *l, bool resets)
{
    if (l->is_closing)
        return;
    l->is_closing = true;
    if (!resets || uv_tcp_close_reset(&l->tcp, on_closed) != 0)
        uv_close((uv_handle_t *)&l->tcp, on_closed);
}

static void lose(load_link *l)
{
    if (l->is_closing)
        return;
    l->ops->lost(l, l->arg);
    load_link_close(l, false);
}

/* ---- writing ---- */

static void on_written(uv_write_t *request, int status)
{
    load_link *l = request->handle->data;
    free(request->data);
    if (status != 0)
        lose(l);
}

static void write_later(load_link *l, const uv_buf_t *parts, size_t count, size_t taken, size_t len)
{
    pending_write *w = malloc(sizeof(*w) + len - taken);
    size_t at = 0;
    if (!w)
        abort();
    for (size_t i = 0; i < count; i++) {
        size_t skip = GW_MIN(taken, parts[i].len);
        taken -= skip;
        memcpy(w->bytes + at, parts[i].base + skip, parts[i].len - skip);
        at += parts[i].len - skip;
    }
    w->request.data = w;
    uv_buf_t whole = uv_buf_init(w->bytes, (unsigned)at);
    if (uv_write(&w->request, (uv_stream_t *)&l->tcp, &whole, 1, on_written) != 0)
        free(w); /* reading tells of the end */
}

static uv_buf_t part_of(gw_str s)
{
    union { /* libuv only reads from it; its type has no const */
        const char *in;
        char *out;
    } pointer = {.in = s.ptr};
    return uv_buf_init(pointer.out, (unsigned)s.len);
}

static void write_plain(load_link *l, const gw_str *parts, size_t count)
{
    uv_buf_t out[PARTS_MAX] = {{0}};
    size_t len = 0;
    assert(count <= PARTS_MAX);
    for (size_t i = 0; i < count; i++) {
        out[i] = part_of(parts[i]);
        len += parts[i].len;
    }
    int rc = uv_try_write((uv_stream_t *)&l->tcp, out, (unsigned)count);
    size_t taken = rc > 0 ? (size_t)rc : 0;
    if (taken < len && (rc >= 0 || rc == UV_EAGAIN))
        write_later(l, out, count, taken, len);
}

/* What TLS has to say. */
static void send_cipher(load_link *l)
{
    gw_str cipher = gw_tls_output(l->tls);
    if (cipher.len > 0)
        write_plain(l, &cipher, 1);
    gw_tls_output_clear(l->tls);
}

/* One record for a small request: its parts are gathered. */
static void write_cipher(load_link *l, const gw_str *parts, size_t count)
{
    gw_auto_buf whole = {0};
    for (size_t i = 0; i < count; i++)
        gw_buf_append_str(&whole, parts[i]);
    if (gw_buf_failed(&whole))
        abort();
    for (size_t at = 0; at < whole.len; at += RECORD_BYTES) {
        gw_str record = gw_str_slice(gw_buf_str(&whole), at, at + RECORD_BYTES);
        if (gw_tls_write(l->tls, record, NULL) != GW_OK)
            return; /* reading tells of the end */
    }
    send_cipher(l);
}

void load_link_write(load_link *l, const gw_str *parts, size_t count)
{
    if (l->is_closing)
        return;
    if (l->tls)
        write_cipher(l, parts, count);
    else
        write_plain(l, parts, count);
}

/* ---- reading ---- */

static void on_allocate(uv_handle_t *h, size_t suggested, uv_buf_t *ret)
{
    (void)suggested;
    load_link *l = h->data;
    *ret = uv_buf_init(l->target->read_buffer, sizeof(l->target->read_buffer));
}

static void take(load_link *l, const char *bytes, size_t len)
{
    llhttp_errno_t rc = llhttp_execute(&l->parser, bytes, len);
    if (l->is_closing)
        return;
    if (rc != HPE_OK && rc != HPE_PAUSED) {
        lose(l);
        return;
    }
    if (!l->is_answered)
        return;
    bool has_more = llhttp_get_error_pos(&l->parser) != bytes + len; /* nothing was asked for */
    bool keeps = llhttp_should_keep_alive(&l->parser) && !has_more;
    l->is_answered = false;
    llhttp_resume(&l->parser);
    l->ops->answered(l, l->parser.status_code, keeps, l->arg);
    if (!keeps)
        load_link_close(l, false);
}

static void open_now(load_link *l)
{
    l->is_open = true;
    l->ops->connected(l, l->arg);
}

/* The handshake as far as the bytes go; false when it is not done. */
static bool shake_hands(load_link *l)
{
    gw_status rc = gw_tls_handshake(l->tls, &l->is_open, NULL);
    send_cipher(l);
    if (rc != GW_OK)
        lose(l);
    else if (l->is_open)
        open_now(l);
    return !l->is_closing && l->is_open;
}

static void take_cipher(load_link *l, gw_str bytes)
{
    size_t len = 0;
    if (gw_tls_feed(l->tls, bytes, NULL) != GW_OK) {
        lose(l);
        return;
    }
    if (!l->is_open && !shake_hands(l))
        return;
    do {
        char *plain = l->target->plain_buffer;
        if (gw_tls_read(l->tls, plain, RECORD_BYTES, &len, NULL) != GW_OK)
            lose(l);
        else if (len > 0)
            take(l, plain, len);
    } while (len > 0 && !l->is_closing);
    if (!l->is_closing && gw_tls_is_closed(l->tls))
        lose(l);
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buffer)
{
    load_link *l = stream->data;
    if (l->is_closing || count == 0)
        return;
    if (count < 0)
        lose(l);
    else if (l->tls)
        take_cipher(l, gw_str_n(buffer->base, (size_t)count));
    else
        take(l, buffer->base, (size_t)count);
}

static void on_connected(uv_connect_t *request, int status)
{
    load_link *l = request->data;
    if (l->is_closing)
        return;
    if (status != 0 || uv_read_start((uv_stream_t *)&l->tcp, on_allocate, on_read) != 0) {
        lose(l);
        return;
    }
    uv_tcp_nodelay(&l->tcp, 1);
    if (l->tls)
        (void)shake_hands(l);
    else
        open_now(l);
}

load_link *load_link_open(load_target *t, const load_link_ops *ops, void *arg)
{
    load_link *l = calloc(1, sizeof(*l));
    if (!l)
        return NULL;
    l->target = t;
    l->ops = ops;
    l->arg = arg;
    llhttp_init(&l->parser, HTTP_RESPONSE, &t->parser_settings);
    l->parser.data = l;
    uv_tcp_init(gw_loop_uv(t->loop), &l->tcp);
    l->tcp.data = l;
    l->connecting.data = l;
    if (t->tls && gw_tls_connect(t->tls, "localhost", NULL, &l->tls, NULL) != GW_OK) {
        load_link_close(l, false);
        return NULL;
    }
    if (uv_tcp_connect(&l->connecting, &l->tcp, (const struct sockaddr *)&t->address,
                       on_connected) != 0) {
        load_link_close(l, false);
        return NULL;
    }
    return l;
}

void load_link_stop_reading(load_link *l)
{
    uv_read_stop((uv_stream_t *)&l->tcp);
}

/* ---- where to ---- */

gw_status load_target_new(gw_loop *l, uint16_t port, const char *ca_file, load_target **ret,
                          gw_error *err)
{
    gw_auto(load_target) t = calloc(1, sizeof(*t));
    if (!t)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the target");
    t->loop = l;
    t->address = (struct sockaddr_in){.sin_family = AF_INET,
                                      .sin_port = htons(port),
                                      .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    llhttp_settings_init(&t->parser_settings);
    t->parser_settings.on_body = on_body;
    t->parser_settings.on_message_complete = on_message_complete;
    const gw_tls_paths paths = {.ca_file = ca_file};
    gw_status rc = ca_file ? gw_tls_files_new(l, &paths, NULL, &t->files, err) : GW_OK;
    if (rc == GW_OK && ca_file)
        rc = gw_tls_client_context_new(t->files, true, NULL, &t->tls, err);
    if (rc == GW_OK)
        *ret = gw_steal(&t);
    return rc;
}

void load_target_free(load_target *t)
{
    if (!t)
        return;
    gw_tls_context_free(t->tls);
    gw_tls_files_free(t->files);
    free(t);
}
