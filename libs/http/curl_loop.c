#include "http/curl_loop.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct watch watch;

struct gw_curl_loop {
    gw_loop *loop;
    CURLM *multi;
    gw_timer timer;
    gw_cidr *allow;
    size_t allow_count;
    size_t watches; /* poll handles not yet closed */
    bool keeps_sockets;
    watch **kept; /* by descriptor; grows */
    size_t kept_cap;
    bool has_refused; /* an address, since libcurl was last asked to go on */
    bool closing;
    void (*closed)(void *arg);
    void *closed_arg;
};

/*
 * One socket libcurl wants watched. Between two exchanges of a connection it wants that no more, and the same again a moment later: to
 * leave the kernel's list and to enter it costs more than the exchange's bytes. So the watch of a kept socket rests until then.
 */
struct watch {
    uv_poll_t poll;
    gw_curl_loop *owner;
    curl_socket_t fd;
    int events; /* that the kernel watches for */
    bool is_kept, is_resting;
};

static void act(gw_curl_loop *c, curl_socket_t fd, int events);

static void free_loop(void *arg)
{
    gw_curl_loop *c = arg;
    void (*closed)(void *) = c->closed;
    void *closed_arg = c->closed_arg;
    free(c->allow);
    free(c->kept);
    free(c);
    if (closed)
        closed(closed_arg);
}

static void on_watch_closed(uv_handle_t *h)
{
    watch *w = h->data;
    gw_curl_loop *c = w->owner;
    free(w);
    if (--c->watches == 0 && c->closing)
        gw_loop_defer(c->loop, free_loop, c);
}

static void on_poll(uv_poll_t *h, int status, int events)
{
    watch *w = h->data;
    int mask = status < 0 ? CURL_CSELECT_ERR : 0;
    if (status < 0)
        w->events = 0; /* libuv has stopped it */
    if (w->is_resting) { /* its end, which libcurl finds by itself before it uses the connection again */
        uv_poll_stop(h);
        w->events = 0;
        return;
    }
    if (events & UV_READABLE)
        mask |= CURL_CSELECT_IN;
    if (events & UV_WRITABLE)
        mask |= CURL_CSELECT_OUT;
    act(w->owner, w->fd, mask);
}

static watch *new_watch(gw_curl_loop *c, curl_socket_t fd)
{
    watch *w = calloc(1, sizeof(*w));
    if (!w)
        return NULL;
    if (uv_poll_init_socket(gw_loop_uv(c->loop), &w->poll, fd) != 0) {
        free(w);
        return NULL;
    }
    w->poll.data = w;
    w->owner = c;
    w->fd = fd;
    c->watches++;
    return w;
}

/* At once: the descriptor may be another's before the close callback. */
static void drop_watch(watch *w)
{
    uv_poll_stop(&w->poll);
    uv_close((uv_handle_t *)&w->poll, on_watch_closed);
}

static int watch_for(watch *w, int events)
{
    if (w->events == events)
        return 0;
    int rc = uv_poll_start(&w->poll, events, on_poll);
    w->events = rc == 0 ? events : 0;
    return rc;
}

/* ---- sockets that stay open between exchanges ---- */

static watch *kept_of(const gw_curl_loop *c, curl_socket_t fd)
{
    return (size_t)fd < c->kept_cap ? c->kept[fd] : NULL;
}

static bool make_place(gw_curl_loop *c, curl_socket_t fd)
{
    if ((size_t)fd < c->kept_cap)
        return true;
    size_t cap = GW_MAX(2 * c->kept_cap, (size_t)fd + 1);
    watch **grown = realloc(c->kept, cap * sizeof(*grown));
    if (!grown)
        return false;
    memset(grown + c->kept_cap, 0, (cap - c->kept_cap) * sizeof(*grown));
    c->kept = grown;
    c->kept_cap = cap;
    return true;
}

