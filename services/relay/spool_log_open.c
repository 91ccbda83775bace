/* Opening a log: which files are its segments, where its end is, and whether all of it is there. */
#include "spool_log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOOK_BYTES (64U << 10)

typedef struct found_file {
    unsigned file;
    off_t size;
    bool is_segment; /* of this log, its head is sound */
    bool is_kept; /* it is in the chain */
    spool_head head;
} found_file;

typedef struct opening {
    spool_log *log;
    spool_state *state; /* may be NULL */
    found_file *files;
    size_t count, capacity;
    spool_meta meta; /* as of the last record seen */
    bool has_meta;
    uint8_t *body;
    bool salvages; /* damage ends nothing */
    gw_error *err;
} opening;

static gw_status damage(const opening *o, const char *what, uint64_t number)
{
    if (o->salvages)
        return GW_OK;
    return gw_fail(o->err, GW_ERR_DATA_LOSS, "spool: %s %llu of %s", what,
                   (unsigned long long)number, o->log->folder);
}

/* ---- files ---- */

static bool add_file(opening *o, unsigned file)
{
    if (o->count == o->capacity) {
        size_t capacity = GW_MAX(o->capacity * 2, (size_t)16);
        found_file *grown = realloc(o->files, capacity * sizeof(*grown));
        if (!grown)
            return false;
        o->files = grown;
        o->capacity = capacity;
    }
    o->files[o->count++] = (found_file){.file = file};
    return true;
}

/* "000012.log" → 12 */
static bool file_of(const char *name, unsigned *ret)
{
    gw_str text = gw_str_of(name);
    int64_t file;
    if (text.len < 5 || strcmp(name + text.len - 4, ".log") != 0 ||
        !gw_str_to_int64(gw_str_slice(text, 0, text.len - 4), &file) || file < 0 ||
        file >= INT32_MAX)
        return false;
    *ret = (unsigned)file;
    return true;
}

static int open_file(const opening *o, const found_file *f, int flags)
{
    char path[SPOOL_PATH + 16];
    spool_log_path(o->log, f->file, path);
    return open(path, flags | O_CLOEXEC);
}

static gw_status look_at(const opening *o, found_file *f)
{
    struct stat st;
    int fd = open_file(o, f, O_RDONLY);
    if (fd < 0)
        return errno == ENOENT
                   ? GW_OK
                   : gw_fail(o->err, GW_ERR_IO, "spool: cannot open a segment of %s: %s",
                             o->log->folder, strerror(errno));
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
        f->size = st.st_size;
        f->is_segment = pread(fd, &f->head, sizeof(f->head), 0) == (ssize_t)sizeof(f->head) &&
                        spool_head_is_sound(&f->head) && (o->salvages || f->head.log == o->log->id);
    }
    (void)close(fd);
    return GW_OK;
}

static gw_status list_files(opening *o)
{
    DIR *d = opendir(o->log->folder);
    if (!d)
        return gw_fail(o->err, errno == ENOENT ? GW_ERR_DATA_LOSS : GW_ERR_IO,
                       "spool: cannot read %s: %s", o->log->folder, strerror(errno));
    gw_status rc = GW_OK;
    for (struct dirent *e; rc == GW_OK && (e = readdir(d));) {
        unsigned file;
        if (!file_of(e->d_name, &file))
            continue;
        if (!add_file(o, file))
            rc = gw_fail(o->err, GW_ERR_NO_MEMORY, "no memory for the files of a spool");
        else
            rc = look_at(o, &o->files[o->count - 1]);
        o->log->next_file = GW_MAX(o->log->next_file, file + 1);
    }
    (void)closedir(d);
    return rc;
}

static int by_number(const void *a, const void *b)
{
    const found_file *x = a, *y = b;
    if (x->is_segment != y->is_segment)
        return x->is_segment ? -1 : 1;
    return x->is_segment && x->head.number != y->head.number
               ? (x->head.number > y->head.number ? 1 : -1)
               : 0;
}

/*
 * The segments are the newest and those before it without a gap; what lies before the gap is spare. Sorted, they are files[*first] …
 * files[*end - 1].
 */
static gw_status find_chain(opening *o, size_t *first, size_t *end)
{
    if (o->count > 0)
        qsort(o->files, o->count, sizeof(*o->files), by_number);
    size_t n = 0;
    while (n < o->count && o->files[n].is_segment)
        n++;
    *end = *first = n;
    while (*first > 0 &&
           (*first == n || o->files[*first - 1].head.number + 1 == o->files[*first].head.number))
        --*first;
    if (*first > 0 && *first < n &&
        o->files[*first - 1].head.number == o->files[*first].head.number)
        return damage(o, "there are two files with segment", o->files[*first].head.number);
    if (o->salvages)
        *first = 0;
    uint64_t state = o->log->saved.number;
    if (*first == n || o->files[*first].head.number > state || o->files[n - 1].head.number < state)
        return damage(o, "there is no segment", state);
    for (size_t i = *first; i < n; i++) {
        found_file *f = &o->files[i];
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
    }
}

/*
 * Looks behind `from` for a header of segment `number` by which what lies at `from` had been on disk. A record that was being written when
 * power failed has none behind it that says so.
 */
