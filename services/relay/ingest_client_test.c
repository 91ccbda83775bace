/* The recorder against a usage that is scripted. */
#include "fake_usage.h"

#include <dirent.h>
#include <signal.h>
#include <sys/resource.h>

#define TIME_SCALE 100

static int64_t fast_mono_ns(void *self)
{
    (void)self;
    return gw_clock_mono_ns(&gw_system_clock) * TIME_SCALE;
}

static int64_t fast_wall_ms(void *self)
{
    (void)self;
    return gw_clock_wall_ms(&gw_system_clock);
}

static const gw_clock fast_clock = {.mono_ns = fast_mono_ns, .wall_ms = fast_wall_ms};

/* Timeouts of seconds pass in hundredths. */
static int setup_fast(void **state)
{
    return fake_usage_setup(state, &fast_clock);
}

static int setup_usage(void **state)
{
    return fake_usage_setup(state, &gw_system_clock);
}

static int setup_group(void **state)
{
    (void)state;
    gw_rpc_init();
    return 0;
}

static int teardown_group(void **state)
{
    (void)state;
    gw_rpc_shutdown();
    return 0;
}

static bool all_is_acked(kit *k)
{
    recorder_stats s = kit_stats(k);
    return s.tail >= k->wanted && s.acked == s.tail && s.connected;
}

static void record(kit *k, int n)
{
    for (int i = 0; i < n; i++)
        while (!kit_record(recorder_lane_at(k->recorder, 0), i % 2 == 0))
            kit_wait_tail(k, kit_stats(k).tail + 1);
}

static void wait_acked(kit *k, int64_t tail)
{
    k->wanted = tail;
    kit_run_until(k, all_is_acked);
}

/* What the closed spool says of the newest event that is claimed: by that a copy of its disk is told. */
static void check_acked_on_disk(const kit *k, int64_t acked)
{
    const fake_usage *u = k->extra;
    char path[96];
    gw_error err;
    spool *s = NULL;
    (void)snprintf(path, sizeof(path), "%s/spool", k->dir);
    assert_int_equal(spool_open_readonly(path, &s, &err), GW_OK);
    assert_int_equal(spool_get_info(s)->acked, acked);
    assert_memory_equal(spool_get_info(s)->acked_event_id, u->current->last_id,
                        SPOOL_EVENT_ID_SIZE);
    spool_free(s);
}

static void events_reach_usage_and_leave_the_spool(void **state)
{
    kit *k = *state;
    fake_usage *u = fake_usage_open(k);
    record(k, 1500);
    wait_acked(k, 1500);
    assert_int_equal(u->claimed_count, 1500);
    assert_int_equal(u->hellos, 1);
    kit_close(k, 1000);
    usage_event *left[1];
    assert_int_equal(kit_read_all(k, left, 1), 0);
    check_acked_on_disk(k, 1500);
}

static bool half_is_acked(kit *k)
{
    const fake_usage *u = k->extra;
    return u->hold_acks && kit_stats(k).acked == u->current->n;
}

static void what_half_a_frame_ended_with_is_known(void **state)
{
    kit *k = *state;
    fake_usage *u = k->extra;
    u->ack_half = u->hold_rest = true;
    (void)fake_usage_open(k);
    record(k, 60);
    kit_run_until(k, half_is_acked);
    kit_close(k, 0);
    assert_in_range(u->current->n, 1, 59);
    check_acked_on_disk(k, u->current->n);
}

static void cut_streams_neither_lose_nor_double(void **state)
{
    kit *k = *state;
    fake_usage *u = fake_usage_open(k);
    u->cut_every = 2;
    for (int64_t tail = 150; tail <= 600; tail += 150) {
        record(k, 150);
        wait_acked(k, tail);
    }
    assert_int_equal(u->claimed_count, 600);
    assert_true(u->hellos > 1);
    kit_close(k, 1000);
}

static void a_restarted_relay_goes_on_where_usage_is(void **state)
{
    kit *k = *state;
    fake_usage *u = fake_usage_open(k);
    record(k, 100);
    wait_acked(k, 100);
    u->hold_acks = true;
    record(k, 50);
    kit_close(k, 20);
    u->hold_acks = false;
    u = fake_usage_open(k);
    record(k, 10);
    wait_acked(k, 160);
    assert_int_equal(u->claimed_count, 160);
    assert_true(u->was_registered);
    kit_close(k, 1000);
}

static void the_window_is_kept(void **state)
{
    kit *k = *state;
    fake_usage *u = k->extra;
    u->window = 1000;
    u->ack_half = true;
    (void)fake_usage_open(k);
    record(k, 400);
    wait_acked(k, 400);
    assert_true(u->most_unacked <= 1000);
    assert_int_equal(u->claimed_count, 400);
    kit_close(k, 1000);
}

static bool has_tail_and_hello(kit *k)
{
    fake_usage *u = k->extra;
    return kit_stats(k).tail >= k->wanted && u->statuses > 0;
}

