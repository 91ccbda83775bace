/*
 * IP addresses and CIDR blocks (RFC 4632, RFC 4291). v4-mapped v6 addresses are normalised to v4 on
 * the way in.
 */
#pragma once

#include "core/status.h"
#include "core/str.h"

#include <sys/socket.h>

typedef struct gw_ip {
    uint8_t bytes[16]; /* v4 in the first four */
    bool is_v6;
} gw_ip;

typedef struct gw_cidr {
    gw_ip base;
    unsigned prefix; /* 0-32 or 0-128 */
} gw_cidr;

#define GW_IP_TEXT_SIZE 46
GW_CHECK bool gw_ip_parse(gw_str text, gw_ip *ret); /* no zone, no brackets, no port */
GW_CHECK bool gw_ip_from_sockaddr(const struct sockaddr *a, gw_ip *ret);
void gw_ip_format(const gw_ip *ip, char out[GW_IP_TEXT_SIZE]);
bool gw_ip_eq(const gw_ip *a, const gw_ip *b);

/* "10.0.0.0/8", or a bare address for one host. Host bits below the prefix must be 0. */
GW_CHECK bool gw_cidr_parse(gw_str text, gw_cidr *ret);
bool gw_cidr_contains(const gw_cidr *c, const gw_ip *ip);
bool gw_cidr_any_contains(const gw_cidr *list, size_t n, const gw_ip *ip);

/* What an address is, for the rules of outgoing connections (RFC 6890 and cloud metadata
 * addresses). */
typedef enum gw_ip_kind {
    GW_IP_PUBLIC,
    GW_IP_LOOPBACK,
    GW_IP_PRIVATE, /* RFC 1918, fc00::/7, 100.64/10 */
    GW_IP_FORBIDDEN, /* link-local, metadata (169.254.169.254, fd00:ec2::254), multicast,
                        unspecified, broadcast, reserved */
} gw_ip_kind;
gw_ip_kind gw_ip_classify(const gw_ip *ip);

/* "host:port" or "[v6]:port"; port 0-65535. Views into `text`. */
GW_CHECK bool gw_host_port_split(gw_str text, gw_str *ret_host, uint16_t *ret_port);
