#include "rebuild_read.h"

#include "event_row.h"
#include "hour_update.h"
#include "usage_collections.h"

#include "core/clock.h"
#include "core/fault.h"
#include "crypto/crypto.h"
#include "mongo/bson_read.h"

#include <stdio.h>
#include <stdlib.h>

#define HOUR_TRIES 20

static const char *const sections[] = {"metrics", "hist", "minutes", "ledger"};

/* ---- comparing ---- */

/* The sums of a document, as those of its rows are made. NULL when out of memory. */
static sums *stored_sums(const hour_doc *h)
{
    gw_auto(sums) s = sums_new();
    for (size_t i = 0; s && h->doc && i < GW_ARRAY_LEN(sections); i++) {
        bson_t part;
        if (gw_bson_doc(h->doc, sections[i], &part))
            sums_add_document(s, gw_str_of(sections[i]), &part);
    }
    return s && !sums_failed(s) ? gw_steal(&s) : NULL;
}

static bool add_load(sums *s, const ledger_load *l, const char *name, int64_t value)
{
    gw_auto_buf path = {0};
    gw_buf_append_str(&path, gw_buf_str(&l->path));
    gw_buf_appendf(&path, ".load.%s", name);
    if (gw_buf_failed(&path))
        return false;
    sums_add(s, gw_buf_str(&path), value);
    return true;
}

/* All that an hour document says, as figures; `h` may be NULL. Consumes its loads. */
static sums *computed_sums(hour_delta *h)
{
    gw_auto(sums) none = NULL;
    if (!h) {
        none = sums_new();
        return gw_steal(&none);
    }
    bool fine = true;
    for (size_t i = 0; i < h->load_count && fine; i++) {
        const ledger_load *l = &h->loads[i];
        fine = add_load(h->sums, l, "id", l->id) && add_load(h->sums, l, "requests", l->requests) &&
               add_load(h->sums, l, "tokens", l->tokens) &&
               add_load(h->sums, l, "costNanoUsd", l->cost_nano_usd);
    }
    if (!fine || sums_failed(h->sums))
        return NULL;
    return gw_steal(&h->sums);
}

/* Both sorted by path; what one lacks is 0. The number of figures that differ. */
static int64_t compare(const hour_doc *h, const char *hour_id, const rebuild_options *tell)
{
    gw_db_auto_bson have = BSON_INITIALIZER;
    gw_db_auto_bson want = BSON_INITIALIZER;
    bson_iter_t a;
    bson_iter_t b;
    int64_t found = 0;
    sums_append_flat(h->stored, &have);
    sums_append_flat(h->computed, &want);
    bool more_a = bson_iter_init(&a, &have) && bson_iter_next(&a);
    bool more_b = bson_iter_init(&b, &want) && bson_iter_next(&b);
    while (more_a || more_b) {
        int order = more_a && more_b
                        ? gw_str_cmp(gw_str_of(bson_iter_key(&a)), gw_str_of(bson_iter_key(&b)))
                    : more_a ? -1
                             : 1;
        const rebuild_difference d = {.hour_id = hour_id,
                                      .path = bson_iter_key(order <= 0 ? &a : &b),
                                      .stored = order <= 0 ? bson_iter_as_int64(&a) : 0,
                                      .computed = order >= 0 ? bson_iter_as_int64(&b) : 0};
        if (d.stored != d.computed) {
            found++;
            if (tell && tell->on_difference)
                tell->on_difference(tell->arg, &d);
        }
        if (order <= 0)
            more_a = bson_iter_next(&a);
        if (order >= 0)
            more_b = bson_iter_next(&b);
    }
    return found;
}

static gw_status note_found(void *arg, const bson_t *doc, gw_error *err)
{
    (void)doc;
    (void)err;
    *(bool *)arg = true;
    return GW_OK;
}

static const char *collection_of(const char *hour_id)
{
    return rollup_hours_collection(rollup_kind_of_id(gw_str_of(hour_id)));
}

