/* What the parts of usage queries share (usage_queries.h). */
#pragma once

#include "usage_queries.h"

#include "access/audit_act.h"
#include "core/list.h"
#include "core/violations.h"
#include "crypto/cursor.h"

typedef struct alert_watch alert_watch;
typedef struct spool_watch spool_watch;

struct usage_queries {
    usage_queries_options o;
    live_shared *live;
    gw_list watchers; /* of metrics_rpc.c */
    gw_list ledger_calls; /* of ledger_rpc.c, that wait */
    alert_watch *alerts;
    spool_watch *spools;
    gw_audit_link audit;
    uint8_t cursor_key[GW_CURSOR_KEY_SIZE];
};

extern const gw_rpc_handler usage_handlers[];
extern const gw_rpc_handler alert_handlers[];
extern const gw_rpc_handler accounting_handlers[];
extern const gw_rpc_handler ledger_handlers[];
extern const gw_rpc_handler rating_handlers[];
void ledger_stop_waiting(usage_queries *q);
