/*
 * For tests of the spool on a disk that fails, fills up and loses what was not synced: the test's own pwrite(), pread(), fdatasync(),
 * posix_fallocate() and their kin are between the two. One file of a program includes it.
 */
#pragma once

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

/* ---- the disk ---- */

/* What of a file would be there after a power loss, and which of its sectors are still to be written there. */
typedef struct disk_file {
    char path[256];
    size_t size;
    uint8_t *stable;
    bool *is_dirty; /* by sector */
} disk_file;

static struct disk {
    bool is_full, fails_sync, fails_some_syncs, is_interrupted, remembers, reads_nothing;
    int64_t bytes_left; /* that can be written before a write is cut short; < 0: any */
    int64_t syncs, allocations, calls;
    int64_t free_pages;
    off_t unreadable; /* the sector there; < 0: none */
    void (*meanwhile)(void *arg); /* runs in each write, sync and allocation; may be NULL */
    void *arg;
    disk_file files[256];
    size_t count;
} disk;

static inline void name_of(int fd, char out[256])
{
    char link[64];
    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, out, 255);
    out[n > 0 ? n : 0] = '\0';
}

static inline void forget_file(disk_file *f)
{
    free(f->stable);
    free(f->is_dirty);
    *f = disk.files[--disk.count];
}

static inline disk_file *known_file(int fd)
{
    char path[256];
    name_of(fd, path);
    for (size_t i = 0; i < disk.count; i++)
        if (strcmp(disk.files[i].path, path) == 0)
            return &disk.files[i];
    return NULL;
}

static inline ssize_t read_at(int fd, void *bytes, size_t len, off_t at)
{
    return syscall(SYS_pread64, fd, bytes, len, at);
}

static inline ssize_t write_at(int fd, const void *bytes, size_t len, off_t at)
{
    return syscall(SYS_pwrite64, fd, bytes, len, at);
}

/* What is there when a file is first written is taken for durable. */
static inline disk_file *file_of(int fd)
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

static inline void note_write(int fd, off_t at, size_t len)
{
    disk_file *f = file_of(fd);
    for (size_t i = (size_t)at / SECTOR; len > 0 && i <= ((size_t)at + len - 1) / SECTOR; i++)
        f->is_dirty[i] = true;
}

static inline size_t sector_bytes(const disk_file *f, size_t sector)
{
    return GW_MIN((size_t)SECTOR, f->size - sector * SECTOR);
}

static inline void pass_time(void)
{
    if (disk.meanwhile)
        disk.meanwhile(disk.arg);
}

static inline bool is_interrupted(void)
{
    return disk.is_interrupted && ++disk.calls % 2 == 0;
}

ssize_t pwrite(int fd, const void *bytes, size_t len, off_t at)
{
    size_t n = len;
    pass_time();
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
    if (disk.reads_nothing) {
        errno = EIO;
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
static inline int sync_it(int fd)
{
    disk_file *f = known_file(fd);
    bool fails = disk.fails_sync || (disk.fails_some_syncs && gw_random_below(2));
    pass_time();
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
    pass_time();
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
static inline void lose_power(void)
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

static inline void new_disk(void)
{
    while (disk.count > 0)
        forget_file(&disk.files[0]);
    disk = (struct disk){.bytes_left = -1, .unreadable = -1, .free_pages = 1 << 20};
}

static inline int setup(void **state)
{
    new_disk();
    return kit_setup(state);
}

static inline int teardown(void **state)
{
    new_disk();
    return kit_teardown(state);
}

/* ---- events ---- */

static inline spool *open_spool_of(const kit *k, int64_t max_bytes)
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

static inline spool *open_spool(const kit *k)
{
    return open_spool_of(k, 0);
}

typedef struct made_event {
    uint8_t bytes[EVENT_MAX_BYTES];
    size_t len;
} made_event;

/* Its id holds its number, its size and its row follow from it. */
static inline spool_event make_event(made_event *m, int64_t number)
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
static inline gw_status write_events(spool *s, int64_t first, size_t count, int64_t acked)
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

static inline int64_t end_of(const spool *s)
{
    return spool_meta_end(&s->meta);
}

/* Every event that is not acked is what it was, and the rest of the state follows from how many there have been. */
static inline void check_all(spool *s)
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

static inline void segment_path(const kit *k, unsigned file, char out[128])
{
    (void)snprintf(out, 128, "%s/spool/%06u.log", k->dir, file);
}

#define DISK_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
