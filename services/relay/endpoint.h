/*
 * Endpoints: the routes of the OpenAI-compatible API, by path.
 *
 * Thread: values.
 */
#pragma once

#include "core/str.h"

typedef enum relay_endpoint {
    ENDPOINT_NONE, /* no such path */
    ENDPOINT_CHAT,
    ENDPOINT_COMPLETIONS,
    ENDPOINT_EMBEDDINGS,
    ENDPOINT_MODELS,
    ENDPOINT_MODEL,
    ENDPOINT_USAGE,
    ENDPOINT_COUNT
} relay_endpoint;

typedef struct endpoint_info {
    const char *name; /* label of metrics: "chat" */
    const char *path; /* as in permissions.endpoints and usage events */
    const char *method; /* the one it takes */
    const char *allow; /* value of Allow */
    bool has_body; /* a JSON body, forwarded to a provider */
    bool may_stream; /* knows "stream" */
} endpoint_info;

const endpoint_info *endpoint_describe(relay_endpoint e);

/* The endpoint at `path` (raw, without query). *ret_rest is what follows "/v1/models/", still
 * percent-encoded, else "". */
relay_endpoint endpoint_find(gw_str path, gw_str *ret_rest);
