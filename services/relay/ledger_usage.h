/*
 * What usage says of a ledger: used in a day and its month, without the events of one build-up (usage.LedgerService).
 *
 * Thread: the loop's.
 */
#pragma once

#include "ledger.h"

#include "rpc/client.h"

/* Called once, never inside the call that asked. `used` is NULL when rc is not GW_OK. */
typedef void (*ledger_used_fn)(void *arg, gw_status rc, const ledger_amounts *used,
                               const gw_error *err);

typedef struct ledger_question {
    const char *subject;
    int64_t load; /* to leave out, > 0 */
    int64_t day;
    bool fresh; /* at once: without waiting for events under way */
    bool wait_for_usage; /* that is away, as long as the call may take */
} ledger_question;

/* False when out of memory: `done` is not called then. */
GW_CHECK bool ledger_usage_ask(gw_rpc_channel *usage, gw_str service_token,
                               const ledger_question *q, ledger_used_fn done, void *arg);
