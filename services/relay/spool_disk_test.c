/*
 * The spool on a disk that fails, fills up and loses what was not synced: the test's own pwrite(), fdatasync() and posix_fallocate() are
 * between the two.
 */
#include "flight_table.h"
#include "recorder_test_kit.h"
#include "spool_internal.h"

#include "core/id.h"
#include "testing/fake_clock.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>

#define SLOTS  8
#define ROWS   3
#define SECTOR 512
#define SEEDS  25
#define STEPS  120

/* ---- the disk ---- */

/* What of a file would be there after a power loss, and which of its sectors are still to be written there. */
typedef struct disk_file {
    char path[256];
    size_t size;
    uint8_t *stable;
    bool *is_dirty; /* by sector */
} disk_file;

static struct disk {
    bool is_full, fails_sync, fails_some_syncs, is_interrupted, remembers;
    int64_t bytes_left; /* that can be written before a write is cut short; < 0: any */
    int64_t syncs, allocations, calls;
    int64_t free_pages;
    off_t unreadable; /* the sector there; < 0: none */
    disk_file files[256];
    size_t count;
} disk;

static void name_of(int fd, char out[256])
{
    char link[64];
    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, out, 255);
    out[n > 0 ? n : 0] = '\0';
}

static void forget_file(disk_file *f)
{
    free(f->stable);
    free(f->is_dirty);
    *f = disk.files[--disk.count];
}

static disk_file *known_file(int fd)
{
    char path[256];
    name_of(fd, path);
    for (size_t i = 0; i < disk.count; i++)
        if (strcmp(disk.files[i].path, path) == 0)
            return &disk.files[i];
    return NULL;
}

static ssize_t read_at(int fd, void *bytes, size_t len, off_t at)
{
    return syscall(SYS_pread64, fd, bytes, len, at);
}

static ssize_t write_at(int fd, const void *bytes, size_t len, off_t at)
{
    return syscall(SYS_pwrite64, fd, bytes, len, at);
}

/* What is there when a file is first written is taken for durable. */
static disk_file *file_of(int fd)
{
    struct stat st;
    disk_file *f = known_file(fd);
    if (f)
        return f;
    assert_true(disk.count < GW_ARRAY_LEN(disk.files));
    assert_int_equal(fstat(fd, &st), 0);
    f = &disk.files[disk.count++];
    *f = (disk_file){.size = (size_t)st.st_size,
                     .stable = calloc(1, (size_t)st.st_size + 1),
                     .is_dirty = calloc((size_t)st.st_size / SECTOR + 1, sizeof(bool))};
    assert_true(f->stable && f->is_dirty);
    name_of(fd, f->path);
    int reading = open(f->path, O_RDONLY | O_CLOEXEC);
    assert_true(read_at(reading, f->stable, f->size, 0) == (ssize_t)f->size);
    (void)close(reading);
    return f;
}

static void note_write(int fd, off_t at, size_t len)
{
    disk_file *f = file_of(fd);
    for (size_t i = (size_t)at / SECTOR; len > 0 && i <= ((size_t)at + len - 1) / SECTOR; i++)
        f->is_dirty[i] = true;
}

static size_t sector_bytes(const disk_file *f, size_t sector)
{
    return GW_MIN((size_t)SECTOR, f->size - sector * SECTOR);
}

static bool is_interrupted(void)
{
    return disk.is_interrupted && ++disk.calls % 2 == 0;
}

ssize_t pwrite(int fd, const void *bytes, size_t len, off_t at)
{
    size_t n = len;
    if (is_interrupted()) {
        errno = EINTR;
        return -1;
    }
    if (disk.is_interrupted)
        n = (len + 1) / 2;
    if (disk.bytes_left >= 0 && disk.bytes_left < (int64_t)n)
        n = (size_t)disk.bytes_left;
    if (disk.bytes_left >= 0)
        disk.bytes_left -= (int64_t)n;
    if (disk.remembers && n > 0)
        note_write(fd, at, n);
    if (n == 0 && len > 0) {
        errno = EIO;
        return -1;
    }
    return write_at(fd, bytes, n, at);
}

