/*
 * ProviderService: providers, model routes and the price book over gRPC (and so over the admin REST).
 *
 * Thread: the loop's; the work is done on MongoDB's workers.
 */
#pragma once

#include "access/audit_act.h"
#include "config_store.h"

typedef struct provider_rpc {
    gw_mongo *mongo;
    config_store *config;
    uint8_t cursor_key[32]; /* the same on every replica */
    gw_log *log;
    gw_rpc_channel *usage; /* prices the past anew; NULL: there is none */
    const gw_str *service_token; /* ours, for usage, as it is when it is used */
    const gw_audit_link *audit;
    int64_t history_keep_ms; /* provider_store.h */
} provider_rpc;

/* Handlers for gw_rpc_server_add(); `arg` is a provider_rpc that outlives the server. */
extern const gw_rpc_handler provider_rpc_handlers[];
extern const gw_rpc_handler history_rpc_handlers[];
extern const gw_rpc_handler price_book_rpc_handlers[];
/* Makes the indexes once MongoDB is up. */
void provider_rpc_prepare(provider_rpc *p);
