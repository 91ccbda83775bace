#include "loop/loop.h"

#include "testing/cmocka.h"
#include "testing/fake_clock.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define WALL_MS 1764000000000
#define LOG_MAX 32

typedef struct fixture {
    gw_fake_clock time;
    gw_clock clock;
    gw_loop *loop;
    char log[LOG_MAX]; /* what happened, a letter each */
    size_t logged;
    gw_timer timers[4];
    uv_idle_t busy; /* keeps the loop turning: the fake clock wakes nobody */
    size_t turns_left;
} fixture;

static void note(fixture *f, char what)
{
    assert_true(f->logged + 1 < LOG_MAX);
    f->log[f->logged++] = what;
}

static int setup(void **state)
{
    fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    f->clock = gw_fake_clock_init(&f->time, WALL_MS);
    assert_int_equal(gw_loop_new(&f->clock, &f->loop, NULL), GW_OK);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    gw_loop_free(f->loop);
    free(f);
    return 0;
}

static void on_turn(uv_idle_t *h)
{
    fixture *f = h->data;
    if (f->turns_left-- == 0) {
        uv_close((uv_handle_t *)h, NULL);
        gw_loop_stop(f->loop);
    }
}

/* A few turns of the loop, without blocking in any. */
static void turn(fixture *f)
{
    uv_idle_init(gw_loop_uv(f->loop), &f->busy);
    f->busy.data = f;
    f->turns_left = 3;
    uv_idle_start(&f->busy, on_turn);
    gw_loop_run(f->loop);
    uv_run(gw_loop_uv(f->loop), UV_RUN_NOWAIT); /* runs the close callback */
}

static void advance(fixture *f, int64_t ms)
{
    gw_fake_clock_advance_ms(&f->time, ms);
    turn(f);
}

static void note_a(void *arg)
{
    note(arg, 'a');
}
static void note_b(void *arg)
{
    note(arg, 'b');
}
static void note_c(void *arg)
{
    note(arg, 'c');
}

static void timers_fire_in_the_order_they_are_due_and_equal_ones_as_they_were_set(void **state)
{
    fixture *f = *state;
    gw_timer_init(&f->timers[0], note_a, f);
    gw_timer_init(&f->timers[1], note_b, f);
    gw_timer_init(&f->timers[2], note_c, f);
    gw_timer_set(f->loop, &f->timers[1], 20);
    gw_timer_set(f->loop, &f->timers[2], 20);
    gw_timer_set(f->loop, &f->timers[0], 10);
    advance(f, 9);
    assert_string_equal(f->log, "");
    advance(f, 1);
    assert_string_equal(f->log, "a");
    assert_false(gw_timer_is_armed(&f->timers[0]));
    assert_true(gw_timer_is_armed(&f->timers[1]));
    advance(f, 100);
    assert_string_equal(f->log, "abc");
}

static void an_armed_timer_moves_and_a_cancelled_one_stays_silent(void **state)
{
    fixture *f = *state;
    gw_timer_init(&f->timers[0], note_a, f);
    gw_timer_init(&f->timers[1], note_b, f);
    gw_timer_set(f->loop, &f->timers[0], 10);
    gw_timer_set(f->loop, &f->timers[1], 10);
    gw_timer_set(f->loop, &f->timers[0], 50);
    gw_timer_cancel(f->loop, &f->timers[1]);
    gw_timer_cancel(f->loop, &f->timers[1]);
    advance(f, 49);
    assert_string_equal(f->log, "");
    advance(f, 1);
    assert_string_equal(f->log, "a");
}

static void set_again(void *arg)
{
    fixture *f = arg;
    note(f, 'x');
    if (f->logged < 3)
        gw_timer_set(f->loop, &f->timers[0], 0);
}

static void a_timer_set_again_in_its_callback_waits_for_the_next_turn(void **state)
{
    fixture *f = *state;
    gw_timer_init(&f->timers[0], set_again, f);
    gw_timer_set(f->loop, &f->timers[0], 0);
    uv_run(gw_loop_uv(f->loop), UV_RUN_NOWAIT);
    assert_string_equal(f->log, "x");
    assert_true(gw_timer_is_armed(&f->timers[0]));
    turn(f);
    assert_string_equal(f->log, "xxx");
}

static void timers_that_were_put_off_fire_in_the_order_of_their_last_setting(void **state)
{
    fixture *f = *state;
    gw_timer_init(&f->timers[0], note_a, f);
    gw_timer_init(&f->timers[1], note_b, f);
    gw_timer_init(&f->timers[2], note_c, f);
    for (size_t i = 0; i < 3; i++)
        gw_timer_set(f->loop, &f->timers[i], 10);
    gw_timer_set(f->loop, &f->timers[0], 10); /* as due as before, and behind the others */
    gw_timer_set(f->loop, &f->timers[1], 40); /* put off, and for less than that */
    gw_timer_set(f->loop, &f->timers[1], 30);
    gw_timer_set(f->loop, &f->timers[1], 5);
    advance(f, 9);
    assert_string_equal(f->log, "b");
    advance(f, 1);
    assert_string_equal(f->log, "bca");
}

#define MANY 500

typedef struct sorted_timer {
    gw_timer timer;
    int64_t *last_due_ms;
    size_t *fired;
} sorted_timer;

static void fire_sorted(void *arg)
{
    sorted_timer *t = arg;
    assert_true(t->timer.due_ms >= *t->last_due_ms);
    *t->last_due_ms = t->timer.due_ms;
    ++*t->fired;
}

