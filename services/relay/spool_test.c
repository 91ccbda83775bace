#include "recorder_test_kit.h"
#include "spool_internal.h"

#include <fcntl.h>
#include <sys/stat.h>

#define SLOTS 16

static spool *open_spool(const kit *k, spool_opened *how)
{
    spool *s = NULL;
    gw_error err = {0};
    gw_status rc = spool_open(k->dir, 64 << 20, SLOTS, &s, how, &err);
    if (rc != GW_OK)
        fail_msg("%s", err.message);
    return s;
}

/* Appends `n` events whose ids hold their running number. */
static void append(spool *s, int n, int *number)
{
    for (int i = 0; i < n; i++) {
        uint8_t id[12] = {0}, bytes[EVENT_MAX_BYTES];
        gw_error err;
        memcpy(id, &(int){++*number}, sizeof(int));
        usage_event e = kit_event(id, 10);
        size_t len = event_pack(&e, bytes, sizeof(bytes));
        spool_event event = {.bytes = gw_str_n(bytes, len),
                             .slot = (uint32_t)*number % SLOTS,
                             .generation = (uint64_t)*number};
        spool_change c = {.events = &event, .count = 1, .acked = 0};
        assert_int_equal(spool_write(s, &c, &err), GW_OK);
    }
}

static void ack(spool *s, int64_t seq)
{
    gw_error err;
    assert_int_equal(spool_write(s, &(spool_change){.acked = seq, .registered = true}, &err),
                     GW_OK);
}

static int number_at(spool *s, int64_t seq)
{
    uint8_t id[SPOOL_EVENT_ID_SIZE];
    int64_t at_ms;
    int number;
    if (!spool_find(s, seq, id, &at_ms))
        return -1;
    memcpy(&number, id, sizeof(number));
    return number;
}

static void what_is_committed_is_there_after_reopening(void **state)
{
    kit *k = *state;
    spool_opened how;
    int number = 0;
    spool *s = open_spool(k, &how);
    append(s, 20, &number);
    ack(s, 5);
    spool_info before = *spool_get_info(s);
    spool_free(s);
    s = open_spool(k, &how);
    const spool_info *i = spool_get_info(s);
    assert_false(how.unreadable);
    assert_memory_equal(i->id, before.id, sizeof(before.id));
    assert_memory_equal(i->boot, before.boot, sizeof(before.boot));
    assert_int_equal(i->tail, 20);
    assert_int_equal(i->acked, 5);
    assert_true(i->registered);
    assert_int_equal(i->opens, 2);
    assert_memory_equal(i->acked_event_id, (uint8_t[]){5}, 1);
    assert_int_equal(number_at(s, 5), -1);
    assert_int_equal(number_at(s, 6), 6);
    assert_int_equal(spool_committed(s, 20 % SLOTS), 20);
    assert_int_equal(spool_committed(s, 5), 5);
    append(s, 1, &number); /* seq goes on */
    assert_int_equal(number_at(s, 21), 21);
    spool_free(s);
}

static void the_id_of_what_is_acked_is_brought_or_looked_up(void **state)
{
    kit *k = *state;
    spool_opened how;
    gw_error err;
    int number = 0;
    spool *s = open_spool(k, &how);
    spool_change c = {.acked = 4, .acked_event_id = {77, 78}};
    append(s, 9, &number);
    assert_int_equal(spool_write(s, &c, &err), GW_OK);
    assert_memory_equal(spool_get_info(s)->acked_event_id, c.acked_event_id, SPOOL_EVENT_ID_SIZE);
    c.acked_event_id[0] = 79; /* 4 is acked already: nothing new is said of it */
    assert_int_equal(spool_write(s, &c, &err), GW_OK);
    assert_int_equal(spool_get_info(s)->acked_event_id[0], 77);
    ack(s, 6);
    assert_int_equal(spool_get_info(s)->acked_event_id[0], 6);
    spool_free(s);
}

static void an_event_counts_for_the_position_of_each_of_its_levels(void **state)
{
    kit *k = *state;
    spool_opened how;
    spool *s = open_spool(k, &how);
    uint8_t id[12] = {1}, bytes[EVENT_MAX_BYTES];
    usage_event e = kit_event(id, 10);
    const int64_t rows[] = {3, 4, 5}, loads[] = {30, 40, 50};
    e.grant_id = rows[0];
    e.client_grant_id = rows[1];
    e.owner_grant_id = rows[2];
    e.key_load_id = loads[0];
    e.client_load_id = loads[1];
    e.owner_load_id = loads[2];
    e.total_tokens = 12;
    for (uint64_t i = 1; i <= 2; i++) {
        spool_event event = {.bytes = gw_str_n(bytes, event_pack(&e, bytes, sizeof(bytes))),
                             .slot = 1,
                             .generation = i};
        assert_true(ledger_event_read(event.bytes, &event.spent));
        assert_int_equal(spool_write(s, &(spool_change){.events = &event, .count = 1}, NULL),
                         GW_OK);
    }
    for (int i = 0; i < 3; i++) {
        ledger_row_sums sums;
        assert_int_equal(spool_read_position(s, rows[i], &sums, NULL), GW_OK);
        assert_int_equal(sums.id, rows[i]);
        assert_int_equal(sums.load, loads[i]);
        assert_int_equal(sums.spent.of[LEDGER_REQUESTS_DAY], 2);
        assert_int_equal(sums.spent.of[LEDGER_TOKENS_MONTH], 24);
    }
    spool_free(s);
}

