/*
 * The rpcs that give an API key a sealed secret beside its own, and take it: the signing secret, and the LibreChat key of its user.
 * Handlers of api_key_rpc.c's table.
 */
#pragma once

#include "op.h"

#include "access/signing_secret.h"

/*
 * A new signing secret for the key with that ApiKey.id, and its sealed form (in the op's arena). GW_ERR_FAILED_PRECONDITION
 * without master keys.
 */
GW_CHECK gw_status api_key_signing_make(op *o, const char *id,
                                        char ret_secret[GW_SIGNING_SECRET_LEN + 1],
                                        gw_str *ret_sealed, gw_error *err);

void api_key_rotate_signing_rpc(gw_rpc_call *call, const ProtobufCMessage *request, void *arg);
void api_key_remove_signing_rpc(gw_rpc_call *call, const ProtobufCMessage *request, void *arg);
void api_key_set_librechat_rpc(gw_rpc_call *call, const ProtobufCMessage *request, void *arg);
void api_key_remove_librechat_rpc(gw_rpc_call *call, const ProtobufCMessage *request, void *arg);