static void many_timers_in_any_order_fire_sorted(void **state)
{
    fixture *f = *state;
    sorted_timer *timers = calloc(MANY, sizeof(*timers));
    assert_non_null(timers);
    size_t fired = 0;
    int64_t last_due_ms = 0;
    uint32_t random = 1;
    for (size_t i = 0; i < MANY; i++) {
        timers[i].last_due_ms = &last_due_ms;
        timers[i].fired = &fired;
        gw_timer_init(&timers[i].timer, fire_sorted, &timers[i]);
        random = random * 1664525U + 1013904223U;
        gw_timer_set(f->loop, &timers[i].timer, (int64_t)(random >> 16) % 1000);
    }
    for (size_t i = 0; i < MANY; i += 3) { /* sooner or later than it was */
        random = random * 1664525U + 1013904223U;
        gw_timer_set(f->loop, &timers[i].timer, (int64_t)(random >> 16) % 1000);
    }
    for (size_t i = 0; i < MANY; i += 2)
        gw_timer_cancel(f->loop, &timers[i].timer);
    advance(f, 1000);
    assert_int_equal(fired, MANY / 2);
    free(timers);
}

static void defer_in_defer(void *arg)
{
    fixture *f = arg;
    note(f, '1');
    gw_loop_defer(f->loop, note_c, f);
}

static void deferred_calls_run_in_order_and_before_the_loop_blocks(void **state)
{
    fixture *f = *state;
    gw_loop_defer(f->loop, note_a, f);
    gw_loop_defer(f->loop, defer_in_defer, f);
    gw_loop_defer(f->loop, note_b, f);
    assert_string_equal(f->log, "");
    turn(f);
    assert_string_equal(f->log, "a1bc");
}

typedef struct numbered {
    size_t number;
    size_t *next;
} numbered;

static void check_number(void *arg)
{
    const numbered *n = arg;
    assert_int_equal(n->number, *n->next);
    ++*n->next;
}

static void more_deferred_calls_than_the_ring_holds_keep_their_order(void **state)
{
    fixture *f = *state;
    static numbered calls[1000];
    size_t next = 0;
    for (size_t i = 0; i < GW_ARRAY_LEN(calls); i++) {
        if (i == 50)
            turn(f); /* so that the ring grows from its middle */
        calls[i] = (numbered){i, &next};
        gw_loop_defer(f->loop, check_number, &calls[i]);
    }
    turn(f);
    assert_int_equal(next, GW_ARRAY_LEN(calls));
}

static void stop_from_timer(void *arg)
{
    fixture *f = arg;
    gw_loop_defer(f->loop, note_a, f);
    gw_loop_stop(f->loop);
}

static void what_the_last_callback_deferred_still_runs_at_a_stop(void **state)
{
    fixture *f = *state;
    gw_timer_init(&f->timers[0], stop_from_timer, f);
    gw_timer_set(f->loop, &f->timers[0], 0);
    gw_loop_run(f->loop);
    assert_string_equal(f->log, "a");
}

static void *stop_from_thread(void *arg)
{
    fixture *f = arg;
    gw_loop_stop_async(f->loop);
    return NULL;
}

static void another_thread_stops_a_blocked_loop(void **state)
{
    fixture *f = *state;
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, stop_from_thread, f), 0);
    gw_loop_run(f->loop);
    pthread_join(t, NULL);
}

static void a_real_clock_wakes_the_loop_for_its_timers(void **state)
{
    (void)state;
    fixture f = {0};
    assert_int_equal(gw_loop_new(&gw_system_clock, &f.loop, NULL), GW_OK);
    gw_timer_init(&f.timers[0], stop_from_timer, &f);
    int64_t before_ms = gw_loop_now_ms(f.loop);
    gw_timer_set(f.loop, &f.timers[0], 15);
    gw_loop_run(f.loop);
    assert_true(gw_loop_now_ms(f.loop) - before_ms >= 15);
    assert_string_equal(f.log, "a");
    gw_loop_free(f.loop);
}

static void on_reload(void *arg)
{
    note(arg, 'r');
}

static void on_drain(void *arg)
{
    fixture *f = arg;
    note(f, 'd');
    gw_loop_stop(f->loop);
}

static void hangup_reloads_and_terminate_drains(void **state)
{
    fixture *f = *state;
    gw_loop_on_signals(f->loop, on_drain, on_reload, f);
    raise(SIGHUP);
    turn(f);
    assert_string_equal(f->log, "r");
    raise(SIGTERM);
    gw_loop_run(f->loop);
    assert_string_equal(f->log, "rd");
}

static void ignore(void *arg)
{
    (void)arg;
}

static void a_second_terminate_ends_the_process(void **state)
{
    (void)state;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        gw_loop *l = NULL;
        if (gw_loop_new(&gw_system_clock, &l, NULL) != GW_OK)
            _exit(1);
        gw_loop_on_signals(l, ignore, NULL, NULL);
        raise(SIGTERM);
        uv_run(gw_loop_uv(l), UV_RUN_NOWAIT);
        raise(SIGINT);
        gw_loop_run(l);
        _exit(2);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 130);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(timers_fire_in_the_order_they_are_due_and_equal_ones_as_they_were_set),
        CASE(an_armed_timer_moves_and_a_cancelled_one_stays_silent),
        CASE(a_timer_set_again_in_its_callback_waits_for_the_next_turn),
        CASE(timers_that_were_put_off_fire_in_the_order_of_their_last_setting),
        CASE(many_timers_in_any_order_fire_sorted),
        CASE(deferred_calls_run_in_order_and_before_the_loop_blocks),
        CASE(more_deferred_calls_than_the_ring_holds_keep_their_order),
        CASE(what_the_last_callback_deferred_still_runs_at_a_stop),
        CASE(another_thread_stops_a_blocked_loop),
        cmocka_unit_test(a_real_clock_wakes_the_loop_for_its_timers),
        CASE(hangup_reloads_and_terminate_drains),
        cmocka_unit_test(a_second_terminate_ends_the_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
