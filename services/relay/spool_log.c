#include "spool_log.h"

#include "core/fault.h"
#include "core/id.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define MARK_PARTS    128
#define RESERVE_PARTS 16 /* of a segment: for acks, which make room again */
#define ROOM_MIN      (sizeof(spool_record) + sizeof(spool_entry) + EVENT_MAX_BYTES + 8)

static gw_status io_error(gw_error *err, const char *what, const char *path)
{
    return gw_fail(err, GW_ERR_IO, "spool: cannot %s %s: %s", what, path,
                   strerror(errno ? errno : EIO));
}

void spool_log_path(const spool_log *l, unsigned file, char out[SPOOL_PATH + 16])
{
    (void)snprintf(out, SPOOL_PATH + 16, "%s/%06u.log", l->folder, file);
}

static spool_segment *last_of(const spool_log *l)
{
    return l->segments[l->count - 1];
}

/* ---- segments in memory ---- */

spool_segment *spool_log_push(spool_log *l, const spool_head *h, unsigned file)
{
    spool_segment *s = malloc(sizeof(*s));
    if (s && l->count == l->capacity) {
        size_t capacity = GW_MAX(l->capacity * 2, (size_t)16);
        spool_segment **grown = realloc(l->segments, capacity * sizeof(*grown));
        if (!grown) {
            free(s);
            return NULL;
        }
        l->segments = grown;
        l->capacity = capacity;
    }
    if (!s)
        return NULL;
    s->number = h->number;
    s->file = file;
    s->size = h->size;
    s->end = SPOOL_FIRST;
    s->before = s->last = spool_meta_end(&h->meta);
    s->mark_count = 0;
    l->segments[l->count++] = s;
    return s;
}

void spool_segment_add(spool_segment *s, const spool_record *r, uint32_t offset)
{
    uint32_t next = s->mark_count ? s->marks[s->mark_count - 1].offset + s->size / MARK_PARTS : 0;
    int64_t first = spool_meta_end(&r->meta) - r->count + 1;
    if (r->count > 0 && offset >= next && s->mark_count < SPOOL_MARKS)
        s->marks[s->mark_count++] = (spool_mark){.first = first, .offset = offset};
}

void spool_log_free(spool_log *l)
{
    if (!l)
        return;
    if (l->fd >= 0)
        (void)close(l->fd);
    for (size_t i = 0; i < l->count; i++)
        free(l->segments[i]);
    free(l->segments);
    (void)pthread_mutex_destroy(&l->lock);
    free(l);
}

/* ---- files ---- */

static gw_status sync_folder(const char *folder, gw_error *err)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = fd >= 0 && fsync(fd) == 0;
    int code = errno;
    if (fd >= 0)
        (void)close(fd);
    errno = code;
    return ok ? GW_OK : io_error(err, "sync", folder);
}

/* Allocated, so that a full disk shows here and not in the middle of a commit. */
static bool allocate(int fd, uint32_t bytes)
{
    int code = posix_fallocate(fd, 0, bytes);
    if (code == 0 && fsync(fd) != 0)
        code = errno;
    errno = code;
    return code == 0;
}

static gw_status make_file(const spool_log *l, unsigned file, gw_error *err)
{
    char path[SPOOL_PATH + 16];
    spool_log_path(l, file, path);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return io_error(err, "make", path);
    bool ok = allocate(fd, l->segment_bytes);
    int code = errno;
    (void)close(fd);
    if (ok && sync_folder(l->folder, err) == GW_OK)
        return GW_OK;
    (void)unlink(path);
    errno = code;
    return ok ? GW_ERR_IO : io_error(err, "allocate", path);
}

static gw_status add_spare(spool_log *l, gw_error *err)
{
    gw_status rc = make_file(l, l->next_file, err);
    if (rc == GW_OK)
        l->spares[l->spare_count++] = l->next_file++;
    return rc;
}

/* The head of segment `number`, on disk. */
static gw_status begin_segment(const spool_log *l, unsigned file, spool_head *h, int *ret_fd,
                               gw_error *err)
{
    char path[SPOOL_PATH + 16];
    spool_log_path(l, file, path);
    h->log = l->id;
    h->size = l->segment_bytes;
    spool_head_seal(h);
    errno = 0;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return io_error(err, "open", path);
    if (pwrite(fd, h, sizeof(*h), 0) != (ssize_t)sizeof(*h) || fdatasync(fd) != 0) {
        gw_status rc = io_error(err, "write", path);
        (void)close(fd);
        return rc;
    }
    *ret_fd = fd;
    return GW_OK;
}

