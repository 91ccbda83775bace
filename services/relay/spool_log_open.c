/* Opening a log: which files are its segments, where its end is, and whether all of it is there. */
#include "spool_log_files.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define LOOK_BYTES (64U << 10)

typedef struct opening {
    spool_log *log;
    spool_state *state; /* may be NULL */
    found_files found;
    spool_meta meta; /* as of the last record seen */
    bool has_meta;
    /* of the last segment: so much of it had been on disk when its last record was written */
    uint32_t proven;
    uint8_t *body;
    gw_error *err;
} opening;

static gw_status damage(const opening *o, const char *what, uint64_t number)
{
    return gw_fail(o->err, GW_ERR_DATA_LOSS, "spool: %s %llu of %s", what,
                   (unsigned long long)number, o->log->folder);
}

/*
 * The segments are the newest and those before it without a gap; what lies before the gap is spare. Of the files they are the first up to
 * `found.segments`, from *first on.
 */
static gw_status find_chain(opening *o, size_t *first)
{
    found_file *files = o->found.files;
    size_t n = *first = o->found.segments;
    while (*first > 0 &&
           (*first == n || files[*first - 1].head.number + 1 == files[*first].head.number))
        --*first;
    if (*first > 0 && *first < n && files[*first - 1].head.number == files[*first].head.number)
        return damage(o, "there are two files with segment", files[*first].head.number);
    uint64_t state = o->log->saved.number;
    if (*first == n || files[*first].head.number > state || files[n - 1].head.number < state)
        return damage(o, "there is no segment", state);
    for (size_t i = *first; i < n; i++) {
        found_file *f = &files[i];
        f->is_kept = true;
        if (f->head.size != f->size || f->size < (off_t)(2 * sizeof(spool_head)) ||
            f->size > (off_t)SPOOL_SEGMENT_MAX)
            return damage(o, "the file has another size than segment", f->head.number);
    }
    return GW_OK;
}

/* ---- records ---- */

static void note_events(const opening *o, const spool_record *r)
{
    const uint8_t *at = o->body + r->count * sizeof(spool_entry);
    for (uint32_t i = 0; i < r->count; i++) {
        spool_entry e;
        ledger_event spent;
        memcpy(&e, o->body + i * sizeof(e), sizeof(e));
        if (!ledger_event_read(gw_str_n(at, e.len), &spent))
            spent = (ledger_event){0};
        spool_state_note(o->state, e.slot, e.generation, &spent);
        at += e.len;
    }
}

/* All records up to the first that is none. */
static void walk(opening *o, int fd, spool_segment *s)
{
    uint64_t mark = spool_mark_of(o->log->id, s->number);
    bool whole = s->number >= o->log->saved.number;
    o->proven = SPOOL_FIRST;
    for (spool_record r; spool_record_read(fd, mark, s->end, s->size, &r);) {
        if (spool_meta_end(&r.meta) - r.count != s->last)
            return;
        if (whole && !spool_body_read(fd, s->end, &r, o->body))
            return;
        if (whole && o->state)
            note_events(o, &r);
        spool_segment_add(s, &r, s->end);
        s->last = spool_meta_end(&r.meta);
        s->end += spool_record_bytes(&r);
        o->meta = r.meta;
        o->proven = GW_MAX(r.durable, SPOOL_FIRST);
    }
}

/*
 * Looks behind `from` for a header of segment `number` by which what lies at `from` had been on disk. A record that was being written when
 * power failed has none behind it that says so. What cannot be read may say anything.
 */
static bool has_witness(const opening *o, int fd, uint64_t number, uint32_t from, uint32_t size)
{
    uint64_t mark = spool_mark_of(o->log->id, number);
    for (uint32_t at = from; at < size && size - at >= sizeof(mark);) {
        uint32_t n = GW_MIN(LOOK_BYTES, size - at) & ~7U;
        if (!spool_file_read(fd, o->body, n, at))
            return true;
        for (uint32_t i = 0; i < n; i += sizeof(mark)) {
            uint64_t word;
            spool_record r;
            memcpy(&word, o->body + i, sizeof(word));
            if (word == mark && spool_record_read(fd, mark, at + i, size, &r) && r.durable > from)
                return true;
        }
        at += n;
    }
    return false;
}

/*
 * A head says more than the records before it when the last of these, one without events, has gone bad; less when it is of a roll that failed
 * and records followed in the old segment.
 */
static bool is_newer(const spool_meta *head, const spool_meta *record)
{
    int64_t acked = head->base + head->acked, before = record->base + record->acked;
    return acked > before || (acked == before && head->base > record->base);
}

