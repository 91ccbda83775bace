#define _GNU_SOURCE /* pthread_setname_np */

#include "loop/workers.h"

#include "loop/loop_internal.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define THREADS_MAX      64
#define THREAD_NAME_SIZE 16 /* the kernel's */

struct gw_workers {
    pthread_mutex_t lock;
    pthread_cond_t work_came;
    gw_job *first, *last; /* under `lock` */
    bool is_ending; /* under `lock` */
    atomic_size_t queued; /* changed under `lock` */

    size_t queue_max;
    gw_mailbox *replies;
    char name[THREAD_NAME_SIZE];
    unsigned thread_count;
    pthread_t threads[THREADS_MAX];
};

static void deliver(gw_message *m)
{
    gw_job *j = GW_CONTAINER_OF(m, gw_job, message);
    j->done(j);
}

/* Every accepted job is delivered before its mailbox closes: gw_workers_free() joins and drains
 * first. */
static void destroy(gw_message *m)
{
    (void)m;
    assert(false && "a job was dropped");
}

static void *run_worker(void *arg)
{
    gw_workers *w = arg;
    pthread_mutex_lock(&w->lock);
    for (;;) {
        while (!w->first && !w->is_ending)
            pthread_cond_wait(&w->work_came, &w->lock);
        gw_job *j = w->first;
        if (!j)
            break;
        w->first = j->next;
        if (!w->first)
            w->last = NULL;
        w->queued--;
        pthread_mutex_unlock(&w->lock);
        j->work(j);
        gw_mailbox_post(j->reply, &j->message);
        pthread_mutex_lock(&w->lock);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

static int start_threads(gw_workers *w, unsigned threads)
{
    /* Signals are the main loop's: a worker would interrupt a blocking client with them. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = 0;
    while (rc == 0 && w->thread_count < threads) {
        pthread_t *t = &w->threads[w->thread_count];
        rc = pthread_create(t, NULL, run_worker, w);
        if (rc == 0) {
            char name[THREAD_NAME_SIZE];
            (void)snprintf(name, sizeof(name), "%.10s-%u", w->name, w->thread_count);
            (void)pthread_setname_np(*t, name);
            w->thread_count++;
        }
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}

gw_status gw_workers_new(gw_loop *l, const char *name, unsigned threads, size_t queue_max,
                         gw_workers **ret, gw_error *err)
{
    if (threads < 1 || threads > THREADS_MAX)
        return gw_fail(err, GW_ERR_INVALID_ARGUMENT, "%u worker threads: 1-%d are possible",
                       threads, THREADS_MAX);
    gw_workers *w = calloc(1, sizeof(*w));
    if (!w)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for workers");
    gw_status rc = gw_mailbox_new(l, &w->replies, err);
    if (rc != GW_OK) {
        free(w);
        return rc;
    }
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->work_came, NULL);
    w->queue_max = queue_max;
    (void)snprintf(w->name, sizeof(w->name), "%s", name);
    if (start_threads(w, threads) != 0) {
        gw_workers_free(w);
        return gw_fail(err, GW_ERR_IO, "cannot start %u worker threads", threads);
    }
    *ret = w;
    return GW_OK;
}

void gw_workers_free(gw_workers *w)
{
    if (!w)
        return;
    pthread_mutex_lock(&w->lock);
    w->is_ending = true;
    pthread_cond_broadcast(&w->work_came);
    pthread_mutex_unlock(&w->lock);
    for (unsigned i = 0; i < w->thread_count; i++)
        pthread_join(w->threads[i], NULL);
    loop_mailbox_drain(w->replies);
    gw_mailbox_free(w->replies);
    pthread_cond_destroy(&w->work_came);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

gw_status gw_workers_submit(gw_workers *w, gw_job *j, gw_error *err)
{
    pthread_mutex_lock(&w->lock);
    bool is_ending = w->is_ending;
    bool is_full = w->queued >= w->queue_max;
    if (!is_ending && !is_full) {
        j->message = (gw_message){.deliver = deliver, .destroy = destroy};
        j->reply = w->replies;
        j->next = NULL;
        if (w->last)
            w->last->next = j;
        else
            w->first = j;
        w->last = j;
        w->queued++;
        pthread_cond_signal(&w->work_came);
    }
    pthread_mutex_unlock(&w->lock);
    if (is_ending)
        return gw_fail(err, GW_ERR_SHUTTING_DOWN, "the %s workers are ending", w->name);
    if (is_full)
        return gw_fail(err, GW_ERR_OVERLOADED, "%zu jobs wait for the %s workers already",
                       w->queue_max, w->name);
    return GW_OK;
}

size_t gw_workers_queued(const gw_workers *w)
{
    return atomic_load(&w->queued);
}
