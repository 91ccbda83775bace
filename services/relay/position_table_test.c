#define _GNU_SOURCE /* mkdtemp */
#include "position_table.h"

#include "testing/cmocka.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char dir[64];

static int set_up(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/positions-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int tear_down(void **state)
{
    char path[128];

    (void)state;
    (void)snprintf(path, sizeof(path), "%s/positions", dir);
    (void)unlink(path);
    return rmdir(dir);
}

static position_table *reopen(position_table *t, const char *spool)
{
    position_table_free(t);
    assert_int_equal(position_table_open(dir, gw_str_of(spool), &t, NULL), GW_OK);
    return t;
}

static size_t count(const position_table *t)
{
    uint32_t at = 0;
    size_t n = 0;
    ledger_row row;

    while (position_table_next(t, &at, &row))
        n++;
    return n;
}

static void rows_outlive_their_process(void **state)
{
    position_table *t = reopen(NULL, "aa");
    uint32_t at = 0;
    ledger_row row;

    (void)state;
    int64_t closed = position_table_open_row(t, "aa.1.0", "k:1");
    int64_t id = position_table_open_row(t, "aa.1.0", "k:2");
    position_table_set_load(t, id, 42);
    position_table_close_row(t, closed);
    position_table_set_load(t, closed, 1); /* of none */
    t = reopen(t, "aa");
    assert_true(position_table_next(t, &at, &row));
    assert_int_equal(row.id, id);
    assert_int_equal(row.load, 42);
    assert_string_equal(row.subject, "k:2");
    assert_string_equal(row.holder, "aa.1.0");
    assert_false(position_table_next(t, &at, &row));
    assert_int_equal(position_table_load_of(t, id), 42);
    assert_int_equal(position_table_load_of(t, closed), 0);
    position_table_free(t);
}

static void an_id_is_never_given_twice(void **state)
{
    position_table *t = reopen(NULL, "aa");

    (void)state;
    int64_t first = position_table_open_row(t, "h", "k:1");
    position_table_close_row(t, first);
    t = reopen(t, "aa");
    int64_t second = position_table_open_row(t, "h", "k:1");
    assert_true(second > first);
    assert_int_equal(second % POSITION_ROWS, first % POSITION_ROWS);
    position_table_free(t);
}

static void a_full_table_has_no_row_until_one_closes(void **state)
{
    position_table *t = reopen(NULL, "aa");
    int64_t last = 0;

    (void)state;
    for (int i = 0; i < POSITION_ROWS; i++)
        assert_true((last = position_table_open_row(t, "h", "k:1")) > 0);
    assert_int_equal(position_table_open_row(t, "h", "k:1"), 0);
    position_table_close_row(t, last);
    assert_true(position_table_open_row(t, "h", "k:1") > last);
    position_table_free(t);
}

static void rows_of_another_spool_are_not_ours_to_close(void **state)
{
    position_table *t = reopen(NULL, "aa");

    (void)state;
    int64_t id = position_table_open_row(t, "aa.1.0", "k:1");
    t = reopen(t, "bb");
    assert_int_equal(count(t), 0);
    assert_true(position_table_open_row(t, "bb.1.0", "k:1") > id);
    position_table_free(t);
}

static void a_table_of_another_layout_is_emptied_and_its_ids_go_on(void **state)
{
    position_table *t = reopen(NULL, "aa");
    char path[128];

    (void)state;
    int64_t id = position_table_open_row(t, "aa.1.0", "k:1");
    position_table_free(t);
    (void)snprintf(path, sizeof(path), "%s/positions", dir);
    FILE *f = fopen(path, "r+");
    assert_non_null(f);
    assert_int_equal(fwrite("relaypo1", 1, 8, f), 8);
    assert_int_equal(fclose(f), 0);
    t = reopen(NULL, "aa");
    assert_int_equal(count(t), 0);
    assert_true(position_table_open_row(t, "aa.1.0", "k:1") > id);
    position_table_free(t);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(rows_outlive_their_process),
        TEST(an_id_is_never_given_twice),
        TEST(a_full_table_has_no_row_until_one_closes),
        TEST(rows_of_another_spool_are_not_ours_to_close),
        TEST(a_table_of_another_layout_is_emptied_and_its_ids_go_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