ssize_t pread(int fd, void *bytes, size_t len, off_t at)
{
    off_t bad = disk.unreadable;
    if (is_interrupted()) {
        errno = EINTR;
        return -1;
    }
    if (bad >= 0 && at < bad + SECTOR && at + (off_t)len > bad) {
        if (at >= bad) {
            errno = EIO;
            return -1;
        }
        len = (size_t)(bad - at);
    }
    return read_at(fd, bytes, disk.is_interrupted ? (len + 1) / 2 : len, at);
}

/* What fails has written some of it; of the rest the kernel thinks no more, though it still shows it to who reads. */
static int sync_it(int fd)
{
    disk_file *f = known_file(fd);
    bool fails = disk.fails_sync || (disk.fails_some_syncs && gw_random_below(2));
    if (is_interrupted()) {
        errno = EINTR;
        return -1;
    }
    int reading = f ? open(f->path, O_RDONLY | O_CLOEXEC) : -1;
    for (size_t i = 0; f && reading >= 0 && i * SECTOR < f->size; i++) {
        if (f->is_dirty[i] && (!fails || gw_random_below(2)))
            (void)read_at(reading, f->stable + i * SECTOR, sector_bytes(f, i), (off_t)(i * SECTOR));
        f->is_dirty[i] = false;
    }
    if (reading >= 0)
        (void)close(reading);
    if (fails) {
        errno = EIO;
        return -1;
    }
    disk.syncs++;
    return 0;
}
int fdatasync(int fd)
{
    return sync_it(fd);
}
int fsync(int fd)
{
    return sync_it(fd);
}

int posix_fallocate(int fd, off_t at, off_t len)
{
    disk_file *f = known_file(fd);
    disk.allocations++;
    if (is_interrupted())
        return EINTR;
    if (f) /* another file of that name, or a longer one */
        forget_file(f);
    return disk.is_full ? ENOSPC : ftruncate(fd, at + len) == 0 ? 0 : errno;
}

int statvfs(const char *restrict path, struct statvfs *restrict ret)
{
    (void)path;
    *ret = (struct statvfs){.f_frsize = 4096, .f_bavail = (fsblkcnt_t)disk.free_pages};
    return 0;
}

/* Of what was written since the last sync any sectors may be lost. */
static void lose_power(void)
{
    while (disk.count > 0) {
        disk_file *f = &disk.files[0];
        int fd = open(f->path, O_RDWR | O_CLOEXEC);
        for (size_t i = 0; fd >= 0 && i * SECTOR < f->size; i++)
            if (!f->is_dirty[i] || gw_random_below(2))
                assert_true(write_at(fd, f->stable + i * SECTOR, sector_bytes(f, i),
                                     (off_t)(i * SECTOR)) > 0);
        if (fd >= 0)
            (void)close(fd);
        forget_file(f);
    }
}

static void new_disk(void)
{
    while (disk.count > 0)
        forget_file(&disk.files[0]);
    disk = (struct disk){.bytes_left = -1, .unreadable = -1, .free_pages = 1 << 20};
}

static int setup(void **state)
{
    new_disk();
    return kit_setup(state);
}

static int teardown(void **state)
{
    new_disk();
    return kit_teardown(state);
}

/* ---- events ---- */

static spool *open_spool_of(const kit *k, int64_t max_bytes)
{
    spool *s = NULL;
    spool_opened how;
    gw_error err = {0};
    if (spool_open(k->dir, max_bytes, SLOTS, &s, &how, &err) != GW_OK)
        fail_msg("%s", err.message);
    if (how.unreadable)
        fail_msg("%s", how.why.message);
    return s;
}

static spool *open_spool(const kit *k)
{
    return open_spool_of(k, 0);
}

typedef struct made_event {
    uint8_t bytes[EVENT_MAX_BYTES];
    size_t len;
} made_event;

/* Its id holds its number, its size and its row follow from it. */
static spool_event make_event(made_event *m, int64_t number)
{
    uint8_t id[12] = {0};
    static char agent[1000];
    char text[1000];
    memset(agent, 'a', sizeof(agent) - 1);
    memcpy(id, &number, sizeof(number));
    usage_event e = kit_event(id, 10);
    (void)snprintf(text, sizeof(text), "%.*s", (int)(number * 37 % 900), agent);
    e.user_agent = text;
    e.grant_id = number % ROWS + 1;
    e.key_load_id = 7;
    m->len = event_pack(&e, m->bytes, sizeof(m->bytes));
    spool_event event = {.bytes = gw_str_n(m->bytes, m->len),
                         .slot = (uint32_t)(number % SLOTS),
                         .generation = (uint64_t)number};
    assert_true(ledger_event_read(event.bytes, &event.spent));
    return event;
}

