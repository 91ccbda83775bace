/*
 * What spool.c (writing, reading) and spool_dir.c (making, opening, replacing spools) share.
 */
#pragma once

#include "spool.h"
#include "spool_log.h"
#include "spool_state.h"

struct spool {
    char *dir; /* NULL: opened for reading only */
    uint32_t segment_bytes;
    spool_log *log; /* NULL: closed */
    spool_meta meta; /* as committed; under the log's lock while the other thread may read */
    spool_info info;
    spool_state state; /* as committed */
    spool_cursor reading, acking;
    uint8_t *record; /* that is being made */
};

void spool_publish(spool *s, const spool_meta *m);
void spool_close(spool *s);
void spool_name(spool_meta *m); /* a new id, a new boot */
/* After a replacement that failed half-way. */
GW_CHECK gw_status spool_reopen(spool *s, gw_error *err);
