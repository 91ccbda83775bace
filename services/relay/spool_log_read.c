/* Where an event is, and reading it. */
#include "spool_log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- records ---- */

bool spool_record_read(int fd, uint64_t mark, uint32_t offset, uint32_t size, spool_record *ret)
{
    return offset <= size && size - offset >= sizeof(*ret) &&
           spool_file_read(fd, ret, sizeof(*ret), offset) && spool_record_is_sound(ret, mark) &&
           spool_record_bytes(ret) <= size - offset;
}

bool spool_body_read(int fd, uint32_t offset, const spool_record *r, uint8_t *body)
{
    return spool_file_read(fd, body, r->body_bytes, offset + (off_t)sizeof(*r)) &&
           spool_body_is_sound(r, body);
}

/* ---- where an event is ---- */

/* The segment and, in it, where a record begins at or before the one that has the event. */
typedef struct place {
    uint64_t number;
    unsigned file;
    uint32_t offset, end;
} place;

/* The segment with the event; NULL: none. Under the lock, or the writer's. */
static const spool_segment *segment_of(const spool_log *l, int64_t number)
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
    return s && number > s->before ? s : NULL;
}

static uint32_t offset_in(const spool_segment *s, int64_t number)
{
    uint32_t i = s->mark_count;
    while (i > 0 && s->marks[i - 1].first > number)
        i--;
    return i > 0 ? s->marks[i - 1].offset : s->begin;
}

/* A copy: the writer goes on meanwhile, but not in what is not acked. */
static bool place_of(spool_log *l, int64_t number, place *ret)
{
    spool_log_lock(l);
    const spool_segment *s = segment_of(l, number);
    if (s)
        *ret = (place){
            .number = s->number, .file = s->file, .offset = offset_in(s, number), .end = s->end};
    spool_log_unlock(l);
    return s != NULL;
}

int64_t spool_log_next(const spool_log *l, int64_t number)
{
    for (size_t i = 0; i < l->count; i++)
        if (l->segments[i]->last >= number)
            return GW_MAX(number, l->segments[i]->before + 1);
    return INT64_MAX;
}

/* What is before the first event that stays, in its own segment, as marks tell; in between all. */
int64_t spool_log_bytes(const spool_log *l, int64_t acked)
{
    const spool_segment *first = segment_of(l, acked + 1);
    int64_t bytes = 0;
    for (size_t i = l->count; first && i-- > 0;) {
        const spool_segment *s = l->segments[i];
        if (s == first)
            return bytes + s->end - offset_in(s, acked + 1);
        bytes += s->end - s->begin;
    }
    return 0;
}

/* ---- the cursor ---- */

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

static gw_status open_segment(const spool_log *l, spool_cursor *c, const place *p, gw_error *err)
{
    char path[SPOOL_PATH + 16];
    if (c->segment == p->number)
        return GW_OK;
    if (c->fd >= 0)
        (void)close(c->fd);
    c->segment = 0;
    c->is_loaded = false;
    spool_log_path(l, p->file, path);
    c->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (c->fd < 0)
        return spool_io_error(err, "open", path);
    c->segment = p->number;
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

static gw_status load(const spool_log *l, spool_cursor *c, const place *p, int64_t number,
                      gw_error *err)
{
    uint64_t mark = spool_mark_of(l->id, p->number);
    uint32_t offset = p->offset;
    c->is_loaded = false;
    for (spool_record r; spool_record_read(c->fd, mark, offset, p->end, &r);
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

bool spool_log_is_reused(spool_log *l, int64_t number)
{
    char path[SPOOL_PATH + 16];
    spool_head h;
    place p;
    if (l->segment_bytes || !place_of(l, number, &p))
        return false;
    spool_log_path(l, p.file, path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT;
    bool is_same = spool_file_read(fd, &h, sizeof(h), 0) && h.number == p.number;
    (void)close(fd);
    return !is_same;
}

gw_status spool_log_find(spool_log *l, spool_cursor *c, int64_t number, gw_error *err)
{
    place p;
    if (!place_of(l, number, &p))
        return gw_fail(err, GW_ERR_DATA_LOSS, "spool: event %lld is not there", (long long)number);
    gw_status rc = open_segment(l, c, &p, err);
    if (rc != GW_OK)
        return rc;
    if (!c->is_loaded || !has_number(&c->record, number)) {
        bool is_behind = c->is_loaded && spool_meta_end(&c->record.meta) < number;
        if (is_behind)
            p.offset = GW_MAX(p.offset, c->offset + spool_record_bytes(&c->record));
        rc = load(l, c, &p, number, err);
    }
    if (rc == GW_OK)
        step_to(c, number);
    return rc;
}
