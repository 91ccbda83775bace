/* URLs, addresses, blocks, globs and percent-coding: what is taken is what was written. */
#include "core/net.h"
#include "core/pattern.h"
#include "core/url.h"
#include "testing/fuzz.h"

static bool lies_in(gw_str part, gw_str whole)
{
    return part.len == 0 || (part.ptr >= whole.ptr && part.ptr + part.len <= whole.ptr + whole.len);
}

static void check_url(gw_str text)
{
    gw_url u = {0};
    gw_url again;
    gw_error err = {0};
    gw_auto_buf made = {0};

    if (gw_url_parse(text, &u, &err) != GW_OK) {
        fuzz_require(err.message[0] != '\0');
        return;
    }
    fuzz_require(u.scheme.len > 0 && u.host.len > 0);
    fuzz_require(u.path.len == 0 || u.path.ptr[0] == '/');
    fuzz_require(lies_in(u.scheme, text) && lies_in(u.host, text) && lies_in(u.userinfo, text));
    fuzz_require(lies_in(u.path, text) && lies_in(u.query, text));
    gw_buf_appendf(&made, GW_STR_FMT "://", GW_STR_ARG(u.scheme));
    if (u.userinfo.len)
        gw_buf_appendf(&made, GW_STR_FMT "@", GW_STR_ARG(u.userinfo));
    gw_buf_appendf(&made, u.host_is_v6 ? "[" GW_STR_FMT "]" : GW_STR_FMT, GW_STR_ARG(u.host));
    if (u.port)
        gw_buf_appendf(&made, ":%u", u.port);
    gw_buf_append_str(&made, u.path);
    if (u.query.len)
        gw_buf_appendf(&made, "?" GW_STR_FMT, GW_STR_ARG(u.query));
    fuzz_require(gw_url_parse(gw_buf_str(&made), &again, &err) == GW_OK);
    fuzz_require(gw_str_eq(again.host, u.host) && again.port == u.port);
    fuzz_require(gw_str_eq(again.userinfo, u.userinfo) && gw_str_eq(again.path, u.path));
}

static void check_address(gw_str text)
{
    gw_ip ip;
    gw_ip again;
    gw_cidr block;
    gw_cidr same;
    char out[GW_IP_TEXT_SIZE];
    char written[GW_IP_TEXT_SIZE + 8];
    gw_str host;
    uint16_t port;

    if (gw_ip_parse(text, &ip)) {
        gw_ip_format(&ip, out);
        fuzz_require(gw_ip_parse(gw_str_of(out), &again) && gw_ip_eq(&ip, &again));
        fuzz_require(gw_ip_classify(&ip) <= GW_IP_FORBIDDEN);
        fuzz_require(gw_cidr_parse(text, &block) && gw_cidr_contains(&block, &ip));
    }
    if (gw_cidr_parse(text, &block)) {
        fuzz_require(block.prefix <= (block.base.is_v6 ? 128 : 32));
        fuzz_require(gw_cidr_contains(&block, &block.base));
        gw_ip_format(&block.base, out);
        (void)snprintf(written, sizeof(written), "%s/%u", out, block.prefix);
        fuzz_require(gw_cidr_parse(gw_str_of(written), &same) && same.prefix == block.prefix);
        fuzz_require(gw_ip_eq(&same.base, &block.base));
    }
    if (gw_host_port_split(text, &host, &port))
        fuzz_require(host.len > 0 && lies_in(host, text));
}

static void check_coding(gw_str text)
{
    gw_auto(gw_arena) arena = gw_arena_new();
    gw_auto_buf encoded = {0};
    gw_str decoded;
    gw_str rest = text;
    gw_str name;
    gw_str value;

    fuzz_require(arena != NULL);
    gw_percent_encode(&encoded, text);
    if (gw_percent_decode(arena, gw_buf_str(&encoded), true, &decoded))
        fuzz_require(gw_str_eq(decoded, text));
    else
        fuzz_require(gw_str_find(text, '\0') >= 0); /* all that can be wrong with it */
    if (gw_percent_decode(arena, text, false, &decoded))
        fuzz_require(decoded.len <= text.len && decoded.ptr[decoded.len] == '\0');
    while (gw_query_next(&rest, &name, &value))
        fuzz_require(lies_in(name, text) && lies_in(value, text));
}

/* The input's first line is the pattern. */
static void check_glob(gw_str text)
{
    gw_str rest = text;
    gw_str pattern;

    if (!gw_str_split(&rest, '\n', &pattern))
        return;
    if (gw_glob_is_exact(pattern))
        fuzz_require(gw_glob_match(pattern, rest) == gw_str_eq(pattern, rest));
    else
        (void)gw_glob_match(pattern, rest);
    fuzz_require(gw_glob_match(GW_STR("*"), text));
    fuzz_require(gw_glob_match(pattern, pattern));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    gw_str text = gw_str_n(data, size);

    check_url(text);
    check_address(text);
    check_coding(text);
    check_glob(text);
    return 0;
}
