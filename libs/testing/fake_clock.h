/*
 * Fake clock: time stands still until the test moves it.
 *
 *     gw_fake_clock time;
 *     gw_clock clock = gw_fake_clock_init(&time, 1764000000000);
 *     gw_fake_clock_advance_ms(&time, 500);
 *
 * Thread: any thread may read; the test's thread moves it.
 */
#pragma once

#include "core/clock.h"

#include <stdatomic.h>

typedef struct gw_fake_clock {
    atomic_int_least64_t mono_ns;
    atomic_int_least64_t wall_ms;
} gw_fake_clock;

/* A clock that shows `wall_ms`, and 1 s on the monotonic side. `f` outlives it. */
gw_clock gw_fake_clock_init(gw_fake_clock *f, int64_t wall_ms);

/* Both clocks together. */
void gw_fake_clock_advance_ms(gw_fake_clock *f, int64_t ms);
void gw_fake_clock_advance_ns(gw_fake_clock *f, int64_t ns); /* wall time follows in whole ms */

/* The wall clock alone jumps, as after an NTP step. */
void gw_fake_clock_set_wall_ms(gw_fake_clock *f, int64_t wall_ms);
