/*
 * ImportApiKeys: keys arrive one a message, are checked as they come, and are hashed one after the other
 * and made together once all are there.
 *
 * Thread: the loop's.
 */
#pragma once

#include "rpc/server.h"

#define API_KEY_IMPORT_MESSAGE_MAX (256UL << 10)

/* Members of a gw_rpc_handler; `arg` is the auth. */
void api_key_import_begin(gw_rpc_call *call, const ProtobufCMessage *request, void *arg);
void api_key_import_take(gw_rpc_call *call, const ProtobufCMessage *request, void *arg);
void api_key_import_make(gw_rpc_call *call, void *arg);
void api_key_import_cancelled(gw_rpc_call *call, void *arg);
