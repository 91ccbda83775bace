#include "loop/workers.h"

#include "testing/cmocka.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

typedef struct fixture {
    gw_loop *loop;
    gw_workers *workers;
    pthread_mutex_t gate; /* locked: jobs wait inside */
    atomic_size_t started;
    size_t done, expected;
    pthread_t loop_thread;
    gw_workers *submits_again_to;
    gw_status submitted_again;
} fixture;

typedef struct task {
    gw_job job;
    fixture *f;
    bool ran;
} task;

static int setup(void **state)
{
    fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    pthread_mutex_init(&f->gate, NULL);
    f->loop_thread = pthread_self();
    assert_int_equal(gw_loop_new(&gw_system_clock, &f->loop, NULL), GW_OK);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    gw_workers_free(f->workers);
    gw_loop_free(f->loop);
    pthread_mutex_destroy(&f->gate);
    free(f);
    return 0;
}

static void work(gw_job *j)
{
    task *t = GW_CONTAINER_OF(j, task, job);
    if (pthread_equal(pthread_self(), t->f->loop_thread))
        abort();
    atomic_fetch_add(&t->f->started, 1);
    pthread_mutex_lock(&t->f->gate);
    t->ran = true;
    pthread_mutex_unlock(&t->f->gate);
}

static gw_status submit(fixture *f, gw_workers *w);

static void done(gw_job *j)
{
    task *t = GW_CONTAINER_OF(j, task, job);
    fixture *f = t->f;
    assert_true(pthread_equal(pthread_self(), f->loop_thread));
    assert_true(t->ran);
    free(t);
    if (++f->done == f->expected)
        gw_loop_stop(f->loop);
    if (f->submits_again_to)
        f->submitted_again = submit(f, f->submits_again_to);
}

static gw_status submit(fixture *f, gw_workers *w)
{
    task *t = calloc(1, sizeof(*t));
    assert_non_null(t);
    *t = (task){{.work = work, .done = done}, f, false};
    gw_status rc = gw_workers_submit(w, &t->job, NULL);
    if (rc != GW_OK)
        free(t);
    return rc;
}

static void work_runs_on_a_worker_and_done_on_the_loop(void **state)
{
    fixture *f = *state;
    assert_int_equal(gw_workers_new(f->loop, "test", 4, 2000, &f->workers, NULL), GW_OK);
    f->expected = 2000;
    for (size_t i = 0; i < f->expected; i++)
        assert_int_equal(submit(f, f->workers), GW_OK);
    gw_loop_run(f->loop);
    assert_int_equal(f->done, 2000);
    assert_int_equal(gw_workers_queued(f->workers), 0);
}

static void a_full_queue_refuses_and_takes_again_when_there_is_room(void **state)
{
    fixture *f = *state;
    assert_int_equal(gw_workers_new(f->loop, "test", 1, 2, &f->workers, NULL), GW_OK);
    pthread_mutex_lock(&f->gate);
    assert_int_equal(submit(f, f->workers), GW_OK);
    while (atomic_load(&f->started) < 1) /* the worker has it: the queue is empty again */
        sched_yield();
    assert_int_equal(submit(f, f->workers), GW_OK);
    assert_int_equal(submit(f, f->workers), GW_OK);
    assert_int_equal(gw_workers_queued(f->workers), 2);
    assert_int_equal(submit(f, f->workers), GW_ERR_OVERLOADED);
    pthread_mutex_unlock(&f->gate);
    f->expected = 3;
    gw_loop_run(f->loop);
    assert_int_equal(submit(f, f->workers), GW_OK);
}

static void freeing_runs_what_is_queued_and_delivers_every_done(void **state)
{
    fixture *f = *state;
    assert_int_equal(gw_workers_new(f->loop, "test", 2, 100, &f->workers, NULL), GW_OK);
    for (int i = 0; i < 100; i++)
        assert_int_equal(submit(f, f->workers), GW_OK);
    gw_workers_free(gw_steal(&f->workers));
    assert_int_equal(f->done, 100);
}

static void a_done_that_submits_while_the_workers_end_is_refused(void **state)
{
    fixture *f = *state;
    assert_int_equal(gw_workers_new(f->loop, "test", 1, 10, &f->workers, NULL), GW_OK);
    assert_int_equal(submit(f, f->workers), GW_OK);
    f->submits_again_to = f->workers;
    gw_workers_free(gw_steal(&f->workers));
    assert_int_equal(f->done, 1);
    assert_int_equal(f->submitted_again, GW_ERR_SHUTTING_DOWN);
}

static void an_impossible_number_of_threads_is_refused(void **state)
{
    fixture *f = *state;
    assert_int_equal(gw_workers_new(f->loop, "test", 0, 1, &f->workers, NULL),
                     GW_ERR_INVALID_ARGUMENT);
    assert_int_equal(gw_workers_new(f->loop, "test", 65, 1, &f->workers, NULL),
                     GW_ERR_INVALID_ARGUMENT);
    assert_null(f->workers);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(work_runs_on_a_worker_and_done_on_the_loop),
        CASE(a_full_queue_refuses_and_takes_again_when_there_is_room),
        CASE(freeing_runs_what_is_queued_and_delivers_every_done),
        CASE(a_done_that_submits_while_the_workers_end_is_refused),
        CASE(an_impossible_number_of_threads_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
