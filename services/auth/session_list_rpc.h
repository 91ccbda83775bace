/*
 * Showing and ending sessions of admins; handlers of session_rpc.c's table. An admin's own, and an owner
 * those of everybody.
 */
#pragma once

#include "rpc/server.h"

void session_list_rpc(gw_rpc_call *call, const ProtobufCMessage *request, void *arg);
void session_revoke_rpc(gw_rpc_call *call, const ProtobufCMessage *request, void *arg);
void session_revoke_all_rpc(gw_rpc_call *call, const ProtobufCMessage *request, void *arg);
