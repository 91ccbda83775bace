#include "spool_state.h"

#include "spool_file.h"

#include "core/crc32c.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_SIZE 4200
#define PAGE      4096U
#define PART_ROWS (POSITION_ROWS / 64)

typedef struct state_head {
    char format[8];
    uint64_t log, number;
    uint32_t slots, rows;
    uint32_t body_sum;
    uint32_t sum;
} state_head;

typedef struct state_slot {
    uint64_t slot, generation;
} state_slot;

static const char format[8] = "spstate\1";

_Static_assert(sizeof(state_head) == 40 && sizeof(state_slot) == 16 &&
                   sizeof(ledger_row_sums) == 56,
               "nothing between the fields");

bool spool_state_init(spool_state *s, uint32_t slots)
{
    *s = (spool_state){.slots = slots,
                       .generations = calloc(GW_MAX(slots, 1U), sizeof(*s->generations)),
                       .sums = slots ? calloc(POSITION_ROWS, sizeof(*s->sums)) : NULL};
    return s->generations && (s->sums || slots == 0);
}

void spool_state_fini(spool_state *s)
{
    free(s->generations);
    free(s->sums);
    *s = (spool_state){0};
}

static uint64_t part_of(int64_t id)
{
    return UINT64_C(1) << id % POSITION_ROWS / PART_ROWS;
}

/* The next row that is in use, from *at on. */
static const ledger_row_sums *next_row(const spool_state *s, uint32_t *at)
{
    while (s->sums && *at < POSITION_ROWS) {
        if (!(s->used & part_of(*at))) {
            *at = (*at / PART_ROWS + 1) * PART_ROWS;
            continue;
        }
        const ledger_row_sums *row = &s->sums[(*at)++];
        if (row->id > 0)
            return row;
    }
    return NULL;
}

void spool_state_forget_sums(spool_state *s)
{
    for (unsigned part = 0; s->sums && part < 64; part++)
        if (s->used & UINT64_C(1) << part)
            memset(s->sums + (size_t)part * PART_ROWS, 0, PART_ROWS * sizeof(*s->sums));
    s->used = 0;
}

void spool_state_note(spool_state *s, uint32_t slot, uint64_t generation, const ledger_event *spent)
{
    if (slot < s->slots)
        s->generations[slot] = GW_MAX(s->generations[slot], generation);
    for (int level = 0; s->sums && level < LEDGER_LEVELS; level++) {
        int64_t id = spent->row[level];
        if (id <= 0)
            continue;
        s->used |= part_of(id);
        ledger_row_add(&s->sums[id % POSITION_ROWS], id, spent->load[level], spent->day,
                       &spent->spent);
    }
}

/* ---- files ---- */

static void path_of(const char *folder, unsigned file, char out[PATH_SIZE])
{
    (void)snprintf(out, PATH_SIZE, "%s/state.%u", folder, file);
}

static uint32_t sum_of_head(const state_head *h)
{
    return gw_crc32c(0, h, offsetof(state_head, sum));
}

static size_t bytes_of(const state_head *h)
{
    return sizeof(*h) + h->slots * sizeof(state_slot) + h->rows * sizeof(ledger_row_sums);
}

static void count(const spool_state *s, state_head *h)
{
    for (uint32_t i = 0; i < s->slots; i++)
        h->slots += s->generations[i] > 0;
    for (uint32_t at = 0; next_row(s, &at);)
        h->rows++;
}

static void put(const spool_state *s, state_head *h, uint8_t *bytes)
{
    uint8_t *at = bytes + sizeof(*h);
    for (uint32_t i = 0; i < s->slots; i++) {
        state_slot slot = {.slot = i, .generation = s->generations[i]};
        if (slot.generation == 0)
            continue;
        memcpy(at, &slot, sizeof(slot));
        at += sizeof(slot);
    }
    const ledger_row_sums *row;
    for (uint32_t next = 0; (row = next_row(s, &next));) {
        memcpy(at, row, sizeof(*row));
        at += sizeof(*row);
    }
    h->body_sum = gw_crc32c(0, bytes + sizeof(*h), (size_t)(at - bytes) - sizeof(*h));
    h->sum = sum_of_head(h);
    memcpy(bytes, h, sizeof(*h));
}

