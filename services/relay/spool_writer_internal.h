/*
 * What the files of the spool writer share. Include only there.
 *
 *     spool_writer.c         the thread, its reports, and what others ask of it
 *     spool_writer_commit.c  from DONE slots to the disk: what is pending, when a commit is due, what becomes of one that fails, resets
 */
#pragma once

#include "spool_writer.h"

#include <pthread.h>

/* A report on its way to the loop; the thread fills the next one when this one has arrived. */
typedef struct outbox {
    gw_message message; /* first */
    spool_writer *writer;
    writer_report report;
    atomic_bool on_its_way;
} outbox;

struct spool_writer {
    spool_writer_options o;
    gw_mailbox *mailbox;
    pthread_t thread;
    bool running;
    int event_fd;
    atomic_bool sleeping, stopping;
    atomic_int_least64_t acked; /* commands, from the loop */
    pthread_mutex_t acked_lock; /* for the moment that both of it are written or read */
    uint8_t acked_event_id[SPOOL_EVENT_ID_SIZE];
    atomic_bool registered;
    atomic_int reset;
    outbox outbox;
    bool closed; /* reports are dropped */

    /* the thread's own */
    spool_event *pending; /* DONE and not committed; their bytes stay in the slots */
    size_t pending_count;
    int64_t last_commit_ms, last_busy_ms, last_record_ms;
    int64_t retry_at_ms, retry_delay_ms; /* after a failure */
    int64_t disk_look_ms; /* when it is due */
    writer_report state;
    bool news;
    live_table *live;
};

static inline int64_t spool_writer_now_ms(const spool_writer *w)
{
    return gw_clock_mono_ms(w->o.clock);
}

/* spool_writer_commit.c; all but set_acked on the thread, or while there is none. */

/* Of all that is DONE in the lanes. */
void spool_writer_collect(spool_writer *w);
/* Its bytes are not looked at: they are for the spool to copy. `f` NULL: nothing is known of it. */
void spool_writer_add_pending(spool_writer *w, uint32_t index, const event_figures *f);
/* When the next commit is due; INT64_MAX when there is nothing for it. */
int64_t spool_writer_commit_due_ms(const spool_writer *w);
bool spool_writer_wants_record(const spool_writer *w); /* of what usage has claimed */
bool spool_writer_commit(spool_writer *w); /* false: it failed, and is tried again later */
void spool_writer_obey_reset(spool_writer *w); /* if one was asked for */
void spool_writer_check_bound(spool_writer *w);
void spool_writer_look_at_disk(spool_writer *w); /* when it is due */
/* Any thread. */
void spool_writer_set_acked(spool_writer *w, int64_t seq,
                            const uint8_t event_id[SPOOL_EVENT_ID_SIZE]);
