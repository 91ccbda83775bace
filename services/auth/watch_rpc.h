/*
 * KeyAccessService.Watch: one key_watcher an open call. Handlers of key_access_rpc.c's table.
 *
 * A client that does not take its events loses the call (UNAVAILABLE) and starts anew from where it was.
 */
#pragma once

#include "rpc/server.h"

void watch_rpc_start(gw_rpc_call *call, const ProtobufCMessage *request, void *arg);
void watch_rpc_cancelled(gw_rpc_call *call, void *arg);
void watch_rpc_finished(gw_rpc_call *call, void *arg);