/* A claim that came between the documents and their rows makes a difference that is none. */
static gw_status is_as_read(const hour_read *r, const char *id, const hour_doc *h, bool *ret,
                            gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER;
    bool found = false;
    (void)BSON_APPEND_UTF8(&filter, "_id", id);
    if (h->doc)
        (void)BSON_APPEND_INT64(&filter, "rev", h->rev);
    gw_status rc = doc_store_find(r->s->store, collection_of(id), &filter, NULL, note_found, &found,
                                  "look at an hour again", err);
    *ret = found == (h->doc != NULL);
    return rc;
}

static gw_status compare_document(hour_read *r, const char *id, hour_doc *h, bool *ret_settled,
                                  gw_error *err)
{
    h->stored = stored_sums(h);
    h->computed = computed_sums(h->delta);
    if (!h->stored || !h->computed)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory to compare an hour");
    h->found = compare(h, id, NULL);
    return h->found ? is_as_read(r, id, h, ret_settled, err) : GW_OK;
}

/* ---- writing ---- */

static void append_sections(bson_t *d, sums *computed)
{
    gw_db_auto_bson nested = BSON_INITIALIZER;
    gw_db_auto_bson nothing = BSON_INITIALIZER;
    sums_append_nested(computed, &nested);
    for (size_t i = 0; i < GW_ARRAY_LEN(sections); i++) {
        bson_t part;
        bool has = gw_bson_doc(&nested, sections[i], &part);
        (void)bson_append_document(d, sections[i], -1, has ? &part : &nothing);
    }
    (void)BSON_APPEND_BOOL(d, "dirty", true);
    (void)BSON_APPEND_INT64(d, "rev", (int64_t)(gw_random_u64() >> 1));
}

/* A document that lost its marks must not take a claim of old again: all that is claimed is in it. */
static gw_status insert_hour(hour_read *r, const char *id, const hour_doc *h, bool *ret_written,
                             gw_error *err)
{
    bson_t *d = bson_new();
    (void)BSON_APPEND_UTF8(d, "_id", id);
    hour_append_names(d, h->delta);
    append_sections(d, h->computed);
    (void)BSON_APPEND_DOCUMENT(d, "m", &r->marks);
    gw_status rc = doc_store_insert(r->s->store, collection_of(id), d, "make an hour again", err);
    *ret_written = rc == GW_OK;
    return rc == GW_ERR_ALREADY_EXISTS ? GW_OK : rc;
}

static gw_status update_hour(hour_read *r, const char *id, const hour_doc *h, bool *ret_written,
                             gw_error *err)
{
    bson_t *filter = BCON_NEW("_id", BCON_UTF8(id), "rev", BCON_INT64(h->rev));
    bson_t *update = bson_new();
    bson_t set;
    (void)BSON_APPEND_DOCUMENT_BEGIN(update, "$set", &set);
    append_sections(&set, h->computed);
    (void)bson_append_document_end(update, &set);
    return doc_store_update(r->s->store, collection_of(id), filter, update, ret_written,
                            "make an hour again", err);
}

static gw_status find_rows(const hour_read *r, int64_t hour_ms, bool *ret, gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER;
    gw_db_auto_bson opts = BSON_INITIALIZER;
    bson_t range;
    *ret = false;
    (void)BSON_APPEND_DOCUMENT_BEGIN(&filter, "timestamp", &range);
    (void)BSON_APPEND_DATE_TIME(&range, "$gte", hour_ms);
    (void)BSON_APPEND_DATE_TIME(&range, "$lt", hour_ms + GW_MS_PER_HOUR);
    (void)bson_append_document_end(&filter, &range);
    (void)BSON_APPEND_INT64(&opts, "limit", 1);
    return doc_store_find(r->s->store, COLLECTION_ROWS, &filter, &opts, note_found, ret,
                          "look for older rows", err);
}

static gw_status note_latest(void *arg, const bson_t *hour, gw_error *err)
{
    int64_t *latest_ms = (int64_t *)arg;
    int64_t date_ms;
    (void)err;
    if (gw_bson_date_ms(hour, "date", &date_ms))
        *latest_ms = GW_MAX(*latest_ms, date_ms);
    return GW_OK;
}

