/*
 * Metadata of a call that a gateway makes with its caller's own credential: where that caller is, and the gateway's service
 * token, where no certificate says who tells. Believed by libs/access alone.
 */
#pragma once

#define GW_RPC_CLIENT_ADDRESS "x-relay-client-address" /* an IP address without a port */
#define GW_RPC_FORWARDER      "x-relay-forwarder" /* a service token */
