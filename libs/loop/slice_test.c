#define _GNU_SOURCE /* syscall */

#include "loop/loop.h"
#include "loop/sched_attr.h"

#include "testing/cmocka.h"

#include <linux/sched.h>
#include <pthread.h>

#define ASKED_NS UINT64_C(100000)

static loop_sched_attr of_this_thread(void)
{
    loop_sched_attr a = {0};
    assert_true(loop_sched_get(&a));
    return a;
}

/* Linux before 6.12 knows no slices, and a sandbox may forbid them. */
static bool kernel_keeps_slices(void)
{
    loop_sched_attr a = of_this_thread();
    a.runtime = 2 * ASKED_NS;
    return a.policy == SCHED_NORMAL && loop_sched_set(&a) &&
           of_this_thread().runtime == 2 * ASKED_NS;
}

typedef struct seen {
    gw_loop *loop;
    loop_sched_attr loop_has, child_has;
} seen;

static void *look(void *arg)
{
    *(loop_sched_attr *)arg = of_this_thread();
    return NULL;
}

static void on_loop(void *arg)
{
    seen *s = arg;
    pthread_t child;
    s->loop_has = of_this_thread();
    assert_int_equal(pthread_create(&child, NULL, look, &s->child_has), 0);
    assert_int_equal(pthread_join(child, NULL), 0);
    gw_loop_stop(s->loop);
}

static void *run_loop(void *arg)
{
    seen *s = arg;
    gw_loop_defer(s->loop, on_loop, s);
    gw_loop_run(s->loop);
    return NULL;
}

static seen run_in_a_thread(void *(*run)(void *arg))
{
    seen s = {0};
    pthread_t thread;
    assert_int_equal(gw_loop_new(&gw_system_clock, &s.loop, NULL), GW_OK);
    assert_int_equal(pthread_create(&thread, NULL, run, &s), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    gw_loop_free(s.loop);
    return s;
}

static void *keep_slices(void *arg)
{
    *(bool *)arg = kernel_keeps_slices();
    return NULL;
}

static void a_running_loop_has_short_slices_and_who_it_starts_has_not(void **state)
{
    (void)state;
    bool is_kept = false;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, keep_slices, &is_kept), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    if (!is_kept)
        skip();
    seen s = run_in_a_thread(run_loop);
    assert_int_equal(s.loop_has.runtime, ASKED_NS);
    assert_true(s.child_has.runtime > ASKED_NS);
}

static void *run_loop_as_batch(void *arg)
{
    loop_sched_attr a = of_this_thread();
    a.policy = SCHED_BATCH;
    assert_true(loop_sched_set(&a));
    return run_loop(arg);
}

static void a_policy_that_was_chosen_stays(void **state)
{
    (void)state;
    seen s = run_in_a_thread(run_loop_as_batch);
    assert_int_equal(s.loop_has.policy, SCHED_BATCH);
    assert_true(s.loop_has.runtime != ASKED_NS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_running_loop_has_short_slices_and_who_it_starts_has_not),
        cmocka_unit_test(a_policy_that_was_chosen_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
