#include "testing/failing_alloc.h"

#include <errno.h>

static _Thread_local size_t countdown; /* 0 = not armed */
static _Thread_local bool failed;

void gw_failing_alloc_arm(size_t n)
{
    countdown = n;
    failed = false;
}

bool gw_failing_alloc_disarm(void)
{
    countdown = 0;
    return failed;
}

static bool fails_now(void)
{
    if (countdown == 0 || --countdown > 0)
        return false;
    failed = true;
    errno = ENOMEM;
    return true;
}

/* Names that `ld --wrap` gives. */
void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);

void *__wrap_malloc(size_t size)
{
    return fails_now() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return fails_now() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t size)
{
    return fails_now() ? NULL : __real_realloc(p, size);
}
