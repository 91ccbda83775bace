#include "recorder_test_kit.h"

#include "spool_internal.h"
#include "spool_tool.h"

#include <fcntl.h>

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

/* In a segment before the newest, where the opening looks at headers only. */
static void behind_a_damaged_record_the_export_goes_on(void **state)
{
    kit *k = *state;
    char path[128];
    spool *s = NULL;
    spool_opened how;
    gw_error err;
    uint32_t damaged = 0;
    assert_int_equal(spool_open(k->dir, 0, 4, &s, &how, &err), GW_OK);
    for (uint8_t i = 0; s->log->count < 2; i++) {
        uint8_t id[12] = {i}, bytes[EVENT_MAX_BYTES];
        usage_event e = kit_event(id, 10);
        spool_event event = {.bytes = gw_str_n(bytes, event_pack(&e, bytes, sizeof(bytes))),
                             .generation = i + 1U};
        if (i == 2)
            damaged = s->log->written + sizeof(spool_record) + sizeof(spool_entry) + 20;
        assert_int_equal(spool_write(s, &(spool_change){.events = &event, .count = 1}, &err),
                         GW_OK);
    }
    spool_free(s);
    (void)snprintf(path, sizeof(path), "%s/spool/000000.log", k->dir);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_int_equal(pwrite(fd, "what", 4, damaged), 4);
    (void)close(fd);
    run r = run_tool("export", k->dir);
    assert_int_equal(r.status, 1);
    assert_non_null(strstr(r.errors, "spool: events 3 to 3 cannot be read\n"));
    assert_non_null(strstr(r.out, "\"seq\":2,"));
    assert_null(strstr(r.out, "\"seq\":3,"));
    assert_non_null(strstr(r.out, "\"seq\":4,"));
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
        TEST(behind_a_damaged_record_the_export_goes_on),
        TEST(what_is_no_spool_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
