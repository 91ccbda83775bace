#include "rejects.h"

#include "doc_store_mongo.h"
#include "event_row.h"
#include "usage_collections.h"

#include "core/clock.h"
#include "crypto/crypto.h"

#include <stdio.h>
#include <stdlib.h>

#define LOOKED_AT_MAX 20000 /* rejects a replay: most may be bad for good */
#define REPLAY_HOST   "a replay of rejects"

/* ---- what is looked at ---- */

typedef struct candidate {
    gw_object_id id;
} candidate;

typedef struct choosing {
    const gw_db *d;
    int64_t now_ms, retention_ms;
    candidate *items;
    size_t count, limit;
    reject_outcome *outcome;
} choosing;

static gw_status has_row(const gw_db *d, const gw_object_id *id, bool *ret, gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER, opts = BSON_INITIALIZER;
    gw_db_auto_doc row = NULL;
    bson_t fields;
    gw_bson_append_oid(&filter, "_id", id);
    BSON_APPEND_DOCUMENT_BEGIN(&opts, "projection", &fields);
    BSON_APPEND_INT32(&fields, "_id", 1);
    bson_append_document_end(&opts, &fields);
    gw_status rc = gw_db_find_one(d, COLLECTION_ROWS, &filter, &opts, &row, err);
    *ret = row != NULL;
    return rc;
}

static gw_status consider(void *arg, const bson_t *doc, gw_error *err)
{
    choosing *c = arg;
    gw_object_id id;
    gw_str raw;
    bool duplicate = false;
    if (c->count == c->limit || !gw_bson_oid(doc, "_id", &id) || !gw_bson_binary(doc, "raw", &raw))
        return GW_OK;
    if (event_judge(raw, c->now_ms, c->retention_ms)) {
        c->outcome->still_rejected++;
        return GW_OK;
    }
    gw_status rc = has_row(c->d, &id, &duplicate, err);
    if (rc == GW_OK && duplicate)
        c->outcome->duplicates++;
    else if (rc == GW_OK)
        c->items[c->count++].id = id;
    return rc;
}

static void append_free(bson_t *filter)
{
    bson_t part;
    BSON_APPEND_DOCUMENT_BEGIN(filter, "replay", &part);
    BSON_APPEND_BOOL(&part, "$exists", false);
    bson_append_document_end(filter, &part);
}

static gw_status choose(choosing *c, const reject_filter *f, gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER, opts = BSON_INITIALIZER;
    if (f->has_id)
        gw_bson_append_oid(&filter, "_id", &f->id);
    if (f->reason.len)
        gw_bson_append_str(&filter, "reason", f->reason);
    append_free(&filter);
    gw_db_append_page(&opts, "_id", 1, LOOKED_AT_MAX);
    return gw_db_find(c->d, COLLECTION_REJECTS, &filter, &opts, consider, c, err);
}

/* ---- the spool of this replay ---- */

static void name_spool(char id[SPOOL_ID_SIZE], spool_hello *h, int64_t count)
{
    uint8_t bytes[SPOOL_ID_BYTES];
    *h = (spool_hello){.tail = count, .host = REPLAY_HOST};
    gw_random_bytes(bytes, sizeof(bytes));
    gw_hex_encode(bytes, sizeof(bytes), id);
    memcpy(h->id, id, SPOOL_ID_SIZE);
    gw_random_bytes(h->boot, sizeof(h->boot));
}

static gw_status take_rejects(const gw_db *d, const char *spool, const choosing *c, gw_error *err)
{
    gw_status rc = GW_OK;
    for (size_t i = 0; i < c->count && rc == GW_OK; i++) {
        gw_db_auto_bson filter = BSON_INITIALIZER, update = BSON_INITIALIZER;
        bson_t set;
        gw_bson_append_oid(&filter, "_id", &c->items[i].id);
        append_free(&filter);
        BSON_APPEND_DOCUMENT_BEGIN(&update, "$set", &set);
        BSON_APPEND_UTF8(&set, "replay", spool);
        bson_append_document_end(&update, &set);
        rc = gw_db_update_one(d, COLLECTION_REJECTS, &filter, &update, NULL, err);
    }
    return rc;
}

