/*
 * The rpcs that change an existing API key: update, revoke, regenerate, suspend, resume. Handlers of
 * api_key_rpc.c's table.
 */
#pragma once

#include "rpc/server.h"

void api_key_update_rpc(gw_rpc_call *call, const ProtobufCMessage *request, void *arg);
void api_key_revoke_rpc(gw_rpc_call *call, const ProtobufCMessage *request, void *arg);
void api_key_regenerate_rpc(gw_rpc_call *call, const ProtobufCMessage *request, void *arg);
void api_key_suspend_rpc(gw_rpc_call *call, const ProtobufCMessage *request, void *arg);
void api_key_resume_rpc(gw_rpc_call *call, const ProtobufCMessage *request, void *arg);
