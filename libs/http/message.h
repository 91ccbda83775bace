/*
 * What HTTP messages have in common: methods, header lists and their checks (RFC 9110, RFC 9112).
 */
#pragma once

#include "core/arena.h"
#include "core/status.h"

typedef struct gw_header {
    gw_str name; /* as it came; compare without case */
    gw_str value; /* without surrounding white space */
} gw_header;

typedef struct gw_headers {
    const gw_header *items;
    size_t count;
} gw_headers;

/* The first value of `name` (any case); the empty view with ptr NULL when absent. */
gw_str gw_headers_find(gw_headers h, gw_str name);
static inline gw_str gw_headers_get(gw_headers h, const char *name)
{
    return gw_headers_find(h, gw_str_of(name)); /* inline: the length of a literal is known */
}
size_t gw_headers_count_of(gw_headers h, const char *name); /* how many lines carry that name */

/* True when `value` is a legal field value: no CR, LF, NUL (RFC 9110 §5.5). `name` must be a token
 * (§5.6.2). */
bool gw_header_name_is_valid(gw_str name);
bool gw_header_value_is_valid(gw_str value);

/* Media type equal to `type` ("application/json"), parameters ignored, any case. */
bool gw_content_type_is(gw_str value, const char *type);

const char *gw_http_reason(int status); /* "Not Found"; "" when unknown */
