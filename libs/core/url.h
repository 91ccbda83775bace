/*
 * URLs (RFC 3986) as far as we use them: absolute http/https/redis/mongodb URLs in settings, query
 * strings, percent-coding.
 */
#pragma once

#include "core/arena.h"
#include "core/status.h"

typedef struct gw_url { /* views into the text parsed */
    gw_str scheme; /* lower case required */
    gw_str userinfo; /* "" when none */
    gw_str host; /* without brackets */
    bool host_is_v6;
    uint16_t port; /* 0 when none */
    gw_str path; /* "" or starts with "/" */
    gw_str query; /* without "?" */
} gw_url;

/* Fragments, control characters and spaces are refused. */
GW_CHECK gw_status gw_url_parse(gw_str text, gw_url *ret, gw_error *err);

/*
 * Whether a browser can send `text` as Origin (RFC 6454 §6.2, WHATWG URL): http or https, a host in lower case, and a port unless it is
 * the scheme's own. Patterns, paths and "null" are none.
 */
bool gw_origin_is_valid(gw_str text);
/* Whether scheme, host and port of `u` are those of `origin`, a valid one; in `u` a port that is the scheme's own may stand or not. */
bool gw_url_has_origin(const gw_url *u, gw_str origin);

/* Percent-decodes; `plus_is_space` for query strings. False on a malformed escape or NUL. The
 * result is in the arena. */
GW_CHECK bool gw_percent_decode(gw_arena *a, gw_str text, bool plus_is_space, gw_str *ret);
/* Appends with everything but unreserved characters (RFC 3986 §2.3) escaped. */
void gw_percent_encode(gw_buf *out, gw_str text);

/* Cuts the next `name=value` off a query string, still encoded. False at the end. */
bool gw_query_next(gw_str *rest, gw_str *name, gw_str *value);
