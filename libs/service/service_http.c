#include "service/service_http.h"

gw_status gw_service_open_http(gw_service *s, const gw_service_http *h, gw_http_server **ret,
                               gw_error *err)
{
    const gw_tls_paths paths = {h->cert_file, h->key_file, NULL};
    gw_http_server_options options = h->options;
    gw_str host;

    if (!gw_host_port_split(gw_str_of(h->listen), &host, &options.port))
        return gw_fail(err, GW_ERR_INVALID_ARGUMENT, "%s is no address", h->listen);
    gw_status rc = gw_service_open_tls(s, &paths, &options.tls, err);
    if (rc != GW_OK)
        return rc;
    gw_auto_free char *host_text = gw_str_dup(host);
    options.host = host_text;
    rc = gw_http_server_new(s->loop, &options, h->ops, h->arg, s->log, ret, err);
    if (rc == GW_OK)
        gw_log_info(s->log, "listening", gw_kv("http.port", gw_http_server_port(*ret)),
                    gw_kv("http.tls", options.tls != NULL));
    return rc;
}
