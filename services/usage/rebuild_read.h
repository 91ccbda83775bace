/*
 * What a rebuild reads of one hour: its documents, what its rows sum to, and whether a claim is between the two.
 *
 * Thread: on a worker.
 */
#pragma once

#include "rebuild.h"

#include "core/map.h"

typedef struct hour_doc {
    bson_t *doc; /* NULL: there are rows, and no document */
    int64_t rev;
    hour_delta *delta; /* borrowed from the rollup; NULL: no rows */
    sums *stored, *computed;
    int64_t found; /* figures that differ */
} hour_doc;

typedef struct hour_read {
    const spool_db *s;
    const rebuild_options *o;
    rebuild_report *report;
    int64_t hour_ms;
    gw_map *docs; /* id → hour_doc */
    rollup *rows;
    int64_t row_count;
    bool knows_gone, gone; /* rows of the hour may have expired */
    bool settled; /* every claim that touches the hour is in it */
    char pending[SPOOL_ID_SIZE]; /* a spool whose claim is not */
    bson_t marks; /* m.S = n of all spools, for a document that is missing */
} hour_read;

/* Whatever it returns, hour_read_end() follows. */
GW_CHECK gw_status hour_read_start(hour_read *r, gw_error *err);
/* In this order: documents, rows, spools. `settled` tells whether they go together. */
GW_CHECK gw_status hour_read_all(hour_read *r, gw_error *err);
void hour_read_end(hour_read *r);
