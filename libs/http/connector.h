/*
 * Connector: opens TCP connections for the HTTP client through libcurl (CURLOPT_CONNECT_ONLY): names are resolved on
 * libcurl's resolver threads, IPv6 and IPv4 race (RFC 8305), and the loop never waits.
 *
 * Every address is checked in the callback that makes its socket, so what is checked is what is connected to, whatever
 * DNS said a moment ago: public addresses pass, private and loopback ones only inside the allow list, the rest never.
 *
 * Thread: the loop's.
 */
#pragma once

#include "core/net.h"
#include "loop/loop.h"

typedef struct gw_connector gw_connector;
typedef struct gw_dial gw_dial;

GW_CHECK gw_status gw_connector_new(gw_loop *l, const gw_cidr *allow, size_t allow_count,
                                    gw_connector **ret, gw_error *err);
/* Every dial is done or cancelled by now. `closed(arg)` follows from the loop. Not from inside a gw_dial_fn. */
void gw_connector_close(gw_connector *c, void (*closed)(void *arg), void *arg);

/*
 * From the loop, once unless cancelled. GW_OK: `fd` is connected, non-blocking, the callee's. Else fd is -1 and rc is
 * GW_ERR_UPSTREAM_UNAVAILABLE, GW_ERR_UPSTREAM_TIMEOUT or GW_ERR_ADDRESS_REFUSED. The dial is gone.
 */
typedef void (*gw_dial_fn)(void *arg, gw_status rc, int fd, const gw_error *err);

/* `host`: a name, or an IP address without brackets. `timeout_ms` 0 = none. */
GW_CHECK gw_status gw_connector_dial(gw_connector *c, const char *host, uint16_t port,
                                     int64_t timeout_ms, gw_dial_fn done, void *arg, gw_dial **ret,
                                     gw_error *err);
void gw_dial_cancel(gw_dial *d); /* no callback; `d` is gone */
