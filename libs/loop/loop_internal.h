/*
 * What the files of libs/loop share. Not for others.
 */
#pragma once

#include "loop/mailbox.h"

typedef struct loop_deferred {
    void (*run)(void *);
    void *arg;
} loop_deferred;

/* A timer's place in the heap, with what it is ordered by: sifting looks at no timer. */
typedef struct loop_timer_place {
    int64_t due_ms;
    uint64_t order;
    gw_timer *timer;
} loop_timer_place;

struct gw_loop {
    uv_loop_t uv;
    const gw_clock *clock;

    uv_async_t wake; /* keeps the loop alive and carries gw_loop_stop_async() */
    uv_prepare_t before; /* the last thing before the loop blocks */
    uv_check_t after; /* the first thing after its I/O callbacks */
    uv_timer_t alarm; /* only bounds how long the loop blocks: due timers fire from `after` */
    int64_t alarm_due_ms;

    int64_t now_ms;
    bool now_is_known; /* forgotten before each wait, read again by whoever asks first */

    loop_timer_place *heap; /* [1] is the next one due, unless its timer was put off since */
    size_t heap_count, heap_cap;
    uint64_t timers_set;

    loop_deferred *deferred; /* a ring */
    size_t deferred_at, deferred_count, deferred_cap;

    gw_list mailboxes;

    uv_signal_t signals[3];
    size_t signal_count;
    void (*drain)(void *arg);
    void (*reload)(void *arg);
    void *signal_arg;
    bool is_draining;

    struct gw_loop *self; /* lets gw_loop_now_ms() cache through a const loop */
};

/* The first due timer's time; false when none is armed. */
bool loop_timers_next(gw_loop *l, int64_t *ret_due_ms);
void loop_timers_fire(gw_loop *l);
void loop_timers_fini(gw_loop *l);

/* Delivers what is queued now, for owners that joined every poster. */
void loop_mailbox_drain(gw_mailbox *box);
/* Closes the mailboxes their owners left open. */
void loop_mailboxes_close(gw_loop *l);

/*
 * Asks for short slices of the core: a thread that wakes comes before those that have had longer ones, for no more CPU in all. Linux 6.12
 * and newer (sched_setattr(2), sched_runtime of SCHED_OTHER); before that nothing changes.
 */
void loop_ask_short_slices(void);

/* Memory without which the loop cannot keep its promises; ends the process when there is none. */
void *loop_realloc(void *p, size_t count, size_t size);
