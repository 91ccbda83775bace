/*
 * Shared reads: of what is read elsewhere (off the loop), one read a thing for all who ask meanwhile, and few at a time.
 *
 *     idle ── asked for ──> queued ── its turn ──> reading ── ended ──> idle, and who waits is told
 *              (fails fast while reads fail)        begin()
 *
 * Who waits is told when the read has ended, however it did, or after `wait_ms`: then asking again is worth it. Once a read has failed or was
 * waited for in vain, shared_read_ask() says so at once until one succeeds, but for one try each `retry_ms`. What is read, and for how long it
 * is believed, is the owner's.
 *
 * Owner: a struct that embeds `shared_reads`, and for each thing one that embeds `shared_read`. Thread: one loop.
 */
#pragma once

#include "core/list.h"
#include "log/log.h"
#include "loop/loop.h"

typedef struct shared_reads shared_reads;
typedef struct shared_read shared_read;

/* Embedded in the asker. `done` once, on the loop, never inside shared_read_ask(). */
typedef struct shared_wait {
    gw_list node;
    void (*done)(void *arg);
    void *arg;
} shared_wait;

typedef struct shared_reads_options {
    unsigned reads_max; /* under way at once */
    int64_t wait_ms, retry_ms;
    const char *what; /* "a balance": for the log */
    const char *lost, *found; /* events of the log: reads begin to fail, and succeed again */
    void (*begin)(
        shared_read *r); /* begins a read; shared_read_ended() follows, later, exactly once */
    gw_log *log; /* may be NULL */
} shared_reads_options;

struct shared_reads {
    gw_loop *loop;
    shared_reads_options o;
    gw_list idle; /* of shared_read.node, least recently asked for first */
    gw_list queue; /* likewise, in order */
    unsigned reads;
    bool is_failing;
    int64_t tried_ms; /* while it fails: the last try */
};

struct shared_read {
    shared_reads *all;
    gw_list node;
    bool is_queued, is_reading;
    gw_list waits;
    gw_timer limit; /* of the waits */
};

void shared_reads_init(shared_reads *s, gw_loop *l, const shared_reads_options *o);

void shared_read_init(shared_read *r, shared_reads *s);
/* Neither asked for nor read any more. */
void shared_read_fini(shared_read *r);

/* False: reads fail at the moment. True: `w` is told, unless it is forgotten before. */
GW_CHECK bool shared_read_ask(shared_read *r, shared_wait *w);
void shared_wait_forget(shared_wait *w); /* also one that waits for nothing */

/* `again`: what was read is of no use by now; who waits is not told but it is read once more. */
void shared_read_ended(shared_read *r, gw_status rc, const gw_error *err, bool again);

/* Somebody looked at what was read: others are given up before it. */
void shared_read_used(shared_read *r);
/* What was not asked for longest, and may be given up; NULL: all are being read. */
shared_read *shared_reads_oldest(const shared_reads *s);
