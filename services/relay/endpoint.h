/*
 * Endpoints: the routes of the API, by path, and the dialect that each is spoken in: OpenAI's, but for
 * Anthropic's Messages API.
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
    ENDPOINT_MESSAGES,
    ENDPOINT_COUNT_TOKENS,
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
    bool is_billed; /* makes tokens: its price is held before and billed after */
} endpoint_info;

const endpoint_info *endpoint_describe(relay_endpoint e);

/* Anthropic's Messages API. */
static inline bool endpoint_is_messages(relay_endpoint e)
{
    return e == ENDPOINT_MESSAGES || e == ENDPOINT_COUNT_TOKENS;
}

/* The endpoint at `path` (raw, without query). *ret_rest is what follows "/v1/models/", still
 * percent-encoded, else "". */
relay_endpoint endpoint_find(gw_str path, gw_str *ret_rest);

/* In which of them a caller is answered, errors above all. */
typedef enum caller_dialect { DIALECT_OPENAI, DIALECT_ANTHROPIC } caller_dialect;

/* Anthropic's under /v1/messages; elsewhere for who sends `anthropic_version`, where OpenAI's API has no endpoint of its own. */
caller_dialect endpoint_dialect(relay_endpoint e, gw_str path, gw_str anthropic_version);
