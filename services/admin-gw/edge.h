/*
 * Edge: what a request must show before anything is done for it: a Host we answer for, an Origin of
 * our own, JSON as its content type, one credential (SECURITY.md, Admins).
 *
 * Thread: reentrant.
 */
#pragma once

#include "http/message.h"

typedef struct edge_rules {
    const char *const *hosts; /* names without port; "*" allows any */
    size_t host_count;
    const char *const *origins; /* beside our own: "https://dashboard.example.com" */
    size_t origin_count;
} edge_rules;

/* Host without port and without the brackets of a v6 address, a view. */
gw_str edge_host_name(gw_str host_header);

/* GET and HEAD change nothing. */
bool edge_is_change(gw_str method);

/* GW_ERR_PERMISSION_DENIED when the Host is none of ours: a DNS name rebound to us. */
GW_CHECK gw_status edge_check_host(const edge_rules *e, gw_headers h, gw_error *err);

/*
 * For changes. GW_ERR_PERMISSION_DENIED for another site's Origin (or a browser that says
 * cross-site), GW_ERR_UNSUPPORTED_MEDIA_TYPE for a body that is not JSON, or compressed.
 */
GW_CHECK gw_status edge_check_change(const edge_rules *e, gw_headers h, bool has_body,
                                     gw_error *err);

/* What a credential is made of: 1-256 of [A-Za-z0-9_-]. */
bool edge_is_token(gw_str s);

/*
 * The admin key or session token of `Authorization: Bearer …`, a view; "" when the header is absent.
 * GW_ERR_UNAUTHENTICATED for any other kind, GW_ERR_MALFORMED_HTTP when it stands twice.
 */
GW_CHECK gw_status edge_bearer(gw_headers h, gw_str *ret, gw_error *err);