gw_status spool_log_make(const char *folder, uint32_t segment_bytes, const spool_meta *m,
                         const spool_state *state, gw_error *err)
{
    spool_log l = {.id = gw_random_u64(), .segment_bytes = segment_bytes};
    spool_head h = {.number = 1, .meta = *m};
    int fd = -1;
    (void)snprintf(l.folder, sizeof(l.folder), "%s", folder);
    gw_status rc = make_file(&l, 0, err);
    if (rc == GW_OK)
        rc = begin_segment(&l, 0, &h, &fd, err);
    if (fd >= 0)
        (void)close(fd);
    if (rc == GW_OK)
        rc = spool_state_save(state, folder, &(spool_saved){.log = l.id, .number = 1}, err);
    return rc == GW_OK ? sync_folder(folder, err) : rc;
}

/* ---- writing ---- */

static uint32_t left_in(const spool_log *l)
{
    return last_of(l)->size - l->written;
}

uint32_t spool_log_room(const spool_log *l, bool has_events)
{
    if (!has_events)
        return left_in(l) >= sizeof(spool_record) ? sizeof(spool_record) : 0;
    uint32_t reserve = last_of(l)->size / RESERVE_PARTS + (uint32_t)sizeof(uint64_t);
    uint32_t room = left_in(l) > reserve ? left_in(l) - reserve : 0;
    return room < ROOM_MIN ? 0 : GW_MIN(room, SPOOL_RECORD_MAX);
}

/* Behind the end stands a zero, so that what an earlier try left there is not taken for records. */
static gw_status end_segment(spool_log *l, gw_error *err)
{
    static const uint64_t zero;
    if (!l->has_rest || left_in(l) < sizeof(zero))
        return GW_OK;
    errno = 0;
    if (pwrite(l->fd, &zero, sizeof(zero), l->written) != (ssize_t)sizeof(zero) ||
        fdatasync(l->fd) != 0)
        return io_error(err, "end a segment in", l->folder);
    l->has_rest = false;
    return GW_OK;
}

gw_status spool_log_append(spool_log *l, uint8_t *record, gw_error *err)
{
    spool_record r;
    spool_segment *s = last_of(l);
    memcpy(&r, record, sizeof(r));
    r.durable = l->durable;
    memcpy(record, &r, sizeof(r));
    uint32_t bytes = spool_record_bytes(&r);
    if (bytes > left_in(l))
        return gw_fail(err, GW_ERR_IO, "spool: no room for a record in %s", l->folder);
    spool_record_seal(record, spool_mark_of(l->id, s->number));
    uint32_t with_zero = bytes + (uint32_t)sizeof(uint64_t) <= left_in(l) ? 8 : 0;
    memset(record + sizeof(r) + r.body_bytes, 0, bytes - sizeof(r) - r.body_bytes + with_zero);
    l->has_rest = true;
    errno = 0;
    if (pwrite(l->fd, record, bytes + with_zero, l->written) != (ssize_t)(bytes + with_zero))
        return io_error(err, "write in", l->folder);
    spool_log_lock(l);
    spool_segment_add(s, &r, l->written);
    spool_log_unlock(l);
    l->written += bytes;
    l->last = spool_meta_end(&r.meta);
    return GW_OK;
}

gw_status spool_log_sync(spool_log *l, gw_error *err)
{
    if (l->durable == l->written)
        return GW_OK;
    if (!GW_MUTANT(SEND_BEFORE_DURABLE) && fdatasync(l->fd) != 0)
        return io_error(err, "sync", l->folder);
    spool_log_lock(l);
    last_of(l)->end = l->written;
    last_of(l)->last = l->last;
    spool_log_unlock(l);
    l->durable = l->written;
    l->has_rest = false;
    return GW_OK;
}

void spool_log_retract(spool_log *l)
{
    spool_segment *s = last_of(l);
    spool_log_lock(l);
    l->written = s->end;
    l->last = s->last;
    while (s->mark_count > 0 && s->marks[s->mark_count - 1].offset >= s->end)
        s->mark_count--;
    spool_log_unlock(l);
}

