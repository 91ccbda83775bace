/*
 * Failing allocations: how tests exhaust memory.
 *
 *     for (size_t n = 1;; n++) {
 *         gw_failing_alloc_arm(n);
 *         gw_status rc = operation();
 *         if (!gw_failing_alloc_disarm())
 *             break; // passed with n - 1 allocations
 *         assert_int_equal(rc, GW_ERR_NO_MEMORY);
 *     }
 *
 * malloc, calloc and realloc of code linked into the test program are meant (the linker's --wrap);
 * shared libraries and what libc allocates inside itself (strdup) go on untouched. Thread: arms the
 * calling thread only.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* The n-th allocation from now on (1 = the next) returns NULL, once. */
void gw_failing_alloc_arm(size_t n);
bool gw_failing_alloc_disarm(void); /* true when an allocation has failed since arming */
