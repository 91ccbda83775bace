/* Applying a claim: rows, then hours. */
#include "spool_store.h"

#include "event_row.h"
#include "hour_update.h"
#include "usage_collections.h"

#include "core/fault.h"
#include "mongo/bson_read.h"

#include <stdio.h>
#include <stdlib.h>

/* A bulk write must be answered within the socket timeout on a slow disk too. */
#define ROWS_A_WRITE  1000
#define HOURS_A_WRITE 400
#define PATHS_A_WRITE 20000 /* figures in those hours */

/* ---- rows and rejects ---- */

typedef struct row_writer {
    const spool_db *s;
    const char *collection;
    const char *what;
    doc_batch batch;
} row_writer;

static gw_status row_writer_flush(row_writer *w, gw_error *err)
{
    gw_status rc = doc_store_write(w->s->store, w->collection, &w->batch, NULL, w->what, err);
    /* A row that is there already is of an earlier try. */
    return rc == GW_ERR_ALREADY_EXISTS ? GW_OK : rc;
}

/* `d` is taken. */
static gw_status row_writer_add(row_writer *w, bson_t *d, gw_error *err)
{
    doc_batch_insert(&w->batch, d);
    return w->batch.count < ROWS_A_WRITE ? GW_OK : row_writer_flush(w, err);
}

static gw_status write_reject(row_writer *w, const char *spool_id, const claim_cursor *at,
                              gw_error *err)
{
    gw_object_id id;
    bson_t *d = bson_new();
    event_id_of(at->packed, gw_str_of(spool_id), at->seq, &id);
    gw_bson_append_oid(d, "_id", &id);
    (void)BSON_APPEND_UTF8(d, "reason", at->reason);
    (void)BSON_APPEND_BINARY(d, "raw", BSON_SUBTYPE_BINARY, (const uint8_t *)at->packed.ptr,
                             (uint32_t)at->packed.len);
    (void)BSON_APPEND_UTF8(d, "S", spool_id);
    (void)BSON_APPEND_INT64(d, "seq", at->seq);
    (void)BSON_APPEND_DATE_TIME(d, "at", w->s->now_ms);
    return row_writer_add(w, d, err);
}

static gw_status write_row(row_writer *w, rollup *added, const claim *c, const claim_cursor *at,
                           gw_error *err)
{
    usage_event *e = event_unpack(at->packed);
    if (!e)
        return gw_fail(err, GW_ERR_DATA_LOSS, "a claimed event does not unpack");
    bson_t *row = bson_new();
    event_append_row(e, c->sums_format, row);
    event_free(e);
    gw_status rc = rollup_add_row(added, row, err);
    if (rc == GW_OK)
        return row_writer_add(w, row, err);
    bson_destroy(row);
    return rc;
}

/* Writes every row and reject of `c`, and sums the rows up. */
static gw_status write_rows(const spool_db *s, const char *spool_id, const claim *c, rollup *added,
                            gw_error *err)
{
    row_writer rows = {.s = s, .collection = COLLECTION_ROWS, .what = "insert usage rows"};
    row_writer rejects = {.s = s, .collection = COLLECTION_REJECTS, .what = "insert usage rejects"};
    claim_cursor at = {0};
    gw_status rc = GW_OK;

    while (rc == GW_OK && claim_next(c, &at)) {
        if (GW_MUTANT(LATE_JUDGE))
            at.reason = event_judge(at.packed, s->now_ms, INT64_MAX / 2);
        rc = at.reason ? write_reject(&rejects, spool_id, &at, err)
                       : write_row(&rows, added, c, &at, err);
    }
    if (rc == GW_OK)
        rc = row_writer_flush(&rows, err);
    if (rc == GW_OK)
        rc = row_writer_flush(&rejects, err);
    doc_batch_clear(&rows.batch);
    doc_batch_clear(&rejects.batch);
    return rc;
}

/* ---- hours ---- */

