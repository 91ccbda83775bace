#include "http/client_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ORIGINS_KEPT   256 /* without a connection, for their TLS sessions */
#define FREE_HEADS_MAX 4
#define TRANSFERS_KEPT 256L /* connections that libcurl keeps */

const gw_http_client_options gw_http_client_defaults = {
    .idle_max_per_origin = 64,
    .idle_timeout_ms = 60 * GW_MS_PER_S,
    .head_max_bytes = (size_t)64 * 1024,
};

/* ---- origins ---- */

static void free_origin(void *arg)
{
    gw_http_origin *o = arg;
    gw_tls_session_fini(&o->session);
    free(o);
}

void gw_http_origin_release(gw_http_origin *o)
{
    gw_map *origins = o->client->origins;
    if (--o->connections == 0 && gw_map_count(origins) > ORIGINS_KEPT)
        gw_map_remove(origins, gw_str_n(o->key, o->key_len));
}

/* Scheme, port and host in lower case: what tells one pool from another. */
static size_t make_key(const gw_url *url, uint16_t port, char key[260])
{
    key[0] = url->scheme.len == 5 ? 's' : 'p';
    memcpy(key + 1, &port, sizeof(port));
    for (size_t i = 0; i < url->host.len; i++) {
        char c = url->host.ptr[i];
        key[3 + i] = c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
    }
    return 3 + url->host.len;
}

static gw_http_origin *new_origin(gw_http_client *c, const gw_url *url, uint16_t port,
                                  const char *key, size_t key_len)
{
    gw_http_origin *o = calloc(1, sizeof(*o));
    if (!o)
        return NULL;
    o->client = c;
    o->is_tls = key[0] == 's';
    o->port = port;
    o->key_len = key_len;
    gw_list_init(&o->idle);
    memcpy(o->key, key, key_len);
    memcpy(o->host, key + 3, key_len - 3);
    int len =
        snprintf(o->authority, sizeof(o->authority), url->host_is_v6 ? "[%s]" : "%s", o->host);
    if (port != (o->is_tls ? 443 : 80))
        snprintf(o->authority + len, sizeof(o->authority) - (size_t)len, ":%u", (unsigned)port);
    if (!gw_map_put(c->origins, gw_str_n(o->key, key_len), o)) {
        free(o);
        return NULL;
    }
    return o;
}

static gw_http_origin *find_origin(gw_http_client *c, const gw_url *url)
{
    GW_UNINITIALIZED char key[260];
    uint16_t port = url->port;
    if (port == 0)
        port = url->scheme.len == 5 ? 443 : 80;
    size_t key_len = make_key(url, port, key);
    gw_http_origin *o = gw_map_get(c->origins, gw_str_n(key, key_len));
    return o ? o : new_origin(c, url, port, key, key_len);
}

/* ---- heads ---- */

gw_http_head *gw_http_client_take_head(gw_http_client *c)
{
    gw_http_head *h = c->free_heads;
    if (h) {
        c->free_heads = h->next;
        c->free_head_count--;
    } else {
        h = malloc(sizeof(*h) + c->options.head_max_bytes);
        if (!h)
            return NULL;
    }
    h->next = NULL;
    h->used = h->count = 0;
    h->names = 0;
    h->items[0] = (gw_header){0};
    return h;
}

void gw_http_client_return_head(gw_http_client *c, gw_http_head *h)
{
    if (c->free_head_count == FREE_HEADS_MAX) {
        free(h);
        return;
    }
    h->next = c->free_heads;
    c->free_heads = h;
    c->free_head_count++;
}

/* ---- work outside of the caller's stack ---- */

static void do_work(void *arg)
{
    gw_http_client *c = arg;
    gw_list todo; /* what is scheduled meanwhile waits for the next round */
    c->work_is_deferred = false;
    gw_list_init(&todo);
    for (gw_list *node; (node = gw_list_pop_front(&c->work));)
        gw_list_push_back(&todo, node);
    for (gw_list *node; (node = gw_list_pop_front(&todo));)
        gw_http_call_work(GW_CONTAINER_OF(node, gw_http_call, work_node));
    gw_http_client_check_closed(c);
}

void gw_http_client_schedule(gw_http_client *c, gw_http_call *call)
{
    if (!gw_list_is_linked(&call->work_node))
        gw_list_push_back(&c->work, &call->work_node);
    if (c->work_is_deferred)
        return;
    c->work_is_deferred = true;
    gw_loop_defer(c->loop, do_work, c);
}

/* ---- kept connections age ---- */

static void on_idle_timer(void *arg)
{
    gw_http_client *c = arg;
    int64_t now = gw_loop_now_ms(c->loop);
    for (gw_list *node; (node = gw_list_first(&c->idle));) {
        gw_http_conn *conn = GW_CONTAINER_OF(node, gw_http_conn, idle_node);
        int64_t due = conn->idle_since_ms + c->options.idle_timeout_ms;
        if (due > now) {
            gw_timer_set(c->loop, &c->idle_timer, due - now);
            return;
        }
        gw_http_conn_close(conn);
    }
}

/* ---- the client ---- */

static void free_client(gw_http_client *c)
{
    for (gw_list *node; (node = gw_list_pop_front(&c->free_calls));)
        gw_http_call_free(GW_CONTAINER_OF(node, gw_http_call, node));
    while (c->free_heads) {
        gw_http_head *h = c->free_heads;
        c->free_heads = h->next;
        free(h);
    }
    for (size_t i = 0; i < c->free_easy_count; i++)
        curl_easy_cleanup(c->free_easy[i]);
    gw_map_free(c->origins);
    gw_tls_context_free(c->tls);
    free(c);
}

