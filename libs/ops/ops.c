#include "ops/ops.h"

#include <stdlib.h>

#define TEXT_TYPE    "text/plain; charset=utf-8"
#define METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"

struct gw_ops {
    gw_http_server *server;
    gw_ops_options options;
    bool draining;
    void (*closed)(void *arg);
    void *closed_arg;
};

static void respond(gw_exchange *x, int status, const char *type, gw_str body)
{
    const gw_header headers[] = {{GW_STR("content-type"), gw_str_of(type)},
                                 {GW_STR("cache-control"), GW_STR("no-store")}};
    gw_exchange_respond(x,
                        &(gw_response_head){.status = status,
                                            .headers = headers,
                                            .header_count = GW_ARRAY_LEN(headers)},
                        body);
}

/* RFC 9110 §15.5.6: with what is allowed. */
static void respond_wrong_method(gw_exchange *x)
{
    const gw_header headers[] = {{GW_STR("content-type"), GW_STR(TEXT_TYPE)},
                                 {GW_STR("cache-control"), GW_STR("no-store")},
                                 {GW_STR("allow"), GW_STR("GET, HEAD")}};
    gw_exchange_respond(x,
                        &(gw_response_head){.status = 405,
                                            .headers = headers,
                                            .header_count = GW_ARRAY_LEN(headers)},
                        GW_STR("use GET\n"));
}

static void respond_ready(gw_ops *o, gw_exchange *x)
{
    const char *reason = "not ready";
    if (o->draining)
        respond(x, 503, TEXT_TYPE, GW_STR("draining\n"));
    else if (o->options.is_ready(o->options.arg, &reason))
        respond(x, 200, TEXT_TYPE, GW_STR("ready\n"));
    else
        respond(x, 503, TEXT_TYPE, gw_arena_printf(gw_exchange_arena(x), "%s\n", reason));
}

static void respond_metrics(gw_ops *o, gw_exchange *x)
{
    gw_auto_buf text = {0};
    if (o->options.metrics)
        gw_metrics_render(o->options.metrics, &text);
    respond(x, 200, METRICS_TYPE, gw_buf_str(&text));
}

static void on_head(gw_exchange *x, void *arg)
{
    gw_ops *o = arg;
    gw_str path = gw_exchange_path(x), method = gw_exchange_method(x);
    if (!gw_str_eq_c(method, "GET") && !gw_str_eq_c(method, "HEAD"))
        respond_wrong_method(x);
    else if (gw_str_eq_c(path, "/healthz"))
        respond(x, 200, TEXT_TYPE, GW_STR("alive\n"));
    else if (gw_str_eq_c(path, "/readyz"))
        respond_ready(o, x);
    else if (gw_str_eq_c(path, "/metrics"))
        respond_metrics(o, x);
    else
        respond(x, 404, TEXT_TYPE, GW_STR("/healthz, /readyz, /metrics\n"));
}

static void on_body(gw_exchange *x, void *arg)
{
    (void)x;
    (void)arg; /* no body is ever asked for */
}

static void on_closed(gw_exchange *x, bool complete, void *arg)
{
    (void)x;
    (void)complete;
    (void)arg;
}

static void write_error(gw_exchange *x, const gw_error *err, gw_buf *body,
                        const char **content_type, void *arg)
{
    (void)x;
    (void)arg;
    *content_type = TEXT_TYPE;
    gw_buf_appendf(body, "%s\n", err->message);
}

static const gw_http_handler_ops handler = {
    .on_head = on_head, .on_body = on_body, .on_closed = on_closed, .write_error = write_error};

gw_status gw_ops_new(gw_loop *l, const gw_ops_options *options, gw_log *log, gw_ops **ret,
                     gw_error *err)
{
    gw_str host;
    uint16_t port;
    if (!gw_host_port_split(gw_str_of(options->listen), &host, &port))
        return gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, "ops_listen", "must be host:port");
    gw_ops *o = calloc(1, sizeof(*o));
    gw_auto_free char *address = gw_str_dup(host);
    if (!o || !address) {
        free(o);
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the ops listener");
    }
    o->options = *options;
    gw_http_server_options http = gw_http_server_defaults;
    http.host = address;
    http.port = port;
    http.tls = options->tls;
    gw_status rc = gw_http_server_new(l, &http, &handler, o, log, &o->server, err);
    if (rc != GW_OK) {
        free(o);
        return rc;
    }
    *ret = o;
    return GW_OK;
}

uint16_t gw_ops_port(const gw_ops *o)
{
    return gw_http_server_port(o->server);
}

void gw_ops_set_draining(gw_ops *o)
{
    o->draining = true;
}

static void on_server_closed(void *arg)
{
    gw_ops *o = arg;
    void (*closed)(void *) = o->closed;
    void *closed_arg = o->closed_arg;
    free(o);
    if (closed)
        closed(closed_arg);
}

void gw_ops_close(gw_ops *o, void (*closed)(void *arg), void *arg)
{
    o->closed = closed;
    o->closed_arg = arg;
    gw_http_server_close(o->server, on_server_closed, o);
}
