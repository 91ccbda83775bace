/*
 * Peer: what the caller's TLS certificate says. The core has verified it against our authorities by then.
 */
#pragma once

#include "rpc/server.h"

typedef enum gw_rpc_san_kind { GW_RPC_SAN_DNS, GW_RPC_SAN_URI } gw_rpc_san_kind;

typedef struct gw_rpc_san { /* a subject alternative name; other kinds are not told */
    gw_rpc_san_kind kind;
    gw_str value; /* as it stands in the certificate; DNS names in any case */
} gw_rpc_san;

typedef struct gw_rpc_peer {
    bool has_certificate; /* false: plain connection, or the caller came without */
    const gw_rpc_san *sans;
    size_t san_count; /* the first GW_RPC_SANS_MAX */
} gw_rpc_peer;

#define GW_RPC_SANS_MAX 64

/* Lives as long as the call. From `authorize` on. */
gw_rpc_peer gw_rpc_call_certificate(gw_rpc_call *c);
