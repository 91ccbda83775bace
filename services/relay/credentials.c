#include "credentials.h"

static gw_status read_bearer(gw_str value, gw_str *ret, gw_error *err)
{
    const gw_str scheme = GW_STR("bearer ");

    if (value.len <= scheme.len || !gw_str_eq_nocase(gw_str_slice(value, 0, scheme.len), scheme))
        return gw_fail(err, GW_ERR_KEY_INVALID,
                       "the Authorization header must be 'Bearer <API key>'");
    *ret = gw_str_trim(gw_str_slice(value, scheme.len, value.len));
    return GW_OK;
}

gw_status credentials_read(gw_headers h, gw_str *ret, gw_error *err)
{
    gw_str authorization = gw_headers_get(h, "authorization");
    gw_str api_key = gw_str_trim(gw_headers_get(h, "x-api-key"));
    gw_str bearer = GW_STR_NULL;

    if (gw_headers_count_of(h, "authorization") > 1 || gw_headers_count_of(h, "x-api-key") > 1)
        return gw_fail(err, GW_ERR_KEY_INVALID, "the API key is given twice");
    if (authorization.ptr) {
        gw_status rc = read_bearer(authorization, &bearer, err);
        if (rc != GW_OK)
            return rc;
    }
    if (bearer.ptr && api_key.len > 0 && !gw_str_eq(bearer, api_key))
        return gw_fail(err, GW_ERR_KEY_INVALID, "Authorization and x-api-key hold different keys");
    if (!bearer.ptr && api_key.len == 0)
        return gw_fail(err, GW_ERR_KEY_INVALID,
                       "no API key was given; send it as 'Authorization: Bearer <API key>'");
    *ret = bearer.ptr ? bearer : api_key;
    return GW_OK;
}