gw_status spool_log_roll(spool_log *l, const spool_meta *m, const spool_state *state, gw_error *err)
{
    spool_head h = {.number = last_of(l)->number + 1, .meta = *m};
    int fd;
    gw_status rc = spool_log_sync(l, err);
    if (rc == GW_OK)
        rc = end_segment(l, err);
    if (rc == GW_OK && l->spare_count == 0)
        rc = add_spare(l, err);
    /* Of the spares the last one: should this fail, the next try writes over the same head. */
    if (rc == GW_OK)
        rc = begin_segment(l, l->spares[l->spare_count - 1], &h, &fd, err);
    if (rc != GW_OK)
        return rc;
    spool_log_lock(l);
    bool pushed = spool_log_push(l, &h, l->spares[l->spare_count - 1]) != NULL;
    spool_log_unlock(l);
    if (!pushed) {
        (void)close(fd);
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for a segment of the spool");
    }
    l->spare_count--;
    (void)close(l->fd);
    l->fd = fd;
    l->durable = l->written = SPOOL_FIRST;
    l->has_rest = true;
    l->looked_ahead = false;
    gw_fault_point("spool.rolled");
    spool_saved where = {.log = l->id, .number = h.number, .file = 1 - l->saved.file};
    if (spool_state_save(state, l->folder, &where, NULL) == GW_OK)
        l->saved = where; /* else more segments are kept, and read at the next start */
    return GW_OK;
}

static void give_up(spool_log *l, const spool_segment *s)
{
    char path[SPOOL_PATH + 16];
    if (l->spare_count < SPOOL_SPARES && s->size == l->segment_bytes) {
        /* Below the others: the top one may hold the head of a roll that failed. */
        memmove(l->spares + 1, l->spares, l->spare_count * sizeof(l->spares[0]));
        l->spares[0] = s->file;
        l->spare_count++;
        return;
    }
    spool_log_path(l, s->file, path);
    (void)unlink(path);
}

void spool_log_recycle(spool_log *l, int64_t acked)
{
    size_t n = 0;
    while (n + 1 < l->count && l->segments[n]->last <= acked &&
           l->segments[n]->number < l->saved.number)
        n++;
    spool_log_lock(l);
    for (size_t i = 0; i < n; i++) {
        give_up(l, l->segments[i]);
        free(l->segments[i]);
    }
    if (n > 0)
        memmove(l->segments, l->segments + n, (l->count - n) * sizeof(l->segments[0]));
    l->count -= n;
    spool_log_unlock(l);
    if (l->spare_count > 0 || l->looked_ahead || left_in(l) > last_of(l)->size / 2)
        return;
    l->looked_ahead = true;
    (void)!add_spare(l, NULL); /* what fails is tried again when it is needed */
}

/* ---- reading ---- */

bool spool_record_read(int fd, uint64_t mark, uint32_t offset, uint32_t size, spool_record *ret)
{
    return offset <= size && size - offset >= sizeof(*ret) &&
           pread(fd, ret, sizeof(*ret), offset) == (ssize_t)sizeof(*ret) &&
           spool_record_is_sound(ret, mark) && spool_record_bytes(ret) <= size - offset;
}

bool spool_body_read(int fd, uint32_t offset, const spool_record *r, uint8_t *body)
{
    return pread(fd, body, r->body_bytes, offset + (off_t)sizeof(*r)) == (ssize_t)r->body_bytes &&
           spool_body_is_sound(r, body);
}

bool spool_cursor_init(spool_cursor *c)
{
    *c = (spool_cursor){.fd = -1, .body = malloc(SPOOL_RECORD_MAX)};
    return c->body != NULL;
}

void spool_cursor_forget(spool_cursor *c)
{
    if (c->fd >= 0)
        (void)close(c->fd);
    *c = (spool_cursor){.fd = -1, .body = c->body};
}

void spool_cursor_fini(spool_cursor *c)
{
    spool_cursor_forget(c);
    free(c->body);
    c->body = NULL;
}

/* The segment and, in it, where a record begins at or before the one that has the event. */
static const spool_segment *place_of(const spool_log *l, int64_t number, uint32_t *ret_offset)
{
    size_t low = 0, high = l->count; /* the first segment whose last event is not before it */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (l->segments[middle]->last < number)
            low = middle + 1;
        else
            high = middle;
    }
    const spool_segment *s = low < l->count ? l->segments[low] : NULL;
    if (!s || number <= s->before)
        return NULL;
    uint32_t i = s->mark_count;
    while (i > 0 && s->marks[i - 1].first > number)
        i--;
    *ret_offset = i > 0 ? s->marks[i - 1].offset : SPOOL_FIRST;
    return s;
}

