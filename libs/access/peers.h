/*
 * Peers: which certificate speaks for which service, where TLS tells. A list of
 *
 *     <service>=<name>
 *
 * where the name stands in the certificate as a subject alternative name: a DNS name (case does not count), or a URI as
 * "spiffe://cluster.example/relay", byte by byte. A service may have several; a certificate may speak for several services.
 * A wildcard is no name of a service: neither here nor in a certificate does one match.
 *
 * Thread: immutable after new, shared freely.
 */
#pragma once

#include "core/status.h"
#include "rpc/peer.h"

typedef struct gw_peers gw_peers;

/* All bad entries are named in the error. GW_ERR_INVALID_ARGUMENT, GW_ERR_NO_MEMORY. Copies. */
GW_CHECK gw_status gw_peers_new(const char *const *entries, size_t n, gw_peers **ret,
                                gw_error *err);
void gw_peers_free(gw_peers *p);
GW_DEFINE_FREEP(gw_peers)

/* The next service, from *at (0 at first) on, that the certificate speaks for; false when there is none further.
 * The name lives as long as `p`. */
bool gw_peers_next(const gw_peers *p, const gw_rpc_peer *peer, size_t *at, gw_str *ret_service);
