/*
 * Exhaustion: an operation with one allocation after the other failing (failing_alloc.h), until it
 * passes with none failing. That nothing leaks on the way the sanitizers tell.
 *
 * Thread: as failing_alloc.h.
 */
#pragma once

#include "core/status.h"
#include "testing/cmocka.h"
#include "testing/failing_alloc.h"

/*
 * `operation` does all of its work and frees it. With an allocation failing it returns
 * GW_ERR_NO_MEMORY, or GW_OK when it can do without; untouched it returns GW_OK. The first 64
 * allocations fail each by itself; of longer operations every 50th part is tried then.
 */
static inline void gw_exhaust(gw_status (*operation)(void *arg), void *arg)
{
    for (size_t n = 1;; n += n < 64 ? 1 : 1 + n / 50) {
        gw_failing_alloc_arm(n);
        gw_status rc = operation(arg);
        if (!gw_failing_alloc_disarm()) {
            assert_int_equal(rc, GW_OK);
            return;
        }
        if (rc != GW_OK && rc != GW_ERR_NO_MEMORY)
            fail_msg("without its allocation %zu: %s", n, gw_status_describe(rc)->name);
    }
}
