#include "core/net.h"

#include <arpa/inet.h>
#include <netinet/in.h>

static const uint8_t mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static gw_ip ip_of_v4(const void *bytes)
{
    gw_ip ip = {.is_v6 = false};
    memcpy(ip.bytes, bytes, 4);
    return ip;
}

static gw_ip ip_of_v6(const void *bytes)
{
    if (memcmp(bytes, mapped_prefix, sizeof(mapped_prefix)) == 0)
        return ip_of_v4((const uint8_t *)bytes + sizeof(mapped_prefix));
    gw_ip ip = {.is_v6 = true};
    memcpy(ip.bytes, bytes, 16);
    return ip;
}

bool gw_ip_parse(gw_str text, gw_ip *ret)
{
    char copy[GW_IP_TEXT_SIZE];
    if (text.len == 0 || text.len >= sizeof(copy) || gw_str_find(text, '\0') >= 0)
        return false;
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    uint8_t bytes[16];
    if (inet_pton(AF_INET, copy, bytes) == 1)
        *ret = ip_of_v4(bytes);
    else if (inet_pton(AF_INET6, copy, bytes) == 1)
        *ret = ip_of_v6(bytes);
    else
        return false;
    return true;
}

bool gw_ip_from_sockaddr(const struct sockaddr *a, gw_ip *ret)
{
    if (a->sa_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, a, sizeof(v4));
        *ret = ip_of_v4(&v4.sin_addr);
        return true;
    }
    if (a->sa_family == AF_INET6) {
        struct sockaddr_in6 v6;
        memcpy(&v6, a, sizeof(v6));
        *ret = ip_of_v6(&v6.sin6_addr);
        return true;
    }
    return false;
}

void gw_ip_format(const gw_ip *ip, char out[GW_IP_TEXT_SIZE])
{
    if (ip->is_v6) {
        out[0] = '\0';
        (void)inet_ntop(AF_INET6, ip->bytes, out, GW_IP_TEXT_SIZE);
        return;
    }
    char *at =
        out; /* each request has its caller's address formatted, and inet_ntop prints by printf */
    for (int i = 0; i < 4; i++) {
        at += gw_int_format(ip->bytes[i], at);
        *at++ = i < 3 ? '.' : '\0';
    }
}

bool gw_ip_eq(const gw_ip *a, const gw_ip *b)
{
    return a->is_v6 == b->is_v6 && memcmp(a->bytes, b->bytes, a->is_v6 ? 16 : 4) == 0;
}

static bool bits_equal(const uint8_t *a, const uint8_t *b, unsigned bits)
{
    unsigned whole = bits / 8;
    if (memcmp(a, b, whole) != 0)
        return false;
    unsigned mask = 0xffu << (8 - bits % 8) & 0xffu;
    return bits % 8 == 0 || ((a[whole] ^ b[whole]) & mask) == 0;
}

static bool host_bits_are_zero(const gw_cidr *c)
{
    unsigned width = c->base.is_v6 ? 128 : 32;
    for (unsigned bit = c->prefix; bit < width; bit++) {
        if (c->base.bytes[bit / 8] & (0x80u >> (bit % 8)))
            return false;
    }
    return true;
}

bool gw_cidr_parse(gw_str text, gw_cidr *ret)
{
    ptrdiff_t slash = gw_str_find(text, '/');
    gw_str address = slash < 0 ? text : gw_str_slice(text, 0, (size_t)slash);
    gw_cidr c;
    if (!gw_ip_parse(address, &c.base))
        return false;
    bool written_as_v6 = gw_str_find(address, ':') >= 0;
    unsigned width = written_as_v6 ? 128 : 32;
    uint64_t prefix = width;
    if (slash >= 0) {
        gw_str digits = gw_str_slice(text, (size_t)slash + 1, text.len);
        if (digits.len > 3 || (digits.len > 1 && digits.ptr[0] == '0') ||
            !gw_str_to_uint64(digits, &prefix) || prefix > width)
            return false;
    }
    if (written_as_v6 && !c.base.is_v6) { /* v4-mapped: the block must lie inside ::ffff:0:0/96 */
        if (prefix < 96)
            return false;
        prefix -= 96;
    }
    c.prefix = (unsigned)prefix;
    if (!host_bits_are_zero(&c))
        return false;
    *ret = c;
    return true;
}

bool gw_cidr_contains(const gw_cidr *c, const gw_ip *ip)
{
    return c->base.is_v6 == ip->is_v6 && bits_equal(c->base.bytes, ip->bytes, c->prefix);
}

bool gw_cidr_any_contains(const gw_cidr *list, size_t n, const gw_ip *ip)
{
    for (size_t i = 0; i < n; i++) {
        if (gw_cidr_contains(&list[i], ip))
            return true;
    }
    return false;
}

typedef struct ip_rule {
    gw_cidr block;
    gw_ip_kind kind;
} ip_rule;

