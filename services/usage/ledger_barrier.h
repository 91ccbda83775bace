/*
 * Ledger barrier: whether every spool that was connected when it began has been applied up to where its relay told it stood after
 * that moment.
 *
 * A stream notes what its relay tells once a second, counting (`statusSeq`). The second note after the beginning is of a frame
 * that came after the first was written, and so after the beginning. Other replicas' streams are seen the same way; no clock is
 * compared but to tell who is connected at all.
 *
 * Thread: on a worker; one job at a time.
 */
#pragma once

#include "spool_store.h"

#define LEDGER_SPOOLS_MAX 256 /* relays at once; more are an error */

typedef struct barrier_spool {
    char id[SPOOL_ID_SIZE];
    int64_t first_seq; /* of the notes, at the beginning */
    int64_t told; /* where it has to be applied to; -1: not told yet */
    bool passed; /* applied so far, or no longer connected */
} barrier_spool;

typedef struct ledger_barrier {
    bool begun;
    size_t count;
    barrier_spool spools[LEDGER_SPOOLS_MAX];
    bool is_old; /* one has events older than 12 hours */
} ledger_barrier;

/* First, and then again and again until *ret_passed. Applies what is claimed and not yet said to be done. */
GW_CHECK gw_status ledger_barrier_look(const gw_db *d, ledger_barrier *b, int64_t now_ms,
                                       bool *ret_passed, touched_days *touched, gw_error *err);
