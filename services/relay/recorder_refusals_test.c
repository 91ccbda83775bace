#include "recorder_test_kit.h"

#include "recorder_internal.h"

#include "testing/fake_clock.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define ROWS_MAX      60000
#define REFUSAL_SLOTS 256
#define WALL_MS       1764000000990 /* ten before the end of a second */

static gw_fake_clock wall; /* of the recorder; durations are real */
static gw_clock wall_clock;
static usage_event *rows[ROWS_MAX];
static size_t row_count;

static recorder_options options_of(const kit *k)
{
    recorder_options o = kit_options(k);
    wall_clock = gw_fake_clock_init(&wall, WALL_MS);
    wall_clock.mono_ns = gw_system_clock.mono_ns;
    o.clock = &wall_clock;
    o.refusal_slots = REFUSAL_SLOTS;
    return o;
}

static usage_event refusal_of(recorder_lane *lane, uint32_t key, uint8_t id[12], uint8_t key_id[12])
{
    static char refused[] = "refused", error[] = "spool_busy";
    memset(key_id, 1, 12);
    memcpy(key_id + 8, &key, sizeof(key));
    recorder_event_id(lane, id);
    usage_event e = kit_event(id, 0);
    e.timestamp_ms = gw_clock_wall_ms(&wall_clock);
    e.api_key_id.data = key_id;
    e.outcome = refused;
    e.error = error;
    e.status_code = 503;
    e.repeat_count = 1;
    return e;
}

static void refuse(recorder_lane *lane, uint32_t key, int times)
{
    uint8_t id[12], key_id[12];
    while (times-- > 0) {
        usage_event e = refusal_of(lane, key, id, key_id);
        recorder_refuse(lane, NULL, &e);
    }
}

static void read_rows(const kit *k)
{
    row_count = kit_read_all(k, rows, ROWS_MAX);
}

static void free_rows(void)
{
    for (size_t i = 0; i < row_count; i++)
        apirelay__usage__v1__usage_event__free_unpacked(rows[i], NULL);
    row_count = 0;
}

static int64_t counted(void)
{
    int64_t sum = 0;
    for (size_t i = 0; i < row_count; i++)
        sum += GW_MAX(rows[i]->repeat_count, 1);
    return sum;
}

static int64_t largest(void)
{
    int64_t most = 0;
    for (size_t i = 0; i < row_count; i++)
        most = GW_MAX(most, rows[i]->repeat_count);
    return most;
}

static void beyond_ten_a_second_a_key_one_row_counts_the_rest(void **state)
{
    kit *k = *state;
    recorder_options o = options_of(k);
    kit_open(k, &o);
    recorder_lane *lane = recorder_lane_at(k->recorder, 0);
    refuse(lane, 1, 25);
    refuse(lane, 2, 3);
    kit_wait_tail(k, 13);
    gw_fake_clock_advance_ms(&wall, 10); /* the second is over */
    kit_wait_tail(k, 14);
    refuse(lane, 1, 5); /* rows of their own again */
    kit_wait_tail(k, 19);
    kit_close(k, 1000);
    read_rows(k);
    assert_int_equal(row_count, 19);
    assert_int_equal(counted(), 33);
    assert_int_equal(largest(), 15);
    for (size_t i = 0; i < row_count; i++)
        assert_string_equal(rows[i]->error, "spool_busy");
    free_rows();
}

static void a_slot_that_is_not_needed_is_given_back(void **state)
{
    kit *k = *state;
    recorder_options o = options_of(k);
    uint8_t id[12], key_id[12];
    kit_open(k, &o);
    recorder_lane *lane = recorder_lane_at(k->recorder, 0);
    usage_event e = refusal_of(lane, 1, id, key_id);
    assert_false(recorder_repeat_refusal(lane, NULL, key_id)); /* no row counts yet */
    for (int i = 0; i < 500; i++) { /* more than there are slots */
        flight_slot *slot = recorder_claim(lane);
        assert_non_null(slot);
        if (!recorder_repeat_refusal(lane, slot, key_id))
            recorder_refuse(lane, slot, &e);
    }
    kit_close(k, 1000);
    read_rows(k);
    assert_int_equal(row_count, 11);
    assert_int_equal(counted(), 500);
    free_rows();
}

/* Rows a second would use up the slots that are left while the disk takes none. */
static void while_slots_are_short_a_key_has_one_row_for_as_long_as_that_lasts(void **state)
{
    kit *k = *state;
    recorder_options o = options_of(k);
    flight_slot *held[64];
    kit_open(k, &o);
    recorder_lane *lane = recorder_lane_at(k->recorder, 0);
    for (int i = 0; i < 64; i++)
        assert_non_null(held[i] = recorder_claim(lane));
    for (int second = 0; second < 20; second++) {
        for (uint32_t key = 0; key < 100; key++)
            refuse(lane, key, 4);
        gw_fake_clock_advance_ms(&wall, 1000);
    }
    for (int i = 0; i < 64; i++)
        recorder_release(lane, held[i]);
    refuse(lane, 1, 1); /* in a row of its own, and the second that went before is closed */
    kit_close(k, 1000);
    read_rows(k);
    assert_int_equal(row_count, 101);
    assert_int_equal(counted(), 8001);
    free_rows();
}

