/*
 * The ledgers in memory: what ledger.lua does, in plain C, for tests; and what they do to a store: clocks, restarts, loss.
 *
 * Thread: one.
 */
#pragma once

#include "ledger_store.h"

typedef struct ledger_memory ledger_memory;

ledger_memory *ledger_memory_new(const ledger_timers *timers); /* NULL when out of memory */
void ledger_memory_free(ledger_memory *m);

/* The operations of the seam, at once. */
void ledger_memory_state(ledger_memory *m, const ledger_statement *st, ledger_reply *ret);
ledger_loaded ledger_memory_load(ledger_memory *m, const char *subject, int64_t load, int64_t day,
                                 const ledger_amounts *used);
int64_t ledger_memory_born(ledger_memory *m);
void ledger_memory_look(const ledger_memory *m, const char *subject, ledger_standing *ret);
size_t ledger_memory_silent(const ledger_memory *m, const char *subject,
                            ledger_silent ret[LEDGER_RECORDS_MAX]);
ledger_forgiven ledger_memory_forgive(ledger_memory *m, const char *subject, const char *holder,
                                      ledger_silent *ret);

/* The store's wall clock and the name of its process; 1 at first. */
void ledger_memory_set_now(ledger_memory *m, int64_t now_ms);
void ledger_memory_set_run(ledger_memory *m, int64_t run);
void ledger_memory_flush(ledger_memory *m);
/* A copy of all data, and back to it; the clock and the process stay. NULL when out of memory. */
ledger_memory *ledger_memory_copy(const ledger_memory *m);
void ledger_memory_restore(ledger_memory *m, const ledger_memory *from);

typedef struct ledger_totals {
    bool ready;
    int64_t day;
    ledger_amounts taken;
    int64_t bucket_lent, slots;
    int64_t records; /* live */
    int64_t all_records;
} ledger_totals;
/* False when there is no such ledger. */
bool ledger_memory_totals(const ledger_memory *m, const char *subject, ledger_totals *ret);
