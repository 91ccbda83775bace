#include "flight_table_internal.h"

#include "event_pack.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC "relayfl3"

#define REPEAT_TAG (38 << 3) /* UsageEvent.repeat_count, a varint */

_Static_assert(FLIGHT_REPEATS_MAX < 1 << (7 * FLIGHT_REPEAT_VARINT_BYTES),
               "a count fits its varint");
_Static_assert(sizeof(flight_slot) <= FLIGHT_SLOT_BYTES, "a slot is two kibibytes");

typedef struct file_header {
    char magic[8];
    uint32_t slot_bytes;
    uint32_t unused;
    atomic_int_least64_t spool_tail;
} file_header;

struct flight_table {
    uint8_t *map;
    size_t map_bytes;
    uint32_t count;
};

/* ---- slots ---- */

/* Ids and figures only: what is billed is never lost to a long text. */
static size_t pack_bare(const usage_event *e, uint8_t *out, size_t cap)
{
    usage_event bare = APIRELAY__USAGE__V1__USAGE_EVENT__INIT;
    bare.event_id = e->event_id;
    bare.timestamp_ms = e->timestamp_ms;
    bare.api_key_id = e->api_key_id;
    bare.user_id = e->user_id;
    bare.status_code = e->status_code;
    bare.duration_ms = e->duration_ms;
    bare.ttft_ms_presence_case = e->ttft_ms_presence_case;
    bare.ttft_ms = e->ttft_ms;
    bare.prompt_tokens = e->prompt_tokens;
    bare.completion_tokens = e->completion_tokens;
    bare.total_tokens = e->total_tokens;
    bare.cached_tokens = e->cached_tokens;
    bare.reasoning_tokens = e->reasoning_tokens;
    bare.cost_nano_usd = e->cost_nano_usd;
    bare.prompt_estimate_tokens = e->prompt_estimate_tokens;
    bare.repeat_count = e->repeat_count;
    bare.attempts = e->attempts;
    bare.upstream_accepted = e->upstream_accepted;
    bare.ceiling_ignored = e->ceiling_ignored;
    bare.stream = e->stream;
    bare.key_load_id = e->key_load_id;
    bare.client_load_id = e->client_load_id;
    bare.owner_load_id = e->owner_load_id;
    bare.grant_id = e->grant_id;
    bare.client_grant_id = e->client_grant_id;
    bare.owner_grant_id = e->owner_grant_id;
    char *texts[] = {e->key_id, e->request_id, e->outcome, e->billing_basis};
    char **fields[] = {&bare.key_id, &bare.request_id, &bare.outcome, &bare.billing_basis};
    for (size_t i = 0; i < GW_ARRAY_LEN(fields); i++)
        if (strlen(texts[i]) <= 64)
            *fields[i] = texts[i];
    bare.truncated = true;
    return event_pack(&bare, out, cap);
}

static uint32_t pack(const usage_event *e, uint8_t *out, size_t cap)
{
    size_t len = event_pack(e, out, cap);
    return (uint32_t)(len ? len : pack_bare(e, out, cap));
}

static void next_generation(flight_slot *s)
{
    atomic_store_explicit(&s->generation, flight_slot_generation(s) + 1, memory_order_relaxed);
}

static void set_state(flight_slot *s, flight_state state)
{
    atomic_store_explicit(&s->state, (uint32_t)state, memory_order_release);
}

bool flight_slot_open(flight_slot *s, const usage_event *e, event_figures *f)
{
    event_progress none = {0};
    next_generation(s);
    flight_slot_progress(s, &none);
    *f = EVENT_FIGURES_NONE;
    s->open_len = (uint32_t)event_pack_usual(e, s->bytes, FLIGHT_OPEN_MAX, f);
    bool is_whole = s->open_len > 0;
    if (!is_whole)
        s->open_len = pack(e, s->bytes, FLIGHT_OPEN_MAX);
    uint64_t generation = flight_slot_generation(s);
    s->open_sum = flight_open_seal(generation, flight_sum_of(generation, s->bytes, s->open_len));
    set_state(s, FLIGHT_OPEN);
    return is_whole;
}

void flight_slot_progress(flight_slot *s, const event_progress *p)
{
    atomic_store_explicit(&s->completion_tokens, p->completion_tokens, memory_order_relaxed);
    atomic_store_explicit(&s->cost_nano_usd, p->cost_nano_usd, memory_order_relaxed);
    atomic_store_explicit(&s->last_byte_ms, p->last_byte_ms, memory_order_relaxed);
    atomic_store_explicit(&s->status_code, p->status_code, memory_order_relaxed);
}

static void seal_done(flight_slot *s, uint32_t at, uint32_t len, uint32_t sum)
{
    s->done_at = at;
    s->done_len = len;
    s->done_sum = flight_done_seal(flight_slot_generation(s), sum, at, len);
    set_state(s, FLIGHT_DONE);
}

void flight_slot_seal(flight_slot *s, uint32_t at, uint32_t len)
{
    seal_done(s, at, len, flight_sum_of(flight_slot_generation(s), s->bytes + at, len));
}

