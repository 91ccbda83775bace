/*
 * What ledger_store_memory.c (the ledgers, what is loaded, looked at and forgiven) and ledger_store_memory_state.c (what a statement does)
 * share.
 */
#pragma once

#include "ledger_store_memory.h"

#define LEDGERS_MAX 16
#define MICRO       INT64_C(1000000)

typedef struct record {
    char holder[LEDGER_HOLDER_SIZE]; /* "" = none */
    int64_t seq, at_ms, day;
    bool dead, is_void, sold;
    ledger_amounts spent, out;
    int64_t cuts, lent, slots;
} record;

typedef struct ledger {
    char subject[LEDGER_SUBJECT_SIZE]; /* "" = none */
    int64_t load, born, wait_until_ms, day;
    bool fresh, ready;
    ledger_amounts taken;
    int64_t level, level_at_ms, lent;
    int64_t slots, slots_gone, slots_gone_ms; /* gone: of records that had to go */
    ledger_limits limits;
    record records[LEDGER_RECORDS_MAX];
} ledger;

struct ledger_memory {
    ledger_timers timers;
    int64_t now_ms, run;
    int64_t born_run, born_at_ms; /* born_run 0: none */
    ledger ledgers[LEDGERS_MAX];
};

/* "" is a free place; NULL: there is none. */
ledger *memory_ledger(ledger_memory *m, const char *subject);
record *memory_record(ledger *l, const char *holder);
int64_t memory_count_live(const ledger *l);

/* The data is older than this process of the store. */
void memory_rebuild(ledger_memory *m, ledger *l);
/* To the windows of today, or of `day`. */
void memory_roll(ledger_memory *m, ledger *l, int64_t day);
/* The bucket. */
void memory_refill(ledger_memory *m, ledger *l);
