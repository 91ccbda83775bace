/*
 * Position table: the rows of this relay's positions (ledger.h), in a shared mapping that survives kill -9. What each had spent follows
 * from the events in the spool (spool.h); a row says that there is a position, whose, and under which load id.
 *
 * An id names a row and its use, and is never given twice within the table: id % POSITION_ROWS is the row. A table of another
 * spool says nothing about ours: it is emptied, and its positions stay counted.
 *
 * Thread: open, close and change on one loop; position_table_load_of() before it runs.
 */
#pragma once

#include "ledger.h"

#define POSITION_ROWS 32768

typedef struct position_table position_table;

/* Opens `<dir>/positions`; what is none is begun anew. `spool` is the id that the rows belong to. GW_ERR_IO. */
GW_CHECK gw_status position_table_open(const char *dir, gw_str spool, position_table **ret,
                                       gw_error *err);
void position_table_free(position_table *t);
GW_DEFINE_FREEP(position_table)

/* 0: all rows are in use. */
int64_t position_table_open_row(position_table *t, const char *holder, const char *subject);
void position_table_set_load(position_table *t, int64_t id, int64_t load);
void position_table_close_row(position_table *t, int64_t id);

/* The rows in use: `uint32_t at = 0; while (position_table_next(t, &at, &row))`. */
bool position_table_next(const position_table *t, uint32_t *at, ledger_row *ret);
/* Load id of a row in use, 0 when it is not. */
int64_t position_table_load_of(const position_table *t, int64_t id);
