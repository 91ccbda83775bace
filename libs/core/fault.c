#include "core/fault.h"

#ifdef GW_FAULT_POINTS

#include "core/macros.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct fault {
    char point[64];
    int signal; /* 0: none is asked for */
    atomic_long left;
} fault;

static fault asked;
static void (*hook)(const char *name);

/* "point:action[:nth]" */
static void read_environment(void)
{
    char text[128] = "";
    char *rest = NULL;
    const char *given = getenv("GW_FAULT");
    if (!given || strlen(given) >= sizeof(text))
        return;
    memcpy(text, given, strlen(given) + 1);
    const char *point = strtok_r(text, ":", &rest);
    const char *action = strtok_r(NULL, ":", &rest);
    const char *nth = strtok_r(NULL, ":", &rest);
    if (!point || !action || strlen(point) >= sizeof(asked.point))
        return;
    memcpy(asked.point, point, strlen(point) + 1);
    atomic_init(&asked.left, nth ? strtol(nth, NULL, 10) : 1);
    asked.signal = strcmp(action, "kill") == 0   ? SIGKILL
                   : strcmp(action, "stop") == 0 ? SIGSTOP
                                                 : 0;
}

void gw_fault_set_hook(void (*h)(const char *name))
{
    hook = h;
}

void gw_fault_reach(const char *name)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    if (hook) {
        hook(name);
        return;
    }
    (void)pthread_once(&once, read_environment);
    if (asked.signal && strcmp(name, asked.point) == 0 && atomic_fetch_sub(&asked.left, 1) == 1)
        (void)kill(getpid(), asked.signal);
}

#endif
