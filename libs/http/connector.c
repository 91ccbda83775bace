#include "http/connector.h"

#include "http/curl_loop.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct gw_connector {
    gw_curl_loop *curl;
    void (*closed)(void *arg);
    void *closed_arg;
};

struct gw_dial {
    gw_curl_job job;
    gw_dial_fn done;
    void *arg;
    curl_socket_t taken; /* the socket that must survive libcurl's close */
    uint16_t port;
    char host[];
};

static int close_socket(void *arg, curl_socket_t fd)
{
    gw_dial *d = arg;
    return fd == d->taken ? 0 : close(fd);
}

static void drop(gw_dial *d)
{
    CURL *easy = d->job.easy;
    gw_curl_job_remove(&d->job);
    curl_easy_cleanup(easy);
    free(d);
}

/* Takes the socket out of libcurl, which forgets the connection without closing it. */
static void finish(gw_curl_job *j, CURLcode code)
{
    gw_dial *d = GW_CONTAINER_OF(j, gw_dial, job);
    gw_error err = {0};
    gw_status rc = GW_OK;
    curl_socket_t fd = CURL_SOCKET_BAD;
    if (code == CURLE_OK)
        curl_easy_getinfo(j->easy, CURLINFO_ACTIVESOCKET, &fd);
    if (fd == CURL_SOCKET_BAD)
        rc = gw_curl_job_describe(j, code, d->host, d->port, &err);
    d->taken = fd;

    gw_dial_fn done = d->done;
    void *arg = d->arg;
    drop(d);
    done(arg, rc, fd, &err);
}

gw_status gw_connector_new(gw_loop *l, const gw_cidr *allow, size_t allow_count, gw_connector **ret,
                           gw_error *err)
{
    gw_connector *c = calloc(1, sizeof(*c));
    if (!c)
        return gw_fail(err, GW_ERR_NO_MEMORY, "out of memory for a connector");
    gw_status rc = gw_curl_loop_new(l, allow, allow_count, false, &c->curl, err);
    if (rc != GW_OK) {
        free(c);
        return rc;
    }
    *ret = c;
    return GW_OK;
}

static void on_curl_closed(void *arg)
{
    gw_connector *c = arg;
    void (*closed)(void *) = c->closed;
    void *closed_arg = c->closed_arg;
    free(c);
    if (closed)
        closed(closed_arg);
}

void gw_connector_close(gw_connector *c, void (*closed)(void *arg), void *arg)
{
    c->closed = closed;
    c->closed_arg = arg;
    gw_curl_loop_close(c->curl, on_curl_closed, c);
}

static bool set_options(gw_dial *d, gw_curl_loop *c, CURL *e, const char *url, int64_t timeout_ms)
{
    long connect_ms = timeout_ms > 0 ? (long)GW_MIN(timeout_ms, (int64_t)INT_MAX) : INT_MAX;
    return gw_curl_job_prepare(&d->job, c, e, finish) &&
           curl_easy_setopt(e, CURLOPT_URL, url) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http") == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_CONNECT_ONLY, 1L) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_FRESH_CONNECT, 1L) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, connect_ms) == CURLE_OK &&
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
        *d = (gw_dial){.done = done, .arg = arg, .port = port, .taken = CURL_SOCKET_BAD};
        memcpy(d->host, host, host_size);
    }
    gw_buf_appendf(&url, "http://%s%s%s:%u/", is_v6 ? "[" : "", host, is_v6 ? "]" : "",
                   (unsigned)port);
    if (!d || !easy || gw_buf_failed(&url) ||
        !set_options(d, c->curl, easy, url.data, timeout_ms) || !gw_curl_job_start(&d->job)) {
        curl_easy_cleanup(easy);
        free(d);
        return gw_fail(err, GW_ERR_NO_MEMORY, "cannot start connecting to %s", host);
    }
    *ret = d;
    return GW_OK;
}

void gw_dial_cancel(gw_dial *d)
{
    drop(d);
}
