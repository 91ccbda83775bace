/*
 * Ledger keeper: the grants of one loop at work. It carries out what the book wants (grant_book.h): statements to Redis, what was
 * used from usage, rows on disk; and closes what a killed relay left behind.
 *
 * A key without limits, of a client and an owner without, has no ledger and never comes here.
 *
 * Log: ledger_lost and ledger_found at each change, those of ledger_fitness.h. Thread: the loop's.
 */
#pragma once

#include "grant_book.h"
#include "ledger_look.h"
#include "policy.h"
#include "position_table.h"

#include "metrics/metrics.h"
#include "redis/redis.h"
#include "rpc/client.h"

typedef struct ledger_keeper ledger_keeper;

typedef struct ledger_keeper_options {
    gw_redis_options redis;
    ledger_timers timers;
    bool allow_when_lost; /* RELAY_ON_REDIS_LOSS=allow */
    position_table *positions; /* borrowed until ledger_keeper_stop() */
    const char *holder; /* "<spool id>.<boot>": never used twice; copied */
    const ledger_left *left; /* what a killed relay left behind; copied */
    size_t left_count;
    gw_rpc_channel *usage; /* borrowed; closed before ledger_keeper_free() */
    gw_str service_token; /* presented to usage */
    gw_log *log;
    gw_metrics_shard *metrics; /* may be NULL */
} ledger_keeper_options;

GW_CHECK gw_status ledger_keeper_new(gw_loop *l, const ledger_keeper_options *o,
                                     ledger_keeper **ret, gw_error *err);
/* Every open position says goodbye as soon as its requests have ended. */
void ledger_keeper_drain(ledger_keeper *k);
bool ledger_keeper_is_idle(const ledger_keeper *k);
/* Nothing is stated or written any more; NULL is fine. */
void ledger_keeper_stop(ledger_keeper *k);
void ledger_keeper_free(ledger_keeper *k);

/* No request lives longer, from its arrival: slots of a relay that is silent for longer are free. Never shortened. */
void ledger_keeper_set_request_max(ledger_keeper *k, int64_t request_max_ms);
/* Why Redis may not keep ledgers; NULL: it may, or has not been asked yet. */
const char *ledger_keeper_store_trouble(const ledger_keeper *k);
const ledger_timers *ledger_keeper_timers(const ledger_keeper *k); /* the keeper's */
void ledger_keeper_set_service_token(ledger_keeper *k, gw_str token);

/* Where the ledgers of the policy stand, which has some; NULL when out of memory, or stopped. */
ledger_look *ledger_keeper_look(ledger_keeper *k, const key_policy *p, ledger_seen_fn done,
                                void *arg);

/* As of the book; the policy has limits. */
grant_outcome ledger_keeper_take(ledger_keeper *k, const key_policy *p, grant_take *t);
grant_outcome ledger_keeper_extend(ledger_keeper *k, grant_take *t, grant_take *more);
void ledger_keeper_forget(ledger_keeper *k, grant_take *t);
void ledger_keeper_settle(ledger_keeper *k, grant_take *t, const ledger_amounts *real);
grant_mark ledger_keeper_mark(const ledger_keeper *k, const grant_take *t);
size_t ledger_keeper_left(const ledger_keeper *k, const grant_take *t,
                          grant_left ret[LEDGER_LEVELS]);
/* grant_book_known() of the ledgers of `p`. */
size_t ledger_keeper_known(const ledger_keeper *k, const key_policy *p,
                           grant_left ret[LEDGER_LEVELS]);