static gw_status queue_event(void *arg, const bson_t *doc, gw_error *err)
{
    gw_str raw;
    if (!gw_bson_binary(doc, "raw", &raw))
        return gw_fail(err, GW_ERR_DATA_LOSS, "a document of %s is damaged", COLLECTION_REJECTS);
    return event_queue_push((event_queue *)arg, raw)
               ? GW_OK
               : gw_fail(err, GW_ERR_NO_MEMORY, "no memory for a replay");
}

static gw_status delete_rejects(const gw_db *d, const char *spool, gw_error *err)
{
    mongoc_collection_t *c = mongoc_database_get_collection(d->database, COLLECTION_REJECTS);
    gw_db_auto_bson filter = BSON_INITIALIZER, opts = BSON_INITIALIZER, reply;
    bson_error_t e;
    gw_status rc = GW_OK;
    BSON_APPEND_UTF8(&filter, "replay", spool);
    gw_mongo_append_durable(d->mongo, &opts);
    if (!mongoc_collection_delete_many(c, &filter, &opts, &reply, &e))
        rc = gw_mongo_fail(err, &e, &reply, "delete replayed rejects");
    mongoc_collection_destroy(c);
    return rc;
}

/* Claims exactly the rejects that are this spool's. *ret_count 0: others were faster with all. */
static gw_status claim_rejects(const spool_db *s, const gw_db *d, const char *spool,
                               int64_t retention_ms, claim *c, int64_t *ret_count, gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER, opts = BSON_INITIALIZER;
    event_queue q = {.first_seq = 1};
    bool matched = false;
    BSON_APPEND_UTF8(&filter, "replay", spool);
    gw_db_append_page(&opts, "_id", 1, REJECTS_A_REPLAY);
    gw_status rc = gw_db_find(d, COLLECTION_REJECTS, &filter, &opts, queue_event, &q, err);
    *ret_count = (int64_t)q.count;
    if (rc == GW_OK && q.count > 0) {
        rc = claim_take(&q, c, err);
        if (rc == GW_OK && c->count != q.count)
            rc = gw_fail(err, GW_ERR_INTERNAL, "a replay does not fit into one claim");
        if (rc == GW_OK)
            rc = claim_judge(c, s->now_ms, retention_ms, err);
        if (rc == GW_OK && c->rejected_count)
            rc = gw_fail(err, GW_ERR_ABORTED, "an event that passed does not pass any more");
        if (rc == GW_OK)
            rc = spool_claim(s, spool, c, claim_to(c), &matched, err);
        if (rc == GW_OK && !matched)
            rc = gw_fail(err, GW_ERR_ABORTED, "another replay took this one back");
    }
    event_queue_fini(&q);
    return rc;
}

static gw_status replay_chosen(const gw_db *d, const choosing *chosen, reject_outcome *ret,
                               touched_days *touched, gw_error *err)
{
    doc_store_mongo store;
    spool_db s = {.store = doc_store_mongo_init(&store, d), .now_ms = chosen->now_ms};
    char spool[SPOOL_ID_SIZE];
    spool_hello hello;
    spool_standing standing;
    claim c = {0};
    int64_t count = 0;
    name_spool(spool, &hello, 0);
    gw_status rc = spool_register(&s, &hello, &standing, err);
    if (rc == GW_OK)
        rc = take_rejects(d, spool, chosen, err);
    if (rc == GW_OK)
        rc = claim_rejects(&s, d, spool, chosen->retention_ms, &c, &count, err);
    if (rc == GW_OK && count > 0) {
        rc = spool_apply(&s, spool, &c, touched, err);
        if (rc == GW_OK)
            rc = spool_finish(&s, spool, claim_to(&c), err);
        if (rc == GW_OK)
            rc = delete_rejects(d, spool, err);
        if (rc == GW_OK)
            ret->replayed = count;
    }
    claim_fini(&c);
    return rc;
}

gw_status rejects_replay(const gw_db *d, const reject_filter *f, int64_t now_ms,
                         int64_t retention_ms, reject_outcome *ret, touched_days *touched,
                         gw_error *err)
{
    *ret = (reject_outcome){0};
    choosing c = {.d = d,
                  .now_ms = now_ms,
                  .retention_ms = retention_ms,
                  .limit = (size_t)f->limit,
                  .outcome = ret};
    c.items = calloc(REJECTS_A_REPLAY, sizeof(*c.items));
    if (!c.items)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for a replay");
    gw_status rc = choose(&c, f, err);
    if (rc == GW_OK && c.count > 0)
        rc = replay_chosen(d, &c, ret, touched, err);
    free(c.items);
    return rc;
}