static void a_refusal_without_a_slot_is_counted_by_the_next_row_of_its_key(void **state)
{
    kit *k = *state;
    recorder_options o = options_of(k);
    flight_slot *held[64];
    kit_open(k, &o);
    recorder_lane *lane = recorder_lane_at(k->recorder, 0);
    for (int i = 0; i < 64; i++)
        assert_non_null(held[i] = recorder_claim(lane));
    for (uint32_t key = 0; key < REFUSAL_SLOTS + 2; key++)
        refuse(lane, key, 3);
    assert_int_equal(atomic_load(&lane->slotless), 6);
    recorder_release(lane, held[0]);
    refuse(lane, REFUSAL_SLOTS, 1); /* counts the three that waited */
    for (int i = 1; i < 64; i++)
        recorder_release(lane, held[i]);
    kit_close(k, 1000);
    read_rows(k);
    assert_int_equal(row_count, REFUSAL_SLOTS + 1);
    assert_int_equal(counted(), 3 * REFUSAL_SLOTS + 4);
    assert_int_equal(largest(), 4);
    free_rows();
}

static int64_t told_dropped;

static bool close_and_tell(kit *k)
{
    told_dropped = kit_stats(k).dropped;
    return true;
}

static void of_a_flood_of_keys_each_refusal_is_in_a_row_or_in_the_metric(void **state)
{
    kit *k = *state;
    recorder_options o = options_of(k);
    kit_open(k, &o);
    recorder_lane *lane = recorder_lane_at(k->recorder, 0);
    for (uint32_t i = 0; i < 50000; i++)
        refuse(lane, i * 7919 % 9000, 1); /* more keys than are known at once */
    recorder_close_refusals(lane);
    kit_run_until(k, close_and_tell);
    kit_close(k, 5000);
    read_rows(k);
    assert_int_equal(counted() + told_dropped, 50000);
    assert_true(row_count > 0);
    free_rows();
}

static void ids_do_not_go_back_with_a_clock_that_steps_back_a_day(void **state)
{
    kit *k = *state;
    recorder_options o = options_of(k);
    uint8_t before[12], after[12], key_id[12];
    kit_open(k, &o);
    recorder_lane *lane = recorder_lane_at(k->recorder, 0);
    refuse(lane, 1, 15);
    recorder_event_id(lane, before);
    gw_fake_clock_set_wall_ms(&wall, WALL_MS - GW_MS_PER_DAY);
    usage_event e = refusal_of(lane, 1, after, key_id);
    assert_true(memcmp(before, after, 9) == 0 && memcmp(before, after, 12) != 0);
    recorder_refuse(lane, NULL, &e);
    refuse(lane, 1, 14);
    kit_close(k, 1000);
    read_rows(k);
    assert_int_equal(row_count, 22); /* each second as it was told */
    assert_int_equal(counted(), 30);
    for (size_t i = 0; i < row_count; i++)
        for (size_t j = 0; j < i; j++)
            assert_memory_not_equal(rows[i]->event_id.data, rows[j]->event_id.data, 12);
    free_rows();
}

/* ---- kill -9 ---- */

static void *kill_after(void *arg)
{
    (void)usleep(*(unsigned *)arg);
    (void)kill(getpid(), SIGKILL);
    return NULL;
}

/* A byte a refusal that was answered. */
static void refuse_until_killed(const recorder_options *o, unsigned delay_us)
{
    gw_loop *l;
    recorder *r = NULL;
    gw_error err;
    pthread_t thread;
    if (gw_loop_new(&gw_system_clock, &l, &err) != GW_OK || recorder_open(l, o, &r, &err) != GW_OK)
        _exit(3);
    recorder_lane *lane = recorder_lane_at(r, 0);
    int fd = open("answered", O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    (void)pthread_create(&thread, NULL, kill_after, &delay_us);
    for (uint32_t n = 0;; n++) {
        refuse(lane, n % 3, 1);
        (void)!write(fd, "x", 1);
        if (n % 500 == 499) /* rows are closed and others opened meanwhile */
            gw_fake_clock_advance_ms(&wall, 1000);
    }
}

static void no_refusal_is_lost_or_counted_twice_by_kills(void **state)
{
    kit *k = *state;
    recorder_options o = options_of(k);
    char here[256];
    struct stat answered;
    assert_non_null(getcwd(here, sizeof(here)));
    assert_int_equal(chdir(k->dir), 0);
    for (unsigned round = 0; round < 12; round++) {
        int status;
        (void)fflush(NULL);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0)
            refuse_until_killed(&o, 2000 + round * 1713);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
    }
    kit_open(k, &o);
    kit_close(k, 0);
    read_rows(k);
    assert_int_equal(stat("answered", &answered), 0);
    assert_true(answered.st_size > 100);
    assert_true(counted() >= answered.st_size && counted() <= answered.st_size + 12);
    assert_int_equal(chdir(here), 0);
    free_rows();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, kit_setup, kit_teardown)
        TEST(beyond_ten_a_second_a_key_one_row_counts_the_rest),
        TEST(a_slot_that_is_not_needed_is_given_back),
        TEST(while_slots_are_short_a_key_has_one_row_for_as_long_as_that_lasts),
        TEST(a_refusal_without_a_slot_is_counted_by_the_next_row_of_its_key),
        TEST(of_a_flood_of_keys_each_refusal_is_in_a_row_or_in_the_metric),
        TEST(ids_do_not_go_back_with_a_clock_that_steps_back_a_day),
        TEST(no_refusal_is_lost_or_counted_twice_by_kills),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
