#include "loop/file_watch.h"

#include "testing/cmocka.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define INTERVAL_MS 5

typedef struct fixture {
    gw_loop *loop;
    gw_file_watch *watch;
    char folder[32];
    char first[64], second[64], staged[64];
    int changes;
} fixture;

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static int setup(void **state)
{
    fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    assert_int_equal(gw_loop_new(&gw_system_clock, &f->loop, NULL), GW_OK);
    strcpy(f->folder, "/tmp/file_watch.XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    (void)snprintf(f->first, sizeof(f->first), "%s/first", f->folder);
    (void)snprintf(f->second, sizeof(f->second), "%s/second", f->folder);
    (void)snprintf(f->staged, sizeof(f->staged), "%s/staged", f->folder);
    write_file(f->first, "1");
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    gw_file_watch_free(f->watch);
    gw_loop_free(f->loop);
    (void)unlink(f->first);
    (void)unlink(f->second);
    (void)unlink(f->staged);
    (void)rmdir(f->folder);
    free(f);
    return 0;
}

static void count_and_stop(void *arg)
{
    fixture *f = arg;
    f->changes++;
    gw_loop_stop(f->loop);
}

static void watch(fixture *f)
{
    const char *const paths[] = {f->first, NULL, f->second};
    assert_int_equal(
        gw_file_watch_new(f->loop, paths, 3, INTERVAL_MS, count_and_stop, f, &f->watch, NULL),
        GW_OK);
}

/* Changes happen only after the first look: what the file was then is what a change is told by. */
static void after_a_few_looks(fixture *f, gw_timer *t, void (*change)(void *arg))
{
    gw_timer_init(t, change, f);
    gw_timer_set(f->loop, t, 10L * INTERVAL_MS);
}

static void rewrite_first(void *arg)
{
    write_file(((fixture *)arg)->first, "another content");
}

static void replace_first(void *arg)
{
    fixture *f = arg;
    write_file(f->staged, "1"); /* the same content in another file, as editors and Kubernetes do */
    assert_int_equal(rename(f->staged, f->first), 0);
}

static void make_second(void *arg)
{
    write_file(((fixture *)arg)->second, "2");
}

static void a_rewritten_file_is_told(void **state)
{
    fixture *f = *state;
    gw_timer t;
    watch(f);
    after_a_few_looks(f, &t, rewrite_first);
    gw_loop_run(f->loop);
    assert_int_equal(f->changes, 1);
}

static void a_file_replaced_by_rename_is_told(void **state)
{
    fixture *f = *state;
    gw_timer t;
    watch(f);
    after_a_few_looks(f, &t, replace_first);
    gw_loop_run(f->loop);
    assert_int_equal(f->changes, 1);
}

static void a_file_that_comes_later_is_told(void **state)
{
    fixture *f = *state;
    gw_timer t;
    watch(f);
    after_a_few_looks(f, &t, make_second);
    gw_loop_run(f->loop);
    assert_int_equal(f->changes, 1);
}

static void stop(void *arg)
{
    gw_loop_stop(((fixture *)arg)->loop);
}

static void a_freed_watch_is_silent(void **state)
{
    fixture *f = *state;
    gw_timer t;
    watch(f);
    gw_file_watch_free(f->watch);
    f->watch = NULL;
    rewrite_first(f);
    after_a_few_looks(f, &t, stop);
    gw_loop_run(f->loop);
    assert_int_equal(f->changes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_rewritten_file_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(a_file_replaced_by_rename_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(a_file_that_comes_later_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(a_freed_watch_is_silent, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
