#include "rebuild_read.h"

#include "event_row.h"
#include "usage_collections.h"

#include "core/clock.h"
#include "core/fault.h"
#include "mongo/bson_read.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- its documents ---- */

static void hour_doc_free(void *p)
{
    hour_doc *h = (hour_doc *)p;
    if (h->doc)
        bson_destroy(h->doc);
    sums_free(h->stored);
    sums_free(h->computed);
    free(h);
}

static hour_doc *doc_of(hour_read *r, gw_str id)
{
    hour_doc *h = (hour_doc *)gw_map_get(r->docs, id);
    if (h)
        return h;
    h = (hour_doc *)calloc(1, sizeof(*h));
    if (h && gw_map_put(r->docs, id, h))
        return h;
    free(h);
    return NULL;
}

static gw_status take_hour(void *arg, const bson_t *doc, gw_error *err)
{
    hour_read *r = (hour_read *)arg;
    gw_str id;
    if (!gw_bson_str(doc, "_id", &id) || id.len >= ROLLUP_ID_SIZE)
        return GW_OK;
    hour_doc *h = doc_of(r, id);
    if (h && !h->doc)
        h->doc = bson_copy(doc);
    if (!h || !h->doc)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for an hour");
    (void)gw_bson_int64(doc, "rev", &h->rev);
    return GW_OK;
}

static gw_status read_hours(hour_read *r, const char *collection, gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER;
    (void)BSON_APPEND_DATE_TIME(&filter, "date", r->hour_ms);
    return doc_store_find(r->s->store, collection, &filter, NULL, take_hour, r,
                          "read the documents of an hour", err);
}

/* ---- its rows ---- */

static gw_status take_row(void *arg, const bson_t *row, gw_error *err)
{
    hour_read *r = (hour_read *)arg;
    row_facts ignored;
    if (!row_facts_of(row, &ignored)) /* not from us: it is in no rollup either */
        return GW_OK;
    r->row_count++;
    return rollup_add_row(r->rows, row, err);
}

static gw_status read_rows(hour_read *r, gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER;
    bson_t range;
    (void)BSON_APPEND_DOCUMENT_BEGIN(&filter, "timestamp", &range);
    (void)BSON_APPEND_DATE_TIME(&range, "$gte", r->hour_ms);
    (void)BSON_APPEND_DATE_TIME(&range, "$lt", r->hour_ms + GW_MS_PER_HOUR);
    (void)bson_append_document_end(&filter, &range);
    gw_status rc = doc_store_find(r->s->store, COLLECTION_ROWS, &filter, NULL, take_row, r,
                                  "read the rows of an hour", err);
    for (size_t i = 0; rc == GW_OK && i < rollup_count(r->rows); i++) {
        hour_doc *h = doc_of(r, gw_str_of(rollup_at(r->rows, i)->id));
        if (!h)
            return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for an hour");
        h->delta = rollup_at(r->rows, i);
    }
    return rc;
}

/* ---- the spools: is a claim between its rows and this hour? ---- */

static bool is_marked(const hour_read *r, gw_str hour_id, gw_str spool, int64_t n)
{
    char mark[8 + SPOOL_ID_SIZE];
    int64_t marked = 0;
    const hour_doc *h = (const hour_doc *)gw_map_get(r->docs, hour_id);
    (void)snprintf(mark, sizeof(mark), "m." GW_STR_FMT, GW_STR_ARG(spool));
    return h && h->doc && gw_bson_int64(h->doc, mark, &marked) && marked >= n;
}

/* The documents of this hour that a claim enters. */
static gw_status add_events(const hour_read *r, const claim *c, rollup *ret, gw_error *err)
{
    claim_cursor at = {0};
    gw_status rc = GW_OK;
    while (rc == GW_OK && claim_next(c, &at)) {
        usage_event *e = at.reason ? NULL : event_unpack(at.packed);
        if (e && e->timestamp_ms >= r->hour_ms && e->timestamp_ms < r->hour_ms + GW_MS_PER_HOUR) {
            gw_db_auto_bson row = BSON_INITIALIZER;
            event_append_row(e, c->sums_format, &row);
            rc = rollup_add_row(ret, &row, err);
        }
        event_free(e);
    }
    return rc;
}

/* *ret false when an event of `c` belongs into this hour, and a document of it as read does not have it. */
static gw_status claim_is_in(const hour_read *r, const claim *c, gw_str spool, bool *ret,
                             gw_error *err)
{
    gw_auto(rollup) entered = rollup_new();
    if (!entered)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the sums of a claim");
    gw_status rc = add_events(r, c, entered, err);
    *ret = true;
    for (size_t i = 0; rc == GW_OK && *ret && i < rollup_count(entered); i++)
        *ret = is_marked(r, gw_str_of(rollup_at(entered, i)->id), spool, claim_to(c));
    return rc;
}

static gw_status take_spool(void *arg, const bson_t *d, gw_error *err)
{
    hour_read *r = (hour_read *)arg;
    gw_str id;
    int64_t n = 0;
    int64_t done = 0;
    bson_t p;
    if (!gw_bson_str(d, "_id", &id) || id.len != SPOOL_ID_SIZE - 1 || !gw_bson_int64(d, "n", &n) ||
        !gw_bson_int64(d, "done", &done))
        return GW_OK;
    (void)bson_append_int64(&r->marks, id.ptr, (int)id.len, n);
    if (done >= n || !r->settled || GW_MUTANT(REBUILD_BLIND))
        return GW_OK;
    claim c = {0};
    if (!gw_bson_doc(d, "p", &p))
        return gw_fail(err, GW_ERR_DATA_LOSS, "a document of %s lacks its claim",
                       COLLECTION_SPOOLS);
    gw_status rc = claim_parse(&p, &c, err);
    if (rc != GW_OK)
        return rc;
    bool in = true;
    rc = claim_is_in(r, &c, id, &in, err);
    if (!in) {
        r->settled = false;
        memcpy(r->pending, id.ptr, id.len);
        r->pending[id.len] = '\0';
    }
    claim_fini(&c);
    return rc;
}

static gw_status read_spools(hour_read *r, gw_error *err)
{
    gw_db_auto_bson all = BSON_INITIALIZER;
    r->settled = true;
    return doc_store_find(r->s->store, COLLECTION_SPOOLS, &all, NULL, take_spool, r,
                          "read the spools", err);
}

/* ---- all ---- */

gw_status hour_read_all(hour_read *r, gw_error *err)
{
    gw_status rc = read_hours(r, COLLECTION_HOURS, err);
    if (rc == GW_OK)
        rc = read_hours(r, COLLECTION_OWNER_HOURS, err);
    if (rc == GW_OK)
        rc = read_rows(r, err);
    return rc == GW_OK ? read_spools(r, err) : rc;
}

gw_status hour_read_start(hour_read *r, gw_error *err)
{
    r->docs = gw_map_new(hour_doc_free);
    r->rows = rollup_new();
    bson_init(&r->marks);
    r->row_count = 0;
    return r->docs && r->rows ? GW_OK : gw_fail(err, GW_ERR_NO_MEMORY, "no memory for an hour");
}

void hour_read_end(hour_read *r)
{
    gw_map_free(r->docs);
    rollup_free(r->rows);
    bson_destroy(&r->marks);
}