/* *ret: when the hour before this one began that had requests; -1: there is none whose rows would be kept. */
static gw_status find_hour_before(const hour_read *r, int64_t *ret, gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER;
    bson_t range;
    bson_t *opts = BCON_NEW("projection", "{", "date", BCON_INT32(1), "}");
    *ret = -1;
    (void)BSON_APPEND_UTF8(&filter, "apiKeyId", ALL_KEYS);
    (void)BSON_APPEND_DOCUMENT_BEGIN(&filter, "date", &range);
    (void)BSON_APPEND_DATE_TIME(&range, "$gte", r->s->now_ms - r->o->retention_ms);
    (void)BSON_APPEND_DATE_TIME(&range, "$lt", r->hour_ms);
    (void)bson_append_document_end(&filter, &range);
    gw_status rc = doc_store_find(r->s->store, COLLECTION_HOURS, &filter, opts, note_latest, ret,
                                  "look for the hour before", err);
    bson_destroy(opts);
    return rc;
}

/*
 * Rows expire from the oldest on: those of the hour may be gone when it has none, or the hour before has none. That there are older
 * ones says nothing: an event may have been under way for days, and rows may have been kept for less than they are now.
 */
static gw_status rows_may_be_gone(hour_read *r, bool *ret, gw_error *err)
{
    int64_t before_ms = -1;
    bool found = false;
    gw_status rc = GW_OK;
    if (!r->knows_gone && r->row_count > 0)
        rc = find_hour_before(r, &before_ms, err);
    if (rc == GW_OK && before_ms >= 0)
        rc = find_rows(r, before_ms, &found, err);
    if (rc == GW_OK && !r->knows_gone) {
        r->knows_gone = true;
        r->gone = !found;
    }
    *ret = r->gone;
    return rc;
}

/* What reports by key have kept of the day (usage_key_days.h): it may have the same sums, and not the same keys. */
static gw_status forget_kept(const hour_read *r, gw_str day, gw_error *err)
{
    gw_str subject;
    bool matched;
    if (!gw_str_split(&day, '|', &subject))
        return GW_OK;
    bson_t *filter = bson_new();
    gw_bson_append_str(filter, "_id", day);
    return doc_store_update(r->s->store, COLLECTION_BY_KEY, filter,
                            BCON_NEW("$unset", "{", "keys", BCON_BOOL(true), "}"), &matched,
                            "forget a day by key", err);
}

static gw_status write_document(hour_read *r, const char *id, const hour_doc *h,
                                touched_days *touched, bool *ret_written, gw_error *err)
{
    gw_str day = gw_str_of(id);
    day.len -= sizeof("T00") - 1;
    gw_status rc =
        h->doc ? update_hour(r, id, h, ret_written, err) : insert_hour(r, id, h, ret_written, err);
    if (rc == GW_OK && *ret_written)
        rc = forget_kept(r, day, err);
    if (rc != GW_OK || !*ret_written)
        return rc;
    r->report->rewritten++;
    return touched_days_add(touched, day)
               ? GW_OK
               : gw_fail(err, GW_ERR_NO_MEMORY, "no memory for a list of days");
}

/* Of a part of owners those of all of them: it has no total. */
static int64_t count_requests(sums *s)
{
    gw_db_auto_bson flat = BSON_INITIALIZER;
    bson_iter_t at;
    int64_t n = sums_get(s, GW_STR("metrics.requests.total"));
    if (n)
        return n;
    sums_append_flat(s, &flat);
    for (bool more = bson_iter_init(&at, &flat) && bson_iter_next(&at); more;
         more = bson_iter_next(&at))
        if (gw_str_ends_with(gw_str_of(bson_iter_key(&at)), GW_STR(".requests")))
            sums_add_to(&n, bson_iter_as_int64(&at));
    return n;
}

/* Of a document that differs: *ret_settled false when it changed meanwhile. */
static gw_status settle_document(hour_read *r, const char *id, const hour_doc *h,
                                 touched_days *touched, bool *ret_settled, gw_error *err)
{
    bool gone = false;
    gw_status rc = GW_OK;
    if (count_requests(h->stored) > count_requests(h->computed))
        rc = rows_may_be_gone(r, &gone, err);
    if (rc == GW_OK && !gone && !r->o->dry_run)
        rc = write_document(r, id, h, touched, ret_settled, err);
    if (rc != GW_OK || !*ret_settled)
        return rc;
    r->report->kept += gone;
    r->report->differing++;
    r->report->differences += compare(h, id, r->o);
    return GW_OK;
}

