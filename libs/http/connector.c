#include "http/connector.h"

#include <curl/curl.h>

#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct gw_connector {
    gw_loop *loop;
    CURLM *multi;
    gw_timer timer;
    gw_cidr *allow;
    size_t allow_count;
    size_t watches; /* poll handles not yet closed */
    bool closing;
    void (*closed)(void *arg);
    void *closed_arg;
};

struct gw_dial {
    gw_connector *connector;
    CURL *easy;
    gw_dial_fn done;
    void *arg;
    curl_socket_t taken; /* the socket that must survive libcurl's close */
    bool tried; /* some address was allowed */
    bool refused; /* some address was not */
    char refused_text[GW_IP_TEXT_SIZE];
    uint16_t port;
    char host[];
};

/* One socket libcurl wants watched. */
typedef struct watch {
    uv_poll_t poll;
    gw_connector *connector;
    curl_socket_t fd;
} watch;

static void act(gw_connector *c, curl_socket_t fd, int events);

static void free_connector(void *arg)
{
    gw_connector *c = arg;
    void (*closed)(void *) = c->closed;
    void *closed_arg = c->closed_arg;
    free(c->allow);
    free(c);
    if (closed)
        closed(closed_arg);
}

static void on_watch_closed(uv_handle_t *h)
{
    watch *w = h->data;
    gw_connector *c = w->connector;
    free(w);
    if (--c->watches == 0 && c->closing)
        gw_loop_defer(c->loop, free_connector, c);
}

static void on_poll(uv_poll_t *h, int status, int events)
{
    watch *w = h->data;
    int mask = status < 0 ? CURL_CSELECT_ERR : 0;
    if (events & UV_READABLE)
        mask |= CURL_CSELECT_IN;
    if (events & UV_WRITABLE)
        mask |= CURL_CSELECT_OUT;
    act(w->connector, w->fd, mask);
}

static watch *new_watch(gw_connector *c, curl_socket_t fd)
{
    watch *w = calloc(1, sizeof(*w));
    if (!w)
        return NULL;
    if (uv_poll_init_socket(gw_loop_uv(c->loop), &w->poll, fd) != 0) {
        free(w);
        return NULL;
    }
    w->poll.data = w;
    w->connector = c;
    w->fd = fd;
    c->watches++;
    curl_multi_assign(c->multi, fd, w);
    return w;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *assigned)
{
    (void)easy;
    gw_connector *c = arg;
    watch *w = assigned;
    if (what == CURL_POLL_REMOVE) {
        if (w) { /* stopped at once: uv_tcp_open() of the same fd may follow before the close callback */
            uv_poll_stop(&w->poll);
            uv_close((uv_handle_t *)&w->poll, on_watch_closed);
            curl_multi_assign(c->multi, fd, NULL);
        }
        return 0;
    }
    if (!w && !(w = new_watch(c, fd)))
        return -1;
    int events = (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0);
    return uv_poll_start(&w->poll, events, on_poll) == 0 ? 0 : -1;
}

static int on_timeout(CURLM *multi, long timeout_ms, void *arg)
{
    (void)multi;
    gw_connector *c = arg;
    if (timeout_ms < 0)
        gw_timer_cancel(c->loop, &c->timer);
    else
        gw_timer_set(c->loop, &c->timer, timeout_ms);
    return 0;
}

static void on_timer(void *arg)
{
    act(arg, CURL_SOCKET_TIMEOUT, 0);
}

static bool is_allowed(const gw_connector *c, const gw_ip *ip)
{
    switch (gw_ip_classify(ip)) {
    case GW_IP_PUBLIC:
        return true;
    case GW_IP_LOOPBACK:
    case GW_IP_PRIVATE:
        return gw_cidr_any_contains(c->allow, c->allow_count, ip);
    case GW_IP_FORBIDDEN:
        break;
    }
    return false;
}

static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    gw_dial *d = arg;
    gw_ip ip;
    if (purpose != CURLSOCKTYPE_IPCXN || !gw_ip_from_sockaddr(&address->addr, &ip) ||
        !is_allowed(d->connector, &ip)) {
        if (gw_ip_from_sockaddr(&address->addr, &ip))
            gw_ip_format(&ip, d->refused_text);
        d->refused = true;
        return CURL_SOCKET_BAD;
    }
    d->tried = true;
    return socket(address->family, address->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK,
                  address->protocol);
}

static int close_socket(void *arg, curl_socket_t fd)
{
    gw_dial *d = arg;
    return fd == d->taken ? 0 : close(fd);
}

static gw_status describe_failure(const gw_dial *d, CURLcode code, gw_error *err)
{
    if (d->refused && !d->tried)
        return gw_fail(err, GW_ERR_ADDRESS_REFUSED, "connections to %s (%s) are not allowed",
                       d->host, d->refused_text);
    if (code == CURLE_COULDNT_RESOLVE_HOST)
        return gw_fail(err, GW_ERR_UPSTREAM_UNAVAILABLE, "cannot resolve %s", d->host);
    if (code == CURLE_OPERATION_TIMEDOUT)
        return gw_fail(err, GW_ERR_UPSTREAM_TIMEOUT, "connecting to %s port %u took too long",
                       d->host, (unsigned)d->port);
    long os_errno = 0;
    curl_easy_getinfo(d->easy, CURLINFO_OS_ERRNO, &os_errno);
    const char *reason = os_errno ? strerror((int)os_errno) : curl_easy_strerror(code);
    return gw_fail(err, GW_ERR_UPSTREAM_UNAVAILABLE, "cannot connect to %s port %u: %s", d->host,
                   (unsigned)d->port, reason);
}

