#include "edge.h"

#define TOKEN_MAX 256

gw_str edge_host_name(gw_str host_header)
{
    if (host_header.len > 0 && host_header.ptr[0] == '[') {
        ptrdiff_t end = gw_str_find(host_header, ']');
        return end < 0 ? GW_STR("") : gw_str_slice(host_header, 1, (size_t)end);
    }
    ptrdiff_t colon = gw_str_find(host_header, ':');
    return colon < 0 ? host_header : gw_str_slice(host_header, 0, (size_t)colon);
}

bool edge_is_change(gw_str method)
{
    return !gw_str_eq_c(method, "GET") && !gw_str_eq_c(method, "HEAD");
}

gw_status edge_check_host(const edge_rules *e, gw_headers h, gw_error *err)
{
    gw_str host = edge_host_name(gw_headers_get(h, "host"));
    for (size_t i = 0; i < e->host_count; i++) {
        gw_str allowed = gw_str_of(e->hosts[i]);
        if (gw_str_eq_c(allowed, "*") ||
            (host.len > 0 && gw_str_eq_nocase(host, edge_host_name(allowed))))
            return GW_OK;
    }
    return gw_fail(err, GW_ERR_PERMISSION_DENIED,
                   "this host name is not served here (ADMIN_GW_ALLOWED_HOSTS)");
}

static bool is_own_origin(const edge_rules *e, gw_str origin, gw_str host)
{
    static const gw_str schemes[] = {{"http://", 7}, {"https://", 8}};
    for (size_t i = 0; i < e->origin_count; i++) {
        if (gw_str_eq_nocase(origin, gw_str_of(e->origins[i])))
            return true;
    }
    /* Which of the two schemes is not ours to know: TLS may end before us. */
    for (size_t i = 0; i < GW_ARRAY_LEN(schemes); i++) {
        gw_str authority = gw_str_slice(origin, schemes[i].len, origin.len);
        if (gw_str_starts_with(origin, schemes[i]) && authority.len > 0 &&
            gw_str_eq_nocase(authority, host))
            return true;
    }
    return false;
}

gw_status edge_check_change(const edge_rules *e, gw_headers h, bool has_body, gw_error *err)
{
    gw_str origin = gw_headers_get(h, "origin");
    gw_str type = gw_headers_get(h, "content-type");
    /* An Origin that is allowed by name may well be another site; without any there is only this. */
    bool cross_site = gw_str_eq_c(gw_headers_get(h, "sec-fetch-site"), "cross-site");
    if (gw_headers_count_of(h, "origin") > 1 || (!origin.ptr && cross_site) ||
        (origin.ptr && !is_own_origin(e, origin, gw_headers_get(h, "host"))))
        return gw_fail(err, GW_ERR_PERMISSION_DENIED, "the request comes from another site");
    if ((has_body || type.ptr) && !gw_content_type_is(type, "application/json"))
        return gw_fail(err, GW_ERR_UNSUPPORTED_MEDIA_TYPE,
                       "the content type must be application/json");
    gw_str coding = gw_headers_get(h, "content-encoding");
    if (has_body && coding.len > 0 && !gw_str_eq_nocase(coding, GW_STR("identity")))
        return gw_fail(err, GW_ERR_UNSUPPORTED_MEDIA_TYPE,
                       "a body with a content-encoding is not read: send it as it is");
    return GW_OK;
}

bool edge_is_token(gw_str s)
{
    if (s.len == 0 || s.len > TOKEN_MAX)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        bool ok = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                  c == '_' || c == '-';
        if (!ok)
            return false;
    }
    return true;
}

gw_status edge_bearer(gw_headers h, gw_str *ret, gw_error *err)
{
    gw_str value = gw_headers_get(h, "authorization");
    *ret = GW_STR("");
    if (gw_headers_count_of(h, "authorization") > 1)
        return gw_fail(err, GW_ERR_MALFORMED_HTTP, "Authorization stands twice");
    if (!value.ptr)
        return GW_OK;
    gw_str scheme = gw_str_slice(value, 0, 7);
    gw_str credential = gw_str_trim(gw_str_slice(value, 7, value.len));
    bool known = gw_str_starts_with(credential, GW_STR("lcadm_")) ||
                 gw_str_starts_with(credential, GW_STR("lcses_"));
    if (!gw_str_eq_nocase(scheme, GW_STR("bearer ")) || !known || !edge_is_token(credential))
        return gw_fail(err, GW_ERR_UNAUTHENTICATED,
                       "Authorization must be \"Bearer\" and an admin key");
    *ret = credential;
    return GW_OK;
}