static bool has_witness(const opening *o, int fd, uint64_t number, uint32_t from, uint32_t size)
{
    uint64_t mark = spool_mark_of(o->log->id, number);
    for (uint32_t at = from; at < size;) {
        ssize_t n = pread(fd, o->body, GW_MIN(LOOK_BYTES, size - at), at);
        if (n < (ssize_t)sizeof(mark))
            return false;
        for (uint32_t i = 0; i + sizeof(mark) <= (size_t)n; i += sizeof(mark)) {
            uint64_t word;
            spool_record r;
            memcpy(&word, o->body + i, sizeof(word));
            if (word == mark && spool_record_read(fd, mark, at + i, size, &r) && r.durable > from)
                return true;
        }
        at += (uint32_t)n & ~7U;
    }
    return false;
}

static gw_status read_segment(opening *o, const found_file *f, bool is_last)
{
    spool_segment *s = spool_log_push(o->log, &f->head, f->file);
    int fd = open_file(o, f, o->log->segment_bytes && is_last ? O_RDWR : O_RDONLY);
    if (!s || fd < 0) {
        if (fd >= 0)
            (void)close(fd);
        return s ? gw_fail(o->err, GW_ERR_IO, "spool: cannot open a segment of %s: %s",
                           o->log->folder, strerror(errno))
                 : gw_fail(o->err, GW_ERR_NO_MEMORY, "no memory for a segment of the spool");
    }
    if (!o->has_meta || (o->salvages && spool_meta_end(&o->meta) < s->last))
        o->meta = f->head.meta;
    o->has_meta = true;
    gw_status rc = GW_OK;
    if (s->last != spool_meta_end(&o->meta))
        rc = damage(o, "records are missing before segment", s->number);
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
    for (size_t i = 0; i < o->count && rc == GW_OK; i++) {
        const found_file *f = &o->files[i];
        int fd = f->is_segment ? -1 : open_file(o, f, O_RDONLY);
        if (fd < 0)
            continue;
        if (has_witness(o, fd, next, 0, (uint32_t)GW_MIN(f->size, (off_t)SPOOL_SEGMENT_MAX)))
            rc = damage(o, "the head is damaged of segment", next);
        (void)close(fd);
    }
    return rc;
}

/* ---- what is left over ---- */

static void keep_spares(opening *o)
{
    spool_log *l = o->log;
    for (size_t i = 0; i < o->count; i++) {
        const found_file *f = &o->files[i];
        char path[SPOOL_PATH + 16];
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

/* Of any log that the newest segment is of; without a state, and each body is looked at. */
static gw_status salvage_all(opening *o)
{
    size_t first, end;
    gw_status rc = list_files(o);
    if (rc == GW_OK)
        rc = find_chain(o, &first, &end);
    for (size_t i = 0; rc == GW_OK && i < end; i++) {
        const found_file *f = &o->files[i];
        o->log->id = o->files[end - 1].head.log;
        if (f->head.log == o->log->id &&
            (!o->has_meta || spool_meta_end(&f->head.meta) >= spool_meta_end(&o->meta)))
            rc = read_segment(o, f, false);
    }
    if (rc == GW_OK && o->log->count == 0)
        rc = gw_fail(o->err, GW_ERR_DATA_LOSS, "spool: nothing in %s can be read", o->log->folder);
    return rc;
}

static gw_status read_all(opening *o)
{
    size_t first, end;
    gw_status rc = spool_state_load(o->state, o->log->folder, &o->log->saved, o->err);
    o->log->id = o->log->saved.log;
    if (rc == GW_OK)
        rc = list_files(o);
    if (rc == GW_OK)
        rc = find_chain(o, &first, &end);
    for (size_t i = first; rc == GW_OK && i < end; i++)
        rc = read_segment(o, &o->files[i], i + 1 == end);
    if (rc == GW_OK)
        rc = look_for_next(o);
    if (rc == GW_OK && o->log->segments[0]->before > o->meta.base + o->meta.acked)
        rc = damage(o, "events are missing before segment", o->log->segments[0]->number);
    return rc;
}

static gw_status open_log(opening *o, const char *folder, uint32_t segment_bytes, spool_log **ret)
{
    gw_auto(spool_log) l = calloc(1, sizeof(*l));
    gw_auto_free uint8_t *body = malloc(SPOOL_RECORD_MAX);
    if (l) {
        l->fd = -1;
        (void)pthread_mutex_init(&l->lock, NULL);
    }
    if (!l || !body)
        return gw_fail(o->err, GW_ERR_NO_MEMORY, "no memory for a spool");
    l->segment_bytes = segment_bytes;
    (void)snprintf(l->folder, sizeof(l->folder), "%s", folder);
    o->log = l;
    o->body = body;
    gw_status rc = o->salvages ? salvage_all(o) : read_all(o);
    if (rc == GW_OK && segment_bytes)
        keep_spares(o);
    free(o->files);
    if (rc != GW_OK)
        return rc;
    const spool_segment *last = l->segments[l->count - 1];
    l->written = last->end;
    l->last = last->last;
    l->has_rest = true;
    *ret = gw_steal(&l);
    return GW_OK;
}

gw_status spool_log_open(const char *folder, uint32_t segment_bytes, spool_state *state,
                         spool_log **ret, spool_meta *ret_meta, gw_error *err)
{
    opening o = {.state = state, .err = err};
    gw_status rc = open_log(&o, folder, segment_bytes, ret);
    if (rc == GW_OK)
        *ret_meta = o.meta;
    return rc;
}

gw_status spool_log_salvage(const char *folder, spool_log **ret, spool_meta *ret_meta,
                            gw_error *err)
{
    opening o = {.salvages = true, .err = err};
    gw_status rc = open_log(&o, folder, 0, ret);
    if (rc == GW_OK)
        *ret_meta = o.meta;
    return rc;
}
