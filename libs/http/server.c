#include "http/server.h"

#include "http/server_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

enum {
    BACKLOG = 4096, /* the kernel cuts it to net.core.somaxconn */
    SPARES_MAX = 64,
};

const gw_http_server_options gw_http_server_defaults = {
    .host = "127.0.0.1",
    .head_timeout_ms = 10000,
    .body_timeout_ms = 30000,
    .idle_timeout_ms = 75000,
    .write_idle_timeout_ms = 60000,
    .head_max_bytes = 32768,
    .headers_max = 100,
    .body_memory_max_bytes = 256L * 1024 * 1024,
    .write_high_water = 65536,
    .connections_max = 20000,
};

/* ---- exchanges are used again: an idle connection owns none ---- */

static void free_exchange(gw_exchange *x)
{
    gw_arena_free(x->arena);
    free(x);
}

gw_exchange *server_take_exchange(gw_http_server *s, connection *c)
{
    gw_list *spare = gw_list_pop_front(&s->spares);
    gw_exchange *x = NULL;
    if (spare) {
        s->spare_count--;
        x = GW_CONTAINER_OF(spare, gw_exchange, spare_node);
        gw_arena *arena = x->arena;
        *x = (gw_exchange){.arena = arena};
    } else {
        x = calloc(1, sizeof(*x));
        if (!x)
            return NULL;
    }
    if (!x->arena && !(x->arena = gw_arena_new())) {
        free(x);
        return NULL;
    }
    gw_list_init(&x->spare_node);
    x->connection = c;
    return x;
}

void server_return_exchange(gw_http_server *s, gw_exchange *x)
{
    s->body_bytes -= x->body_charged;
    gw_buf_fini(&x->body);
    gw_buf_fini(&x->raw);
    if (s->spare_count >= SPARES_MAX) {
        free_exchange(x);
        return;
    }
    if (gw_arena_is_shared(x->arena))
        gw_arena_free(gw_steal(&x->arena));
    else
        gw_arena_reset(x->arena);
    gw_list_push_front(&s->spares, &x->spare_node);
    s->spare_count++;
}

/* ---- the Date line, once a second ---- */

const char *server_date_line(gw_http_server *s)
{
    static const char days[][4] = {"Thu", "Fri", "Sat", "Sun",
                                   "Mon", "Tue", "Wed"}; /* 1970-01-01 was a Thursday */
    static const char months[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    int64_t now_ms = gw_clock_wall_ms(gw_loop_clock(s->loop));
    if (now_ms / GW_MS_PER_S != s->date_s || !s->date[0]) {
        s->date_s = now_ms / GW_MS_PER_S;
        gw_date d = gw_date_of_ms(now_ms);
        (void)snprintf(s->date, sizeof(s->date), "Date: %s, %02u %s %04u %02u:%02u:%02u GMT\r\n",
                       days[(uint64_t)(now_ms / GW_MS_PER_DAY) % 7], (unsigned)d.day % 100U,
                       months[(unsigned)(d.month - 1) % 12], (unsigned)d.year % 10000U,
                       (unsigned)d.hour % 100U, (unsigned)d.minute % 100U,
                       (unsigned)d.second % 100U);
    }
    return s->date;
}

/* ---- the end ---- */

static void free_when_closed(gw_http_server *s)
{
    if (!s->is_closing || s->listener_is_open || s->connection_count > 0)
        return;
    gw_list_each_safe (node, &s->spares)
        free_exchange(GW_CONTAINER_OF(node, gw_exchange, spare_node));
    server_free_spare_writers(s);
    gw_buf_fini(&s->scratch);
    server_close_tls(s);
    void (*closed)(void *arg) = s->closed;
    void *arg = s->closed_arg;
    free(s);
    if (closed)
        closed(arg);
}

static void run_free_when_closed(void *arg)
{
    free_when_closed(arg);
}

void server_forget_connection(gw_http_server *s, connection *c)
{
    gw_list_remove(&c->node);
    s->connection_count--;
    free(c);
    free_when_closed(s);
}

static void on_listener_closed(uv_handle_t *h)
{
    gw_http_server *s = h->data;
    s->listener_is_open = false;
    free_when_closed(s);
}

static void stop_accepting(gw_http_server *s)
{
    if (!uv_is_closing((uv_handle_t *)&s->listener))
        uv_close((uv_handle_t *)&s->listener, on_listener_closed);
}

void gw_http_server_adjust(gw_http_server *s, const gw_http_server_options *o)
{
    s->options.head_timeout_ms = o->head_timeout_ms;
    s->options.body_timeout_ms = o->body_timeout_ms;
    s->options.idle_timeout_ms = o->idle_timeout_ms;
    s->options.write_idle_timeout_ms = o->write_idle_timeout_ms;
    s->options.body_memory_max_bytes = o->body_memory_max_bytes;
    s->options.connections_max = o->connections_max;
}

/* What bodies may still take; nothing when the bound was lowered below what they hold. */
size_t server_body_room(const gw_http_server *s)
{
    size_t max = s->options.body_memory_max_bytes;
    return max > s->body_bytes ? max - s->body_bytes : 0;
}

void gw_http_server_drain(gw_http_server *s)
{
    if (s->is_draining)
        return;
    s->is_draining = true;
    stop_accepting(s);
    gw_list_each (node, &s->connections) {
        connection *c = GW_CONTAINER_OF(node, connection, node);
        if (c->state == STATE_IDLE || c->state == STATE_HANDSHAKING)
            connection_schedule(c);
    }
}

void gw_http_server_close(gw_http_server *s, void (*closed)(void *arg), void *arg)
{
    s->is_closing = s->is_draining = true;
    s->closed = closed;
    s->closed_arg = arg;
    stop_accepting(s);
    gw_list_each (node, &s->connections)
        connection_break(GW_CONTAINER_OF(node, connection, node));
    if (!s->listener_is_open && s->connection_count == 0)
        gw_loop_defer(s->loop, run_free_when_closed, s);
}

/* ---- the beginning ---- */

static void on_connection(uv_stream_t *listener, int status)
{
    gw_http_server *s = listener->data;
    if (status != 0) {
        gw_log_warn(s->log, "http_accept_failed", gw_kv("error.message", uv_strerror(status)));
        return;
    }
    connection *c = connection_new(s);
    if (!c) {
        gw_log_error(s->log, "http_accept_failed", gw_kv("error.message", "out of memory"));
        return;
    }
    bool is_one_too_many = s->connection_count >= s->options.connections_max;
    gw_list_push_back(&s->connections, &c->node);
    s->connection_count++;
    if (uv_accept(listener, (uv_stream_t *)&c->tcp) != 0)
        connection_break(c);
    else if (is_one_too_many)
        connection_refuse(c);
    else
        connection_start(c);
}

static gw_status read_address(const gw_http_server_options *o, struct sockaddr_storage *ret,
                              gw_error *err)
{
    if (uv_ip4_addr(o->host, o->port, (struct sockaddr_in *)ret) != 0 &&
        uv_ip6_addr(o->host, o->port, (struct sockaddr_in6 *)ret) != 0)
        return gw_fail(err, GW_ERR_INVALID_ARGUMENT, "%s is not an address to listen at", o->host);
    return GW_OK;
}

/* libuv has an option for it since 1.49. */
static int share_port(const uv_tcp_t *listener)
{
    uv_os_fd_t fd;
    const int on = 1;
    int rc = uv_fileno((const uv_handle_t *)listener, &fd);
    if (rc == 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) != 0)
        rc = uv_translate_sys_error(errno);
    return rc;
}

