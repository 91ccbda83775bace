/*
 * Event loop: libuv with what every service needs around it: timers in one heap, a mailbox for
 * messages from other threads, deferred frees, worker threads, signals and a graceful drain.
 *
 * Thread: a loop and everything attached to it belong to the thread that runs gw_loop_run(). The
 * only calls that other threads may make are gw_mailbox_post() and gw_loop_stop_async(). Code on a
 * loop takes no lock and never blocks.
 */
#pragma once

#include "core/clock.h"
#include "core/list.h"
#include "core/status.h"

#include <uv.h>

typedef struct gw_loop gw_loop;

/* Owned by the caller; `clock` must outlive it. Ignores SIGPIPE for the process: a peer that left is an error code. */
GW_CHECK gw_status gw_loop_new(const gw_clock *clock, gw_loop **ret, gw_error *err);
/* Closes what is left (timers, mailboxes) and frees. Not from a callback of this loop. */
void gw_loop_free(gw_loop *l);
GW_DEFINE_FREEP(gw_loop)

uv_loop_t *gw_loop_uv(gw_loop *l);
const gw_clock *gw_loop_clock(const gw_loop *l);

/* Monotonic ms, taken once an iteration: cheap, and stable within one callback. */
int64_t gw_loop_now_ms(const gw_loop *l);

/* Until gw_loop_stop(). The thread asks the kernel for short slices: who wakes for an event is to run soon. */
void gw_loop_run(gw_loop *l);
void gw_loop_stop(gw_loop *l); /* on the loop */
void gw_loop_stop_async(gw_loop *l); /* from any thread or none */

/* Runs `run(arg)` after the current callback has returned, before the loop blocks again; never
 * inside a parser. In order. */
void gw_loop_defer(gw_loop *l, void (*run)(void *), void *arg);

/*
 * Timers: intrusive, in one binary heap behind one uv_timer_t. Setting an armed timer moves it; a
 * fired or cancelled timer may be set again. The embedding object cancels its timers before it
 * goes.
 */
typedef struct gw_timer {
    int64_t due_ms;
    size_t heap_index; /* 0 = not armed */
    uint64_t order; /* equal due times fire in the order they were set */
    void (*fire)(void *arg);
    void *arg;
} gw_timer;
void gw_timer_init(gw_timer *t, void (*fire)(void *), void *arg);
void gw_timer_set(gw_loop *l, gw_timer *t, int64_t delay_ms); /* from now, >= 0 */
void gw_timer_cancel(gw_loop *l, gw_timer *t);
static inline bool gw_timer_is_armed(const gw_timer *t)
{
    return t->heap_index != 0;
}

/*
 * Signals: SIGTERM and SIGINT ask for a drain, SIGHUP for a reload. Once for a process, on its main
 * loop. A second SIGTERM or SIGINT ends the process at once (exit status 130).
 */
void gw_loop_on_signals(gw_loop *l, void (*drain)(void *arg), void (*reload)(void *arg), void *arg);
