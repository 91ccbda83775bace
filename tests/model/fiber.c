#include "fiber.h"

#include <stdlib.h>
#include <ucontext.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#define STACK_BYTES (1 << 20)
#else
#define STACK_BYTES (256 << 10)
#endif
#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#endif

struct fiber {
    ucontext_t here, caller;
    void (*run)(void *arg);
    void *arg;
    bool over;
    char *stack;
    void *sanitizer, *caller_sanitizer;
    const void *caller_stack;
    size_t caller_stack_bytes;
    fiber *next_spare;
};

static fiber *current;
static fiber *spares; /* stacks are used again */

fiber *fiber_current(void)
{
    return current;
}

bool fiber_is_over(const fiber *f)
{
    return f->over;
}

/* ---- what sanitizers want to know of a change of stacks ---- */

static void enter_begins(fiber *f)
{
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(&f->caller_sanitizer, f->stack, STACK_BYTES);
#elif defined(__SANITIZE_THREAD__)
    f->caller_sanitizer = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(f->sanitizer, 0);
#else
    (void)f;
#endif
}

static void entered(fiber *f)
{
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(f->sanitizer, &f->caller_stack, &f->caller_stack_bytes);
#else
    (void)f;
#endif
}

static void leave_begins(fiber *f)
{
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(f->over ? NULL : &f->sanitizer, f->caller_stack,
                                   f->caller_stack_bytes);
#elif defined(__SANITIZE_THREAD__)
    __tsan_switch_to_fiber(f->caller_sanitizer, 0);
#else
    (void)f;
#endif
}

static void left(fiber *f)
{
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(f->caller_sanitizer, NULL, NULL);
#else
    (void)f;
#endif
}

/* ---- */

static void begin(void)
{
    entered(current);
    current->run(current->arg);
    current->over = true;
    leave_begins(current);
    (void)setcontext(&current->caller);
}

static void prepare(fiber *f)
{
    (void)getcontext(&f->here);
    f->here.uc_stack.ss_sp = f->stack;
    f->here.uc_stack.ss_size = STACK_BYTES;
    f->here.uc_link = NULL;
    makecontext(&f->here, begin, 0);
}

fiber *fiber_new(void (*run)(void *arg), void *arg)
{
    fiber *f = spares;
    if (f) {
        spares = f->next_spare;
    } else {
        f = calloc(1, sizeof(*f));
        if (f)
            f->stack = malloc(STACK_BYTES);
        if (!f || !f->stack)
            abort();
    }
    f->run = run;
    f->arg = arg;
    f->over = false;
    f->sanitizer = NULL;
#if defined(__SANITIZE_THREAD__)
    f->sanitizer = __tsan_create_fiber(0);
#endif
    prepare(f);
    return f;
}

void fiber_free(fiber *f)
{
#if defined(__SANITIZE_THREAD__)
    __tsan_destroy_fiber(f->sanitizer);
#endif
    f->next_spare = spares;
    spares = f;
}

void fiber_resume(fiber *f)
{
    fiber *before = current;
    current = f;
    enter_begins(f);
    (void)swapcontext(&f->caller, &f->here);
    left(f);
    current = before;
}

void fiber_yield(void)
{
    fiber *f = current;
    leave_begins(f);
    (void)swapcontext(&f->here, &f->caller);
    entered(f);
}
