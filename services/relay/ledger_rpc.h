/*
 * LedgerService: what relays that are gone still hold of limits, and an admin who forgives it (over gRPC, and so over the admin REST).
 *
 *     list      SCAN ─▶ each ledger found: who is silent there ─▶ … until a page is full, or enough was looked at
 *     forgive   auth: intent ─▶ Redis ─▶ auth: result ─▶ answer
 *
 * Thread: the loop's.
 */
#pragma once

#include "access/audit_act.h"
#include "ledger_store.h"

#include "redis/redis.h"

typedef struct ledger_rpc {
    gw_redis *redis; /* not that of the ledgers at work: they do not wait for lists */
    ledger_store *store; /* on `redis`; freed after it */
    const gw_audit_link *audit;
} ledger_rpc;

/* Handlers for gw_rpc_server_add(); `arg` is a ledger_rpc that outlives the server. */
extern const gw_rpc_handler ledger_rpc_handlers[];
