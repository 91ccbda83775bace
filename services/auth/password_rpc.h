/* ChangePassword: an admin's own; a handler of session_rpc.c's table. */
#pragma once

#include "rpc/server.h"

void password_change_rpc(gw_rpc_call *call, const ProtobufCMessage *request, void *arg);
