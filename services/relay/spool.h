/*
 * Spool: committed usage events on disk until usage has claimed them (USAGE.md); a log of segments in `<dir>/spool` (spool_log.h).
 *
 * A commit is one record, written and fsynced once: the events, of each the slot and generation of the flight table that it came from, and
 * what is registered and acked. What positions have spent follows from the events (ledger.h). A seq is never given twice under one id. A
 * spool that starts again under a new id (usage lost its claims) keeps its events where they are: `base` moves, and with it every seq.
 *
 * Thread: the writer's; spool_read() and spool_find() also on one other thread while no spool_restart() or spool_replace() runs.
 */
#pragma once

#include "ledger_event.h"

#include "core/status.h"
#include "core/str.h"

#include <protobuf-c/protobuf-c.h>

#define SPOOL_FORMAT        1
#define SPOOL_FRAME_EVENTS  1024
#define SPOOL_FRAME_BYTES   (512U << 10)
#define SPOOL_ID_SIZE       5
#define SPOOL_BOOT_SIZE     16
#define SPOOL_EVENT_ID_SIZE 12
#define SPOOL_ASIDE_SIZE    128

typedef struct spool spool;

typedef struct spool_info {
    uint8_t id[SPOOL_ID_SIZE];
    uint8_t boot[SPOOL_BOOT_SIZE];
    bool registered; /* usage has welcomed this id before */
    int64_t tail; /* newest seq, 0 = none yet */
    int64_t acked; /* newest seq known to be claimed */
    uint8_t acked_event_id[SPOOL_EVENT_ID_SIZE]; /* zero when acked is 0 */
    uint32_t opens; /* times opened, this one included */
    int64_t bytes; /* of the records with events that are not acked */
} spool_info;

typedef struct spool_opened {
    bool unreadable; /* what was there is kept as `aside`, a new spool was made */
    char aside[SPOOL_ASIDE_SIZE]; /* name inside `dir` */
    gw_error why;
} spool_opened;

/* `slots` of the flight table. What cannot be read is renamed aside; a full or read-only disk is GW_ERR_IO. */
GW_CHECK gw_status spool_open(const char *dir, int64_t max_bytes, uint32_t slots, spool **ret,
                              spool_opened *ret_how, gw_error *err);
void spool_free(spool *s);
GW_DEFINE_FREEP(spool)

const spool_info *spool_get_info(const spool *s); /* as of the last commit; the writer's */
/* Bytes that are free on its disk; INT64_MAX when that cannot be told. */
int64_t spool_disk_free_bytes(const spool *s);
uint64_t spool_committed(const spool *s, uint32_t slot); /* 0: never */

typedef struct spool_event {
    gw_str bytes;
    uint32_t slot;
    uint64_t generation;
    ledger_event spent; /* what ledger_event_read() says of it; no rows: nothing */
} spool_event;

typedef struct spool_change {
    const spool_event *events; /* get seq tail + 1 … tail + count */
    size_t count;
    int64_t acked; /* all up to here may go; not above tail */
    uint8_t acked_event_id[SPOOL_EVENT_ID_SIZE]; /* of the event there; zeroes: it is looked up */
    bool registered;
} spool_change;

/*
 * Durable when it returns GW_OK. On GW_ERR_IO some of the first events may be in it all the same, when they did not fit one segment:
 * see spool_committed(); nothing else has changed.
 */
GW_CHECK gw_status spool_write(spool *s, const spool_change *c, gw_error *err);

typedef struct spool_frame {
    int64_t first_seq;
    uint32_t count, bytes;
    ProtobufCBinaryData events[SPOOL_FRAME_EVENTS]; /* into `data` */
    uint8_t data[SPOOL_FRAME_BYTES];
} spool_frame;

/*
 * Fills the frame with events from `seq` on, at most `max_bytes` of them; none when there are none.
 * GW_ERR_DATA_LOSS when they cannot be read or are acked already.
 */
GW_CHECK gw_status spool_read(spool *s, int64_t seq, uint32_t max_bytes, spool_frame *f,
                              gw_error *err);
/* Id and time of the event at `seq`; false when it is not there. */
GW_CHECK bool spool_find(spool *s, int64_t seq, uint8_t ret_id[SPOOL_EVENT_ID_SIZE],
                         int64_t *ret_timestamp_ms);

/* What the position of that row had spent; zeroes when no event of it is on disk. Before the writer runs. */
GW_CHECK gw_status spool_read_position(spool *s, int64_t id, ledger_row_sums *ret, gw_error *err);

/* A new id and boot; events not acked stay and count from seq 1. */
GW_CHECK gw_status spool_restart(spool *s, gw_error *err);
/* A new and empty spool; the old one is kept as `<dir>/spool.<id>.<reason>`, named in `aside`. After one that failed half-way: ends it, `aside` is "". */
GW_CHECK gw_status spool_replace(spool *s, const char *reason, char aside[SPOOL_ASIDE_SIZE],
                                 gw_error *err);
/*
 * For a spool that answers GW_ERR_DATA_LOSS: it is replaced. One that could not be opened after a replacement that failed half-way is
 * opened (`aside` is "").
 */
GW_CHECK gw_status spool_repair(spool *s, char aside[SPOOL_ASIDE_SIZE], gw_error *err);

/* For spool_tool: opens the folder `path` for reading only; a relay may be writing there. */
GW_CHECK gw_status spool_open_readonly(const char *path, spool **ret, gw_error *err);
/* The same after it answered GW_ERR_DATA_LOSS: what can be read. There may be gaps between the events. */
GW_CHECK gw_status spool_open_damaged(const char *path, spool **ret, gw_error *err);
/* The first seq from `seq` on that may be there; INT64_MAX when none is. */
int64_t spool_next(const spool *s, int64_t seq);
