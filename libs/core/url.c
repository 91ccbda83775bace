#include "core/url.h"

#include "core/net.h"

#include <stdio.h>

#define ORIGIN_MAX 256

static bool is_lower(char c)
{
    return c >= 'a' && c <= 'z';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_unreserved(char c)
{
    return is_lower(c) || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '-' || c == '.' ||
           c == '_' || c == '~';
}

static bool is_in(const char *set, char c)
{
    return c != '\0' && strchr(set, c) != NULL;
}

/* Unreserved, sub-delims, well-formed escapes and the characters of `more` (§2, appendix A). */
static bool is_component(gw_str s, const char *more)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        uint8_t byte;
        if (c == '%') {
            if (!gw_hex_decode(gw_str_slice(s, i + 1, i + 3), &byte, 1))
                return false;
            i += 2;
        } else if (!is_unreserved(c) && !is_in("!$&'()*+,;=", c) && !is_in(more, c)) {
            return false;
        }
    }
    return true;
}

static bool is_scheme(gw_str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (!is_lower(s.ptr[i]) && (i == 0 || (!is_digit(s.ptr[i]) && !is_in("+-.", s.ptr[i]))))
            return false;
    }
    return s.len > 0;
}

static bool take_scheme(gw_str *rest, gw_str *ret)
{
    ptrdiff_t colon = gw_str_find(*rest, ':');
    if (colon < 1)
        return false;
    *ret = gw_str_slice(*rest, 0, (size_t)colon);
    *rest = gw_str_slice(*rest, (size_t)colon + 1, rest->len);
    if (!is_scheme(*ret) || !gw_str_starts_with(*rest, GW_STR("//")))
        return false;
    *rest = gw_str_slice(*rest, 2, rest->len);
    return true;
}

static gw_str take_authority(gw_str *rest)
{
    size_t end = 0;
    while (end < rest->len && !is_in("/?#", rest->ptr[end]))
        end++;
    gw_str authority = gw_str_slice(*rest, 0, end);
    *rest = gw_str_slice(*rest, end, rest->len);
    return authority;
}

static bool parse_port(gw_str digits, uint16_t *ret)
{
    uint64_t number;
    if (digits.len > 5 || !gw_str_to_uint64(digits, &number) || number < 1 || number > 65535)
        return false;
    *ret = (uint16_t)number;
    return true;
}

static bool parse_host(gw_str authority, gw_url *u)
{
    if (authority.len > 0 && authority.ptr[0] == '[') {
        ptrdiff_t end = gw_str_find(authority, ']');
        gw_ip ip;
        if (end < 0)
            return false;
        u->host = gw_str_slice(authority, 1, (size_t)end);
        u->host_is_v6 = true;
        gw_str after = gw_str_slice(authority, (size_t)end + 1, authority.len);
        if (gw_str_find(u->host, ':') < 0 || !gw_ip_parse(u->host, &ip))
            return false;
        if (after.len == 0)
            return true;
        return after.ptr[0] == ':' && parse_port(gw_str_slice(after, 1, after.len), &u->port);
    }
    ptrdiff_t colon = gw_str_find(authority, ':');
    u->host = gw_str_slice(authority, 0, colon < 0 ? authority.len : (size_t)colon);
    if (u->host.len == 0 || !is_component(u->host, ""))
        return false;
    return colon < 0 ||
           parse_port(gw_str_slice(authority, (size_t)colon + 1, authority.len), &u->port);
}

/* The members of a replica set: "a:27017,[::1]:27018,c". */
static bool parse_host_list(gw_str authority, gw_url *u)
{
    gw_str rest = authority;
    gw_str one;
    while (gw_str_split(&rest, ',', &one)) {
        gw_url ignored = {0};
        if (!parse_host(one, &ignored))
            return false;
    }
    u->host = authority;
    return true;
}

static bool parse_authority(gw_str authority, gw_url *u)
{
    ptrdiff_t at = gw_str_find(authority, '@');
    if (at >= 0) {
        u->userinfo = gw_str_slice(authority, 0, (size_t)at);
        authority = gw_str_slice(authority, (size_t)at + 1, authority.len);
        if (!is_component(u->userinfo, ":"))
            return false;
    }
    if (gw_str_eq_c(u->scheme, "mongodb") && gw_str_find(authority, ',') >= 0)
        return parse_host_list(authority, u);
    return parse_host(authority, u);
}

