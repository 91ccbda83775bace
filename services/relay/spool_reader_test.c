/* Who reads a spool waits for nothing that the writer does on the disk, and sees what is committed, no more and no less. */
#include "spool_disk_kit.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#define COMMITS 300
#define STEPS   60

/* A lock that is held meanwhile is waited for in vain. */
static void must_go_on(void)
{
    (void)alarm(GW_TEST_HANGS_MS / 1000);
}

/* ---- in the middle of a commit ---- */

typedef struct looks {
    spool *spool;
    int count;
} looks;

static void look_at_all(void *arg)
{
    looks *l = arg;
    l->count++;
    must_go_on();
    check_all(l->spool);
}

static void what_is_committed_is_read_in_the_middle_of_any_commit(void **state)
{
    kit *k = *state;
    spool *s = open_spool(k);
    looks l = {.spool = s};
    disk.arg = &l;
    disk.meanwhile = look_at_all;
    for (int i = 1; i <= STEPS; i++) {
        size_t count = i % 20 == 0 ? 100 : (size_t)i % 9 + 1; /* more than a segment, too */
        int64_t end = end_of(s);
        assert_int_equal(write_events(s, end + 1, count, end - end % 30), GW_OK);
        assert_int_equal(end_of(s), end + (int64_t)count);
    }
    (void)alarm(0);
    disk.meanwhile = NULL;
    assert_true(l.count > 2 * STEPS && s->log->segments[0]->number > 2);
    spool_free(s);
}

/* ---- beside the writer ---- */

typedef struct beside {
    spool *spool;
    atomic_int_least64_t read; /* by the other thread: may go */
} beside;

static void *write_all(void *arg)
{
    beside *b = arg;
    int64_t first = 1;
    for (int i = 1; i <= COMMITS; i++) {
        size_t count = (size_t)(i * 7 % 90 + 1);
        int64_t acked = atomic_load_explicit(&b->read, memory_order_relaxed);
        if (write_events(b->spool, first, count, acked) != GW_OK)
            return NULL;
        first += (int64_t)count;
    }
    return b;
}

static void check_frame(const spool_frame *f)
{
    for (uint32_t i = 0; i < f->count; i++) {
        made_event m;
        spool_event e = make_event(&m, f->first_seq + i);
        assert_int_equal(f->events[i].len, e.bytes.len);
        assert_memory_equal(f->events[i].data, e.bytes.ptr, e.bytes.len);
    }
}

/* Nothing but the spool is between the two threads: what is not guarded there is a race that the thread sanitizer sees. */
static void events_are_read_beside_the_writer_and_in_order(void **state)
{
    kit *k = *state;
    spool_frame *f = malloc(sizeof(*f));
    beside b = {.spool = open_spool(k)};
    pthread_t writer;
    gw_error err;
    int64_t all = 0, next = 1;
    void *did = NULL;
    for (int i = 1; i <= COMMITS; i++)
        all += i * 7 % 90 + 1;
    assert_non_null(f);
    assert_int_equal(pthread_create(&writer, NULL, write_all, &b), 0);
    while (next <= all) {
        assert_int_equal(spool_read(b.spool, next, SPOOL_FRAME_BYTES, f, &err), GW_OK);
        check_frame(f);
        next += f->count;
        must_go_on();
        atomic_store_explicit(&b.read, next - 1, memory_order_relaxed);
        if (f->count == 0)
            (void)sched_yield();
    }
    assert_int_equal(pthread_join(writer, &did), 0);
    (void)alarm(0);
    assert_ptr_equal(did, &b);
    assert_true(b.spool->log->segments[0]->number > 2);
    spool_free(b.spool);
    free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DISK_TEST(what_is_committed_is_read_in_the_middle_of_any_commit),
        DISK_TEST(events_are_read_beside_the_writer_and_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
