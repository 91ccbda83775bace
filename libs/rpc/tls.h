/*
 * TLS of servers and channels: the core's credentials, made of the current set of files.
 *
 * A server's fetcher gives the newest set to each handshake. A channel's credentials are fixed: client.c makes a new
 * core channel when the set changes.
 */
#pragma once

#include "tls/tls_files.h"

#include <grpc/grpc_security.h>

typedef struct rpc_server_tls rpc_server_tls;

/*
 * Follows the files (borrowed) from now on. A client may come without a certificate; one that it presents has to be
 * good. Without authorities in the set none is asked for.
 */
GW_CHECK gw_status rpc_server_tls_new(gw_tls_files *files, rpc_server_tls **ret, gw_error *err);
void rpc_server_tls_free(rpc_server_tls *t); /* the core server is destroyed by now; NULL is fine */

/* For one core server, to be released by the caller. `tls` NULL: plain connections. */
grpc_server_credentials *rpc_server_credentials(rpc_server_tls *tls);
/* The same of a channel, from the set as it is now. */
grpc_channel_credentials *rpc_channel_credentials(const gw_tls_files *files);