int64_t spool_log_next(const spool_log *l, int64_t number)
{
    for (size_t i = 0; i < l->count; i++)
        if (l->segments[i]->last >= number)
            return GW_MAX(number, l->segments[i]->before + 1);
    return INT64_MAX;
}

static gw_status open_segment(const spool_log *l, spool_cursor *c, const spool_segment *s,
                              gw_error *err)
{
    char path[SPOOL_PATH + 16];
    if (c->segment == s->number)
        return GW_OK;
    if (c->fd >= 0)
        (void)close(c->fd);
    c->segment = 0;
    c->is_loaded = false;
    spool_log_path(l, s->file, path);
    c->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (c->fd < 0)
        return io_error(err, "open", path);
    c->segment = s->number;
    return GW_OK;
}

static int64_t before_record(const spool_record *r)
{
    return spool_meta_end(&r->meta) - r->count;
}

static bool has_number(const spool_record *r, int64_t number)
{
    return number > before_record(r) && number <= spool_meta_end(&r->meta);
}

static gw_status load(const spool_log *l, spool_cursor *c, const spool_segment *s, uint32_t offset,
                      int64_t number, gw_error *err)
{
    uint64_t mark = spool_mark_of(l->id, s->number);
    c->is_loaded = false;
    for (spool_record r; spool_record_read(c->fd, mark, offset, s->end, &r);
         offset += spool_record_bytes(&r)) {
        if (!has_number(&r, number))
            continue;
        if (!spool_body_read(c->fd, offset, &r, c->body))
            break;
        c->record = r;
        c->offset = offset;
        c->is_loaded = true;
        c->index = 0;
        c->at = r.count * (uint32_t)sizeof(spool_entry);
        return GW_OK;
    }
    return gw_fail(err, GW_ERR_DATA_LOSS, "spool: event %lld cannot be read", (long long)number);
}

bool spool_cursor_peek(const spool_cursor *c, gw_str *ret)
{
    spool_entry e;
    if (!c->is_loaded || c->index >= c->record.count)
        return false;
    memcpy(&e, c->body + c->index * sizeof(e), sizeof(e));
    *ret = gw_str_n(c->body + c->at, e.len);
    return true;
}

void spool_cursor_step(spool_cursor *c, const gw_str *event)
{
    c->at += (uint32_t)event->len;
    c->index++;
}

static void step_to(spool_cursor *c, int64_t number)
{
    int64_t index = number - before_record(&c->record) - 1;
    gw_str skipped;
    if (c->index > index) {
        c->index = 0;
        c->at = c->record.count * (uint32_t)sizeof(spool_entry);
    }
    while (c->index < index && spool_cursor_peek(c, &skipped))
        spool_cursor_step(c, &skipped);
}

bool spool_log_is_reused(const spool_log *l, int64_t number)
{
    uint32_t offset;
    char path[SPOOL_PATH + 16];
    spool_head h;
    const spool_segment *s = place_of(l, number, &offset);
    if (l->segment_bytes || !s)
        return false;
    spool_log_path(l, s->file, path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT;
    bool is_same = pread(fd, &h, sizeof(h), 0) == (ssize_t)sizeof(h) && h.number == s->number;
    (void)close(fd);
    return !is_same;
}

gw_status spool_log_find(spool_log *l, spool_cursor *c, int64_t number, gw_error *err)
{
    uint32_t offset;
    const spool_segment *s = place_of(l, number, &offset);
    if (!s)
        return gw_fail(err, GW_ERR_DATA_LOSS, "spool: event %lld is not there", (long long)number);
    gw_status rc = open_segment(l, c, s, err);
    if (rc != GW_OK)
        return rc;
    if (!c->is_loaded || !has_number(&c->record, number)) {
        bool is_behind = c->is_loaded && spool_meta_end(&c->record.meta) < number;
        if (is_behind)
            offset = GW_MAX(offset, c->offset + spool_record_bytes(&c->record));
        rc = load(l, c, s, offset, number, err);
    }
    if (rc == GW_OK)
        step_to(c, number);
    return rc;
}

/* What is before the first event that stays, in its own segment, as marks tell; in between all. */
int64_t spool_log_bytes(const spool_log *l, int64_t acked)
{
    uint32_t offset;
    const spool_segment *first = place_of(l, acked + 1, &offset);
    int64_t bytes = 0;
    for (size_t i = l->count; first && i-- > 0;) {
        const spool_segment *s = l->segments[i];
        if (s == first)
            return bytes + s->end - offset;
        bytes += s->end - SPOOL_FIRST;
    }
    return 0;
}
