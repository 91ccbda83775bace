#include "http/client_address.h"

/* Steps over the trusted addresses at the end of one header line. False when the walk is over, *client being the answer. */
static bool step_over(gw_str line, const gw_cidr *trusted, size_t count, const gw_ip *peer,
                      gw_ip *client)
{
    size_t end = line.len;
    for (;;) {
        size_t start = end;
        while (start > 0 && line.ptr[start - 1] != ',')
            start--;
        gw_ip address;
        if (!gw_ip_parse(gw_str_trim(gw_str_slice(line, start, end)), &address)) {
            *client = *peer;
            return false;
        }
        *client = address;
        if (!gw_cidr_any_contains(trusted, count, &address))
            return false;
        if (start == 0)
            return true;
        end = start - 1;
    }
}

gw_ip gw_client_address(const gw_ip *peer, gw_headers headers, const gw_cidr *trusted_proxies,
                        size_t trusted_count)
{
    gw_ip client = *peer;
    if (!gw_cidr_any_contains(trusted_proxies, trusted_count, peer))
        return client;
    /* Several lines are one list, in order (RFC 9110 §5.3): the last line is the nearest proxy's. */
    for (size_t i = headers.count; i-- > 0;) {
        if (!gw_str_eq_nocase(headers.items[i].name, GW_STR("x-forwarded-for")))
            continue;
        if (!step_over(headers.items[i].value, trusted_proxies, trusted_count, peer, &client))
            return client;
    }
    return client;
}
