/*
 * Ledger fitness: whether Redis is one that may keep ledgers. It has functions, which came with 7.0 (a Valkey calls itself 7.2 or newer there), and evicts nothing
 * (maxmemory-policy noeviction): a ledger that goes is a budget that comes back. Fit until it says otherwise.
 *
 * Log: ledger_store_too_old, ledger_store_evicts when it is first said. Thread: the loop of `redis`.
 */
#pragma once

#include "redis/redis.h"

typedef struct ledger_fitness {
    gw_log *log; /* may be NULL */
    bool is_too_old, evicts;
} ledger_fitness;

/* `f` stays until `redis` is freed. */
void ledger_fitness_ask(ledger_fitness *f, gw_redis *redis);
/* What is amiss, for people; NULL: nothing. */
const char *ledger_fitness_trouble(const ledger_fitness *f);
