/* How the kernel schedules a loop's thread beside others on its core. */
#define _GNU_SOURCE /* syscall */

#include "loop/loop_internal.h"
#include "loop/sched_attr.h"

#include <linux/sched.h>

#define SLICE_NS 100000 /* the least that Linux takes */

void loop_ask_short_slices(void)
{
    loop_sched_attr a = {0};
    if (!loop_sched_get(&a) || a.policy != SCHED_NORMAL)
        return; /* who chose a policy knows better */
    a.flags |= SCHED_FLAG_RESET_ON_FORK; /* threads that it starts are not in a hurry */
    a.runtime = SLICE_NS;
    (void)loop_sched_set(&a); /* may be forbidden: the default is good, too */
}
