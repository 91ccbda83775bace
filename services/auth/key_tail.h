/*
 * Key tail: when a reader of key_changes may pass a change (the protocol: key_changes.h).
 *
 * Thread: pure.
 */
#pragma once

#include "key_changes.h"

#define KEY_TAIL_FENCE_MS   500 /* a change announced but not written holds readers this long */
#define KEY_TAIL_GAP_MS     5000 /* a number that is missing is waited for this long */
#define KEY_TAIL_OVERDUE_MS 10000 /* by the wall clock: its writer is long gone, no wait */

typedef enum key_tail_step {
    KEY_TAIL_PASS,
    KEY_TAIL_FENCE, /* fence the key, then pass */
    KEY_TAIL_HOLD, /* try again later */
    KEY_TAIL_LOST, /* history is missing: go on after it, and tell that it is */
} key_tail_step;

/* What a reader has been waiting for. */
typedef struct key_tail_wait {
    int64_t generation; /* 0: nothing */
    int64_t waited_ms; /* by the reader's own monotonic clock */
} key_tail_wait;

/* `next` is the first change after `applied`; *ret_wait_for is the generation to wait for on HOLD. */
key_tail_step key_tail_decide(int64_t applied, const key_change *next, key_tail_wait wait,
                              int64_t wall_ms, int64_t *ret_wait_for);
