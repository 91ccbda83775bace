#include "apply.h"

#include "event_row.h"
#include "hour_update.h"
#include "usage_collections.h"

#include "mongo/bson_read.h"

#include <stdio.h>
#include <stdlib.h>

/* A bulk write must be answered within the socket timeout on a slow disk too. */
#define ROWS_A_WRITE  1000
#define HOURS_A_WRITE 400

void apply_append_read_concern(const spool_db *s, bson_t *opts)
{
    if (!gw_mongo_is_replica_set(s->mongo))
        return;
    mongoc_read_concern_t *concern = mongoc_read_concern_new();
    mongoc_read_concern_set_level(concern, MONGOC_READ_CONCERN_LEVEL_MAJORITY);
    (void)mongoc_read_concern_append(concern, opts);
    mongoc_read_concern_destroy(concern);
}

/* ---- bulk writes, unordered and durable ---- */

static mongoc_bulk_operation_t *bulk_new(const spool_db *s, mongoc_collection_t *c)
{
    bson_t opts = BSON_INITIALIZER;
    (void)BSON_APPEND_BOOL(&opts, "ordered", false);
    gw_mongo_append_durable(s->mongo, &opts);
    mongoc_bulk_operation_t *bulk = mongoc_collection_create_bulk_operation_with_opts(c, &opts);
    bson_destroy(&opts);
    return bulk;
}

/* What was refused as a duplicate may stand beside what was not made durable. */
static bool has_write_concern_errors(const bson_t *reply)
{
    bson_t errors;
    return gw_bson_array(reply, "writeConcernErrors", &errors) && bson_count_keys(&errors) > 0;
}

/* GW_ERR_ALREADY_EXISTS when all that was refused was refused for that, and the rest is durable. */
static gw_status bulk_run(mongoc_bulk_operation_t *bulk, const char *what, gw_error *err)
{
    bson_t reply;
    bson_error_t e = {0};
    gw_status rc = GW_OK;
    if (!mongoc_bulk_operation_execute(bulk, &reply, &e)) {
        rc = gw_mongo_fail(err, &e, &reply, what);
        if (rc == GW_ERR_ALREADY_EXISTS && has_write_concern_errors(&reply))
            rc = gw_fail(err, GW_ERR_UNAVAILABLE, "%s: not acknowledged as durable", what);
    }
    bson_destroy(&reply);
    return rc;
}

/* ---- rows and rejects ---- */

typedef struct row_writer {
    const spool_db *s;
    mongoc_collection_t *collection;
    mongoc_bulk_operation_t *bulk;
    size_t count;
    const char *what;
} row_writer;

static gw_status row_writer_flush(row_writer *w, gw_error *err)
{
    if (!w->count)
        return GW_OK;
    gw_status rc = bulk_run(w->bulk, w->what, err);
    mongoc_bulk_operation_destroy(w->bulk);
    w->bulk = NULL;
    w->count = 0;
    /* A row that is there already is of an earlier try. */
    return rc == GW_ERR_ALREADY_EXISTS ? GW_OK : rc;
}

static gw_status row_writer_add(row_writer *w, const bson_t *d, gw_error *err)
{
    bson_error_t e;
    if (!w->bulk)
        w->bulk = bulk_new(w->s, w->collection);
    if (!mongoc_bulk_operation_insert_with_opts(w->bulk, d, NULL, &e))
        return gw_mongo_fail(err, &e, NULL, w->what);
    return ++w->count < ROWS_A_WRITE ? GW_OK : row_writer_flush(w, err);
}

static void row_writer_init(row_writer *w, const spool_db *s, const char *collection,
                            const char *what)
{
    *w = (row_writer){.s = s, .what = what};
    w->collection = mongoc_database_get_collection(s->db, collection);
}

static void row_writer_fini(row_writer *w)
{
    if (w->bulk)
        mongoc_bulk_operation_destroy(w->bulk);
    mongoc_collection_destroy(w->collection);
}

static gw_status write_reject(row_writer *w, const char *spool_id, const claim_cursor *at,
                              gw_error *err)
{
    gw_object_id id;
    bson_t d = BSON_INITIALIZER;
    event_id_of(at->packed, gw_str_of(spool_id), at->seq, &id);
    gw_bson_append_oid(&d, "_id", &id);
    (void)BSON_APPEND_UTF8(&d, "reason", at->reason);
    (void)BSON_APPEND_BINARY(&d, "raw", BSON_SUBTYPE_BINARY, (const uint8_t *)at->packed.ptr,
                             (uint32_t)at->packed.len);
    (void)BSON_APPEND_UTF8(&d, "S", spool_id);
    (void)BSON_APPEND_INT64(&d, "seq", at->seq);
    (void)BSON_APPEND_DATE_TIME(&d, "at", w->s->now_ms);
    gw_status rc = row_writer_add(w, &d, err);
    bson_destroy(&d);
    return rc;
}

