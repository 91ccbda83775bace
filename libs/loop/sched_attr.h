/*
 * sched_getattr(2) and sched_setattr(2) for the calling thread, which glibc has since 2.41 only; <linux/sched/types.h> does not go with
 * its <sched.h>. Not for others.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The kernel's struct sched_attr, its first version. */
typedef struct loop_sched_attr {
    uint32_t size;
    uint32_t policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime; /* ns; of SCHED_OTHER: how long a slice of the core is, from Linux 6.12 on */
    uint64_t deadline, period;
} loop_sched_attr;

static inline bool loop_sched_get(loop_sched_attr *ret)
{
    bool ok = syscall(SYS_sched_getattr, 0, ret, sizeof(*ret), 0) == 0;
    ret->size = sizeof(*ret);
    return ok;
}

static inline bool loop_sched_set(const loop_sched_attr *a)
{
    return syscall(SYS_sched_setattr, 0, a, 0) == 0;
}
