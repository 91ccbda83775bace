/*
 * Ledger sums: what a subject has used in a day and its month, from the hours' `ledger` (rollup.h), without one load id.
 *
 * A key's sums stand in its own hours; a client's and an owner's in those of its part (owner_parts.h), one document an hour however many
 * keys it has, and where rows of SUMS_FORMAT_FIRST were summed up (rollup.h).
 *
 * Thread: on a worker.
 */
#pragma once

#include "core/id.h"
#include "mongo/db.h"

typedef enum ledger_kind { LEDGER_KEY, LEDGER_CLIENT, LEDGER_OWNER } ledger_kind;

typedef struct ledger_subject {
    ledger_kind kind;
    gw_object_id id; /* of a key or owner */
    gw_str client; /* borrowed */
} ledger_subject;

typedef struct ledger_amounts {
    int64_t requests_today, tokens_today, tokens_this_month, cost_nano_usd_this_month;
} ledger_amounts;

/* `day` counts from 1970 UTC. */
GW_CHECK gw_status ledger_sums_read(const gw_db *d, const ledger_subject *s, int64_t load_id,
                                    int64_t day, ledger_amounts *ret, gw_error *err);