/* Takes the socket out of libcurl, which forgets the connection without closing it. */
static void finish(gw_dial *d, CURLcode code)
{
    gw_connector *c = d->connector;
    gw_error err = {0};
    gw_status rc = GW_OK;
    curl_socket_t fd = CURL_SOCKET_BAD;
    if (code == CURLE_OK)
        curl_easy_getinfo(d->easy, CURLINFO_ACTIVESOCKET, &fd);
    if (fd == CURL_SOCKET_BAD)
        rc = describe_failure(d, code, &err);
    d->taken = fd;
    curl_multi_remove_handle(c->multi, d->easy);
    curl_easy_cleanup(d->easy);

    gw_dial_fn done = d->done;
    void *arg = d->arg;
    free(d);
    done(arg, rc, fd, &err);
}

static void act(gw_connector *c, curl_socket_t fd, int events)
{
    int running, left;
    curl_multi_socket_action(c->multi, fd, events, &running);
    for (CURLMsg *m; (m = curl_multi_info_read(c->multi, &left));) {
        if (m->msg != CURLMSG_DONE)
            continue;
        char *d = NULL;
        CURLcode code = m->data.result; /* `m` goes with the handle */
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &d);
        finish((gw_dial *)(void *)d, code);
    }
}

gw_status gw_connector_new(gw_loop *l, const gw_cidr *allow, size_t allow_count, gw_connector **ret,
                           gw_error *err)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return gw_fail(err, GW_ERR_INTERNAL, "cannot start libcurl");
    gw_connector *c = calloc(1, sizeof(*c));
    CURLM *multi = curl_multi_init();
    gw_cidr *copy = calloc(allow_count ? allow_count : 1, sizeof(*copy));
    if (!c || !multi || !copy) {
        free(c);
        free(copy);
        curl_multi_cleanup(multi);
        curl_global_cleanup();
        return gw_fail(err, GW_ERR_NO_MEMORY, "out of memory for a connector");
    }
    if (allow_count)
        memcpy(copy, allow, allow_count * sizeof(*copy));
    *c = (gw_connector){.loop = l, .multi = multi, .allow = copy, .allow_count = allow_count};
    gw_timer_init(&c->timer, on_timer, c);
    curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, c);
    curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_timeout);
    curl_multi_setopt(multi, CURLMOPT_TIMERDATA, c);
    *ret = c;
    return GW_OK;
}

void gw_connector_close(gw_connector *c, void (*closed)(void *arg), void *arg)
{
    c->closing = true;
    c->closed = closed;
    c->closed_arg = arg;
    curl_multi_cleanup(c->multi);
    c->multi = NULL;
    curl_global_cleanup();
    gw_timer_cancel(c->loop, &c->timer);
    if (c->watches == 0)
        gw_loop_defer(c->loop, free_connector, c);
}

static bool set_options(gw_dial *d, const char *url, int64_t timeout_ms)
{
    CURL *e = d->easy;
    long connect_ms = timeout_ms > 0 ? (long)GW_MIN(timeout_ms, (int64_t)INT_MAX) : INT_MAX;
    return curl_easy_setopt(e, CURLOPT_URL, url) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http") == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_PROXY, "") == CURLE_OK && /* also not from the environment */
           curl_easy_setopt(e, CURLOPT_CONNECT_ONLY, 1L) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_FRESH_CONNECT, 1L) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
           /* A cancelled dial must not wait for its resolver thread: the thread cleans up after itself. */
           curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, connect_ms) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_PRIVATE, d) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, open_socket) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_OPENSOCKETDATA, d) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_CLOSESOCKETFUNCTION, close_socket) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_CLOSESOCKETDATA, d) == CURLE_OK;
}

gw_status gw_connector_dial(gw_connector *c, const char *host, uint16_t port, int64_t timeout_ms,
                            gw_dial_fn done, void *arg, gw_dial **ret, gw_error *err)
{
    size_t host_size = strlen(host) + 1;
    gw_auto_buf url = {0};
    bool is_v6 = strchr(host, ':') != NULL;
    gw_dial *d = calloc(1, sizeof(*d) + host_size);
    CURL *easy = curl_easy_init();
    if (d) {
        *d = (gw_dial){.connector = c, .easy = easy, .done = done, .arg = arg, .port = port};
        d->taken = CURL_SOCKET_BAD;
        memcpy(d->host, host, host_size);
    }
    gw_buf_appendf(&url, "http://%s%s%s:%u/", is_v6 ? "[" : "", host, is_v6 ? "]" : "",
                   (unsigned)port);
    if (!d || !easy || gw_buf_failed(&url) || !set_options(d, url.data, timeout_ms) ||
        curl_multi_add_handle(c->multi, easy) != CURLM_OK) {
        curl_easy_cleanup(easy);
        free(d);
        return gw_fail(err, GW_ERR_NO_MEMORY, "cannot start connecting to %s", host);
    }
    *ret = d;
    return GW_OK;
}

void gw_dial_cancel(gw_dial *d)
{
    curl_multi_remove_handle(d->connector->multi, d->easy);
    curl_easy_cleanup(d->easy);
    free(d);
}