static void frames_keep_their_bounds(void **state)
{
    kit *k = *state;
    spool_opened how;
    gw_error err;
    spool_frame *f = malloc(sizeof(*f));
    assert_non_null(f);
    int number = 0;
    spool *s = open_spool(k, &how);
    append(s, SPOOL_FRAME_EVENTS + 88, &number);
    assert_int_equal(spool_read(s, 1, SPOOL_FRAME_BYTES, f, &err), GW_OK);
    assert_int_equal(f->count, SPOOL_FRAME_EVENTS);
    uint32_t one = (uint32_t)f->events[0].len;
    assert_int_equal(spool_read(s, SPOOL_FRAME_EVENTS + 1, UINT32_MAX, f, &err), GW_OK);
    assert_int_equal(f->first_seq, SPOOL_FRAME_EVENTS + 1);
    assert_int_equal(f->count, 88);
    assert_int_equal(spool_read(s, 1, 2 * one + 1, f, &err), GW_OK);
    assert_int_equal(f->count, 2);
    assert_int_equal(spool_read(s, 1, one - 1, f, &err), GW_OK);
    assert_int_equal(f->count, 0);
    assert_int_equal(spool_read(s, SPOOL_FRAME_EVENTS + 89, SPOOL_FRAME_BYTES, f, &err), GW_OK);
    assert_int_equal(f->count, 0);
    ack(s, 10);
    assert_int_equal(spool_read(s, 5, SPOOL_FRAME_BYTES, f, &err), GW_ERR_DATA_LOSS); /* a gap */
    spool_free(s);
    free(f);
}

static void an_empty_spool_goes_on_counting(void **state)
{
    kit *k = *state;
    spool_opened how;
    int number = 0;
    spool *s = open_spool(k, &how);
    append(s, 3, &number);
    ack(s, 3);
    spool_free(s);
    s = open_spool(k, &how);
    assert_int_equal(spool_get_info(s)->tail, 3);
    append(s, 1, &number);
    assert_int_equal(number_at(s, 4), 4);
    assert_int_equal(number_at(s, 1), -1);
    spool_free(s);
}

static void a_restart_renumbers_what_is_not_acked(void **state)
{
    kit *k = *state;
    spool_opened how;
    gw_error err;
    int number = 0;
    spool *s = open_spool(k, &how);
    append(s, 10, &number);
    ack(s, 4);
    spool_info before = *spool_get_info(s);
    assert_int_equal(spool_restart(s, &err), GW_OK);
    for (int round = 0; round < 2; round++) {
        const spool_info *i = spool_get_info(s);
        assert_memory_not_equal(i->id, before.id, sizeof(before.id));
        assert_memory_not_equal(i->boot, before.boot, sizeof(before.boot));
        assert_false(i->registered);
        assert_int_equal(i->acked, 0);
        assert_int_equal(i->tail, 6 + round);
        assert_int_equal(number_at(s, 1), 5);
        assert_int_equal(number_at(s, 0), -1);
        append(s, 1, &number);
        assert_int_equal(number_at(s, 7 + round), 11 + round);
        spool_free(s);
        s = open_spool(k, &how);
        assert_false(how.unreadable);
    }
    ack(s, 8);
    spool_free(s);
}

static void a_replacement_keeps_the_old_one_and_the_generations(void **state)
{
    kit *k = *state;
    spool_opened how;
    gw_error err;
    int number = 0;
    char aside[SPOOL_ASIDE_SIZE], path[256];
    spool *s = open_spool(k, &how), *old = NULL;
    append(s, 10, &number);
    assert_int_equal(spool_replace(s, "conflict", aside, &err), GW_OK);
    assert_int_equal(spool_get_info(s)->tail, 0);
    assert_int_equal(spool_committed(s, 7), 7);
    append(s, 2, &number);
    spool_free(s);
    s = open_spool(k, &how);
    assert_false(how.unreadable);
    assert_int_equal(spool_get_info(s)->tail, 2);
    assert_int_equal(spool_committed(s, 7), 7);
    spool_free(s);
    (void)snprintf(path, sizeof(path), "%s/%s", k->dir, aside);
    assert_int_equal(spool_open_readonly(path, &old, &err), GW_OK);
    assert_int_equal(spool_get_info(old)->tail, 10);
    assert_int_equal(number_at(old, 10), 10);
    spool_free(old);
}

