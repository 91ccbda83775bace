/*
 * A spool whose bytes are anybody's. The input's first byte says how: even, the rest is laid over a segment and the state as it is,
 * each piece with its place before it; odd, what the pieces spoil has its sums made right again, so that what is behind them is reached.
 * It is opened and read to its end, or refused.
 */
#include "spool_internal.h"

#include "core/crc32c.h"
#include "testing/fuzz.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define EVENTS        12
#define SEGMENT_BYTES (32U << 10)
#define SPOILT_BYTES  4096U /* of the segment */
#define READ_MAX      4096

static char folder[] = "/dev/shm/spool_fuzz_XXXXXX";
static uint8_t sound[SPOILT_BYTES];
static uint64_t log_id;

static void path_of(const char *name, char out[96])
{
    (void)snprintf(out, 96, "%s/%s", folder, name);
}

static void forget_folder(void)
{
    char path[96];
    for (const char *const *name = (const char *const[]){"000000.log", "state.0", NULL}; *name;
         name++) {
        path_of(*name, path);
        (void)unlink(path);
    }
    (void)rmdir(folder);
}

/* Three records of four events, the first of which has an id. */
static void write_records(spool_log *l, spool_meta *m)
{
    static uint8_t record[SPOOL_RECORD_MAX + 8];
    gw_error err;
    for (int i = 0; i < 3; i++) {
        uint8_t event[14] = {0x0a, 12, (uint8_t)i};
        spool_record r = {.count = 4, .body_bytes = 4 * (sizeof(spool_entry) + sizeof(event))};
        m->tail += 4;
        r.meta = *m;
        memcpy(record, &r, sizeof(r));
        for (uint32_t k = 0; k < 4; k++) {
            spool_entry e = {.slot = k, .len = sizeof(event), .generation = (uint64_t)i + 1};
            memcpy(record + sizeof(r) + k * sizeof(e), &e, sizeof(e));
            memcpy(record + sizeof(r) + 4 * sizeof(e) + k * sizeof(event), event, sizeof(event));
        }
        fuzz_require(spool_log_append(l, record, &err) == GW_OK);
        fuzz_require(spool_log_sync(l, &err) == GW_OK);
    }
}

static void make_spool(void)
{
    char path[96];
    spool_state none = {0};
    spool_meta m = {0};
    spool_log *l = NULL;
    gw_error err;
    fuzz_require(mkdtemp(folder) != NULL && atexit(forget_folder) == 0);
    fuzz_require(spool_log_make(folder, SEGMENT_BYTES, &m, &none, &err) == GW_OK);
    fuzz_require(spool_log_open(folder, SEGMENT_BYTES, NULL, &l, &m, &err) == GW_OK);
    log_id = l->id;
    write_records(l, &m);
    spool_log_free(l);
    path_of("000000.log", path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    fuzz_require(fd >= 0 && pread(fd, sound, sizeof(sound), 0) == (ssize_t)sizeof(sound));
    (void)close(fd);
}

/* Pieces: u16 where, u8 how many, the bytes. */
static void spoil(uint8_t *bytes, gw_str pieces)
{
    while (pieces.len > 3) {
        const uint8_t *p = (const uint8_t *)pieces.ptr;
        size_t at = (size_t)(p[0] | p[1] << 8) % SPOILT_BYTES, len = p[2];
        gw_str piece = gw_str_slice(pieces, 3, 3 + len);
        memcpy(bytes + at, piece.ptr, GW_MIN(piece.len, SPOILT_BYTES - at));
        pieces = gw_str_slice(pieces, 3 + piece.len, pieces.len);
    }
}

static void make_right(uint8_t *bytes)
{
    spool_head h;
    memcpy(&h, bytes, sizeof(h));
    h.log = log_id;
    h.size = SEGMENT_BYTES;
    h.number = 1;
    spool_head_seal(&h);
    memcpy(bytes, &h, sizeof(h));
    for (uint32_t at = SPOOL_FIRST; at + sizeof(spool_record) <= SPOILT_BYTES;) {
        spool_record r;
        memcpy(&r, bytes + at, sizeof(r));
        if (r.mark == 0)
            return;
        if (r.body_bytes > SPOILT_BYTES - at - sizeof(r)) {
            r.body_bytes = SPOILT_BYTES - at - (uint32_t)sizeof(r);
            memcpy(bytes + at, &r, sizeof(r));
        }
        spool_record_seal(bytes + at, spool_mark_of(log_id, 1));
        at += spool_record_bytes(&r);
    }
}

static void write_spool(gw_str input)
{
    static uint8_t bytes[SPOILT_BYTES];
    char path[96];
    memcpy(bytes, sound, sizeof(bytes));
    spoil(bytes, gw_str_slice(input, 1, input.len));
    if (input.len > 0 && input.ptr[0] % 2 == 1)
        make_right(bytes);
    path_of("000000.log", path);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    fuzz_require(fd >= 0 && pwrite(fd, bytes, sizeof(bytes), 0) == (ssize_t)sizeof(bytes));
    (void)close(fd);
}

static void read_spool(spool *s)
{
    static spool_frame frame;
    const spool_info *info = spool_get_info(s);
    uint8_t id[SPOOL_EVENT_ID_SIZE];
    int64_t time_ms;
    gw_error err = {0};

    fuzz_require(info->acked >= 0 && info->tail >= info->acked && info->bytes >= 0);
    for (int64_t seq = info->acked; seq <= info->tail + 1 && seq <= info->acked + EVENTS + 1; seq++)
        if (spool_find(s, seq, id, &time_ms))
            fuzz_require(seq > info->acked && seq <= info->tail);
    int64_t next = info->acked + 1;
    for (int i = 0; i < READ_MAX && next <= info->tail; i++) {
        /* What was opened is whole: all of it can be read. */
        fuzz_require(spool_read(s, next, SPOOL_FRAME_BYTES, &frame, &err) == GW_OK);
        fuzz_require(frame.count > 0 && frame.count <= SPOOL_FRAME_EVENTS);
        size_t bytes = 0;
        for (uint32_t k = 0; k < frame.count; k++)
            bytes += frame.events[k].len;
        fuzz_require(bytes == frame.bytes && bytes <= SPOOL_FRAME_BYTES);
        next += frame.count;
    }
    fuzz_require(next == info->tail + 1);
}

static void read_what_is_left(spool *s)
{
    static spool_frame frame;
    const spool_info *info = spool_get_info(s);
    gw_error err = {0};
    int64_t seq = spool_next(s, info->acked + 1);

    for (int i = 0; i < READ_MAX && seq <= info->tail; i++) {
        fuzz_require(spool_read(s, seq, SPOOL_FRAME_BYTES, &frame, &err) == GW_OK);
        fuzz_require(frame.count > 0);
        int64_t next = spool_next(s, seq + frame.count);
        fuzz_require(next > seq);
        seq = next;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    spool *s = NULL;
    gw_error err = {0};

    if (log_id == 0)
        make_spool();
    write_spool(gw_str_n(data, size));
    gw_status rc = spool_open_readonly(folder, &s, &err);
    if (rc == GW_OK)
        read_spool(s);
    else
        fuzz_require(s == NULL && err.message[0]);
    spool_free(s);
    s = NULL;
    if (spool_open_damaged(folder, &s, &err) == GW_OK)
        read_what_is_left(s);
    spool_free(s);
    return 0;
}
