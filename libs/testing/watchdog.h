/*
 * Watchdog of a test that runs a loop: one that hangs says so and ends, instead of waiting for ever.
 *
 * Thread: the loop's.
 */
#pragma once

#include "loop/loop.h"

#include <stdio.h>
#include <stdlib.h>

#define GW_TEST_HANGS_MS 300000 /* a machine that is busy with other things is slow, and no hang */

static inline void gw_test_hangs(void *arg)
{
    (void)arg;
    (void)fprintf(stderr, "the test hangs\n");
    abort();
}

/* Counts from now on, once more when it counts already; gw_timer_cancel() ends it. */
static inline void gw_test_watch(gw_loop *l, gw_timer *watchdog)
{
    gw_timer_set(l, watchdog, GW_TEST_HANGS_MS);
}

static inline void gw_test_watchdog_init(gw_timer *watchdog)
{
    gw_timer_init(watchdog, gw_test_hangs, NULL);
}
