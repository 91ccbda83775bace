/*
 * A look at ledgers: what is used, held and left of each limit, for people. Nothing is changed by it.
 *
 * From the store; of a ledger that is not built up there (nobody used it lately, or the store is away), from usage: then nothing is
 * known to be held.
 *
 * Thread: the loop's.
 */
#pragma once

#include "ledger_store.h"

#include "rpc/client.h"

typedef struct ledger_look ledger_look;

typedef struct ledger_seen {
    ledger_account account;
    ledger_amounts used, held; /* of the windows */
    int64_t bucket_left, bucket_held; /* requests */
    int64_t slots_held;
    int64_t now_ms; /* wall clock that the windows go by */
} ledger_seen;

/* `seen` has as many as were asked for and lives until the call returns; NULL when rc is not GW_OK: usage cannot be asked now. */
typedef void (*ledger_seen_fn)(void *arg, gw_status rc, const ledger_seen *seen, size_t count);

typedef struct ledger_look_options {
    ledger_store *store;
    gw_rpc_channel *usage;
    gw_str service_token;
    const ledger_account *accounts; /* copied */
    size_t count; /* 1 to LEDGER_LEVELS */
    ledger_unstated unstated[LEDGER_LEVELS]; /* of each account */
    int64_t now_ms; /* wall clock, for when the store does not say */
    ledger_seen_fn done; /* once, never inside the call that began */
    void *arg;
} ledger_look_options;

/* NULL when out of memory. It is gone after done(). */
ledger_look *ledger_look_begin(const ledger_look_options *o);
void ledger_look_cancel(ledger_look *l); /* done() is not called any more */
