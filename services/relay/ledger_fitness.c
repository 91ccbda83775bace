#include "ledger_fitness.h"

#include <stdlib.h>

#define OLDEST_VERSION 7

/* The value of a line of INFO, which ends where the line does; NULL: there is none. INFO, not CONFIG GET, which hosted ones do not allow. */
static const char *find_value(const redisReply *info, const char *name)
{
    const char *at = info->type == REDIS_REPLY_STRING ? strstr(info->str, name) : NULL;

    return at ? at + strlen(name) : NULL;
}

static void on_server(void *arg, gw_status rc, const redisReply *m)
{
    ledger_fitness *f = arg;
    const char *version = rc == GW_OK ? find_value(m, "redis_version:") : NULL;

    if (!version)
        return;
    bool is_too_old = strtol(version, NULL, 10) < OLDEST_VERSION;
    if (is_too_old && !f->is_too_old)
        gw_log_error(f->log, "ledger_store_too_old",
                     gw_kv("hint", "ledgers are kept by a function: Redis 7.0 or newer"));
    f->is_too_old = is_too_old;
}

static void on_memory(void *arg, gw_status rc, const redisReply *m)
{
    static const char wanted[] = "noeviction";
    ledger_fitness *f = arg;
    const char *policy = rc == GW_OK ? find_value(m, "maxmemory_policy:") : NULL;

    if (rc != GW_OK)
        return;
    bool evicts = policy && strncmp(policy, wanted, strlen(wanted)) != 0;
    if (evicts && !f->evicts)
        gw_log_error(f->log, "ledger_store_evicts",
                     gw_kv("hint", "set maxmemory-policy noeviction in Redis"));
    f->evicts = evicts;
}

void ledger_fitness_ask(ledger_fitness *f, gw_redis *redis)
{
    gw_redis_call(redis, on_server, f, GW_STR("INFO"), GW_STR("server"));
    gw_redis_call(redis, on_memory, f, GW_STR("INFO"), GW_STR("memory"));
}

const char *ledger_fitness_trouble(const ledger_fitness *f)
{
    if (f->is_too_old)
        return "Redis is too old for ledgers: they need version 7.0 or newer";
    if (f->evicts)
        return "Redis may evict ledgers: its maxmemory-policy is not noeviction";
    return NULL;
}