/* ---- replays that stopped in between ---- */

typedef struct taken {
    char (*spools)[SPOOL_ID_SIZE];
    size_t count;
} taken;

static gw_status note_spool(void *arg, const bson_t *doc, gw_error *err)
{
    taken *t = arg;
    gw_str spool;
    (void)err;
    if (!gw_bson_str(doc, "replay", &spool) || spool.len != SPOOL_ID_SIZE - 1)
        return GW_OK;
    for (size_t i = 0; i < t->count; i++)
        if (gw_str_eq_c(spool, t->spools[i]))
            return GW_OK;
    if (t->count < REJECTS_A_REPLAY) {
        memcpy(t->spools[t->count], spool.ptr, spool.len);
        t->spools[t->count++][spool.len] = '\0';
    }
    return GW_OK;
}

static gw_status free_rejects(const gw_db *d, const char *spool, gw_error *err)
{
    mongoc_collection_t *c = mongoc_database_get_collection(d->database, COLLECTION_REJECTS);
    gw_db_auto_bson filter = BSON_INITIALIZER, opts = BSON_INITIALIZER, reply;
    bson_error_t e;
    gw_status rc = GW_OK;
    bson_t *update = BCON_NEW("$unset", "{", "replay", BCON_BOOL(true), "}");
    BSON_APPEND_UTF8(&filter, "replay", spool);
    gw_mongo_append_durable(d->mongo, &opts);
    if (!mongoc_collection_update_many(c, &filter, update, &opts, &reply, &e))
        rc = gw_mongo_fail(err, &e, &reply, "free rejects");
    bson_destroy(update);
    mongoc_collection_destroy(c);
    return rc;
}

static gw_status recover_spool(const gw_db *d, const char *id, int64_t now_ms, int64_t age_ms,
                               touched_days *touched, gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER, unclaimed = BSON_INITIALIZER;
    gw_db_auto_doc doc = NULL;
    int64_t n = 0, seen_ms = 0, deleted = 0;
    BSON_APPEND_UTF8(&filter, "_id", id);
    gw_status rc = gw_db_find_one(d, COLLECTION_SPOOLS, &filter, NULL, &doc, err);
    if (rc != GW_OK)
        return rc;
    if (!doc)
        return free_rejects(d, id, err); /* it was taken back already, and cannot claim */
    (void)gw_bson_int64(doc, "n", &n);
    (void)gw_bson_date_ms(doc, "seen", &seen_ms);
    if (seen_ms > now_ms - age_ms && seen_ms <= now_ms)
        return GW_OK; /* it may be at work */
    if (n > 0) {
        doc_store_mongo store;
        spool_db s = {.store = doc_store_mongo_init(&store, d), .now_ms = now_ms};
        spool_position ignored;
        rc = spool_resume(&s, id, 0, &ignored, touched, err);
        return rc == GW_OK ? delete_rejects(d, id, err) : rc;
    }
    BSON_APPEND_UTF8(&unclaimed, "_id", id);
    BSON_APPEND_INT64(&unclaimed, "n", 0);
    rc = gw_db_delete(d, COLLECTION_SPOOLS, &unclaimed, &deleted, err);
    return rc == GW_OK && deleted > 0 ? free_rejects(d, id, err) : rc;
}

gw_status rejects_recover(const gw_db *d, int64_t now_ms, int64_t age_ms, touched_days *touched,
                          gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER, opts = BSON_INITIALIZER;
    bson_t part;
    taken t = {.spools = calloc(REJECTS_A_REPLAY, sizeof(*t.spools))};
    if (!t.spools)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory to look for replays");
    BSON_APPEND_DOCUMENT_BEGIN(&filter, "replay", &part);
    BSON_APPEND_BOOL(&part, "$exists", true);
    bson_append_document_end(&filter, &part);
    BSON_APPEND_DOCUMENT_BEGIN(&opts, "projection", &part);
    BSON_APPEND_INT32(&part, "replay", 1);
    bson_append_document_end(&opts, &part);
    gw_status rc = gw_db_find(d, COLLECTION_REJECTS, &filter, &opts, note_spool, &t, err);
    for (size_t i = 0; i < t.count && rc == GW_OK; i++)
        rc = recover_spool(d, t.spools[i], now_ms, age_ms, touched, err);
    free(t.spools);
    return rc;
}
