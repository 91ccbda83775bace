/*
 * Client address: who really calls, seen past the proxies we trust.
 *
 * X-Forwarded-For is walked from the right: each address we trust as a proxy is stepped over, the first other one is the client.
 * A malformed element ends the walk at the peer, since everything left of it could be anybody's invention. By default no proxy
 * is trusted, and the peer is the client.
 */
#pragma once

#include "core/net.h"
#include "http/message.h"

gw_ip gw_client_address(const gw_ip *peer, gw_headers headers, const gw_cidr *trusted_proxies,
                        size_t trusted_count);
