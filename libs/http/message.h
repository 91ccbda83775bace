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
    /* of all of them together, as gw_header_name_bit() has them; 0: nobody has looked */
    uint64_t names;
} gw_headers;

/* A bit for names of that length and first letter in any case: most that are asked for are not there, and that is then seen at once. */
static inline uint64_t gw_header_name_bit(gw_str name)
{
    /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): only an empty one has no bytes */
    unsigned letter = name.len > 0 ? (unsigned char)name.ptr[0] | 0x20U : 0;
    return UINT64_C(1) << ((name.len * 5 + letter) & 63);
}

/* The first value of `name` (any case); the empty view with ptr NULL when absent. */
gw_str gw_headers_find(gw_headers h, gw_str name);
static inline gw_str gw_headers_get(gw_headers h, const char *name)
{
    gw_str wanted = gw_str_of(name); /* inline: the length of a literal is known */
    if (h.names && !(h.names & gw_header_name_bit(wanted)))
        return GW_STR_NULL;
    return gw_headers_find(h, wanted);
}
size_t gw_headers_count_of(gw_headers h, const char *name); /* how many lines carry that name */

/* True when `value` is a legal field value: no CR, LF, NUL (RFC 9110 §5.5). `name` must be a token
 * (§5.6.2). */
bool gw_header_name_is_valid(gw_str name);
bool gw_header_value_is_valid(gw_str value);

/* Media type equal to `type` ("application/json"), parameters ignored, any case. */
bool gw_content_type_is(gw_str value, const char *type);

const char *gw_http_reason(int status); /* "Not Found"; "" when unknown */
