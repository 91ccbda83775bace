/*
 * The rpcs of admin keys. Handlers of admin_rpc.c's table.
 */
#pragma once

#include "rpc/server.h"

void admin_key_create_rpc(gw_rpc_call *call, const ProtobufCMessage *request, void *arg);
void admin_key_list_rpc(gw_rpc_call *call, const ProtobufCMessage *request, void *arg);
void admin_key_revoke_rpc(gw_rpc_call *call, const ProtobufCMessage *request, void *arg);
