/*
 * Spool log: the records of a spool in segments, files of one size that are allocated whole and used again when all in them is acked.
 *
 *     <folder>/000000.log …   which segment a file is, its head says; names mean nothing
 *              state.0, .1    spool_state.h: before the first record of the newest segment (or of an older one, when that failed)
 *
 *     append … append ─▶ sync     one fdatasync; then it can be read, and only then it counts
 *     roll                        a new segment begins: the old one, the new one's head and the state are on disk first
 *     recycle                     segments without events to come are spare: no file is made or removed from one to the next
 *
 * Recovery reads the state and what follows it, of older segments the headers only. What is behind the last sound record is a tail that
 * was being written, unless a record behind it says that it had been on disk: that is damage, and so is a segment that is missing.
 *
 * Thread: the writer's; spool_log_find() also on one other, of events that are not acked.
 */
#pragma once

#include "spool_file.h"
#include "spool_format.h"
#include "spool_state.h"

#include <pthread.h>

#define SPOOL_MARKS  160 /* of a segment */
#define SPOOL_SPARES 2
#define SPOOL_PATH   4200

/* Where to begin looking for a number. */
typedef struct spool_mark {
    int64_t first; /* number of the record's first event */
    uint32_t offset;
} spool_mark;

typedef struct spool_segment {
    uint64_t number;
    unsigned file;
    uint32_t size;
    uint32_t begin, end; /* of what can be read */
    int64_t before; /* number of the last event before it */
    int64_t last; /* … in it */
    uint32_t mark_count;
    spool_mark marks[SPOOL_MARKS]; /* about every 128th of it */
} spool_segment;

/* One record at a time, whole and checked. */
typedef struct spool_cursor {
    int fd; /* -1: none */
    uint64_t segment; /* 0: none */
    uint32_t offset;
    bool is_loaded;
    spool_record record;
    uint8_t *body;
    uint32_t index; /* of the event at `at` */
    uint32_t at; /* in the body */
} spool_cursor;

typedef struct spool_log {
    char folder[SPOOL_PATH];
    uint64_t id;
    uint32_t segment_bytes; /* of files to come; 0: opened for reading */
    pthread_mutex_t lock; /* held to change what a reader looks at */
    spool_segment **segments; /* the oldest first */
    size_t count, capacity;
    unsigned spares[SPOOL_SPARES];
    unsigned spare_count, next_file;
    int fd; /* of the last segment */
    uint32_t durable, written; /* of the last segment */
    int64_t last; /* number of the last event written */
    bool has_rest; /* bytes behind its end may look like records */
    bool looked_ahead; /* a spare was asked for since it was begun */
    spool_saved saved; /* the newest state */
} spool_log;

/* A folder with one segment and the state; durable but for the folder's own name. */
GW_CHECK gw_status spool_log_make(const char *folder, uint32_t segment_bytes, const spool_meta *m,
                                  const spool_state *state, gw_error *err);
/*
 * `segment_bytes` 0: for reading only, nothing is changed. `state` may be NULL; else all that is found is added to it.
 * GW_ERR_DATA_LOSS: something is missing or damaged; what `state` got by then is true all the same.
 */
GW_CHECK gw_status spool_log_open(const char *folder, uint32_t segment_bytes, spool_state *state,
                                  spool_log **ret, spool_meta *ret_meta, gw_error *err);
/* For reading only, all that can be read of a damaged log (spool_log_salvage.c). GW_ERR_DATA_LOSS when that is nothing. */
GW_CHECK gw_status spool_log_salvage(const char *folder, spool_log **ret, spool_meta *ret_meta,
                                     gw_error *err);
void spool_log_free(spool_log *l);
GW_DEFINE_FREEP(spool_log)

static inline void spool_log_lock(spool_log *l)
{
    (void)pthread_mutex_lock(&l->lock);
}
static inline void spool_log_unlock(spool_log *l)
{
    (void)pthread_mutex_unlock(&l->lock);
}

/* Bytes that a record may have, 0 when it is to begin a segment: one without events finds room where one with events does not. */
uint32_t spool_log_room(const spool_log *l, bool has_events);
/* Seals and writes; it fits. Not durable and not to be read before the next spool_log_sync(). */
GW_CHECK gw_status spool_log_append(spool_log *l, uint8_t *record, gw_error *err);
GW_CHECK gw_status spool_log_sync(spool_log *l, gw_error *err);
void spool_log_retract(spool_log *l); /* what was appended since */
/* What was appended is synced. GW_ERR_IO: the last segment is what it was. */
GW_CHECK gw_status spool_log_roll(spool_log *l, const spool_meta *m, const spool_state *state,
                                  gw_error *err);
/* After a sync: events up to that number may go. Sees to it that a spare is there when it is needed. */
void spool_log_recycle(spool_log *l, int64_t acked);
/* What records with events above that number take. */
int64_t spool_log_bytes(const spool_log *l, int64_t acked);

GW_CHECK bool spool_cursor_init(spool_cursor *c);
void spool_cursor_fini(spool_cursor *c);
void spool_cursor_forget(spool_cursor *c); /* another log is next */
/* Loads the record that has the event and stands at it. GW_ERR_DATA_LOSS when it is not there or damaged. */
GW_CHECK gw_status spool_log_find(spool_log *l, spool_cursor *c, int64_t number, gw_error *err);
/* The first number from `number` on that a segment has; INT64_MAX when none has. */
int64_t spool_log_next(const spool_log *l, int64_t number);
/* The event that the cursor stands at; false at the end of its record. */
bool spool_cursor_peek(const spool_cursor *c, gw_str *ret);
void spool_cursor_step(spool_cursor *c, const gw_str *event); /* to the next one */
/* Of a log opened for reading: its relay has had the event acked, and the segment has become another one since. */
bool spool_log_is_reused(spool_log *l, int64_t number);

/* A roll needs no new file. */
static inline bool spool_log_has_spare(const spool_log *l)
{
    return l->spare_count > 0;
}

/* Between spool_log.c, spool_log_open.c, spool_log_salvage.c and spool_log_read.c. */
spool_log *spool_log_new(const char *folder, uint32_t segment_bytes); /* NULL: no memory */
void spool_log_path(const spool_log *l, unsigned file, char out[SPOOL_PATH + 16]);
GW_CHECK spool_segment *spool_log_push(spool_log *l, const spool_head *h, unsigned file);
void spool_segment_add(spool_segment *s, const spool_record *r, uint32_t offset);
/* The record at that place; false when there is none. */
bool spool_record_read(int fd, uint64_t mark, uint32_t offset, uint32_t size, spool_record *ret);
bool spool_body_read(int fd, uint32_t offset, const spool_record *r, uint8_t *body);