/* The text stays out of the messages: a URL may hold a password. */
gw_status gw_url_parse(gw_str text, gw_url *ret, gw_error *err)
{
    gw_url u = {.userinfo = GW_STR(""), .path = GW_STR(""), .query = GW_STR("")};
    gw_str rest = text;
    for (size_t i = 0; i < text.len; i++) {
        unsigned char byte = (unsigned char)text.ptr[i];
        if (byte <= 0x20 || byte >= 0x7f)
            return gw_fail(
                err, GW_ERR_INVALID_ARGUMENT,
                "URL has a space, a control character or a byte outside ASCII at offset %zu", i);
    }
    if (!take_scheme(&rest, &u.scheme))
        return gw_fail(err, GW_ERR_INVALID_ARGUMENT,
                       "URL must start with a lower-case scheme and \"://\"");
    if (!parse_authority(take_authority(&rest), &u))
        return gw_fail(err, GW_ERR_INVALID_ARGUMENT,
                       "URL has no valid host and port after \"://\"");
    if (gw_str_find(rest, '#') >= 0)
        return gw_fail(err, GW_ERR_INVALID_ARGUMENT, "URL must not have a fragment (#)");
    ptrdiff_t question = gw_str_find(rest, '?');
    u.path = gw_str_slice(rest, 0, question < 0 ? rest.len : (size_t)question);
    if (question >= 0)
        u.query = gw_str_slice(rest, (size_t)question + 1, rest.len);
    if (!is_component(u.path, ":@/") || !is_component(u.query, ":@/?"))
        return gw_fail(err, GW_ERR_INVALID_ARGUMENT,
                       "URL has a character in its path or query that must be percent-encoded");
    *ret = u;
    return GW_OK;
}

static bool is_of(gw_str s, bool (*fits)(char c))
{
    for (size_t i = 0; i < s.len; i++) {
        if (!fits(s.ptr[i]))
            return false;
    }
    return s.len > 0;
}

static bool is_label_char(char c)
{
    return is_lower(c) || is_digit(c) || c == '-' || c == '_';
}

static bool is_v6_char(char c)
{
    return !(c >= 'A' && c <= 'Z');
}

/* A name that ends in a number is an address, for browsers (WHATWG URL, host parser). */
static bool is_origin_name(gw_str host)
{
    gw_str rest = host, label = GW_STR("");
    gw_ip ip;
    if (host.len == 0 || host.ptr[host.len - 1] == '.')
        return false;
    while (gw_str_split(&rest, '.', &label)) {
        if (!is_of(label, is_label_char))
            return false;
    }
    return !is_of(label, is_digit) || gw_ip_parse(host, &ip);
}

bool gw_origin_is_valid(gw_str text)
{
    char written[ORIGIN_MAX + 16], port[8] = "";
    gw_url u;
    gw_error err;
    if (text.len > ORIGIN_MAX || gw_url_parse(text, &u, &err) != GW_OK)
        return false;
    bool https = gw_str_eq_c(u.scheme, "https");
    if ((!https && !gw_str_eq_c(u.scheme, "http")) || u.port == (https ? 443 : 80) ||
        !(u.host_is_v6 ? is_of(u.host, is_v6_char) : is_origin_name(u.host)))
        return false;
    if (u.port)
        (void)snprintf(port, sizeof(port), ":%u", u.port);
    /* There is one way to write it: without a userinfo, a path, a query, a zero before the port. */
    (void)snprintf(written, sizeof(written),
                   u.host_is_v6 ? "%s://[" GW_STR_FMT "]%s" : "%s://" GW_STR_FMT "%s",
                   https ? "https" : "http", GW_STR_ARG(u.host), port);
    return gw_str_eq_c(text, written);
}

static uint16_t port_of(const gw_url *u)
{
    if (u->port)
        return u->port;
    return gw_str_eq_c(u->scheme, "https") ? 443 : 80;
}

bool gw_url_has_origin(const gw_url *u, gw_str origin)
{
    gw_url o;
    gw_error err;

    return gw_url_parse(origin, &o, &err) == GW_OK && gw_str_eq(u->scheme, o.scheme) &&
           u->host_is_v6 == o.host_is_v6 && gw_str_eq_nocase(u->host, o.host) &&
           port_of(u) == port_of(&o);
}

bool gw_percent_decode(gw_arena *a, gw_str text, bool plus_is_space, gw_str *ret)
{
    char *out = gw_arena_alloc(a, text.len + 1);
    if (!out)
        return false;
    size_t n = 0;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '%') {
            if (!gw_hex_decode(gw_str_slice(text, i + 1, i + 3), &c, 1))
                return false;
            i += 2;
        } else if (c == '+' && plus_is_space) {
            c = ' ';
        }
        if (c == '\0')
            return false;
        out[n++] = c;
    }
    out[n] = '\0';
    *ret = gw_str_n(out, n);
    return true;
}

void gw_percent_encode(gw_buf *out, gw_str text)
{
    static const char digits[] = "0123456789ABCDEF";
    for (size_t i = 0; i < text.len; i++) {
        unsigned char byte = (unsigned char)text.ptr[i];
        if (is_unreserved(text.ptr[i])) {
            gw_buf_append_char(out, text.ptr[i]);
        } else {
            const char escape[3] = {'%', digits[byte >> 4], digits[byte & 15]};
            gw_buf_append(out, escape, sizeof(escape));
        }
    }
}

bool gw_query_next(gw_str *rest, gw_str *name, gw_str *value)
{
    gw_str pair;
    while (gw_str_split(rest, '&', &pair)) {
        if (pair.len == 0)
            continue;
        ptrdiff_t equals = gw_str_find(pair, '=');
        *name = gw_str_slice(pair, 0, equals < 0 ? pair.len : (size_t)equals);
        *value = equals < 0 ? GW_STR("") : gw_str_slice(pair, (size_t)equals + 1, pair.len);
        return true;
    }
    return false;
}
