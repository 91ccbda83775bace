/*
 * Jobs against a real server: MONGO_URI names it (`./dev test` sets it); without it these tests are
 * skipped.
 */
#include "mongo/mongo_testing.h"

static gw_status ensure_indexes(gw_mongo_job *j, mongoc_client_t *client, mongoc_database_t *db,
                                gw_error *err)
{
    static const char *const specs[] = {
        ("[{\"name\":\"n\",\"key\":{\"n\":1},\"unique\":true},"
         "{\"name\":\"ttl\",\"key\":{\"at\":1},\"expireAfterSeconds\":3600}]"),
        "[{\"name\":\"n\",\"key\":{\"n\":1},\"unique\":false}]",
        "[{\"name\":",
    };
    (void)client;
    return gw_mongo_ensure_indexes(db, "things", specs[GW_CONTAINER_OF(j, test_job, job)->arg],
                                   err);
}

/* A server given by MONGO_URI. */
static int set_up_given(void **state)
{
    static fixture f;
    const char *uri = getenv("MONGO_URI");

    *state = NULL;
    if (!uri || !*uri)
        return 0;
    make_fixture(&f);
    (void)snprintf(f.uri, sizeof(f.uri), "%s", uri);
    *state = &f;
    assert_int_equal(connect_to(&f, NULL), GW_OK);
    return 0;
}

static fixture *given(void **state)
{
    if (!*state)
        skip();
    return (fixture *)*state;
}

static void a_waiter_runs_once_when_the_server_answers_and_at_once_when_it_did(void **state)
{
    fixture *f = given(state);
    waiters_run = 0;
    gw_mongo_when_up(f->mongo, count_waiter, NULL);
    gw_test_run_until(&f->until, is_up);
    assert_int_equal(waiters_run, 1);
    gw_mongo_when_up(f->mongo, count_waiter, NULL);
    assert_int_equal(waiters_run, 2);
}

static void jobs_run_and_report(void **state)
{
    fixture *f = given(state);
    gw_test_run_until(&f->until, is_up);
    assert_int_equal(perform(f, insert_arg, 1).rc, GW_OK);
    assert_int_equal(perform(f, insert_arg, 2).rc, GW_OK);
    test_job count = perform(f, count_things, 0);
    assert_int_equal(count.rc, GW_OK);
    assert_int_equal(count.result, 2);
}

static void indexes_are_made_once_and_hold(void **state)
{
    fixture *f = given(state);
    gw_test_run_until(&f->until, is_up);
    assert_int_equal(perform(f, ensure_indexes, 0).rc, GW_OK);
    assert_int_equal(perform(f, ensure_indexes, 0).rc, GW_OK);
    assert_int_equal(perform(f, insert_arg, 7).rc, GW_OK);
    assert_int_equal(perform(f, insert_arg, 7).rc, GW_ERR_ALREADY_EXISTS);
    assert_int_equal(perform(f, ensure_indexes, 1).rc, GW_ERR_FAILED_PRECONDITION);
    test_job bad = perform(f, ensure_indexes, 2);
    assert_int_equal(bad.rc, GW_ERR_INTERNAL);
    assert_non_null(strstr(bad.err.message, "things"));
}

static void a_full_queue_refuses_and_still_ends_each_job(void **state)
{
    fixture *f = given(state);
    static test_job jobs[64];
    int done = 0;
    int refused = 0;

    memset(jobs, 0, sizeof(jobs));
    gw_test_run_until(&f->until, is_up);
    for (size_t i = 0; i < GW_ARRAY_LEN(jobs); i++) {
        jobs[i].arg = (int)i;
        submit(f, &jobs[i], insert_arg);
    }
    assert_true(jobs_pending > 0);
    gw_test_run_until(&f->until, no_job_is_pending);
    for (size_t i = 0; i < GW_ARRAY_LEN(jobs); i++) {
        done += jobs[i].done;
        refused += jobs[i].rc == GW_ERR_OVERLOADED;
        assert_true(jobs[i].rc == GW_OK || jobs[i].rc == GW_ERR_OVERLOADED);
    }
    assert_int_equal(done, GW_ARRAY_LEN(jobs));
    assert_true(refused > 0);
    assert_int_equal(perform(f, count_things, 0).result, (int)GW_ARRAY_LEN(jobs) - refused);
}

int main(void)
{
#define TEST(test) cmocka_unit_test_setup_teardown(test, set_up_given, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_waiter_runs_once_when_the_server_answers_and_at_once_when_it_did),
        TEST(jobs_run_and_report),
        TEST(indexes_are_made_once_and_hold),
        TEST(a_full_queue_refuses_and_still_ends_each_job),
    };
    return cmocka_run_group_tests_name("mongo", tests, NULL, NULL);
}