/* A file that grows takes some more, so rarely does a full disk meet it. */
static bool write_file(const char *path, const uint8_t *bytes, size_t len)
{
    struct stat st;
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return false;
    int code = fstat(fd, &st) == 0 ? 0 : errno;
    if (code == 0 && (size_t)st.st_size < len &&
        !spool_file_allocate(fd, (off_t)((len + len / 4 + PAGE) / PAGE * PAGE)))
        code = errno;
    if (code == 0 && !(spool_file_write(fd, bytes, len, 0) && spool_file_sync(fd)))
        code = errno;
    (void)close(fd);
    errno = code;
    return code == 0;
}

gw_status spool_state_save(const spool_state *s, const char *folder, const spool_saved *where,
                           gw_error *err)
{
    char path[PATH_SIZE];
    state_head h = {.log = where->log, .number = where->number};
    memcpy(h.format, format, sizeof(format));
    count(s, &h);
    gw_auto_free uint8_t *bytes = malloc(bytes_of(&h));
    if (!bytes)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for a spool's state");
    put(s, &h, bytes);
    path_of(folder, where->file, path);
    if (!write_file(path, bytes, bytes_of(&h)))
        return spool_io_error(err, "write", path);
    return GW_OK;
}

static uint8_t *read_file(const char *folder, unsigned file, size_t *ret_len)
{
    char path[PATH_SIZE];
    struct stat st;
    path_of(folder, file, path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    uint8_t *bytes = NULL;
    if (fstat(fd, &st) == 0 && st.st_size > 0 && st.st_size < (off_t)SPOOL_SEGMENT_MAX)
        bytes = malloc((size_t)st.st_size);
    if (bytes && !spool_file_read(fd, bytes, (size_t)st.st_size, 0)) {
        free(bytes);
        bytes = NULL;
    }
    (void)close(fd);
    *ret_len = bytes ? (size_t)st.st_size : 0;
    return bytes;
}

gw_status spool_state_save_again(const char *folder, const spool_saved *where, gw_error *err)
{
    char path[PATH_SIZE];
    size_t len;
    gw_auto_free uint8_t *bytes = read_file(folder, where->file, &len);
    path_of(folder, where->file, path);
    if (!bytes || !write_file(path, bytes, len))
        return spool_io_error(err, "write", path);
    return GW_OK;
}

static bool is_sound(const uint8_t *bytes, size_t len, state_head *h)
{
    if (len < sizeof(*h))
        return false;
    memcpy(h, bytes, sizeof(*h));
    return memcmp(h->format, format, sizeof(format)) == 0 && h->sum == sum_of_head(h) &&
           h->rows <= POSITION_ROWS && bytes_of(h) <= len &&
           h->body_sum == gw_crc32c(0, bytes + sizeof(*h), bytes_of(h) - sizeof(*h));
}

static void take(spool_state *s, const state_head *h, const uint8_t *bytes)
{
    const uint8_t *at = bytes + sizeof(*h);
    for (uint32_t i = 0; i < h->slots; i++, at += sizeof(state_slot)) {
        state_slot slot;
        memcpy(&slot, at, sizeof(slot));
        if (slot.slot < s->slots)
            s->generations[slot.slot] = GW_MAX(s->generations[slot.slot], slot.generation);
    }
    for (uint32_t i = 0; s->sums && i < h->rows; i++, at += sizeof(ledger_row_sums)) {
        ledger_row_sums sums;
        memcpy(&sums, at, sizeof(sums));
        if (sums.id <= 0)
            continue;
        s->used |= part_of(sums.id);
        s->sums[sums.id % POSITION_ROWS] = sums;
    }
}

gw_status spool_state_load(spool_state *s, const char *folder, spool_saved *ret, gw_error *err)
{
    gw_auto_free uint8_t *newest = NULL;
    state_head head = {0};
    unsigned which = 0;
    for (unsigned file = 0; file < 2; file++) {
        state_head h;
        size_t len;
        gw_auto_free uint8_t *bytes = read_file(folder, file, &len);
        if (!bytes || !is_sound(bytes, len, &h) || (newest && h.number <= head.number))
            continue;
        free(newest);
        newest = gw_steal(&bytes);
        head = h;
        which = file;
    }
    if (!newest)
        return gw_fail(err, GW_ERR_DATA_LOSS, "spool: %s holds no state", folder);
    if (s)
        take(s, &head, newest);
    *ret = (spool_saved){.log = head.log, .number = head.number, .file = which};
    return GW_OK;
}