/* Some of the hours that a claim enters, of one collection. */
typedef struct hour_write {
    const spool_db *s;
    const char *collection;
    const rollup *added;
    size_t from, to;
    const char *mark;
    int64_t b;
} hour_write;

static bool stands_there(const hour_write *w, const hour_delta *h)
{
    return strcmp(rollup_hours_collection(h->kind), w->collection) == 0;
}

static gw_status write_some_hours(const hour_write *w, hour_form form, bool upsert, gw_error *err)
{
    doc_batch batch = {0};
    for (size_t i = w->from; i < w->to; i++) {
        hour_delta *h = rollup_at(w->added, i);
        if (!stands_there(w, h))
            continue;
        if (sums_failed(h->sums))
            batch.failed = true;
        doc_batch_update(&batch, hour_filter(h, w->mark, w->b),
                         hour_update(h, form, w->mark, w->b, (int64_t)(gw_random_u64() >> 1)),
                         upsert);
    }
    return doc_store_write(w->s->store, w->collection, &batch, NULL, "add to the hours", err);
}

static gw_status write_in_form(const hour_write *w, hour_form form, gw_error *err)
{
    gw_status rc = write_some_hours(w, form, true, err);
    /* Either the mark kept the document from matching, so that the upsert met it: it is in. Or
     * another spool made the document at this moment: now it matches. */
    return rc == GW_ERR_ALREADY_EXISTS ? write_some_hours(w, form, false, err) : rc;
}

/* Where a write ends that begins with the hour at `from`. */
static size_t write_end(const hour_write *w)
{
    size_t end = w->from;
    for (size_t hours = 0, paths = 0; end < rollup_count(w->added) && hours < HOURS_A_WRITE;
         end++) {
        const hour_delta *h = rollup_at(w->added, end);
        if (!stands_there(w, h))
            continue;
        paths += sums_count(h->sums);
        if (paths > PATHS_A_WRITE && hours > 0)
            break;
        hours++;
    }
    return end;
}

static gw_status write_hours(const spool_db *s, const char *collection, const char *mark, int64_t b,
                             const rollup *added, gw_error *err)
{
    hour_write w = {.s = s, .collection = collection, .added = added, .mark = mark, .b = b};
    gw_status rc = GW_OK;
    for (; w.from < rollup_count(added) && rc == GW_OK; w.from = w.to) {
        w.to = write_end(&w);
        rc = write_in_form(&w, HOUR_FORM_FIT, err);
        if (rc == GW_ERR_INTERNAL) /* refused, as a sum that grows too large is */
            rc = write_in_form(&w, HOUR_FORM_PIPELINE, err);
    }
    return rc;
}

static gw_status write_all_hours(const spool_db *s, const char *spool_id, int64_t b,
                                 const rollup *added, gw_error *err)
{
    char mark[HOUR_MARK_SIZE];
    hour_mark(spool_id, mark);
    gw_status rc = write_hours(s, COLLECTION_HOURS, mark, b, added, err);
    gw_fault_point("keys.written");
    return rc == GW_OK ? write_hours(s, COLLECTION_OWNER_HOURS, mark, b, added, err) : rc;
}

static gw_status note_days(const rollup *added, touched_days *t, gw_error *err)
{
    for (size_t i = 0; i < rollup_count(added); i++) {
        const hour_delta *h = rollup_at(added, i);
        char day[ROLLUP_ID_SIZE];
        rollup_day_id(gw_str_of(h->subject), h->hour_ms, day);
        if (!touched_days_add(t, gw_str_of(day)))
            return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for a list of days");
    }
    return GW_OK;
}

gw_status spool_apply(const spool_db *s, const char *id, const claim *c, touched_days *touched,
                      gw_error *err)
{
    gw_auto(rollup) added = rollup_new();
    if (!added)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the sums of a claim");
    gw_status rc = write_rows(s, id, c, added, err);
    gw_fault_point("rows.written");
    if (rc == GW_OK)
        rc = write_all_hours(s, id, claim_to(c), added, err);
    gw_fault_point("hours.written");
    return rc == GW_OK ? note_days(added, touched, err) : rc;
}
