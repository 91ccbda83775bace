/*
 * Access: may this caller call this rpc? Reads (apirelay.options.v1.access), finds out who calls
 * and decides.
 *
 *   anyone                 goes on
 *   no credential          service, where TLS is on: its certificate's name stands in the list of peers and its own in
 *                          the option. Only for rpcs of services: a gateway that forwards nobody's call lends nobody its
 *                          own name
 *   lcsvc_…                service, where TLS is off: its token stands in the file and its name in the option
 *   lcadm_… lcses_… lc_…   asked of auth; an admin needs the role, an API key the option's api_key
 *
 * A caller's address is its connection's; of an admin whom admin-gw calls for it is the one that admin-gw tells
 * (GW_RPC_CLIENT_ADDRESS), where that has a certificate or a service token to prove who it is (GW_RPC_FORWARDER).
 *
 * UNAUTHENTICATED when there is no good credential or certificate, PERMISSION_DENIED when it is good but not for
 * this rpc, UNAVAILABLE when auth does not answer. A positive answer of auth is kept for a second
 * from when it was asked, by SHA-256 of credential and address; negative ones are not kept; one
 * question a credential at a time. A session's watch, a stream without end, is asked about apart, as unattended: a page that is left open
 * connects again by itself.
 *
 * Thread: the loop's.
 */
#pragma once

#include "access/identity.h"
#include "access/peers.h"
#include "access/service_tokens.h"

#define GW_ACCESS_CACHE_MS  1000
#define GW_ACCESS_CACHE_MAX 10000 /* answers; the oldest goes first */

typedef struct gw_access_checker gw_access_checker;

typedef struct gw_access_options {
    /* of our callers; borrowed. Not looked at where `peers` is given */
    const gw_service_tokens *tokens;
    const gw_peers *peers; /* where TLS is on; borrowed. Else NULL */
    gw_rpc_channel *auth; /* borrowed; NULL where `identify` is given, or only services call */
    gw_str own_token; /* borrowed; ours, for auth; "" where TLS is on */
    gw_identify identify; /* instead of `auth`: auth has no channel to itself */
    /* each call is asked about: auth's own, so that what it ended is ended there at once */
    bool keeps_nothing;
    gw_log *log; /* may be NULL */
} gw_access_options;

GW_CHECK gw_status gw_access_checker_new(gw_loop *l, const gw_access_options *o,
                                         gw_access_checker **ret, gw_error *err);
/* After its server is closed, so that no call waits for an answer. */
void gw_access_checker_free(gw_access_checker *c);
GW_DEFINE_FREEP(gw_access_checker)

/* Another token of ours, for auth, from now on; borrowed. */
void gw_access_checker_set_own_token(gw_access_checker *c, gw_str own_token);

/* For gw_rpc_server_options. */
gw_rpc_authorizer gw_access_authorizer(gw_access_checker *c);

/* The rule alone: GW_OK or GW_ERR_PERMISSION_DENIED. */
GW_CHECK gw_status gw_access_decide(const gw_method *m, const gw_caller *caller, gw_error *err);

/* "127.0.0.1" of "ipv4:127.0.0.1:50412", "::1" of "ipv6:[::1]:50412" (also with %5B and %5D); ""
 * of anything else. A view. */
gw_str gw_access_peer_address(gw_str peer);