/* ---- an hour ---- */

/* First all are compared; only when all of it holds is anything told or written. */
static gw_status settle_documents(hour_read *r, touched_days *touched, bool *ret_settled,
                                  gw_error *err)
{
    gw_status rc = GW_OK;
    for (int writing = 0; writing <= 1; writing++) {
        size_t at = 0;
        gw_str id;
        void *value;
        while (rc == GW_OK && *ret_settled && gw_map_next(r->docs, &at, &id, &value)) {
            char text[ROLLUP_ID_SIZE];
            hour_doc *h = (hour_doc *)value;
            (void)snprintf(text, sizeof(text), GW_STR_FMT, GW_STR_ARG(id));
            if (!writing)
                rc = compare_document(r, text, h, ret_settled, err);
            else if (h->found)
                rc = settle_document(r, text, h, touched, ret_settled, err);
        }
    }
    return rc;
}

/* What is unsettled is finished as a resume would, so that the next try finds it done. */
static gw_status finish_claim(const hour_read *r, touched_days *touched, gw_error *err)
{
    spool_position ignored;
    gw_status rc = spool_resume(r->s, r->pending, 0, &ignored, touched, err);
    return rc == GW_ERR_ABORTED ? GW_OK : rc; /* another one moves it: so it is done soon */
}

/* *ret_settled false: something moved; what was found is not to be counted. */
static gw_status try_hour(hour_read *r, touched_days *touched, bool *ret_settled, gw_error *err)
{
    gw_status rc = hour_read_all(r, err);
    *ret_settled = r->settled;
    if (rc != GW_OK)
        return rc;
    return r->settled ? settle_documents(r, touched, ret_settled, err)
                      : finish_claim(r, touched, err);
}

static gw_status rebuild_hour(const spool_db *s, const rebuild_options *o, int64_t hour_ms,
                              rebuild_report *report, touched_days *touched, gw_error *err)
{
    for (int i = 0; i < HOUR_TRIES; i++) {
        hour_read r = {.s = s, .o = o, .report = report, .hour_ms = hour_ms};
        bool settled = false;
        gw_status rc = hour_read_start(&r, err);
        if (rc == GW_OK)
            rc = try_hour(&r, touched, &settled, err);
        if (rc == GW_OK && settled) {
            report->hours++;
            report->rows += r.row_count;
            report->documents += (int64_t)gw_map_count(r.docs);
        }
        hour_read_end(&r);
        if (rc != GW_OK || settled)
            return rc;
    }
    return gw_fail(err, GW_ERR_ABORTED, "the hour went on changing; try again");
}

static int64_t floor_hour(int64_t ms)
{
    int64_t rest = ms % GW_MS_PER_HOUR;
    return ms - (rest < 0 ? rest + GW_MS_PER_HOUR : rest);
}

gw_status rebuild_run(const spool_db *s, const rebuild_options *o, rebuild_report *ret,
                      touched_days *touched, gw_error *err)
{
    gw_status rc = GW_OK;
    *ret = (rebuild_report){0};
    if (o->from_ms >= o->to_ms)
        return gw_fail(err, GW_ERR_INVALID_ARGUMENT, "from must be before to");
    if (floor_hour(o->from_ms) < s->now_ms - o->retention_ms + GW_MS_PER_HOUR)
        return gw_fail(err, GW_ERR_FAILED_PRECONDITION,
                       "rows of the range have begun to expire: its sums are all there is");
    int64_t end_ms = GW_MIN(o->to_ms, s->now_ms + EVENT_AHEAD_MS);
    for (int64_t hour_ms = floor_hour(o->from_ms); hour_ms < end_ms && rc == GW_OK;
         hour_ms += GW_MS_PER_HOUR)
        rc = rebuild_hour(s, o, hour_ms, ret, touched, err);
    return rc;
}
