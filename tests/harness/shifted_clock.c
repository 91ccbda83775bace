/*
 * Loaded before a program's own libraries: its wall clock is off by CLOCK_SHIFT_MS milliseconds, its monotonic clocks are right.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static int64_t shift_ms(void)
{
    static int64_t ms;
    static int known;

    if (!known) {
        const char *text = getenv("CLOCK_SHIFT_MS");
        ms = text ? strtoll(text, NULL, 10) : 0;
        known = 1;
    }
    return ms;
}

int clock_gettime(clockid_t id, struct timespec *t)
{
    int rc = (int)syscall(SYS_clock_gettime, id, t);

    if (rc == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) {
        int64_t ns = t->tv_nsec + shift_ms() % 1000 * 1000000;
        int64_t carry = ns < 0 ? -1 : ns / 1000000000;
        t->tv_sec += shift_ms() / 1000 + carry;
        t->tv_nsec = ns - carry * 1000000000;
    }
    return rc;
}

int gettimeofday(struct timeval *restrict tv, void *restrict zone)
{
    struct timespec t;

    (void)zone;
    if (!tv)
        return 0;
    int rc = clock_gettime(CLOCK_REALTIME, &t);
    tv->tv_sec = t.tv_sec;
    tv->tv_usec = t.tv_nsec / 1000;
    return rc;
}

time_t time(time_t *ret)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_REALTIME, &t);
    if (ret)
        *ret = t.tv_sec;
    return t.tv_sec;
}