static bool keep_socket(gw_curl_loop *c, curl_socket_t fd)
{
    watch *w = make_place(c, fd) ? new_watch(c, fd) : NULL;
    if (!w)
        return false;
    w->is_kept = w->is_resting = true;
    c->kept[fd] = w;
    return true;
}

static int close_socket(void *arg, curl_socket_t fd)
{
    gw_curl_loop *c = arg;
    watch *w = kept_of(c, fd);
    if (w) {
        drop_watch(w);
        c->kept[fd] = NULL;
    }
    return close(fd);
}

/* ---- what libcurl asks for ---- */

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *assigned)
{
    (void)easy;
    gw_curl_loop *c = arg;
    watch *w = assigned ? assigned : kept_of(c, fd);
    if (what == CURL_POLL_REMOVE) {
        if (w && w->is_kept) {
            w->is_resting = true;
        } else if (w) {
            drop_watch(w);
            curl_multi_assign(c->multi, fd, NULL);
        }
        return 0;
    }
    if (!w) { /* not made by open_socket(): what a thread that resolves a name wakes libcurl by */
        w = new_watch(c, fd);
        if (!w)
            return -1;
        curl_multi_assign(c->multi, fd, w);
    }
    w->is_resting = false;
    int events = (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0);
    return watch_for(w, events) == 0 ? 0 : -1;
}

static int on_timeout(CURLM *multi, long timeout_ms, void *arg)
{
    (void)multi;
    gw_curl_loop *c = arg;
    if (timeout_ms < 0)
        gw_timer_cancel(c->loop, &c->timer);
    else
        gw_timer_set(c->loop, &c->timer, timeout_ms);
    return 0;
}

/*
 * libcurl tells a due time once. Where its clock is a moment behind ours it finds nothing due yet, and would not be asked
 * again.
 */
static void on_timer(void *arg)
{
    gw_curl_loop *c = arg;
    long left_ms = -1;
    act(c, CURL_SOCKET_TIMEOUT, 0);
    if (!c->multi || gw_timer_is_armed(&c->timer))
        return;
    curl_multi_timeout(c->multi, &left_ms);
    if (left_ms >= 0)
        gw_timer_set(c->loop, &c->timer, GW_MAX(left_ms, 1L));
}

static bool is_allowed(const gw_curl_loop *c, const gw_ip *ip)
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
    gw_curl_job *j = arg;
    gw_ip ip;
    if (purpose != CURLSOCKTYPE_IPCXN || !gw_ip_from_sockaddr(&address->addr, &ip) ||
        !is_allowed(j->loop, &ip)) {
        if (gw_ip_from_sockaddr(&address->addr, &ip))
            gw_ip_format(&ip, j->refused_text);
        j->refused = j->loop->has_refused = true;
        return CURL_SOCKET_BAD;
    }
    j->tried = true;
    curl_socket_t fd = socket(address->family, address->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK,
                              address->protocol);
    if (fd != CURL_SOCKET_BAD && j->loop->keeps_sockets && !keep_socket(j->loop, fd)) {
        (void)close(fd);
        return CURL_SOCKET_BAD;
    }
    return fd;
}

static void act(gw_curl_loop *c, curl_socket_t fd, int events)
{
    int running, left;
    curl_multi_socket_action(c->multi, fd, events, &running);
    /* libcurl (7.88) may forget to go on with the next address of a name when it got no socket for one: it waits for nothing. */
    while (c->has_refused) {
        c->has_refused = false;
        curl_multi_perform(c->multi, &running);
    }
    for (CURLMsg *m; (m = curl_multi_info_read(c->multi, &left));) {
        if (m->msg != CURLMSG_DONE)
            continue;
        char *j = NULL;
        CURLcode code = m->data.result;
        CURL *easy = m->easy_handle; /* `m` goes with the handle's leaving */
        curl_easy_getinfo(easy, CURLINFO_PRIVATE, &j);
        ((gw_curl_job *)(void *)j)->done((gw_curl_job *)(void *)j, code);
    }
}