#define V4(a, b, c, d, bits)                                                                       \
    {                                                                                              \
        {{a, b, c, d}, false}, bits                                                                \
    }
#define V6(bits, ...)                                                                              \
    {                                                                                              \
        {{__VA_ARGS__}, true}, bits                                                                \
    }

/* First match wins. RFC 6890 and the IANA special-purpose registries of 2025, plus metadata
 * services of clouds. */
static const ip_rule v4_rules[] = {
    {V4(100, 100, 100, 200, 32), GW_IP_FORBIDDEN}, /* metadata of Alibaba Cloud */
    {V4(168, 63, 129, 16, 32), GW_IP_FORBIDDEN}, /* Azure's wire server */
    {V4(0, 0, 0, 0, 8), GW_IP_FORBIDDEN},          {V4(10, 0, 0, 0, 8), GW_IP_PRIVATE},
    {V4(100, 64, 0, 0, 10), GW_IP_PRIVATE},        {V4(127, 0, 0, 0, 8), GW_IP_LOOPBACK},
    {V4(169, 254, 0, 0, 16), GW_IP_FORBIDDEN}, /* link-local, 169.254.169.254 among them */
    {V4(172, 16, 0, 0, 12), GW_IP_PRIVATE},        {V4(192, 0, 0, 0, 24), GW_IP_FORBIDDEN},
    {V4(192, 0, 2, 0, 24), GW_IP_FORBIDDEN},       {V4(192, 88, 99, 0, 24), GW_IP_FORBIDDEN},
    {V4(192, 168, 0, 0, 16), GW_IP_PRIVATE},       {V4(198, 18, 0, 0, 15), GW_IP_FORBIDDEN},
    {V4(198, 51, 100, 0, 24), GW_IP_FORBIDDEN},    {V4(203, 0, 113, 0, 24), GW_IP_FORBIDDEN},
    {V4(224, 0, 0, 0, 3), GW_IP_FORBIDDEN}, /* multicast, reserved, broadcast */
};

static const ip_rule v6_rules[] = {
    {V6(128, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1), GW_IP_LOOPBACK},
    {V6(128, 0xfd, 0, 0x0e, 0xc2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x02, 0x54), GW_IP_FORBIDDEN},
    {V6(7, 0xfc), GW_IP_PRIVATE},
    {V6(23, 0x20, 0x01), GW_IP_FORBIDDEN}, /* protocol assignments, Teredo */
    {V6(32, 0x20, 0x01, 0x0d, 0xb8), GW_IP_FORBIDDEN},
    {V6(16, 0x20, 0x02), GW_IP_FORBIDDEN}, /* 6to4 */
    {V6(20, 0x3f, 0xff), GW_IP_FORBIDDEN}, /* documentation */
    {V6(3, 0x20), GW_IP_PUBLIC}, /* all there is of global unicast */
};

static const gw_cidr nat64 = V6(96, 0x00, 0x64, 0xff, 0x9b);

gw_ip_kind gw_ip_classify(const gw_ip *ip)
{
    const ip_rule *rules = ip->is_v6 ? v6_rules : v4_rules;
    size_t n = ip->is_v6 ? GW_ARRAY_LEN(v6_rules) : GW_ARRAY_LEN(v4_rules);
    for (size_t i = 0; i < n; i++) {
        if (gw_cidr_contains(&rules[i].block, ip))
            return rules[i].kind;
    }
    if (gw_cidr_contains(&nat64, ip)) { /* a translator would lead to the v4 address inside */
        gw_ip inside = ip_of_v4(ip->bytes + 12);
        return gw_ip_classify(&inside) == GW_IP_PUBLIC ? GW_IP_PUBLIC : GW_IP_FORBIDDEN;
    }
    return ip->is_v6 ? GW_IP_FORBIDDEN : GW_IP_PUBLIC;
}

bool gw_host_port_split(gw_str text, gw_str *ret_host, uint16_t *ret_port)
{
    gw_str host;
    gw_str port;
    if (text.len > 0 && text.ptr[0] == '[') {
        ptrdiff_t end = gw_str_find(text, ']');
        gw_ip ip;
        if (end < 0 || (size_t)end + 1 >= text.len || text.ptr[end + 1] != ':')
            return false;
        host = gw_str_slice(text, 1, (size_t)end);
        port = gw_str_slice(text, (size_t)end + 2, text.len);
        if (gw_str_find(host, ':') < 0 || !gw_ip_parse(host, &ip))
            return false;
    } else {
        ptrdiff_t colon = gw_str_find(text, ':');
        if (colon < 1)
            return false;
        host = gw_str_slice(text, 0, (size_t)colon);
        port = gw_str_slice(text, (size_t)colon + 1, text.len);
    }
    uint64_t number;
    if (port.len > 5 || !gw_str_to_uint64(port, &number) || number > 65535)
        return false;
    *ret_host = host;
    *ret_port = (uint16_t)number;
    return true;
}
