/*
 * HTTP front: the API on an HTTP server, in OpenAI's dialect or Anthropic's as the path says. Routes, CORS and
 * error bodies; every call with a key is a relay_request.
 *
 * Thread: the loop's.
 */
#pragma once

#include "relay_core.h"

#include "core/id.h"
#include "http/server.h"

typedef struct front_http {
    relay_core *core;
    const gw_cidr *trusted_proxies;
    size_t trusted_proxy_count;
    char error_id[GW_REQUEST_ID_SIZE]; /* of the latest answer without a request */
} front_http;

/* Handler of a gw_http_server; `arg` is the front_http. */
extern const gw_http_handler_ops front_http_ops;
