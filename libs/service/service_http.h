/*
 * The public HTTP listener of a service.
 *
 * Thread: the loop's.
 */
#pragma once

#include "http/server.h"
#include "service/service.h"

typedef struct gw_service_http {
    const char *listen; /* "host:port" */
    const char *cert_file, *key_file; /* both, or NULL: plain HTTP */
    gw_http_server_options options; /* all but host, port and tls */
    const gw_http_handler_ops *ops;
    void *arg; /* of ops */
} gw_service_http;

/* GW_ERR_INVALID_ARGUMENT, GW_ERR_IO. Its TLS files are the service's: see gw_service_open_tls(). */
GW_CHECK gw_status gw_service_open_http(gw_service *s, const gw_service_http *h,
                                        gw_http_server **ret, gw_error *err);
