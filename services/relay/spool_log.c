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
    s->begin = s->end = SPOOL_FIRST;
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

spool_log *spool_log_new(const char *folder, uint32_t segment_bytes)
{
    spool_log *l = calloc(1, sizeof(*l));
    if (!l)
        return NULL;
    l->fd = -1;
    l->segment_bytes = segment_bytes;
    (void)pthread_mutex_init(&l->lock, NULL);
    (void)snprintf(l->folder, sizeof(l->folder), "%s", folder);
    return l;
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

static gw_status make_file(const spool_log *l, unsigned file, gw_error *err)
{
    char path[SPOOL_PATH + 16];
    spool_log_path(l, file, path);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return spool_io_error(err, "make", path);
    bool ok = spool_file_allocate(fd, l->segment_bytes);
    int code = errno;
    (void)close(fd);
    if (ok && spool_folder_sync(l->folder, err) == GW_OK)
        return GW_OK;
    (void)unlink(path);
    errno = code;
    return ok ? GW_ERR_IO : spool_io_error(err, "allocate", path);
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
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return spool_io_error(err, "open", path);
    if (!spool_file_write(fd, h, sizeof(*h), 0) || !spool_file_sync(fd)) {
        gw_status rc = spool_io_error(err, "write", path);
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
    return rc == GW_OK ? spool_folder_sync(folder, err) : rc;
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
    if (!spool_file_write(l->fd, &zero, sizeof(zero), l->written) || !spool_file_sync(l->fd))
        return spool_io_error(err, "end a segment in", l->folder);
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
    if (!spool_file_write(l->fd, record, bytes + with_zero, l->written))
        return spool_io_error(err, "write in", l->folder);
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
    if (!GW_MUTANT(SEND_BEFORE_DURABLE) && !spool_file_sync(l->fd))
        return spool_io_error(err, "sync", l->folder);
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