/* What had to be cut is read again: seldom. */
static uint32_t pack_done(const usage_event *e, uint8_t *out, size_t cap, event_figures *f)
{
    *f = EVENT_FIGURES_NONE;
    uint32_t len = (uint32_t)event_pack_usual(e, out, cap, f);
    if (len > 0)
        return len;
    len = pack(e, out, cap);
    if (!event_read_figures(gw_str_n(out, len), f))
        *f = EVENT_FIGURES_NONE;
    return len;
}

void flight_slot_done(flight_slot *s, const usage_event *e, event_figures *f)
{
    uint32_t at = FLIGHT_OPEN_MAX; /* what was opened stays until this is sealed */
    if (flight_slot_state(s) == FLIGHT_FREE) {
        next_generation(s);
        at = 0;
    }
    flight_slot_seal(s, at, pack_done(e, s->bytes + at, EVENT_MAX_BYTES, f));
}

bool flight_slot_finish(flight_slot *s, const usage_event *rest, event_figures *f)
{
    if (flight_slot_state(s) != FLIGHT_OPEN)
        return false;
    uint8_t *at = s->bytes + s->open_len;
    size_t len = event_pack_usual(rest, at, EVENT_MAX_BYTES - s->open_len, f);
    if (len == 0)
        return false;
    /* The opened bytes are summed up already. */
    seal_done(s, 0, s->open_len + (uint32_t)len, gw_crc32c((uint32_t)s->open_sum, at, len));
    return true;
}

void flight_slot_free(flight_slot *s)
{
    set_state(s, FLIGHT_FREE);
}

gw_str flight_slot_event(const flight_slot *s)
{
    return gw_str_n(s->bytes + s->done_at,
                    s->done_len + (flight_slot_repeats(s) ? FLIGHT_FOLD_TAIL_BYTES : 0));
}

#define CACHE_LINE  64
#define USUAL_BYTES 512 /* of an event */

/* Of an event that was replaced the end is elsewhere: seldom. */
void flight_slot_expect(const flight_slot *s)
{
    const char *at = (const char *)s;
    for (size_t i = 0; i < offsetof(flight_slot, bytes) + USUAL_BYTES; i += CACHE_LINE)
        __builtin_prefetch(at + i);
}

void flight_slot_expect_use(const flight_slot *s)
{
    const char *at = (const char *)s;
    for (size_t i = 0; i < offsetof(flight_slot, bytes) + USUAL_BYTES; i += CACHE_LINE)
        __builtin_prefetch(at + i, 1);
}

/* ---- rows that count ---- */

/* An old count in a slot used again is told by its generation: nobody has to clear it. */
static void set_repeats(flight_slot *s, int64_t repeats)
{
    uint64_t tag = flight_slot_generation(s) << 32;
    atomic_store_explicit(&s->repeats, tag | (uint32_t)repeats, memory_order_relaxed);
}

int64_t flight_slot_repeats(const flight_slot *s)
{
    uint64_t v = atomic_load_explicit(&s->repeats, memory_order_relaxed);
    bool is_ours = v >> 32 == (flight_slot_generation(s) & UINT32_MAX);
    return is_ours ? GW_MIN((int64_t)(v & UINT32_MAX), (int64_t)FLIGHT_REPEATS_MAX) : 0;
}

void flight_slot_fold(flight_slot *s, const usage_event *e, int64_t repeats, event_figures *f)
{
    next_generation(s);
    set_repeats(s, repeats);
    flight_slot_seal(s, 0, pack_done(e, s->bytes, EVENT_MAX_BYTES - FLIGHT_FOLD_TAIL_BYTES, f));
}

bool flight_slot_repeat(flight_slot *s)
{
    int64_t repeats = flight_slot_repeats(s);
    if (repeats >= FLIGHT_REPEATS_MAX)
        return false;
    set_repeats(s, repeats + 1);
    return true;
}

void flight_slot_append_repeats(flight_slot *s)
{
    uint64_t rest = (uint64_t)flight_slot_repeats(s);
    uint8_t *at = s->bytes + s->done_at + s->done_len;
    if (rest == 0)
        return;
    *at++ = (REPEAT_TAG & 0x7f) | 0x80;
    *at++ = REPEAT_TAG >> 7;
    for (int i = 0; i < FLIGHT_REPEAT_VARINT_BYTES; i++, rest >>= 7)
        *at++ = (uint8_t)(rest & 0x7f) | (i < FLIGHT_REPEAT_VARINT_BYTES - 1 ? 0x80 : 0);
}

void flight_slot_close_fold(flight_slot *s, event_figures *f)
{
    flight_slot_append_repeats(s);
    if (flight_slot_repeats(s) > 0)
        f->repeat_count = flight_slot_repeats(s);
}

/* ---- the file ---- */

static gw_status io_error(gw_error *err, const char *what, const char *path, int code)
{
    return gw_fail(err, GW_ERR_IO, "%s %s: %s", what, path, strerror(code));
}

