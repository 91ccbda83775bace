/* The spool on a disk that fails: one fault at a time, then any of them in any order. */
#include "spool_disk_kit.h"

#define SEEDS 25
#define STEPS 120

/* ---- one fault at a time ---- */

static void copy_file(const char *from, const char *to, size_t len)
{
    char *bytes = calloc(1, len);
    int in = open(from, O_RDONLY | O_CLOEXEC), out = open(to, O_WRONLY | O_CLOEXEC);
    assert_true(bytes && in >= 0 && out >= 0);
    assert_true(read(in, bytes, len) > 0);
    assert_true(write(out, bytes, len) > 0);
    (void)close(in);
    (void)close(out);
    free(bytes);
}

/* Of the last record only the first `n` bytes reached the disk. */
static void a_last_record_cut_at_any_byte_is_the_end(void **state)
{
    kit *k = *state;
    char path[128], kept[160];
    spool *s = open_spool(k);
    assert_int_equal(write_events(s, 1, 5, 0), GW_OK);
    uint32_t from = s->log->written, size = s->log->segments[0]->size;
    assert_int_equal(write_events(s, 6, 2, 0), GW_OK);
    uint32_t to = s->log->written;
    spool_free(s);
    segment_path(k, 0, path);
    (void)snprintf(kept, sizeof(kept), "%s/kept", k->dir);
    (void)close(open(kept, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    copy_file(path, kept, size);
    uint8_t noise[4096];
    memset(noise, 0x5a, sizeof(noise));
    assert_true(to - from <= sizeof(noise));
    for (uint32_t at = from; at < to; at++) {
        copy_file(kept, path, size);
        int fd = open(path, O_WRONLY | O_CLOEXEC);
        /* Seven bytes of padding may say anything. */
        bool is_padding = at >= to - 7;
        assert_int_equal(pwrite(fd, noise, to - at, at), to - at);
        (void)close(fd);
        s = open_spool(k);
        assert_true(end_of(s) == 5 || (end_of(s) == 7 && is_padding));
        assert_int_equal(write_events(s, end_of(s) + 1, 2, 0), GW_OK);
        check_all(s);
        spool_free(s);
    }
}

static void a_bit_that_flipped_is_noticed_wherever_it_is(void **state)
{
    kit *k = *state;
    char path[128];
    spool *s = open_spool(k);
    spool_opened how;
    gw_error err;
    for (int i = 0; i < 4; i++)
        assert_int_equal(write_events(s, 1 + 3 * i, 3, 0), GW_OK);
    uint32_t last = s->log->segments[0]->marks[s->log->segments[0]->mark_count - 1].offset;
    uint32_t to = s->log->written;
    spool_free(s);
    segment_path(k, 0, path);
    for (uint32_t at = 0; at < to; at += 3) {
        uint8_t byte, flipped;
        spool_log *l = NULL;
        spool_meta m;
        char folder[128];
        int fd = open(path, O_RDWR | O_CLOEXEC);
        assert_int_equal(pread(fd, &byte, 1, at), 1);
        flipped = byte ^ (uint8_t)(1U << at % 8);
        assert_int_equal(pwrite(fd, &flipped, 1, at), 1);
        (void)snprintf(folder, sizeof(folder), "%s/spool", k->dir);
        gw_status rc = spool_log_open(folder, 0, NULL, &l, &m, &err);
        /* Of the last record none can say whether it had been written whole. Up to seven bytes behind a record mean nothing. */
        if (rc == GW_OK)
            assert_true(at >= last ? spool_meta_end(&m) >= 9 : spool_meta_end(&m) == 12);
        else
            assert_true(rc == GW_ERR_DATA_LOSS && at < to);
        bool is_padding = rc == GW_OK && at < last;
        spool_log_free(l);
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
        (void)close(fd);
        if (is_padding)
            assert_int_equal(byte, 0);
    }
    (void)how;
    s = open_spool(k);
    check_all(s);
    spool_free(s);
}

static unsigned count_files(const kit *k)
{
    unsigned n = 0;
    for (unsigned file = 0; file < 200; file++) {
        char path[128];
        segment_path(k, file, path);
        n += access(path, F_OK) == 0;
    }
    return n;
}

static void acked_segments_are_used_again(void **state)
{
    kit *k = *state;
    spool *s = open_spool(k);
    int64_t allocations = 0;
    for (int i = 0; i < 200; i++) {
        assert_int_equal(write_events(s, end_of(s) + 1, 20, s->meta.tail), GW_OK);
        if (i == 50)
            allocations = disk.allocations;
    }
    assert_true(s->log->segments[s->log->count - 1]->number > 40);
    assert_int_equal(disk.allocations, allocations);
    assert_true(count_files(k) <= 2 + SPOOL_SPARES);
    check_all(s);
    spool_free(s);
    s = open_spool(k);
    assert_int_equal(end_of(s), 4000);
    check_all(s);
    spool_free(s);
}

static void each_commit_is_one_sync(void **state)
{
    kit *k = *state;
    spool *s = open_spool(k);
    int64_t before = disk.syncs;
    for (int i = 0; i < 5; i++)
        assert_int_equal(write_events(s, end_of(s) + 1, 1, s->meta.tail), GW_OK);
    assert_int_equal(disk.syncs - before, 5);
    spool_free(s);
}

static void what_does_not_fit_a_full_disk_comes_when_there_is_room(void **state)
{
    kit *k = *state;
    spool *s = open_spool(k);
    disk.is_full = true;
    assert_int_equal(write_events(s, 1, 500, 0), GW_ERR_IO);
    int64_t there = end_of(s);
    assert_true(there > 0 && there < 500); /* of more than a segment the first part is there */
    for (int i = 0; i < 3; i++)
        assert_int_equal(write_events(s, there + 1, 500 - (size_t)there, 0), GW_ERR_IO);
    assert_int_equal(end_of(s), there);
    check_all(s);
    assert_int_equal(write_events(s, 0, 0, there), GW_OK); /* a claim still counts */
    assert_int_equal(s->meta.acked, there);
    spool_free(s);
    s = open_spool(k);
    assert_int_equal(s->meta.acked, there);
    disk.is_full = false;
    assert_int_equal(write_events(s, there + 1, 500 - (size_t)there, there), GW_OK);
    check_all(s);
    spool_free(s);
}

static void claims_make_room_on_a_full_disk(void **state)
{
    kit *k = *state;
    spool *s = open_spool(k);
    while (s->log->count < 4)
        assert_int_equal(write_events(s, end_of(s) + 1, 10, 0), GW_OK);
    disk.is_full = true;
    gw_status rc;
    do
        rc = write_events(s, end_of(s) + 1, 1, 0);
    while (rc == GW_OK);
    assert_int_equal(rc, GW_ERR_IO);
    assert_int_equal(write_events(s, 0, 0, s->meta.tail - 3), GW_OK);
    for (int i = 0; i < 300; i++) /* for ever, as long as it is claimed */
        assert_int_equal(write_events(s, end_of(s) + 1, 3, s->meta.tail - 3), GW_OK);
    check_all(s);
    spool_free(s);
}

static void a_sync_that_fails_changes_nothing(void **state)
{
    kit *k = *state;
    spool *s = open_spool(k);
    gw_error err;
    assert_int_equal(write_events(s, 1, 10, 0), GW_OK);
    disk.fails_sync = true;
    assert_int_equal(write_events(s, 11, 4, 5), GW_ERR_IO);
    assert_int_equal(spool_restart(s, &err), GW_ERR_IO);
    assert_int_equal(end_of(s), 10);
    assert_int_equal(s->meta.acked, 0);
    disk.fails_sync = false;
    assert_int_equal(write_events(s, 11, 2, 3), GW_OK); /* over what is left of the four */
    check_all(s);
    spool_free(s);
    s = open_spool(k);
    assert_int_equal(end_of(s), 12);
    check_all(s);
    spool_free(s);
}

/* After a sync that failed the kernel may take what was written for written: who comes next has to write it again. */
static void what_a_failed_sync_dropped_is_written_again_by_the_next_start(void **state)
{
    kit *k = *state;
    disk.remembers = true;
    for (int i = 0; i < 20; i++) {
        spool *s = open_spool(k);
        int64_t end = end_of(s);
        assert_int_equal(write_events(s, end + 1, 2, 0), GW_OK);
        disk.fails_sync = true;
        assert_int_equal(write_events(s, end + 3, 30, 0), GW_ERR_IO);
        disk.fails_sync = false;
        spool_free(s); /* killed */
        s = open_spool(k);
        end = end_of(s); /* this may be sent from now on */
        spool_free(s);
        lose_power();
        s = open_spool(k);
        assert_int_equal(end_of(s), end);
        check_all(s);
        spool_free(s);
    }
}

static void a_full_disk_takes_events_together_with_the_claims_that_make_room(void **state)
{
    kit *k = *state;
    spool *s = open_spool(k);
    while (s->log->count < 4)
        assert_int_equal(write_events(s, end_of(s) + 1, 10, 0), GW_OK);
    disk.is_full = true;
    while (write_events(s, end_of(s) + 1, 1, 0) == GW_OK) {
    }
    for (int i = 0; i < 300; i++)
        assert_int_equal(write_events(s, end_of(s) + 1, 3, s->meta.tail), GW_OK);
    check_all(s);
    spool_free(s);
}

static void signals_and_short_writes_change_nothing(void **state)
{
    kit *k = *state;
    disk.is_interrupted = true;
    spool *s = open_spool(k);
    while (s->log->count < 3)
        assert_int_equal(write_events(s, end_of(s) + 1, 10, 0), GW_OK);
    check_all(s);
    spool_free(s);
    s = open_spool(k);
    check_all(s);
    spool_free(s);
}

/* ---- an alarm before it fails ---- */

static bool is_low(kit *k)
{
    return kit_stats(k).disk_low;
}

static bool is_well(kit *k)
{
    return !kit_stats(k).disk_low;
}

static void take_time(void *arg)
{
    gw_fake_clock_advance_ms(arg, 40);
}

static bool has_waited_for_the_disk(kit *k)
{
    return kit_stats(k).longest_commit_ms >= 80; /* a write and a sync */
}

static void the_longest_commit_is_known(void **state)
{
    kit *k = *state;
    gw_fake_clock time;
    gw_clock clock = gw_fake_clock_init(&time, 1764000000000);
    recorder_options o = kit_options(k);
    o.clock = &clock;
    o.without_thread = true;
    kit_open(k, &o);
    disk.arg = &time;
    disk.meanwhile = take_time;
    for (int i = 1; i <= 2; i++) {
        assert_true(kit_record(recorder_lane_at(k->recorder, 0), true));
        gw_fake_clock_advance_ms(&time, 1000);
        recorder_turn(k->recorder);
        disk.meanwhile = NULL;
        k->wanted = i;
        kit_run_until(k, i == 1 ? has_waited_for_the_disk : kit_tail_is_wanted);
    }
    assert_int_equal(kit_stats(k).longest_commit_ms, 80);
    kit_close(k, 0);
}

static void a_disk_without_room_for_the_bound_is_an_alarm(void **state)
{
    kit *k = *state;
    gw_fake_clock time;
    gw_clock clock = gw_fake_clock_init(&time, 1764000000000);
    recorder_options o = kit_options(k);
    o.clock = &clock;
    o.without_thread = true;
    disk.free_pages = (64 << 20) / 4096 / 5 + 1; /* of a bound of 64 MiB */
    kit_open(k, &o);
    recorder_turn(k->recorder);
    assert_true(kit_record(recorder_lane_at(k->recorder, 0), true));
    gw_fake_clock_advance_ms(&time, 1000);
    recorder_turn(k->recorder);
    kit_wait_tail(k, 1);
    assert_true(is_well(k));
    disk.free_pages -= 2;
    gw_fake_clock_advance_ms(&time, 5000);
    recorder_turn(k->recorder);
    kit_run_until(k, is_low);
    assert_false(kit_stats(k).disk_failed);
    disk.free_pages = 1 << 20;
    gw_fake_clock_advance_ms(&time, 5000);
    recorder_turn(k->recorder);
    kit_run_until(k, is_well);
    kit_close(k, 0);
}

/* ---- any of them, in any order ---- */

typedef struct course {
    kit *k;
    spool *s;
    int64_t end, acked, base; /* what was said to be committed */
} course;

static void note_committed(course *c)
{
    c->end = end_of(c->s);
    c->base = c->s->meta.base;
    c->acked = c->s->meta.acked;
}

static void reopen(course *c)
{
    disk.fails_sync = disk.fails_some_syncs = disk.is_full = disk.is_interrupted = false;
    disk.bytes_left = -1;
    c->s = open_spool(c->k);
    /* What failed may be there, and nothing that had succeeded may be missing. */
    assert_true(end_of(c->s) >= c->end);
    assert_true(c->s->meta.base + c->s->meta.acked >= c->base + c->acked);
    check_all(c->s);
    note_committed(c);
}

static void step(course *c)
{
    static const size_t counts[] = {0, 1, 1, 3, 12, 60, 200};
    gw_error err;
    int64_t waiting = c->s->meta.tail - c->s->meta.acked;
    int64_t acked = c->s->meta.acked;
    disk.is_full = gw_random_below(8) == 0;
    disk.fails_sync = gw_random_below(10) == 0;
    disk.fails_some_syncs = gw_random_below(8) == 0;
    disk.is_interrupted = gw_random_below(10) == 0;
    disk.bytes_left = gw_random_below(10) == 0 ? (int64_t)gw_random_below(30000) : -1;
    if (gw_random_below(2))
        acked += (int64_t)gw_random_below((uint64_t)waiting + 1);
    if (gw_random_below(30) == 0)
        (void)!spool_restart(c->s, &err);
    else
        (void)!write_events(c->s, end_of(c->s) + 1, counts[gw_random_below(GW_ARRAY_LEN(counts))],
                            acked);
    note_committed(c);
}

static void what_was_committed_survives_everything(void **state)
{
    for (int seed = 0; seed < SEEDS; seed++) {
        course c = {.k = *state};
        disk.remembers = true;
        reopen(&c);
        for (int i = 0; i < STEPS; i++) {
            step(&c);
            if (gw_random_below(12) != 0)
                continue;
            spool_free(c.s);
            if (gw_random_below(2))
                lose_power();
            reopen(&c);
            if (gw_random_below(2)) { /* what is shown after an opening is on disk */
                spool_free(c.s);
                lose_power();
                reopen(&c);
            }
        }
        new_disk();
        spool_free(c.s);
        kit_remove_tree(c.k->dir);
        assert_int_equal(mkdir(c.k->dir, 0700), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DISK_TEST(a_last_record_cut_at_any_byte_is_the_end),
        DISK_TEST(a_bit_that_flipped_is_noticed_wherever_it_is),
        DISK_TEST(acked_segments_are_used_again),
        DISK_TEST(each_commit_is_one_sync),
        DISK_TEST(what_does_not_fit_a_full_disk_comes_when_there_is_room),
        DISK_TEST(claims_make_room_on_a_full_disk),
        DISK_TEST(a_sync_that_fails_changes_nothing),
        DISK_TEST(what_a_failed_sync_dropped_is_written_again_by_the_next_start),
        DISK_TEST(a_full_disk_takes_events_together_with_the_claims_that_make_room),
        DISK_TEST(signals_and_short_writes_change_nothing),
        DISK_TEST(the_longest_commit_is_known),
        DISK_TEST(a_disk_without_room_for_the_bound_is_an_alarm),
        DISK_TEST(what_was_committed_survives_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