/* What stands on libcurl: the connector of our own connections, and its transfers. */
static gw_status open_curl(gw_http_client *c, const gw_http_client_options *o, gw_error *err)
{
    const gw_cidr *allow = o ? o->allow_cidrs : NULL;
    size_t allow_count = o ? o->allow_cidr_count : 0;
    gw_status rc = gw_curl_loop_new(c->loop, allow, allow_count, true, &c->transfers, err);
    if (rc != GW_OK)
        return rc;
    curl_multi_setopt(gw_curl_loop_multi(c->transfers), CURLMOPT_MAXCONNECTS, TRANSFERS_KEPT);
    rc = gw_connector_new(c->loop, allow, allow_count, &c->connector, err);
    if (rc != GW_OK)
        gw_curl_loop_close(c->transfers, NULL, NULL);
    return rc;
}

gw_status gw_http_client_new(gw_loop *l, const gw_http_client_options *o, gw_log *log,
                             gw_http_client **ret, gw_error *err)
{
    gw_http_client *c = calloc(1, sizeof(*c));
    if (!c)
        return gw_fail(err, GW_ERR_NO_MEMORY, "out of memory for an HTTP client");
    c->loop = l;
    c->log = log;
    c->options = o ? *o : gw_http_client_defaults;
    c->options.allow_cidrs = NULL; /* the connector has the copy */
    gw_list_init(&c->idle);
    gw_list_init(&c->calls);
    gw_list_init(&c->work);
    gw_list_init(&c->free_calls);
    gw_timer_init(&c->idle_timer, on_idle_timer, c);
    gw_http_answer_settings(&c->parser_settings);
    c->origins = gw_map_new(free_origin);
    gw_status rc = GW_OK;
    if (!c->origins)
        rc = gw_fail(err, GW_ERR_NO_MEMORY, "out of memory for an HTTP client");
    if (rc == GW_OK)
        rc = gw_tls_client_context_new(c->options.tls, true, log, &c->tls, err);
    if (rc == GW_OK)
        rc = open_curl(c, o, err);
    if (rc != GW_OK) {
        free_client(c);
        return rc;
    }
    *ret = c;
    return GW_OK;
}

static void on_part_closed(void *arg)
{
    gw_http_client *c = arg;
    void (*closed)(void *) = c->closed;
    void *closed_arg = c->closed_arg;
    if (--c->finishing > 0)
        return;
    free_client(c);
    if (closed)
        closed(closed_arg);
}

static void finish_close(void *arg)
{
    gw_http_client *c = arg;
    gw_connector_close(c->connector, on_part_closed, c);
    gw_curl_loop_close(c->transfers, on_part_closed, c);
}

void gw_http_client_check_closed(gw_http_client *c)
{
    if (!c->closing || c->finishing > 0 || c->connections > 0 || c->work_is_deferred ||
        !gw_list_is_empty(&c->calls))
        return;
    c->finishing = 2;
    gw_loop_defer(c->loop, finish_close, c); /* libcurl may be on the stack */
}

void gw_http_client_close(gw_http_client *c, void (*closed)(void *arg), void *arg)
{
    c->closing = true;
    c->closed = closed;
    c->closed_arg = arg;
    gw_timer_cancel(c->loop, &c->idle_timer);
    for (gw_list *node; (node = gw_list_first(&c->idle));)
        gw_http_conn_close(GW_CONTAINER_OF(node, gw_http_conn, idle_node));
    gw_list_each (node, &c->calls)
        gw_http_cancel(GW_CONTAINER_OF(node, gw_http_call, node));
    gw_http_client_check_closed(c);
}

gw_status gw_http_send(gw_http_client *c, const gw_http_request *request,
                       const gw_http_call_ops *ops, void *arg, gw_http_call **ret, gw_error *err)
{
    if (c->closing)
        return gw_fail(err, GW_ERR_SHUTTING_DOWN, "the HTTP client is closing");
    gw_status rc = gw_http_call_check(request, err);
    if (rc != GW_OK)
        return rc;
    gw_http_origin *o = find_origin(c, &request->url);
    gw_http_call *call = o ? gw_http_call_take(c) : NULL;
    if (!call)
        return gw_fail(err, GW_ERR_NO_MEMORY, "out of memory for a request");
    o->idle_max = request->idle_max ? request->idle_max : c->options.idle_max_per_origin;
    call->ops = *ops;
    call->arg = arg;
    call->timeouts = request->timeouts;
    call->total_due_ms = request->timeouts.total_ms > 0
                             ? gw_loop_now_ms(c->loop) + request->timeouts.total_ms
                             : INT64_MAX;

    rc = gw_http_call_format(call, o, request, err);
    gw_list *kept = gw_list_first(&o->idle);
    if (rc == GW_OK && request->transport == GW_HTTP_CURL)
        rc = gw_http_transfer_open(o, call, request, err);
    else if (rc == GW_OK && kept)
        gw_http_conn_start(GW_CONTAINER_OF(kept, gw_http_conn, origin_node), call);
    else if (rc == GW_OK)
        rc = gw_http_conn_open(o, call, err);
    if (rc != GW_OK) {
        gw_http_call_return(call);
        return rc;
    }
    *ret = call;
    return GW_OK;
}
