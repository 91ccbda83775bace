/* Loops that record while the writer commits: run by the thread sanitizer these are the tests of who owns what. */
#include "recorder_test_kit.h"

#include <pthread.h>

typedef struct lane_run {
    pthread_t thread;
    recorder_lane *lane;
    int recorded;
} lane_run;

static void *run_lane(void *arg)
{
    lane_run *l = arg;
    while (l->recorded < 2000)
        if (kit_record(l->lane, l->recorded % 2 == 0))
            l->recorded++;
    return NULL;
}

static void lanes_record_at_the_same_time(void **state)
{
    kit *k = *state;
    lane_run runs[3];
    recorder_options o = kit_options(k);
    o.lanes = GW_ARRAY_LEN(runs);
    kit_open(k, &o);
    for (unsigned i = 0; i < o.lanes; i++) {
        runs[i] = (lane_run){.lane = recorder_lane_at(k->recorder, i)};
        assert_int_equal(pthread_create(&runs[i].thread, NULL, run_lane, &runs[i]), 0);
    }
    kit_wait_tail(k, 6000);
    for (unsigned i = 0; i < o.lanes; i++)
        assert_int_equal(pthread_join(runs[i].thread, NULL), 0);
    assert_int_equal(kit_stats(k).tail, 6000);
    kit_close(k, 0);
}

static bool holder_stays(kit *k)
{
    (void)kit_record(recorder_lane_at(k->recorder, 0), true);
    assert_string_equal(recorder_holder(k->recorder), k->extra);
    return kit_tail_is_wanted(k);
}

static void the_holder_of_the_start_is_there_while_the_writer_commits(void **state)
{
    kit *k = *state;
    char holder[LEDGER_HOLDER_SIZE];
    recorder_options o = kit_options(k);
    for (int opens = 1; opens <= 2; opens++) {
        kit_open(k, &o);
        (void)snprintf(holder, sizeof(holder), "%s", recorder_holder(k->recorder));
        assert_int_equal(strcspn(holder, "."), 2 * SPOOL_ID_SIZE);
        assert_int_equal(atoi(holder + 2 * SPOOL_ID_SIZE + 1), opens);
        k->extra = holder;
        k->wanted = 200 * opens;
        kit_run_until(k, holder_stays);
        kit_close(k, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, kit_setup, kit_teardown)
        TEST(lanes_record_at_the_same_time),
        TEST(the_holder_of_the_start_is_there_while_the_writer_commits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
