/*
 * For tests of what is kept for spools: each body runs against the store in memory, then against a real server (store_test_kit.h), without
 * which the second half is skipped.
 */
#pragma once

#include "doc_store_memory.h"
#include "doc_store_mongo.h"
#include "spool_store.h"
#include "store_test_kit.h"

/* A call whose last argument is `err`; its words go to stderr. */
#define CHECK_OK(call)                                                                             \
    do {                                                                                           \
        gw_error check_err = {0};                                                                  \
        gw_error *err = &check_err;                                                                \
        if ((call) != GW_OK) {                                                                     \
            (void)fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, check_err.message);           \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* Of the half that is running. */
static void (*spool_body)(const spool_db *s);
static int64_t spool_now_ms;
static bool has_server; /* the store in memory has no pipeline updates */

static inline void run_spool_body(const gw_db *d)
{
    doc_store_mongo store;
    spool_db s = {.store = doc_store_mongo_init(&store, d), .now_ms = spool_now_ms};
    spool_body(&s);
}

/* By itself: a skipped test jumps past the cleanup of its caller. */
static inline void run_in_memory(void)
{
    gw_auto(memory_db) memory = memory_db_new();
    doc_store_memory store;
    spool_db s = {.store = doc_store_memory_init(&store, memory), .now_ms = spool_now_ms};
    spool_body(&s);
}

static inline void with_spools(void **state, int64_t now_ms, void (*body)(const spool_db *s))
{
    spool_body = body;
    spool_now_ms = now_ms;
    has_server = false;
    run_in_memory();
    has_server = true;
    with_mongo(state, run_spool_body);
}
