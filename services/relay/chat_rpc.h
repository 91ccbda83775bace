/*
 * Chat over gRPC: ChatService on the same request machine as HTTP (DESIGN.md §10).
 *
 * API keys are checked by the machine itself, so that a refused key leaves the same event as over
 * HTTP; all other callers are the general rule's business.
 *
 * Thread: the loop's.
 */
#pragma once

#include "relay_core.h"

#include "rpc/server.h"

/* Handlers for gw_rpc_server_add(); `arg` is the relay_core. */
extern const gw_rpc_handler chat_rpc_handlers[];

typedef struct chat_authorizer {
    gw_rpc_authorizer others; /* decides for every other method and credential */
} chat_authorizer;

/* For gw_rpc_server_options; `a` outlives the server. */
gw_rpc_authorizer chat_rpc_authorizer(chat_authorizer *a);