static gw_status write_row(row_writer *w, rollup *added, const claim_cursor *at, gw_error *err)
{
    usage_event *e = event_unpack(at->packed);
    if (!e)
        return gw_fail(err, GW_ERR_DATA_LOSS, "a claimed event does not unpack");
    bson_t row = BSON_INITIALIZER;
    event_append_row(e, &row);
    event_free(e);
    gw_status rc = rollup_add_row(added, &row, err);
    if (rc == GW_OK)
        rc = row_writer_add(w, &row, err);
    bson_destroy(&row);
    return rc;
}

/* Writes every row and reject of `c`, and sums the rows up. */
static gw_status write_rows(const spool_db *s, const char *spool_id, const claim *c, rollup *added,
                            gw_error *err)
{
    row_writer rows;
    row_writer rejects;
    claim_cursor at = {0};
    gw_status rc = GW_OK;

    row_writer_init(&rows, s, COLLECTION_ROWS, "insert usage rows");
    row_writer_init(&rejects, s, COLLECTION_REJECTS, "insert usage rejects");
    while (rc == GW_OK && claim_next(c, &at))
        rc = at.reason ? write_reject(&rejects, spool_id, &at, err)
                       : write_row(&rows, added, &at, err);
    if (rc == GW_OK)
        rc = row_writer_flush(&rows, err);
    if (rc == GW_OK)
        rc = row_writer_flush(&rejects, err);
    row_writer_fini(&rows);
    row_writer_fini(&rejects);
    return rc;
}

/* ---- hours ---- */

static gw_status add_hour(mongoc_bulk_operation_t *bulk, hour_delta *h, const char *mark, int64_t b,
                          bool upsert, gw_error *err)
{
    bson_error_t e;
    bson_t *filter = hour_filter(h, mark, b);
    bson_t *update = hour_update(h, mark, b, (int64_t)(gw_random_u64() >> 1));
    bson_t *opts = BCON_NEW("upsert", BCON_BOOL(upsert));
    gw_status rc = GW_OK;
    if (sums_failed(h->sums))
        rc = gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the sums of an hour");
    else if (!mongoc_bulk_operation_update_one_with_opts(bulk, filter, update, opts, &e))
        rc = gw_mongo_fail(err, &e, NULL, "add to the hours");
    bson_destroy(opts);
    bson_destroy(update);
    bson_destroy(filter);
    return rc;
}

static gw_status write_some_hours(const spool_db *s, mongoc_collection_t *hours,
                                  const rollup *added, size_t from, size_t to, const char *mark,
                                  int64_t b, bool upsert, gw_error *err)
{
    mongoc_bulk_operation_t *bulk = bulk_new(s, hours);
    gw_status rc = GW_OK;
    for (size_t i = from; i < to && rc == GW_OK; i++)
        rc = add_hour(bulk, rollup_at(added, i), mark, b, upsert, err);
    if (rc == GW_OK)
        rc = bulk_run(bulk, "add to the hours", err);
    mongoc_bulk_operation_destroy(bulk);
    return rc;
}

static gw_status write_hours(const spool_db *s, const char *spool_id, int64_t b,
                             const rollup *added, gw_error *err)
{
    mongoc_collection_t *hours = mongoc_database_get_collection(s->db, COLLECTION_HOURS);
    char mark[HOUR_MARK_SIZE];
    gw_status rc = GW_OK;

    hour_mark(spool_id, mark);
    for (size_t at = 0; at < rollup_count(added) && rc == GW_OK; at += HOURS_A_WRITE) {
        size_t to = GW_MIN(at + HOURS_A_WRITE, rollup_count(added));
        rc = write_some_hours(s, hours, added, at, to, mark, b, true, err);
        /* Either the mark kept the document from matching, so that the upsert met it: it is in. Or
         * another spool made the document at this moment: now it matches. */
        if (rc == GW_ERR_ALREADY_EXISTS)
            rc = write_some_hours(s, hours, added, at, to, mark, b, false, err);
    }
    mongoc_collection_destroy(hours);
    return rc;
}

static gw_status note_days(const rollup *added, touched_days *t, gw_error *err)
{
    for (size_t i = 0; i < rollup_count(added); i++) {
        const hour_delta *h = rollup_at(added, i);
        char key[GW_OBJECT_ID_HEX_SIZE] = ALL_KEYS;
        if (!h->is_all_keys)
            gw_object_id_format(&h->api_key_id, key);
        char day[ROLLUP_ID_SIZE];
        rollup_day_id(gw_str_of(key), h->hour_ms, day);
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
    if (rc == GW_OK)
        rc = write_hours(s, id, claim_to(c), added, err);
    return rc == GW_OK ? note_days(added, touched, err) : rc;
}
