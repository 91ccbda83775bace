/*
 * Spool writer: the thread that commits DONE slots to the spool, frees them, and says in the spool what usage has claimed.
 *
 *     lane ─ index ─▶ done ring ─▶ one commit ─▶ slot FREE ─ index ─▶ freed ring ─▶ lane
 *
 * One commit every sync interval, or when the previous fsync returned, and only when there is something. A commit that fails
 * leaves the slots DONE and is tried again. The disk is looked at now and then: segments that are used again hide that it is full until
 * usage is away and room is needed. Idle, the thread sleeps until a lane, which sees its flag, wakes it.
 *
 * Thread: start, stop and commands on the loop that made it; spool_writer_wake() any.
 */
#pragma once

#include "flight_table.h"
#include "index_ring.h"
#include "live_counters.h"
#include "spool.h"

#include "log/log.h"
#include "loop/mailbox.h"

typedef struct spool_writer spool_writer;

typedef struct writer_lane {
    index_ring done; /* lane -> writer */
    index_ring freed; /* writer -> lane */
    event_figures *figures; /* by slot of the lane; a slot's go with it */
} writer_lane;

/* What has changed; the receiver owns `live`. */
typedef struct writer_report {
    spool_info info;
    int64_t committed; /* events since the start */
    int64_t failures; /* commits that failed since the start */
    int64_t longest_commit_ms; /* since the start, one that failed as well */
    bool disk_failed, full;
    bool filling; /* at 80 % of the bound */
    bool disk_low; /* the disk has no room for what the bound allows */
    bool damaged; /* the spool cannot be read: to be replaced by command */
    bool reset_done; /* the command was obeyed; `aside` names what was kept, "" = none */
    char aside[SPOOL_ASIDE_SIZE];
    live_table *live; /* of a second that is over; may be NULL */
} writer_report;

typedef struct spool_writer_options {
    spool *spool; /* borrowed, the thread's while it runs */
    flight_table *table;
    writer_lane *lanes;
    unsigned lane_count;
    uint32_t slots_per_lane;
    int64_t sync_interval_ms;
    int64_t max_bytes;
    const gw_clock *clock;
    gw_log *log; /* root; may be NULL */
    void (*report)(void *arg, const writer_report *r); /* on the loop */
    void *arg;
} spool_writer_options;

GW_CHECK gw_status spool_writer_new(gw_loop *l, const spool_writer_options *o, spool_writer **ret,
                                    gw_error *err);
/* Before start: a DONE slot found by recovery. */
void spool_writer_add(spool_writer *w, uint32_t slot);
/* Before start: commits what was added; false when the disk refuses, then the thread goes on trying. */
bool spool_writer_commit_now(spool_writer *w);
/* What the thread does again and again; for a writer that is never started. */
void spool_writer_turn(spool_writer *w);
GW_CHECK gw_status spool_writer_start(spool_writer *w, gw_error *err);
/* Commits what is done, once, joins the thread and frees. Lanes are quiet by now; no report comes any more. */
void spool_writer_free(spool_writer *w);
GW_DEFINE_FREEP(spool_writer)

void spool_writer_wake(
    spool_writer *w); /* after a push: a system call only when the thread sleeps */

/* All up to `seq` is claimed by usage, which knows the spool; the id of the event there, zeroes when it is not known. */
void spool_writer_acked(spool_writer *w, int64_t seq, const uint8_t event_id[SPOOL_EVENT_ID_SIZE]);

typedef enum spool_reset {
    SPOOL_RESET_NONE,
    SPOOL_RESET_RESTART, /* usage lost it: new id, the events stay */
    SPOOL_RESET_REPLACE, /* this disk is a copy or was rolled back: a new and empty one */
    SPOOL_RESET_UNREADABLE /* likewise, for damage */
} spool_reset;
/* A report with reset_done follows; until then nobody reads the spool. */
void spool_writer_reset(spool_writer *w, spool_reset kind);
