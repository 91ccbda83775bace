/*
 * What of a damaged log can be read: in each file every record that is sound, also behind others that are not. A row of them without a gap
 * is a segment of its own here.
 */
#include "spool_log_files.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define PAGE           4096U
#define CANDIDATES_MAX 64 /* numbers that a file without a head may have */

typedef struct salvage {
    spool_log *log;
    found_files found;
    spool_meta meta; /* of the newest record or head */
    bool has_meta;
    /* the file at hand */
    uint8_t *bytes;
    uint32_t size;
    uint64_t mark;
    uint32_t proven; /* so much of it had been on disk once, by its records' word */
} salvage;

static gw_status no_memory(gw_error *err)
{
    return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for a spool");
}

/* A page that cannot be read is empty. */
static bool load_file(salvage *g, const found_file *f)
{
    int fd = found_file_open(g->log, f, O_RDONLY);
    g->size = (uint32_t)GW_MIN(f->size, (off_t)SPOOL_SEGMENT_MAX);
    free(g->bytes);
    g->bytes = fd >= 0 ? calloc(1, (size_t)g->size + 1) : NULL;
    for (uint32_t at = 0; g->bytes && at < g->size; at += PAGE) {
        uint32_t n = GW_MIN(PAGE, g->size - at);
        if (!spool_file_read(fd, g->bytes + at, n, at))
            memset(g->bytes + at, 0, n);
    }
    if (fd >= 0)
        (void)close(fd);
    return g->bytes != NULL;
}

/* A record that is whole. */
static bool record_at(const salvage *g, uint32_t offset, spool_record *ret)
{
    if (offset > g->size || g->size - offset < sizeof(*ret))
        return false;
    memcpy(ret, g->bytes + offset, sizeof(*ret));
    return spool_record_is_sound(ret, g->mark) && spool_record_bytes(ret) <= g->size - offset &&
           spool_body_is_sound(ret, g->bytes + offset + sizeof(*ret));
}

/* The first record from `offset` on; false: there is none. */
static bool next_record(const salvage *g, uint32_t *offset, spool_record *ret)
{
    for (; *offset < g->size; *offset += 8)
        if (record_at(g, *offset, ret))
            return true;
    return false;
}

/* ---- a head that is lost ---- */

/* A file whose records are of segment `number` is that segment. */
static bool is_named_by_records(salvage *g, found_file *f, uint64_t number)
{
    uint32_t offset = 0;
    spool_record r;
    g->mark = spool_mark_of(g->log->id, number);
    if (!next_record(g, &offset, &r))
        return false;
    f->head = (spool_head){.log = g->log->id, .number = number, .size = g->size, .meta = r.meta};
    f->head.meta.tail -= r.count;
    return true;
}

/* The numbers that are missing: between those that are there, and the one behind. */
static size_t missing_numbers(const salvage *g, uint64_t out[CANDIDATES_MAX])
{
    size_t n = 0;
    uint64_t next = g->log->saved.number;
    for (size_t i = 0; i < g->found.segments; i++) {
        const spool_head *h = &g->found.files[i].head;
        if (h->log != g->log->id)
            continue;
        for (uint64_t k = next; next > 0 && k < h->number && n < CANDIDATES_MAX - 1; k++)
            out[n++] = k;
        next = h->number + 1;
    }
    if (next > 0)
        out[n++] = next;
    return n;
}

static void name_lost_heads(salvage *g)
{
    uint64_t numbers[CANDIDATES_MAX];
    size_t count = missing_numbers(g, numbers);
    for (size_t i = g->found.segments; i < g->found.count; i++) {
        found_file *f = &g->found.files[i];
        bool is_loaded = count > 0 && load_file(g, f);
        for (size_t k = 0; is_loaded && k < count && !f->is_segment; k++)
            f->is_segment = is_named_by_records(g, f, numbers[k]);
    }
    found_files_sort(&g->found);
}

/* ---- records ---- */