static gw_status listen_at(gw_http_server *s, struct sockaddr_storage *address, gw_error *err)
{
    const gw_http_server_options *o = &s->options;
    int rc = o->shares_port ? share_port(&s->listener) : 0;
    if (rc == 0)
        rc = uv_tcp_bind(&s->listener, (const struct sockaddr *)address, 0);
    if (rc == 0)
        rc = uv_listen((uv_stream_t *)&s->listener, BACKLOG, on_connection);
    int len = sizeof(*address);
    if (rc == 0)
        rc = uv_tcp_getsockname(&s->listener, (struct sockaddr *)address, &len);
    if (rc != 0)
        return gw_fail(err, GW_ERR_IO, "cannot listen at %s port %u: %s", o->host, o->port,
                       uv_strerror(rc));
    /* The port lies at the same place in both families. */
    s->port = ntohs(((const struct sockaddr_in *)address)->sin_port);
    return GW_OK;
}

gw_status gw_http_server_new(gw_loop *l, const gw_http_server_options *o,
                             const gw_http_handler_ops *ops, void *arg, gw_log *log,
                             gw_http_server **ret, gw_error *err)
{
    struct sockaddr_storage address = {0};
    gw_status status = read_address(o, &address, err);
    if (status != GW_OK)
        return status;
    gw_http_server *s = calloc(1, sizeof(*s));
    if (!s)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for an HTTP server");
    s->loop = l;
    s->options = *o;
    s->ops = ops;
    s->arg = arg;
    s->log = log;
    gw_list_init(&s->connections);
    gw_list_init(&s->spares);
    gw_list_init(&s->spare_writers);
    int rc = uv_tcp_init_ex(gw_loop_uv(l), &s->listener, address.ss_family);
    if (rc != 0) {
        free(s);
        return gw_fail(err, GW_ERR_IO, "cannot make a socket: %s", uv_strerror(rc));
    }
    s->listener.data = s;
    s->listener_is_open = true;
    status = server_open_tls(s, err);
    if (status == GW_OK)
        status = listen_at(s, &address, err);
    if (status != GW_OK) {
        gw_http_server_close(s, NULL, NULL);
        return status;
    }
    *ret = s;
    return GW_OK;
}

uint16_t gw_http_server_port(const gw_http_server *s)
{
    return s->port;
}

size_t gw_http_server_connections(const gw_http_server *s)
{
    return s->connection_count;
}