gw_status gw_curl_loop_new(gw_loop *l, const gw_cidr *allow, size_t allow_count, bool keeps_sockets,
                           gw_curl_loop **ret, gw_error *err)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return gw_fail(err, GW_ERR_INTERNAL, "cannot start libcurl");
    gw_curl_loop *c = calloc(1, sizeof(*c));
    CURLM *multi = curl_multi_init();
    gw_cidr *copy = calloc(allow_count ? allow_count : 1, sizeof(*copy));
    if (!c || !multi || !copy) {
        free(c);
        free(copy);
        curl_multi_cleanup(multi);
        curl_global_cleanup();
        return gw_fail(err, GW_ERR_NO_MEMORY, "out of memory for libcurl");
    }
    if (allow_count)
        memcpy(copy, allow, allow_count * sizeof(*copy));
    *c = (gw_curl_loop){.loop = l,
                        .multi = multi,
                        .allow = copy,
                        .allow_count = allow_count,
                        .keeps_sockets = keeps_sockets};
    gw_timer_init(&c->timer, on_timer, c);
    curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, c);
    curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_timeout);
    curl_multi_setopt(multi, CURLMOPT_TIMERDATA, c);
    *ret = c;
    return GW_OK;
}

void gw_curl_loop_close(gw_curl_loop *c, void (*closed)(void *arg), void *arg)
{
    c->closing = true;
    c->closed = closed;
    c->closed_arg = arg;
    curl_multi_cleanup(c->multi);
    c->multi = NULL;
    curl_global_cleanup();
    gw_timer_cancel(c->loop, &c->timer);
    if (c->watches == 0)
        gw_loop_defer(c->loop, free_loop, c);
}

CURLM *gw_curl_loop_multi(gw_curl_loop *c)
{
    return c->multi;
}

bool gw_curl_job_prepare(gw_curl_job *j, gw_curl_loop *c, CURL *easy,
                         void (*done)(gw_curl_job *j, CURLcode code))
{
    *j = (gw_curl_job){.loop = c, .easy = easy, .done = done};
    return curl_easy_setopt(easy, CURLOPT_PROXY, "") ==
               CURLE_OK && /* also not from the environment */
           curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
           /* What is cancelled must not wait for its resolver thread: the thread cleans up after itself. */
           curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_PRIVATE, j) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_socket) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, j) == CURLE_OK &&
           (!c->keeps_sockets ||
            (curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, close_socket) == CURLE_OK &&
             curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, c) == CURLE_OK));
}

bool gw_curl_job_start(gw_curl_job *j)
{
    return curl_multi_add_handle(j->loop->multi, j->easy) == CURLM_OK;
}

void gw_curl_job_remove(gw_curl_job *j)
{
    curl_multi_remove_handle(j->loop->multi, j->easy);
}

gw_status gw_curl_job_describe(const gw_curl_job *j, CURLcode code, const char *host, uint16_t port,
                               gw_error *err)
{
    if (j->refused && !j->tried)
        return gw_fail(err, GW_ERR_ADDRESS_REFUSED, "connections to %s (%s) are not allowed", host,
                       j->refused_text);
    if (code == CURLE_COULDNT_RESOLVE_HOST)
        return gw_fail(err, GW_ERR_UPSTREAM_UNAVAILABLE, "cannot resolve %s", host);
    if (code == CURLE_OPERATION_TIMEDOUT)
        return gw_fail(err, GW_ERR_UPSTREAM_TIMEOUT, "connecting to %s port %u took too long", host,
                       (unsigned)port);
    long os_errno = 0;
    curl_easy_getinfo(j->easy, CURLINFO_OS_ERRNO, &os_errno);
    const char *reason = os_errno ? strerror((int)os_errno) : curl_easy_strerror(code);
    return gw_fail(err, GW_ERR_UPSTREAM_UNAVAILABLE, "cannot connect to %s port %u: %s", host,
                   (unsigned)port, reason);
}
