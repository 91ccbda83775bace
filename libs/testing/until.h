/*
 * A test that runs a loop until something holds. What makes it hold may happen in another thread or process and wake nobody: it is looked
 * at anew every few ms, for as long as the watchdog lets it (testing/watchdog.h).
 *
 * Thread: the loop's.
 */
#pragma once

#include "testing/watchdog.h"

#define GW_TEST_LOOK_MS 5

typedef struct gw_test_until {
    gw_loop *loop;
    void *arg;
    bool (*holds)(void *arg);
    gw_timer look, watchdog;
} gw_test_until;

static inline void gw_test_look(void *arg)
{
    gw_test_until *u = (gw_test_until *)arg;
    if (u->holds(u->arg))
        gw_loop_stop(u->loop);
    else
        gw_timer_set(u->loop, &u->look, GW_TEST_LOOK_MS);
}

/* Lives as long as the loop is run: a failed assertion jumps out of it. `arg` is given to what is awaited. */
static inline void gw_test_until_init(gw_test_until *u, gw_loop *l, void *arg)
{
    *u = (gw_test_until){.loop = l, .arg = arg};
    gw_timer_init(&u->look, gw_test_look, u);
    gw_test_watchdog_init(&u->watchdog);
}

/* Before the loop is freed, or run for something else. */
static inline void gw_test_until_cancel(gw_test_until *u)
{
    gw_timer_cancel(u->loop, &u->look);
    gw_timer_cancel(u->loop, &u->watchdog);
}

static inline void gw_test_run_until(gw_test_until *u, bool (*holds)(void *arg))
{
    u->holds = holds;
    gw_test_watch(u->loop, &u->watchdog);
    gw_timer_set(u->loop, &u->look, 0);
    gw_loop_run(u->loop);
    gw_test_until_cancel(u);
}