/* `count` events with the numbers from `first` on. */
static gw_status write_events(spool *s, int64_t first, size_t count, int64_t acked)
{
    made_event *made = calloc(count + 1, sizeof(*made));
    spool_event *events = calloc(count + 1, sizeof(*events));
    gw_error err;
    assert_true(made && events);
    for (size_t i = 0; i < count; i++)
        events[i] = make_event(&made[i], first + (int64_t)i);
    gw_status rc =
        spool_write(s, &(spool_change){.events = events, .count = count, .acked = acked}, &err);
    free(made);
    free(events);
    return rc;
}

static int64_t end_of(const spool *s)
{
    return spool_meta_end(&s->meta);
}

/* Every event that is not acked is what it was, and the rest of the state follows from how many there have been. */
static void check_all(spool *s)
{
    spool_frame *f = malloc(sizeof(*f));
    gw_error err = {0};
    int64_t seq = s->meta.acked + 1;
    assert_non_null(f);
    for (; seq <= s->meta.tail; seq += f->count) {
        if (spool_read(s, seq, SPOOL_FRAME_BYTES, f, &err) != GW_OK)
            fail_msg("%s", err.message);
        assert_true(f->count > 0);
        for (uint32_t i = 0; i < f->count; i++) {
            made_event m;
            spool_event e = make_event(&m, s->meta.base + seq + i);
            assert_int_equal(f->events[i].len, e.bytes.len);
            assert_memory_equal(f->events[i].data, e.bytes.ptr, e.bytes.len);
        }
    }
    assert_int_equal(seq, s->meta.tail + 1);
    free(f);
    int64_t end = end_of(s);
    for (int64_t number = GW_MAX(end - SLOTS + 1, 1); number <= end; number++)
        assert_int_equal(spool_committed(s, (uint32_t)(number % SLOTS)), number);
    for (int64_t row = 1; row <= ROWS; row++) {
        ledger_row_sums sums;
        int64_t first = row == 1 ? ROWS : row - 1; /* the first number of that row */
        assert_int_equal(spool_read_position(s, row, &sums, NULL), GW_OK);
        assert_int_equal(sums.spent.of[LEDGER_REQUESTS_DAY],
                         end < first ? 0 : (end - first) / ROWS + 1);
    }
}

/* ---- one fault at a time ---- */

static void segment_path(const kit *k, unsigned file, char out[128])
{
    (void)snprintf(out, 128, "%s/spool/%06u.log", k->dir, file);
}

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

/* ---- what is left of a damaged spool ---- */

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

/* ---- an alarm before it fails ---- */

static bool is_low(kit *k)
{
    return kit_stats(k).disk_low;
}

static bool is_well(kit *k)
{
    return !kit_stats(k).disk_low;
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
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(a_last_record_cut_at_any_byte_is_the_end),
        TEST(a_bit_that_flipped_is_noticed_wherever_it_is),
        TEST(acked_segments_are_used_again),
        TEST(each_commit_is_one_sync),
        TEST(what_does_not_fit_a_full_disk_comes_when_there_is_room),
        TEST(claims_make_room_on_a_full_disk),
        TEST(a_sync_that_fails_changes_nothing),
        TEST(what_a_failed_sync_dropped_is_written_again_by_the_next_start),
        TEST(a_full_disk_takes_events_together_with_the_claims_that_make_room),
        TEST(signals_and_short_writes_change_nothing),
        TEST(of_a_damaged_spool_the_rest_can_be_read),
        TEST(behind_a_damaged_record_the_next_sound_one_is_found),
        TEST(what_a_failed_commit_left_is_not_salvaged),
        TEST(a_disk_that_cannot_be_read_is_no_end),
        TEST(a_flight_table_that_cannot_be_read_is_put_aside),
        TEST(of_a_damaged_spool_is_kept_what_is_committed_of_each_slot),
        TEST(a_head_says_what_a_damaged_record_before_it_said),
        TEST(a_disk_without_room_for_the_bound_is_an_alarm),
        TEST(what_was_committed_survives_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
