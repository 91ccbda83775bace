/*
 * What a packed usage event says to the ledger.
 *
 * Thread: pure.
 */
#pragma once

#include "event_codec.h"
#include "ledger.h"

typedef struct ledger_event {
    int64_t row[LEDGER_LEVELS]; /* of the position table; 0: not of this level's ledger */
    int64_t load[LEDGER_LEVELS];
    int64_t day;
    ledger_amounts spent;
} ledger_event;

/* False when the event is of no ledger at all: `ret` has no rows then. */
bool ledger_event_of(const event_figures *f, ledger_event *ret);
/* Likewise of a packed event; false, too, when it is none. */
bool ledger_event_read(gw_str packed, ledger_event *ret);
