/*
 * Fiber: a function with a stack of its own, which can stop in the middle and go on later. So the model runs the blocking steps of many
 * replicas in one thread, in an order that a seed decides.
 *
 * Thread: one.
 */
#pragma once

#include <stdbool.h>

typedef struct fiber fiber;

fiber *fiber_new(void (*run)(void *arg), void *arg); /* does not start it */
void fiber_free(fiber *f); /* over, or never started */

void fiber_resume(fiber *f); /* until it yields or is over */
void fiber_yield(void); /* inside a fiber */
fiber *fiber_current(void); /* NULL outside */
bool fiber_is_over(const fiber *f);
