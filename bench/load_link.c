#include "load_link.h"

#include <assert.h>
#include <llhttp.h>
#include <stdlib.h>

enum { PARTS_MAX = 4 };

struct load_target {
    gw_loop *loop;
    struct sockaddr_in address;
    llhttp_settings_t parser_settings;
    char read_buffer[256 * 1024];
};

struct load_link {
    uv_tcp_t tcp;
    uv_connect_t connecting;
    load_target *target;
    const load_link_ops *ops;
    void *arg;
    llhttp_t parser;
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
    free(h->data);
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

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buffer)
{
    load_link *l = stream->data;
    if (l->is_closing || count == 0)
        return;
    if (count > 0)
        take(l, buffer->base, (size_t)count);
    else
        lose(l);
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
    l->ops->connected(l, l->arg);
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
    if (uv_tcp_connect(&l->connecting, &l->tcp, (const struct sockaddr *)&t->address,
                       on_connected) != 0) {
        load_link_close(l, false);
        return NULL;
    }
    return l;
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

void load_link_write(load_link *l, const gw_str *parts, size_t count)
{
    uv_buf_t out[PARTS_MAX] = {{0}};
    size_t len = 0;
    if (l->is_closing)
        return;
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

void load_link_stop_reading(load_link *l)
{
    uv_read_stop((uv_stream_t *)&l->tcp);
}

/* ---- where to ---- */

gw_status load_target_new(gw_loop *l, uint16_t port, const char *ca_file, load_target **ret,
                          gw_error *err)
{
    if (ca_file)
        return gw_fail(err, GW_ERR_INVALID_ARGUMENT, "TLS is not spoken here");
    load_target *t = calloc(1, sizeof(*t));
    if (!t)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the target");
    t->loop = l;
    t->address = (struct sockaddr_in){.sin_family = AF_INET,
                                      .sin_port = htons(port),
                                      .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    llhttp_settings_init(&t->parser_settings);
    t->parser_settings.on_body = on_body;
    t->parser_settings.on_message_complete = on_message_complete;
    *ret = t;
    return GW_OK;
}

void load_target_free(load_target *t)
{
    free(t);
}
