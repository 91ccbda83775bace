/*
 * For tests of grant books over a store in memory that answers at once, where it does not matter what the spool has: their time, and the
 * callbacks that do nothing.
 */
#pragma once

#include "grant_book.h"
#include "ledger_store_memory.h"

#include "testing/cmocka.h"

#define NOW     INT64_C(1000)
#define WALL    (INT64_C(20452) * LEDGER_DAY_MS + LEDGER_DAY_MS / 2)
#define TICK_MS 5

static const ledger_timers timers = {.lease_ms = 3000,
                                     .quarantine_ms = 7000,
                                     .retry_ms = 200,
                                     .sweep_ms = 1000,
                                     .wait_ms = 1000,
                                     .lapse_ms = 900000};

static void on_row_load(void *arg, int64_t row, int64_t load)
{
    (void)arg;
    (void)row;
    (void)load;
}

static void on_row_close(void *arg, int64_t row)
{
    (void)arg;
    (void)row;
}

static void on_told(void *arg)
{
    (void)arg; /* looked at when its time is over */
}

/* A store that was born a minute ago; NULL: no memory. */
static ledger_memory *new_store(void)
{
    ledger_memory *m = ledger_memory_new(&timers);

    if (m) {
        ledger_memory_set_now(m, WALL - 60000);
        (void)ledger_memory_born(m);
    }
    return m;
}
