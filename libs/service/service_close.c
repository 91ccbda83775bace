/*
 * close() within its time. It waits for what is in flight, and a store that hangs answers late; nothing in a library
 * ends a call that is under way. What is accounted for outlives a kill -9, so it outlives this.
 */
#include "service/service_internal.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

typedef struct closing {
    const gw_service *service;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool is_over;
} closing;

static struct timespec due_in(int64_t ms)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    int64_t ns = t.tv_nsec + ms % GW_MS_PER_S * 1000000;
    t.tv_sec += (time_t)(ms / GW_MS_PER_S + ns / 1000000000);
    t.tv_nsec = (long)(ns % 1000000000);
    return t;
}

static void *watch(void *arg)
{
    closing *c = arg;
    const gw_service *s = c->service;
    const struct timespec due = due_in(s->kind->close_max_ms);
    int rc = 0;
    (void)pthread_mutex_lock(&c->mutex);
    while (!c->is_over && rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&c->changed, &c->mutex, &due);
    if (!c->is_over) {
        gw_log_warn(s->log, "close_cut", gw_kv("after_ms", s->kind->close_max_ms));
        _exit(EXIT_SUCCESS);
    }
    (void)pthread_mutex_unlock(&c->mutex);
    return NULL;
}

static bool start_watch(closing *c, pthread_t *ret)
{
    pthread_condattr_t attr;
    if (pthread_condattr_init(&attr) != 0)
        return false;
    bool is_made = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0 &&
                   pthread_cond_init(&c->changed, &attr) == 0;
    (void)pthread_condattr_destroy(&attr);
    if (is_made && pthread_create(ret, NULL, watch, c) == 0)
        return true;
    if (is_made)
        (void)pthread_cond_destroy(&c->changed);
    return false;
}

void service_close_app(gw_service *s)
{
    closing c = {.service = s, .mutex = PTHREAD_MUTEX_INITIALIZER};
    pthread_t thread;
    bool is_watched = s->kind->close_max_ms > 0 && start_watch(&c, &thread);
    s->kind->close(s->app);
    if (!is_watched)
        return;
    (void)pthread_mutex_lock(&c.mutex);
    c.is_over = true;
    (void)pthread_cond_signal(&c.changed);
    (void)pthread_mutex_unlock(&c.mutex);
    (void)pthread_join(thread, NULL);
    (void)pthread_cond_destroy(&c.changed);
}