static void window_zero_stops_and_an_ack_starts_again(void **state)
{
    kit *k = *state;
    fake_usage *u = k->extra;
    u->window = 0;
    (void)fake_usage_open(k);
    record(k, 30);
    k->wanted = 30;
    kit_run_until(k, has_tail_and_hello);
    assert_int_equal(u->frames, 0);
    assert_int_equal(u->last_status.tail, 30);
    assert_int_equal(u->last_status.oldest, 1);
    assert_int_equal(u->last_status.oldest_timestamp_ms, 1764000000000);
    u->window = 1 << 20;
    fake_usage_send_ack(u);
    wait_acked(k, 30);
    kit_close(k, 1000);
}

static void a_usage_that_forgot_the_spool_gets_the_rest_under_a_new_id(void **state)
{
    kit *k = *state;
    fake_usage *u = fake_usage_open(k);
    record(k, 40);
    wait_acked(k, 40);
    u->hold_acks = true;
    record(k, 25);
    kit_close(k, 20);
    u->hold_acks = false;
    u->error_at_hello = APIRELAY__USAGE__V1__ERROR_CODE__ERROR_CODE_GONE;
    (void)fake_usage_open(k);
    wait_acked(k, 25); /* seq begins again at 1 */
    assert_int_equal(kit_stats(k).tail, 25);
    assert_int_equal(u->claimed_count, 65);
    assert_int_equal(u->spool_count, 2);
    record(k, 5);
    wait_acked(k, 30);
    kit_close(k, 1000);
    u = fake_usage_open(k); /* the new id stays */
    record(k, 5);
    wait_acked(k, 35);
    assert_int_equal(u->spool_count, 2);
    kit_close(k, 1000);
}

static bool two_spools_and_acked(kit *k)
{
    fake_usage *u = k->extra;
    return u->spool_count == 2 && all_is_acked(k);
}

static void a_restored_usage_with_older_claims_makes_a_new_id(void **state)
{
    kit *k = *state;
    fake_usage *u = fake_usage_open(k);
    record(k, 40);
    wait_acked(k, 40);
    u->welcome_add = -10;
    fake_usage_cut(u);
    k->wanted = 0;
    kit_run_until(k, two_spools_and_acked);
    assert_int_equal(kit_stats(k).tail, 0);
    record(k, 7);
    wait_acked(k, 7);
    assert_int_equal(u->spool_count, 2);
    assert_int_equal(u->claimed_count, 47);
    kit_close(k, 1000);
}

static bool has_aside(const kit *k, const char *word)
{
    DIR *d = opendir(k->dir);
    bool found = false;
    for (struct dirent *e; d && (e = readdir(d));)
        found |= strstr(e->d_name, word) != NULL;
    if (d)
        (void)closedir(d);
    return found;
}

static void check_put_aside(kit *k, fake_usage *u)
{
    k->wanted = 0;
    kit_run_until(k, two_spools_and_acked);
    assert_true(has_aside(k, ".conflict"));
    record(k, 5);
    wait_acked(k, 5);
    assert_int_equal(u->claimed_count, 25);
    kit_close(k, 1000);
}

static void a_copied_spool_is_put_aside_for_a_new_one(void **state)
{
    kit *k = *state;
    fake_usage *u = fake_usage_open(k);
    record(k, 20);
    wait_acked(k, 20);
    u->error_at_hello = APIRELAY__USAGE__V1__ERROR_CODE__ERROR_CODE_CONFLICT;
    fake_usage_cut(u);
    check_put_aside(k, u);
}

static void a_usage_ahead_of_the_spool_puts_it_aside(void **state)
{
    kit *k = *state;
    fake_usage *u = fake_usage_open(k);
    record(k, 20);
    wait_acked(k, 20);
    u->welcome_add = 1;
    fake_usage_cut(u);
    check_put_aside(k, u);
}

static void another_event_at_the_position_puts_it_aside(void **state)
{
    kit *k = *state;
    fake_usage *u = fake_usage_open(k);
    record(k, 20);
    wait_acked(k, 20);
    u->wrong_last_id = true;
    fake_usage_cut(u);
    check_put_aside(k, u);
}

static void a_busy_usage_is_asked_again(void **state)
{
    kit *k = *state;
    fake_usage *u = k->extra;
    u->error_at_hello = APIRELAY__USAGE__V1__ERROR_CODE__ERROR_CODE_BUSY;
    (void)fake_usage_open(k);
    record(k, 5);
    wait_acked(k, 5);
    assert_int_equal(u->hellos, 2);
    kit_close(k, 1000);
}

static bool has_live(kit *k)
{
    fake_usage *u = k->extra;
    return u->live_requests >= k->wanted && u->lives > 0;
}

