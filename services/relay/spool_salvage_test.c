/* What can be read of a spool that the disk has damaged, and what is kept of it. */
#include "spool_disk_kit.h"

#include <dirent.h>

static void overwrite(const char *path, const void *bytes, size_t len, off_t at)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_int_equal(pwrite(fd, bytes, len, at), len);
    (void)close(fd);
}

typedef struct gap {
    int64_t first, last; /* numbers; last < first: none */
} gap;

/* All events up to `tail` but those of the gaps, which follow one another. */
static void check_rest(const kit *k, int64_t tail, const gap *gaps, size_t count)
{
    char folder[128];
    gw_error err = {0};
    spool *left = NULL;
    spool_frame *f = malloc(sizeof(*f));
    int64_t expected = 1;
    assert_non_null(f);
    (void)snprintf(folder, sizeof(folder), "%s/spool", k->dir);
    assert_int_equal(spool_open_damaged(folder, &left, &err), GW_OK);
    for (int64_t seq = spool_next(left, 1); seq != INT64_MAX; seq = spool_next(left, expected)) {
        if (seq > expected) {
            assert_true(count > 0);
            assert_int_equal(expected, gaps->first);
            assert_int_equal(seq, gaps->last + 1);
            gaps++;
            count--;
        }
        if (spool_read(left, seq, SPOOL_FRAME_BYTES, f, &err) != GW_OK)
            fail_msg("%s", err.message);
        assert_true(f->count > 0);
        for (uint32_t i = 0; i < f->count; i++) {
            made_event m;
            spool_event e = make_event(&m, seq + i);
            assert_int_equal(f->events[i].len, e.bytes.len);
            assert_memory_equal(f->events[i].data, e.bytes.ptr, e.bytes.len);
        }
        expected = seq + f->count;
    }
    assert_int_equal(count, 0);
    assert_int_equal(expected, tail + 1);
    assert_int_equal(spool_get_info(left)->tail, tail);
    spool_free(left);
    free(f);
}

static gw_status try_to_open(const kit *k)
{
    char folder[128];
    gw_error err;
    spool *s = NULL;
    (void)snprintf(folder, sizeof(folder), "%s/spool", k->dir);
    gw_status rc = spool_open_readonly(folder, &s, &err);
    spool_free(s);
    return rc;
}

static void of_a_damaged_spool_the_rest_can_be_read(void **state)
{
    kit *k = *state;
    char path[128];
    spool *s = open_spool(k);
    while (s->log->count < 4)
        assert_int_equal(write_events(s, end_of(s) + 1, 10, 0), GW_OK);
    int64_t tail = s->meta.tail;
    gap lost = {s->log->segments[1]->before + 1, s->log->segments[1]->last};
    segment_path(k, s->log->segments[1]->file, path);
    spool_free(s);
    assert_int_equal(remove(path), 0);
    assert_int_equal(try_to_open(k), GW_ERR_DATA_LOSS);
    check_rest(k, tail, &lost, 1);
}

/* Three events a record; what is spoilt is a record's header or its body, the last of the segment or another. */
static void behind_a_damaged_record_the_next_sound_one_is_found(void **state)
{
    kit *k = *state;
    uint32_t offsets[8];
    char path[128];
    static const uint8_t noise[4] = {0x5a, 0x5a, 0x5a, 0x5a};
    spool *s = open_spool(k);
    for (size_t i = 0; i < GW_ARRAY_LEN(offsets); i++) {
        offsets[i] = s->log->written;
        assert_int_equal(write_events(s, end_of(s) + 1, 3, 0), GW_OK);
    }
    spool_free(s);
    segment_path(k, 0, path);
    overwrite(path, noise, sizeof(noise), offsets[1] + 8); /* the header of 4 … 6 */
    overwrite(path, noise, sizeof(noise), offsets[4] + 300); /* the body of 13 … 15 */
    overwrite(path, noise, sizeof(noise), offsets[5] + 300);
    assert_int_equal(try_to_open(k), GW_ERR_DATA_LOSS);
    check_rest(k, 24, (const gap[]){{4, 6}, {13, 18}}, 2);
    overwrite(path, noise, sizeof(noise), 20); /* the segment's head */
    assert_int_equal(try_to_open(k), GW_ERR_DATA_LOSS);
    check_rest(k, 24, (const gap[]){{4, 6}, {13, 18}}, 2);
}

/* Of a commit of two records the second is still there, behind the one that was written over the first. */
static void what_a_failed_commit_left_is_not_salvaged(void **state)
{
    kit *k = *state;
    char path[128];
    spool *s = open_spool_of(k, 8 << 20);
    assert_int_equal(write_events(s, 1, 3, 0), GW_OK);
    uint32_t damaged = s->log->written;
    disk.fails_sync = true;
    assert_int_equal(write_events(s, 4, 300, 0), GW_ERR_IO);
    disk.fails_sync = false;
    assert_int_equal(write_events(s, 4, 3, 0), GW_OK);
    spool_free(s);
    check_rest(k, 6, NULL, 0);
    segment_path(k, 0, path);
    overwrite(path, "what", 4, damaged + 300);
    check_rest(k, 3, NULL, 0);
}

