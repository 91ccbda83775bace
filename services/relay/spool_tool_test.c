#include "recorder_test_kit.h"

#include "spool_tool.h"

typedef struct run {
    int status;
    char out[8192], errors[1024];
} run;

static run run_tool(const char *command, const char *dir)
{
    run r = {0};
    char word[16], path[128];
    (void)snprintf(word, sizeof(word), "%s", command);
    (void)snprintf(path, sizeof(path), "%s", dir);
    char *argv[] = {word, path};
    FILE *out = fmemopen(r.out, sizeof(r.out), "w"),
         *errors = fmemopen(r.errors, sizeof(r.errors), "w");
    assert_non_null(out);
    assert_non_null(errors);
    r.status = spool_tool_run(2, argv, out, errors);
    (void)fclose(out);
    (void)fclose(errors);
    return r;
}

static void events_are_shown_and_exported(void **state)
{
    kit *k = *state;
    recorder_options o = kit_options(k);
    kit_open(k, &o);
    assert_true(kit_record(recorder_lane_at(k->recorder, 0), true));
    assert_true(kit_record(recorder_lane_at(k->recorder, 0), false));
    kit_wait_tail(k, 2);
    run r = run_tool("inspect", k->dir); /* the relay runs */
    assert_int_equal(r.status, 0);
    assert_non_null(strstr(r.out, "\"waiting\":2"));
    assert_non_null(strstr(r.out, "\"oldest\":\"2025-11-24T"));
    assert_non_null(strstr(r.out, "\"name\":\"flight\",\"free\":64"));
    kit_close(k, 0);
    r = run_tool("export", k->dir);
    assert_int_equal(r.status, 0);
    assert_non_null(strstr(r.out, "\"seq\":1,\"event\":{"));
    assert_non_null(strstr(r.out, "\"seq\":2,\"event\":{"));
    assert_non_null(strstr(r.out, "\"model\":\"gpt-4o\""));
}

static void what_is_no_spool_is_an_error(void **state)
{
    kit *k = *state;
    run r = run_tool("inspect", k->dir);
    assert_int_equal(r.status, 1);
    assert_non_null(strstr(r.errors, "no spool"));
    r = run_tool("burn", k->dir);
    assert_int_equal(r.status, 2);
    assert_non_null(strstr(r.errors, "usage:"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, kit_setup, kit_teardown)
        TEST(events_are_shown_and_exported),
        TEST(what_is_no_spool_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
