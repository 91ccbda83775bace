/*
 * What a packed usage event says to the ledger.
 *
 * Thread: pure.
 */
#pragma once

#include "ledger.h"

typedef struct ledger_event {
    int64_t row; /* of the position table */
    int64_t load, day;
    ledger_amounts spent;
} ledger_event;

/* False when the event is of no ledger, or is none. */
bool ledger_event_read(gw_str packed, ledger_event *ret);