static void note_meta(salvage *g, const spool_meta *m)
{
    if (!g->has_meta || spool_meta_end(m) >= spool_meta_end(&g->meta))
        g->meta = *m;
    g->has_meta = true;
}

static void find_proven(salvage *g)
{
    spool_record r;
    g->proven = 0;
    for (uint32_t at = SPOOL_FIRST; next_record(g, &at, &r); at += spool_record_bytes(&r))
        g->proven = GW_MAX(g->proven, r.durable);
}

/*
 * Whether the record at `offset`, behind others that are not sound, was committed: what is left of a commit that failed looks the same, but
 * nothing says that it, or what lay before it, had been on disk.
 */
static bool was_committed(const salvage *g, uint32_t gap, uint32_t offset, const spool_record *r)
{
    return r->durable > gap || offset + spool_record_bytes(r) <= g->proven;
}

static bool begin_row(salvage *g, const found_file *f, uint32_t offset, const spool_record *r)
{
    spool_segment *s = spool_log_push(g->log, &f->head, f->file);
    if (!s)
        return false;
    s->begin = s->end = offset;
    s->before = s->last = spool_meta_end(&r->meta) - r->count;
    return true;
}

static gw_status read_file(salvage *g, const found_file *f, gw_error *err)
{
    uint32_t end = SPOOL_FIRST; /* of the last record that counts */
    spool_segment *row = NULL;
    spool_record r;
    if (!load_file(g, f))
        return GW_OK;
    g->mark = spool_mark_of(g->log->id, f->head.number);
    find_proven(g);
    for (uint32_t at = end; next_record(g, &at, &r); at += 8) {
        int64_t before = spool_meta_end(&r.meta) - r.count;
        if ((at > end && !was_committed(g, end, at, &r)) ||
            (g->log->count > 0 && before < g->log->segments[g->log->count - 1]->last))
            continue;
        if (row && (at > row->end || before != row->last))
            row = NULL;
        if (!row && r.count > 0) {
            if (!begin_row(g, f, at, &r))
                return no_memory(err);
            row = g->log->segments[g->log->count - 1];
        }
        note_meta(g, &r.meta);
        end = at + spool_record_bytes(&r);
        if (row) {
            spool_segment_add(row, &r, at);
            row->last = spool_meta_end(&r.meta);
            row->end = end;
        }
        at = end - 8;
    }
    return GW_OK;
}

static gw_status read_all(salvage *g, gw_error *err)
{
    const found_files *found = &g->found;
    if (spool_state_load(NULL, g->log->folder, &g->log->saved, NULL) == GW_OK)
        g->log->id = g->log->saved.log;
    gw_status rc = found_files_list(&g->found, g->log, g->log->id, err);
    if (rc != GW_OK)
        return rc;
    if (g->log->id == 0 && found->segments > 0)
        g->log->id = found->files[found->segments - 1].head.log;
    name_lost_heads(g);
    for (size_t i = 0; i < found->segments && rc == GW_OK; i++) {
        const found_file *f = &found->files[i];
        /* A spare that was not used again yet has what is acked. */
        if (f->head.log != g->log->id ||
            (g->has_meta && spool_meta_end(&f->head.meta) < spool_meta_end(&g->meta)))
            continue;
        note_meta(g, &f->head.meta);
        rc = read_file(g, f, err);
    }
    if (rc == GW_OK && !g->has_meta)
        rc = gw_fail(err, GW_ERR_DATA_LOSS, "spool: nothing in %s can be read", g->log->folder);
    return rc;
}

gw_status spool_log_salvage(const char *folder, spool_log **ret, spool_meta *ret_meta,
                            gw_error *err)
{
    gw_auto(spool_log) l = spool_log_new(folder, 0);
    salvage g = {.log = l};
    if (!l)
        return no_memory(err);
    gw_status rc = read_all(&g, err);
    found_files_fini(&g.found);
    free(g.bytes);
    if (rc != GW_OK)
        return rc;
    *ret_meta = g.meta;
    *ret = gw_steal(&l);
    return GW_OK;
}