static void live_counters_come_within_seconds(void **state)
{
    kit *k = *state;
    fake_usage *u = fake_usage_open(k);
    record(k, 1);
    wait_acked(k, 1);
    k->wanted = 1;
    kit_run_until(k, has_live);
    record(k, 99);
    k->wanted = 100;
    kit_run_until(k, has_live);
    assert_int_equal(u->live_requests, 100);
    kit_close(k, 1000);
}

static void without_usage_the_relay_goes_on_and_closes(void **state)
{
    kit *k = *state;
    fake_usage *u = k->extra;
    u->silent_hellos = 1000;
    (void)fake_usage_open(k);
    record(k, 700);
    kit_wait_tail(k, 700);
    assert_false(kit_stats(k).connected);
    kit_close(k, 50);
}

static bool two_hellos_and_acked(kit *k)
{
    return ((fake_usage *)k->extra)->hellos >= 2 && all_is_acked(k);
}

static void a_usage_that_does_not_welcome_is_left(void **state)
{
    kit *k = *state;
    fake_usage *u = k->extra;
    u->silent_hellos = 1;
    (void)fake_usage_open(k);
    record(k, 5);
    k->wanted = 5;
    kit_run_until(k, two_hellos_and_acked);
    kit_close(k, 1000);
}

static bool four_hellos_and_acked(kit *k)
{
    return ((fake_usage *)k->extra)->hellos >= 4 && all_is_acked(k);
}

/* What MongoDB makes slow is worked at to its end each time: asking again and again would never be answered in time. */
static void a_welcome_that_was_missed_is_waited_for_longer(void **state)
{
    kit *k = *state;
    fake_usage *u = k->extra;
    u->silent_hellos = 3;
    (void)fake_usage_open(k);
    record(k, 5);
    k->wanted = 5;
    kit_run_until(k, four_hellos_and_acked);
    /* 5, 10 and 20 s, as busy cores see them in hundredths */
    assert_true(u->hello_ms[3] - u->hello_ms[0] >= 25000);
    kit_close(k, 1000);
}

static bool sent_again(kit *k)
{
    fake_usage *u = k->extra;
    if (u->hellos >= 2)
        u->hold_acks = false;
    return u->hellos >= 2 && all_is_acked(k);
}

static void a_usage_that_does_not_ack_is_left(void **state)
{
    kit *k = *state;
    fake_usage *u = k->extra;
    u->hold_acks = true;
    (void)fake_usage_open(k);
    record(k, 5);
    k->wanted = 5;
    kit_run_until(k, sent_again);
    assert_int_equal(u->claimed_count, 5);
    kit_close(k, 1000);
}

static bool status_tells_all(kit *k)
{
    return ((fake_usage *)k->extra)->last_status.tail >= k->wanted;
}

/* LoadLedger waits for what was settled so far, also while the disk takes none of it. */
static void the_status_tells_of_what_is_finished_and_not_committed(void **state)
{
    kit *k = *state;
    struct rlimit unlimited, full;
    (void)fake_usage_open(k);
    record(k, 3);
    wait_acked(k, 3);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &unlimited), 0);
    full = unlimited;
    full.rlim_cur = 512; /* of any file: the spool is beyond it */
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &full), 0);
    for (int i = 0; i < 9; i++)
        assert_true(kit_record(recorder_lane_at(k->recorder, 0), true));
    k->wanted = 12;
    kit_run_until(k, status_tells_all);
    assert_int_equal(kit_stats(k).tail, 3);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &unlimited), 0);
    wait_acked(k, 12);
    kit_close(k, 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_usage, fake_usage_teardown)
        TEST(events_reach_usage_and_leave_the_spool),
        TEST(what_half_a_frame_ended_with_is_known),
        TEST(cut_streams_neither_lose_nor_double),
        TEST(a_restarted_relay_goes_on_where_usage_is),
        TEST(the_window_is_kept),
        TEST(window_zero_stops_and_an_ack_starts_again),
        TEST(the_status_tells_of_what_is_finished_and_not_committed),
        TEST(a_usage_that_forgot_the_spool_gets_the_rest_under_a_new_id),
        TEST(a_restored_usage_with_older_claims_makes_a_new_id),
        TEST(a_copied_spool_is_put_aside_for_a_new_one),
        TEST(a_usage_ahead_of_the_spool_puts_it_aside),
        TEST(another_event_at_the_position_puts_it_aside),
        TEST(a_busy_usage_is_asked_again),
        TEST(live_counters_come_within_seconds),
        TEST(without_usage_the_relay_goes_on_and_closes),
#define FAST(name) cmocka_unit_test_setup_teardown(name, setup_fast, fake_usage_teardown)
        FAST(a_usage_that_does_not_welcome_is_left),
        FAST(a_welcome_that_was_missed_is_waited_for_longer),
        FAST(a_usage_that_does_not_ack_is_left),
    };
    return cmocka_run_group_tests(tests, setup_group, teardown_group);
}
