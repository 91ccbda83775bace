#include "loop/mailbox.h"

#include "testing/cmocka.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define POSTERS         4
#define POSTS_OF_THREAD 20000

typedef struct fixture {
    gw_loop *loop;
    gw_mailbox *box;
    size_t delivered, expected;
    size_t next_of[POSTERS];
    atomic_size_t destroyed;
    bool frees_at_first;
    pthread_t threads[POSTERS];
} fixture;

typedef struct parcel {
    gw_message message;
    fixture *f;
    size_t poster, number;
} parcel;

typedef struct poster {
    fixture *f;
    size_t number;
} poster;

static int setup(void **state)
{
    fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    assert_int_equal(gw_loop_new(&gw_system_clock, &f->loop, NULL), GW_OK);
    assert_int_equal(gw_mailbox_new(f->loop, &f->box, NULL), GW_OK);
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

static void deliver(gw_message *m)
{
    parcel *p = GW_CONTAINER_OF(m, parcel, message);
    fixture *f = p->f;
    assert_int_equal(p->number, f->next_of[p->poster]);
    f->next_of[p->poster]++;
    free(p);
    if (++f->delivered == f->expected)
        gw_loop_stop(f->loop);
    if (f->frees_at_first && f->delivered == 1) {
        gw_mailbox_free(f->box);
        gw_loop_stop(f->loop);
    }
}

static void destroy(gw_message *m)
{
    parcel *p = GW_CONTAINER_OF(m, parcel, message);
    atomic_fetch_add(&p->f->destroyed, 1);
    free(p);
}

static bool post(fixture *f, size_t poster_number, size_t number)
{
    parcel *p = calloc(1, sizeof(*p));
    if (!p)
        abort();
    *p = (parcel){{.deliver = deliver, .destroy = destroy}, f, poster_number, number};
    return gw_mailbox_post(f->box, &p->message);
}

static void *run_poster(void *arg)
{
    const poster *me = arg;
    for (size_t i = 0; i < POSTS_OF_THREAD; i++)
        (void)post(me->f, me->number, i);
    return NULL;
}

static void messages_of_several_threads_all_come_each_thread_s_in_order(void **state)
{
    fixture *f = *state;
    poster posters[POSTERS];
    f->expected = (size_t)POSTERS * POSTS_OF_THREAD;
    for (size_t i = 0; i < POSTERS; i++) {
        posters[i] = (poster){f, i};
        assert_int_equal(pthread_create(&f->threads[i], NULL, run_poster, &posters[i]), 0);
    }
    gw_loop_run(f->loop);
    for (size_t i = 0; i < POSTERS; i++)
        pthread_join(f->threads[i], NULL);
    assert_int_equal(f->delivered, f->expected);
    assert_int_equal(f->destroyed, 0);
}

static void what_is_queued_at_the_close_is_destroyed(void **state)
{
    fixture *f = *state;
    assert_true(post(f, 0, 0));
    assert_true(post(f, 0, 1));
    gw_mailbox_free(f->box);
    assert_int_equal(f->destroyed, 2);
    assert_int_equal(f->delivered, 0);
}

static void a_post_after_the_close_is_refused_and_destroys_the_message(void **state)
{
    fixture *f = *state;
    gw_mailbox *held = gw_mailbox_hold(f->box);
    gw_mailbox_free(f->box);
    uv_run(gw_loop_uv(f->loop), UV_RUN_NOWAIT); /* the handle is closed by now */
    assert_false(post(f, 0, 0));
    assert_int_equal(f->destroyed, 1);
    gw_mailbox_release(held);
}

static void a_delivery_may_close_the_mailbox_it_came_through(void **state)
{
    fixture *f = *state;
    f->frees_at_first = true;
    for (size_t i = 0; i < 3; i++)
        assert_true(post(f, 0, i));
    gw_loop_run(f->loop);
    assert_int_equal(f->delivered, 1);
    assert_int_equal(f->destroyed, 2);
}

static void *run_until_refused(void *arg)
{
    const poster *me = arg;
    fixture *f = me->f;
    size_t i = 0;
    while (post(f, me->number, i))
        i++;
    gw_mailbox_release(f->box);
    return NULL;
}

static void a_close_in_the_middle_of_posts_loses_and_leaks_nothing(void **state)
{
    fixture *f = *state;
    poster posters[POSTERS];
    for (size_t i = 0; i < POSTERS; i++) {
        posters[i] = (poster){f, i};
        (void)gw_mailbox_hold(f->box);
        assert_int_equal(pthread_create(&f->threads[i], NULL, run_until_refused, &posters[i]), 0);
    }
    while (f->delivered < 1000)
        uv_run(gw_loop_uv(f->loop), UV_RUN_ONCE);
    gw_mailbox_free(f->box);
    for (size_t i = 0; i < POSTERS; i++)
        pthread_join(f->threads[i], NULL);
    assert_true(f->destroyed >= POSTERS); /* each thread's refused one, and what was queued */
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(messages_of_several_threads_all_come_each_thread_s_in_order),
        CASE(what_is_queued_at_the_close_is_destroyed),
        CASE(a_post_after_the_close_is_refused_and_destroys_the_message),
        CASE(a_delivery_may_close_the_mailbox_it_came_through),
        CASE(a_close_in_the_middle_of_posts_loses_and_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
