/*
 * What the files of the ledgers' store in Redis share. Include only there.
 *
 *     ledger_store_redis.c        its life, and the calls about one ledger or all shards
 *     ledger_store_redis_state.c  statements, which leave together
 */
#pragma once

#include "ledger_store_redis.h"

#include <stdlib.h>

#define LEDGER_STATEMENT_NUMBERS 41 /* the last four only when something is late */
#define LEDGER_BATCH_MAX         32 /* statements a command: Redis does nothing else meanwhile */
#define LEDGER_ARGUMENTS_MAX     10 /* of a command, but for its statements */
#define LEDGER_NUMBER_SIZE       24

/* One call under way. */
typedef struct ledger_call {
    ledger_stated_fn stated;
    ledger_loaded_fn loaded;
    ledger_born_fn born;
    ledger_looked_fn looked;
    ledger_silent_fn silent;
    ledger_forgiven_fn forgiven;
    void *arg;
    int64_t seq, sent_ns;
    char subject[LEDGER_SUBJECT_SIZE], holder[LEDGER_HOLDER_SIZE];
} ledger_call;

typedef struct ledger_arguments {
    gw_str items[LEDGER_ARGUMENTS_MAX];
    char numbers[LEDGER_ARGUMENTS_MAX][LEDGER_NUMBER_SIZE];
    size_t count, number_count;
} ledger_arguments;

typedef struct ledger_key_names {
    char ledger[LEDGER_SUBJECT_SIZE + 16], born[24];
    char record[LEDGER_HOLDER_SIZE + 2]; /* the field of a statement's; of statements only */
} ledger_key_names;

/* A statement's numbers as ledger.lua unpacks them: little-endian doubles. */
typedef struct ledger_packed {
    uint64_t items[LEDGER_STATEMENT_NUMBERS];
    size_t count;
} ledger_packed;

/* Statements that leave together. */
typedef struct ledger_batch {
    size_t count;
    ledger_call *calls[LEDGER_BATCH_MAX];
    ledger_statement statements[LEDGER_BATCH_MAX];
    /* while they are written */
    ledger_key_names keys[LEDGER_BATCH_MAX];
    ledger_packed numbers[LEDGER_BATCH_MAX];
} ledger_batch;

typedef struct ledger_redis {
    ledger_store base; /* first */
    gw_redis *redis;
    gw_redis_script *script;
    const ledger_timers *timers; /* the caller's: a reload may change them */
    ledger_batch batch;
} ledger_redis;

/* ---- ledger_store_redis.c ---- */

void ledger_add_text(ledger_arguments *a, const char *text);
void ledger_add(ledger_arguments *a, int64_t n);
void ledger_name_keys(const char *subject, ledger_key_names *k);

/* ---- ledger_store_redis_state.c ---- */

/* As those of ledger_store_ops. */
void ledger_redis_state(ledger_store *s, const ledger_statement *st, ledger_stated_fn done,
                        void *arg);
void ledger_redis_flush(ledger_store *s);
/* As if they were lost: they are stated again. */
void ledger_redis_drop(ledger_batch *b);
