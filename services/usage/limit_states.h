/*
 * Limit states: a key's limits of days and months beside what its rows say was used. What is under way is not seen here: the relay's
 * ledgers know it.
 *
 * Thread: pure.
 */
#pragma once

#include "core/arena.h"
#include "ledger_sums.h"

#include "apirelay/usage/v1/usage_service.pb-c.h"

/* In the arena, the limits that are set, at most 4. GW_ERR_NO_MEMORY. */
GW_CHECK gw_status limit_states_of(gw_arena *a, const Apirelay__Auth__V1__KeyLimits *limits,
                                   const ledger_amounts *used, int64_t now_ms,
                                   Apirelay__Usage__V1__LimitState ***ret, size_t *ret_count,
                                   gw_error *err);
