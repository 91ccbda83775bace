/*
 * The ledgers in Redis: one function (ledger.lua), FCALL; what a loop's turn asks leaves in one write.
 *
 *     ledger:{nn}:<subject>   hash: totals, limits, one record a position
 *     ledger:{nn}:born        hash: since when this Redis has the shard's data
 *
 * Thread: the loop of `redis`.
 */
#pragma once

#include "ledger_store.h"

#include "redis/redis.h"

/* The store borrows `timers` and `redis`, which answers or refuses everything before it is freed: free it first. A `clock` of its own (Lua, tests
 * only): a function clock() that returns ms and run id; NULL: Redis's. GW_ERR_NO_MEMORY. */
GW_CHECK gw_status ledger_store_redis_new(gw_redis *redis, const ledger_timers *timers,
                                          const char *clock, ledger_store **ret, gw_error *err);