static gw_status read_segment(opening *o, const found_file *f, bool is_last)
{
    spool_segment *s = spool_log_push(o->log, &f->head, f->file);
    int fd = found_file_open(o->log, f, o->log->segment_bytes && is_last ? O_RDWR : O_RDONLY);
    if (!s || fd < 0) {
        if (fd >= 0)
            (void)close(fd);
        return s ? spool_io_error(o->err, "open a segment of", o->log->folder)
                 : gw_fail(o->err, GW_ERR_NO_MEMORY, "no memory for a segment of the spool");
    }
    gw_status rc = GW_OK;
    if (o->has_meta && s->last != spool_meta_end(&o->meta))
        rc = damage(o, "records are missing before segment", s->number);
    if (!o->has_meta || is_newer(&f->head.meta, &o->meta))
        o->meta = f->head.meta;
    o->has_meta = true;
    if (rc == GW_OK)
        walk(o, fd, s);
    if (rc == GW_OK && is_last && has_witness(o, fd, s->number, s->end, s->size))
        rc = damage(o, "a record is damaged in segment", s->number);
    if (is_last)
        o->log->fd = fd;
    else
        (void)close(fd);
    return rc;
}

/* A segment after the last, whose head is damaged: a head is on disk before there are records. */
static gw_status look_for_next(const opening *o)
{
    uint64_t next = o->log->segments[o->log->count - 1]->number + 1;
    gw_status rc = GW_OK;
    for (size_t i = o->found.segments; i < o->found.count && rc == GW_OK; i++) {
        const found_file *f = &o->found.files[i];
        int fd = found_file_open(o->log, f, O_RDONLY);
        if (fd < 0)
            continue;
        if (has_witness(o, fd, next, 0, (uint32_t)GW_MIN(f->size, (off_t)SPOOL_SEGMENT_MAX)))
            rc = damage(o, "the head is damaged of segment", next);
        (void)close(fd);
    }
    return rc;
}

static gw_status read_all(opening *o)
{
    size_t first = 0;
    gw_status rc = spool_state_load(o->state, o->log->folder, &o->log->saved, o->err);
    o->log->id = o->log->saved.log;
    if (rc == GW_OK)
        rc = found_files_list(&o->found, o->log, o->log->id, o->err);
    if (rc == GW_OK)
        rc = find_chain(o, &first);
    for (size_t i = first; rc == GW_OK && i < o->found.segments; i++)
        rc = read_segment(o, &o->found.files[i], i + 1 == o->found.segments);
    if (rc == GW_OK)
        rc = look_for_next(o);
    if (rc == GW_OK && o->log->segments[0]->before > o->meta.base + o->meta.acked)
        rc = damage(o, "events are missing before segment", o->log->segments[0]->number);
    return rc;
}

/* ---- to go on writing ---- */

static bool write_again(const opening *o, uint32_t from, uint32_t to)
{
    for (uint32_t at = from; at < to;) {
        uint32_t n = GW_MIN(to - at, SPOOL_RECORD_MAX);
        if (!spool_file_read(o->log->fd, o->body, n, at) ||
            !spool_file_write(o->log->fd, o->body, n, at))
            return false;
        at += n;
    }
    return true;
}

/*
 * What was found may be in the kernel's memory alone: a relay whose sync had failed may have been killed before it wrote again, and
 * nothing is left that would say so. What is not known to have been on disk is written again, then it counts.
 */
static gw_status make_durable(const opening *o)
{
    spool_log *l = o->log;
    uint32_t end = l->segments[l->count - 1]->end;
    gw_status rc = spool_state_save_again(l->folder, &l->saved, o->err);
    if (rc == GW_OK && !(write_again(o, 0, SPOOL_FIRST) && write_again(o, o->proven, end) &&
                         spool_file_sync(l->fd)))
        rc = spool_io_error(o->err, "write in", l->folder);
    return rc == GW_OK ? spool_folder_sync(l->folder, o->err) : rc;
}

static void keep_spares(opening *o)
{
    spool_log *l = o->log;
    for (size_t i = 0; i < o->found.count; i++) {
        const found_file *f = &o->found.files[i];
        char path[SPOOL_PATH + 16];
        l->next_file = GW_MAX(l->next_file, f->file + 1);
        if (f->is_kept)
            continue;
        if (f->size == l->segment_bytes && l->spare_count < SPOOL_SPARES) {
            l->spares[l->spare_count++] = f->file;
            continue;
        }
        spool_log_path(l, f->file, path);
        (void)unlink(path);
    }
}

static gw_status open_log(opening *o)
{
    spool_log *l = o->log;
    gw_status rc = read_all(o);
    if (rc == GW_OK && l->segment_bytes)
        rc = make_durable(o);
    if (rc != GW_OK)
        return rc;
    if (l->segment_bytes)
        keep_spares(o);
    const spool_segment *last = l->segments[l->count - 1];
    l->written = l->durable = last->end;
    l->last = last->last;
    l->has_rest = true;
    return GW_OK;
}

gw_status spool_log_open(const char *folder, uint32_t segment_bytes, spool_state *state,
                         spool_log **ret, spool_meta *ret_meta, gw_error *err)
{
    gw_auto(spool_log) l = spool_log_new(folder, segment_bytes);
    gw_auto_free uint8_t *body = malloc(SPOOL_RECORD_MAX);
    opening o = {.log = l, .state = state, .body = body, .err = err};
    if (!l || !body)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for a spool");
    gw_status rc = open_log(&o);
    found_files_fini(&o.found);
    if (rc != GW_OK)
        return rc;
    *ret_meta = o.meta;
    *ret = gw_steal(&l);
    return GW_OK;
}
