/*
 * Balance book: whether LibreChat's users have credits left, as of a few seconds ago.
 *
 * LibreChat's Agents API does not look at its own balance before it runs an agent, so the relay does where a provider says so
 * (checkBalance; docs/decisions/040). Enough is remembered for 5 s, anything else for 1 s; all who ask for one user
 * meanwhile share one read, and at most BALANCE_READS_MAX are under way. Who waits longer than 2 s is told that it is not known; once
 * that, or a failed read, has happened, others are told so at once until a read succeeds, but for one try a second.
 *
 * Thread: one loop. The store reads elsewhere.
 */
#pragma once

#include "balance_store.h"
#include "shared_reads.h"

#include "metrics/metrics.h"

#define BALANCE_READS_MAX 2

#define BALANCE_KEPT_MS   5000 /* when there is enough */
#define BALANCE_RETRY_MS  1000 /* when there is not, and between tries while reads fail */
#define BALANCE_WAIT_MS   2000
#define BALANCE_USERS_MAX 10000 /* remembered; who was not asked for longest goes first */

typedef enum balance_answer {
    BALANCE_WAITS, /* `done` follows */
    BALANCE_IS_ENOUGH,
    BALANCE_IS_EMPTY,
    BALANCE_IS_MISSING,
    BALANCE_IS_UNKNOWN, /* it cannot be read at the moment */
} balance_answer;

typedef struct balance_book balance_book;

typedef struct balance_book_options {
    balance_store *store; /* borrowed */
    gw_log *log; /* may be NULL, and metrics too */
    gw_metrics_shard *metrics;
} balance_book_options;

/* NULL when out of memory. */
balance_book *balance_book_new(gw_loop *l, const balance_book_options *o);
/* Nobody waits, and the store has answered all it was asked: after gw_mongo_free(). NULL is fine. */
void balance_book_free(balance_book *b);
GW_DEFINE_FREEP(balance_book)

/* `w` is used when the answer is BALANCE_WAITS, and stays then until `done`, when asking again is worth it, or shared_wait_forget(). */
balance_answer balance_book_check(balance_book *b, const uint8_t user[BALANCE_USER_BYTES],
                                  shared_wait *w);
