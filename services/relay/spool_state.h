/*
 * Spool state: the last generation committed of each slot and what each position has spent by its events. Both follow from the records;
 * so that old ones need not be kept for it, the state before a segment's first record is written down when the segment is begun.
 *
 *     state.0, state.1    written in turns: while one is being written the other is whole
 *
 * Thread: the writer's.
 */
#pragma once

#include "position_table.h"
#include "spool_format.h"

typedef struct spool_state {
    uint64_t *generations;
    uint32_t slots;
    ledger_row_sums *sums; /* by row; NULL: not kept */
    /* which 64ths of the rows: the others were never touched, and are not part of the process */
    uint64_t used;
} spool_state;

GW_CHECK bool spool_state_init(spool_state *s, uint32_t slots);
void spool_state_fini(spool_state *s);
void spool_state_forget_sums(spool_state *s); /* of another log */

void spool_state_note(spool_state *s, uint32_t slot, uint64_t generation,
                      const ledger_event *spent);

/* Which state a file in `folder` holds. */
typedef struct spool_saved {
    uint64_t log, number; /* of the segment that it is before */
    unsigned file; /* 0 or 1 */
} spool_saved;

/* Durable when it returns GW_OK. GW_ERR_IO: the file holds nothing. */
GW_CHECK gw_status spool_state_save(const spool_state *s, const char *folder,
                                    const spool_saved *where, gw_error *err);
/* What that file holds once more: read back it may have been the kernel's memory alone. */
GW_CHECK gw_status spool_state_save_again(const char *folder, const spool_saved *where,
                                          gw_error *err);
/* The newest that is whole; its figures are added to `s`, which may be NULL. GW_ERR_DATA_LOSS when there is none. */
GW_CHECK gw_status spool_state_load(spool_state *s, const char *folder, spool_saved *ret,
                                    gw_error *err);
