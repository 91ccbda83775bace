/*
 * CORS: which page may read an answer (Fetch standard §3.2). Without these headers a refusal is a network error to a page: no status,
 * no text.
 *
 * Of a known key its security.domains decide, and nothing else. Where none is known (no key or a wrong one, no such path, auth away)
 * there is what preflights are granted by: the origins that some key lists. Credentials, which for browsers are cookies, are never
 * allowed, nor "*".
 *
 * Thread: values.
 */
#pragma once

#include "endpoint.h"
#include "origin_set.h"
#include "policy.h"

#include "http/message.h"

/* `p` is the key's, NULL: not known. False for an Origin that is not there. */
bool cors_may_read(const origin_set *known, const key_policy *p, gw_str origin);

#define CORS_READ_HEADERS 3
/* Headers of an answer to a request from `origin`; texts are constants and `origin` itself. How many: 0 without an origin. */
size_t cors_read_headers(gw_str origin, bool may_read, caller_dialect dialect,
                         gw_header out[CORS_READ_HEADERS]);

#define CORS_PREFLIGHT_HEADERS 4
/*
 * Headers that grant a preflight. `wanted` is its Access-Control-Request-Headers. Where there is no such path (`methods` "") each method
 * is granted, so that the page gets to read the 404.
 */
size_t cors_preflight_headers(gw_str origin, const char *methods, gw_str wanted,
                              gw_header out[CORS_PREFLIGHT_HEADERS]);