static void a_disk_that_cannot_be_read_is_no_end(void **state)
{
    kit *k = *state;
    char path[128];
    spool *s = open_spool(k);
    for (int i = 0; i < 8; i++)
        assert_int_equal(write_events(s, end_of(s) + 1, 3, 0), GW_OK);
    uint32_t to = s->log->written;
    spool_free(s);
    for (off_t at = SECTOR; at < to; at += SECTOR) {
        disk.unreadable = at;
        assert_int_equal(try_to_open(k), GW_ERR_DATA_LOSS);
    }
    disk.unreadable = -1;
    segment_path(k, 0, path);
    assert_int_equal(try_to_open(k), GW_OK);
}

static int count_of_folder(const kit *k)
{
    int n = 0;
    DIR *d = opendir(k->dir);
    assert_non_null(d);
    while (readdir(d))
        n++;
    (void)closedir(d);
    return n;
}

/* It is tried again and again: a new spool would be no better, and each one that was put aside takes its room. */
static void on_a_disk_that_reads_nothing_a_spool_stays_where_it_is(void **state)
{
    kit *k = *state;
    char aside[SPOOL_ASIDE_SIZE];
    spool_opened how;
    gw_error err;
    spool *none = NULL, *s = open_spool(k);
    assert_int_equal(write_events(s, 1, 3, 0), GW_OK);
    int before = count_of_folder(k);
    disk.reads_nothing = true;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(spool_repair(s, aside, &err), GW_ERR_IO);
        assert_int_equal(count_of_folder(k), before + 1); /* spool.new, the same each time */
    }
    spool_free(s);
    assert_int_equal(spool_open(k->dir, 0, SLOTS, &none, &how, &err), GW_ERR_IO);
    assert_int_equal(count_of_folder(k), before + 1);
    disk.reads_nothing = false;
    s = open_spool(k);
    assert_int_equal(end_of(s), 3);
    check_all(s);
    spool_free(s);
}

static void a_flight_table_that_cannot_be_read_is_put_aside(void **state)
{
    kit *k = *state;
    flight_table *t = NULL;
    bool is_renamed;
    gw_error err;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(flight_table_open(k->dir, 64, &t, &is_renamed, &err), GW_OK);
        assert_int_equal(is_renamed, i == 1);
        flight_table_free(t);
        disk.unreadable = i == 0 ? FLIGHT_HEADER_BYTES + 40 * FLIGHT_SLOT_BYTES : -1;
    }
}

static void of_a_damaged_spool_is_kept_what_is_committed_of_each_slot(void **state)
{
    kit *k = *state;
    char path[128];
    gw_error err;
    spool_opened how;
    spool *s = open_spool(k);
    for (int i = 0; i < 3; i++)
        assert_int_equal(write_events(s, end_of(s) + 1, 2, 0), GW_OK);
    uint32_t damaged = s->log->written;
    for (int i = 0; i < 2; i++)
        assert_int_equal(write_events(s, end_of(s) + 1, 1, 0), GW_OK);
    spool_free(s);
    segment_path(k, 0, path);
    overwrite(path, "what", 4, damaged + 300);
    assert_int_equal(spool_open(k->dir, 0, SLOTS, &s, &how, &err), GW_OK);
    assert_true(how.unreadable);
    for (uint32_t number = 1; number <= 6; number++)
        assert_int_equal(spool_committed(s, number % SLOTS), number);
    assert_int_equal(spool_committed(s, 7), 0);
    spool_free(s);
}

/* The last record of the segment before is without events, and bad: the head behind it says the same. */
static void a_head_says_what_a_damaged_record_before_it_said(void **state)
{
    kit *k = *state;
    char path[128];
    spool *s = open_spool(k);
    while (spool_log_room(s->log, true) > 0)
        assert_int_equal(write_events(s, end_of(s) + 1, 1, 0), GW_OK);
    uint32_t damaged = s->log->written;
    assert_int_equal(write_events(s, 0, 0, 5), GW_OK);
    disk.bytes_left = sizeof(spool_head) + 8; /* and the end of the old segment */
    assert_int_equal(write_events(s, end_of(s) + 1, 1, 5), GW_ERR_IO);
    disk.bytes_left = -1;
    assert_int_equal(s->log->count, 2);
    segment_path(k, s->log->segments[0]->file, path);
    spool_free(s);
    overwrite(path, "what", 4, damaged + 20);
    s = open_spool(k);
    assert_int_equal(s->meta.acked, 5);
    check_all(s);
    spool_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DISK_TEST(of_a_damaged_spool_the_rest_can_be_read),
        DISK_TEST(behind_a_damaged_record_the_next_sound_one_is_found),
        DISK_TEST(what_a_failed_commit_left_is_not_salvaged),
        DISK_TEST(a_disk_that_cannot_be_read_is_no_end),
        DISK_TEST(on_a_disk_that_reads_nothing_a_spool_stays_where_it_is),
        DISK_TEST(a_flight_table_that_cannot_be_read_is_put_aside),
        DISK_TEST(of_a_damaged_spool_is_kept_what_is_committed_of_each_slot),
        DISK_TEST(a_head_says_what_a_damaged_record_before_it_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
