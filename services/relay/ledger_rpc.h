/*
 * LedgerService: what relays that are gone still hold of limits, and an admin who forgives it (over gRPC, and so over the admin REST).
 *
 *     list      SCAN ─▶ each ledger found: who is silent there ─▶ … until a page is full, or enough was looked at
 *     forgive   auth: intent ─▶ Redis ─▶ auth: result ─▶ answer
 *
 * Thread: the loop's.
 */
#pragma once

#include "ledger_store.h"

#include "log/log.h"
#include "redis/redis.h"
#include "rpc/client.h"
#include "rpc/server.h"

typedef struct ledger_rpc {
    gw_redis *redis; /* not that of the ledgers at work: they do not wait for lists */
    ledger_store *store; /* on `redis`; freed after it */
    gw_rpc_channel *auth;
    gw_str service_token; /* presented to auth */
    gw_log *log;
} ledger_rpc;

/* Handlers for gw_rpc_server_add(); `arg` is a ledger_rpc that outlives the server. */
extern const gw_rpc_handler ledger_rpc_handlers[];