/* What the disk does not read would be a SIGBUS in the mapping. */
static bool is_readable(int fd, off_t size)
{
    uint8_t bytes[32 << 10];
    for (off_t at = 0; at < size;) {
        ssize_t n = pread(fd, bytes, sizeof(bytes), at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        at += n;
    }
    return true;
}

/* 1: a table, 0: new and empty, -1: something else. */
static int examine(int fd, off_t size)
{
    file_header h;
    if (size == 0)
        return 0;
    if (size < FLIGHT_HEADER_BYTES || !is_readable(fd, size) ||
        pread(fd, &h, sizeof(h), 0) != (ssize_t)sizeof(h))
        return -1;
    static const char blank[sizeof(h.magic)];
    if (memcmp(h.magic, blank, sizeof(blank)) == 0)
        return 0; /* killed between its making and its header */
    return memcmp(h.magic, MAGIC, sizeof(h.magic)) == 0 && h.slot_bytes == FLIGHT_SLOT_BYTES ? 1
                                                                                             : -1;
}

static gw_status open_file(const char *path, int *ret, off_t *ret_size, gw_error *err)
{
    struct stat st;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return io_error(err, "cannot open", path, errno);
    if (fstat(fd, &st) != 0) {
        int code = errno;
        (void)close(fd);
        return io_error(err, "cannot stat", path, code);
    }
    *ret = fd;
    *ret_size = st.st_size;
    return GW_OK;
}

static gw_status set_aside(const char *path, gw_error *err)
{
    char aside[4200];
    (void)snprintf(aside, sizeof(aside), "%s.unreadable", path);
    return rename(path, aside) == 0 ? GW_OK : io_error(err, "cannot rename", path, errno);
}

static gw_status map_file(flight_table *t, int fd, const char *path, gw_error *err)
{
    /* Blocks that exist keep what they hold. */
    int code = posix_fallocate(fd, 0, (off_t)t->map_bytes);
    if (code != 0)
        return io_error(err, "cannot allocate", path, code);
    void *map = mmap(NULL, t->map_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return io_error(err, "cannot map", path, errno);
    t->map = map;
    file_header *h = (file_header *)map;
    memcpy(h->magic, MAGIC, sizeof(h->magic));
    h->slot_bytes = FLIGHT_SLOT_BYTES;
    return GW_OK;
}

static gw_status open_table(flight_table *t, const char *path, uint32_t slots, bool *ret_renamed,
                            gw_error *err)
{
    int fd = -1;
    off_t size = 0;
    gw_status rc = open_file(path, &fd, &size, err);
    if (rc == GW_OK && examine(fd, size) < 0) {
        (void)close(fd);
        rc = set_aside(path, err);
        *ret_renamed = true;
        if (rc == GW_OK)
            rc = open_file(path, &fd, &size, err);
        size = 0;
    }
    if (rc != GW_OK)
        return rc;
    size_t there =
        size > FLIGHT_HEADER_BYTES ? ((size_t)size - FLIGHT_HEADER_BYTES) / FLIGHT_SLOT_BYTES : 0;
    t->count = (uint32_t)GW_MAX(there, (size_t)slots);
    t->map_bytes = FLIGHT_HEADER_BYTES + (size_t)t->count * FLIGHT_SLOT_BYTES;
    rc = map_file(t, fd, path, err);
    (void)close(fd);
    return rc;
}

gw_status flight_table_open(const char *dir, uint32_t slots, flight_table **ret, bool *ret_renamed,
                            gw_error *err)
{
    char path[4096];
    bool renamed = false;
    (void)snprintf(path, sizeof(path), "%s/flight", dir);
    gw_auto(flight_table) t = calloc(1, sizeof(*t));
    if (!t)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for a flight table");
    gw_status rc = open_table(t, path, slots, &renamed, err);
    if (rc != GW_OK)
        return rc;
    *ret_renamed = renamed;
    *ret = gw_steal(&t);
    return GW_OK;
}

void flight_table_free(flight_table *t)
{
    if (!t)
        return;
    if (t->map)
        (void)munmap(t->map, t->map_bytes);
    free(t);
}

void flight_table_rest(flight_table *t)
{
    (void)madvise(t->map, t->map_bytes,
                  MADV_DONTNEED); /* of a shared file: the page cache keeps it */
}

void flight_table_note_tail(flight_table *t, int64_t tail)
{
    atomic_store_explicit(&((file_header *)(void *)t->map)->spool_tail, tail, memory_order_relaxed);
}

int64_t flight_table_noted_tail(const flight_table *t)
{
    return atomic_load_explicit(&((const file_header *)(const void *)t->map)->spool_tail,
                                memory_order_relaxed);
}

uint32_t flight_table_count(const flight_table *t)
{
    return t->count;
}

flight_slot *flight_table_slot(flight_table *t, uint32_t index)
{
    return (flight_slot *)(void *)(t->map + FLIGHT_HEADER_BYTES +
                                   (size_t)index * FLIGHT_SLOT_BYTES);
}

uint32_t flight_table_index(const flight_table *t, const flight_slot *slot)
{
    return (uint32_t)(((const uint8_t *)slot - t->map - FLIGHT_HEADER_BYTES) / FLIGHT_SLOT_BYTES);
}