static void rename_in(const kit *k, const char *from, const char *to)
{
    char a[128], b[128];
    (void)snprintf(a, sizeof(a), "%s/%s", k->dir, from);
    (void)snprintf(b, sizeof(b), "%s/%s", k->dir, to);
    assert_int_equal(rename(a, b), 0);
}

static void a_replacement_cut_between_its_renames_is_finished(void **state)
{
    kit *k = *state;
    spool_opened how;
    int number = 0;
    spool *s = open_spool(k, &how);
    append(s, 4, &number);
    spool_free(s);
    rename_in(k, "spool", "spool.new");
    s = open_spool(k, &how);
    assert_false(how.unreadable);
    assert_int_equal(spool_get_info(s)->tail, 4);
    spool_free(s);
}

static void a_replacement_that_failed_half_way_is_finished_by_the_next(void **state)
{
    kit *k = *state;
    spool_opened how;
    gw_error err;
    int number = 0;
    char aside[SPOOL_ASIDE_SIZE];
    spool *s = open_spool(k, &how);
    append(s, 4, &number);
    spool_close(s);
    rename_in(k, "spool", "spool.new");
    assert_int_equal(spool_replace(s, "conflict", aside, &err), GW_OK);
    assert_string_equal(aside, "");
    append(s, 2, &number);
    assert_int_equal(spool_get_info(s)->tail, 6);
    spool_free(s);
}

/* ---- damage ---- */

static void data_path(const kit *k, char out[128])
{
    (void)snprintf(out, 128, "%s/spool/000000.log", k->dir);
}

static void cut_to_nothing(const char *path)
{
    assert_int_equal(truncate(path, 0), 0);
}
static void cut_the_tail(const char *path)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(truncate(path, st.st_size - 8192), 0);
}
static void cut_in_the_records(const char *path)
{
    assert_int_equal(truncate(path, 5000), 0);
}
static void fill_with_noise(const char *path)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    char noise[16384];
    memset(noise, 0x5a, sizeof(noise));
    assert_int_equal(write(fd, noise, sizeof(noise)), (ssize_t)sizeof(noise));
    (void)close(fd);
}
static void remove_it(const char *path)
{
    assert_int_equal(remove(path), 0);
}

static void put_an_lmdb_there(const char *path)
{
    char data[160], *slash;
    remove_it(path);
    (void)snprintf(data, sizeof(data), "%s", path);
    slash = strrchr(data, '/');
    for (const char *const *name = (const char *const[]){"/state.0", "/state.1", NULL}; *name;
         name++) {
        (void)snprintf(slash, 16, "%s", *name);
        (void)remove(data);
    }
    (void)snprintf(slash, 16, "/data.mdb");
    FILE *f = fopen(data, "we");
    assert_non_null(f);
    assert_int_equal(fputs("pages", f) < 0, 0);
    (void)fclose(f);
}

static void an_unreadable_spool_is_put_aside(void **state)
{
    kit *k = *state;
    void (*const damages[])(const char *) = {cut_to_nothing,  cut_the_tail, cut_in_the_records,
                                             fill_with_noise, remove_it,    put_an_lmdb_there};
    for (size_t i = 0; i < GW_ARRAY_LEN(damages); i++) {
        spool_opened how;
        int number = 0;
        char path[128];
        spool *s = open_spool(k, &how);
        append(s, 50, &number);
        spool_info before = *spool_get_info(s);
        spool_free(s);
        data_path(k, path);
        damages[i](path);
        s = open_spool(k, &how);
        assert_true(how.unreadable);
        assert_true(how.aside[0] != '\0');
        assert_int_equal(strstr(how.why.message, "LMDB") != NULL, damages[i] == put_an_lmdb_there);
        assert_int_equal(spool_get_info(s)->tail, 0);
        assert_memory_not_equal(spool_get_info(s)->id, before.id, sizeof(before.id));
        append(s, 1, &number);
        spool_free(s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, kit_setup, kit_teardown)
        TEST(what_is_committed_is_there_after_reopening),
        TEST(the_id_of_what_is_acked_is_brought_or_looked_up),
        TEST(an_event_counts_for_the_position_of_each_of_its_levels),
        TEST(frames_keep_their_bounds),
        TEST(an_empty_spool_goes_on_counting),
        TEST(a_restart_renumbers_what_is_not_acked),
        TEST(a_replacement_keeps_the_old_one_and_the_generations),
        TEST(a_replacement_cut_between_its_renames_is_finished),
        TEST(a_replacement_that_failed_half_way_is_finished_by_the_next),
        TEST(an_unreadable_spool_is_put_aside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
