#include "spool_store.h"

#include "apply.h"
#include "event_row.h"
#include "usage_collections.h"

#include "mongo/bson_read.h"

#include <stdlib.h>

#define RESUME_TRIES 8
#define SWEEP_MAX    100 /* spools a sweep */

void touched_days_fini(touched_days *t)
{
    free(t->ids);
    *t = (touched_days){0};
}

bool touched_days_add(touched_days *t, gw_str id)
{
    if (t->count == t->cap) {
        size_t cap = t->cap ? 2 * t->cap : 16;
        char(*grown)[ROLLUP_ID_SIZE] = realloc(t->ids, cap * sizeof(*grown));
        if (!grown)
            return false;
        t->ids = grown;
        t->cap = cap;
    }
    char *copy = t->ids[t->count++];
    size_t len = GW_MIN(id.len, ROLLUP_ID_SIZE - 1);
    memcpy(copy, id.ptr, len);
    copy[len] = '\0';
    return true;
}

/* ---- one document ---- */

typedef struct spool_doc {
    bool found;
    uint8_t boot[SPOOL_BOOT_BYTES];
    int64_t n, done;
    spool_position position;
    bool has_claim;
    claim claim;
} spool_doc;

static gw_status parse_spool(const bson_t *d, spool_doc *ret, gw_error *err)
{
    gw_str boot;
    bson_t p;
    ret->found = true;
    if (!gw_bson_int64(d, "n", &ret->n) || !gw_bson_int64(d, "done", &ret->done) ||
        !gw_bson_binary(d, "boot", &boot) || boot.len != sizeof(ret->boot))
        return gw_fail(err, GW_ERR_DATA_LOSS, "a document of %s is damaged", COLLECTION_SPOOLS);
    memcpy(ret->boot, boot.ptr, sizeof(ret->boot));
    ret->position.n = ret->n;
    ret->position.has_last_id = gw_bson_oid(d, "lastId", &ret->position.last_id);
    if (ret->done >= ret->n)
        return GW_OK;
    if (!gw_bson_doc(d, "p", &p))
        return gw_fail(err, GW_ERR_DATA_LOSS, "a document of %s lacks its claim",
                       COLLECTION_SPOOLS);
    gw_status rc = claim_parse(&p, &ret->claim, err);
    ret->has_claim = rc == GW_OK;
    return rc;
}

/* From the primary, majority where there is a replica set. `ret` zeroed; claim_fini() its claim. */
static gw_status read_spool(const spool_db *s, const char *id, spool_doc *ret, gw_error *err)
{
    mongoc_collection_t *spools = mongoc_database_get_collection(s->db, COLLECTION_SPOOLS);
    bson_t *filter = BCON_NEW("_id", BCON_UTF8(id));
    bson_t opts = BSON_INITIALIZER;
    const bson_t *d = NULL;
    bson_error_t e;
    gw_status rc = GW_OK;

    apply_append_read_concern(s, &opts);
    mongoc_cursor_t *cursor = mongoc_collection_find_with_opts(spools, filter, &opts, NULL);
    if (mongoc_cursor_next(cursor, &d))
        rc = parse_spool(d, ret, err);
    else if (mongoc_cursor_error(cursor, &e))
        rc = gw_mongo_fail(err, &e, NULL, "read a spool");
    mongoc_cursor_destroy(cursor);
    bson_destroy(&opts);
    bson_destroy(filter);
    mongoc_collection_destroy(spools);
    return rc;
}

/* Durable. `filter` and `update` are consumed. */
static gw_status update_spool(const spool_db *s, bson_t *filter, bson_t *update, const char *what,
                              bool *ret_matched, gw_error *err)
{
    mongoc_collection_t *spools = mongoc_database_get_collection(s->db, COLLECTION_SPOOLS);
    bson_t opts = BSON_INITIALIZER;
    bson_t reply;
    bson_error_t e;
    int64_t matched = 0;
    gw_status rc = GW_OK;

    gw_mongo_append_durable(s->mongo, &opts);
    if (!mongoc_collection_update_one(spools, filter, update, &opts, &reply, &e))
        rc = gw_mongo_fail(err, &e, &reply, what);
    else if (ret_matched)
        *ret_matched = gw_bson_int64(&reply, "matchedCount", &matched) && matched > 0;
    bson_destroy(&reply);
    bson_destroy(&opts);
    bson_destroy(update);
    bson_destroy(filter);
    mongoc_collection_destroy(spools);
    return rc;
}

/* ---- register ---- */

/* GW_ERR_ALREADY_EXISTS when another replica was faster. */
static gw_status insert_spool(const spool_db *s, const spool_hello *h, gw_error *err)
{
    mongoc_collection_t *spools = mongoc_database_get_collection(s->db, COLLECTION_SPOOLS);
    bson_t opts = BSON_INITIALIZER;
    bson_t d = BSON_INITIALIZER;
    bson_t reply;
    bson_error_t e;
    gw_status rc = GW_OK;

    (void)BSON_APPEND_UTF8(&d, "_id", h->id);
    (void)BSON_APPEND_BINARY(&d, "boot", BSON_SUBTYPE_BINARY, h->boot, sizeof(h->boot));
    (void)BSON_APPEND_INT64(&d, "n", 0);
    (void)BSON_APPEND_INT64(&d, "done", 0);
    (void)BSON_APPEND_INT64(&d, "tail", h->tail);
    (void)BSON_APPEND_DATE_TIME(&d, "seen", s->now_ms);
    (void)BSON_APPEND_UTF8(&d, "host", h->host);
    gw_mongo_append_durable(s->mongo, &opts);
    if (!mongoc_collection_insert_one(spools, &d, &opts, &reply, &e))
        rc = gw_mongo_fail(err, &e, &reply, "register a spool");
    bson_destroy(&reply);
    bson_destroy(&d);
    bson_destroy(&opts);
    mongoc_collection_destroy(spools);
    return rc;
}

gw_status spool_register(const spool_db *s, const spool_hello *h, spool_standing *ret,
                         gw_error *err)
{
    spool_doc d = {0};
    gw_status rc = read_spool(s, h->id, &d, err);
    claim_fini(&d.claim);
    if (rc != GW_OK)
        return rc;
    if (!d.found && h->registered) {
        *ret = SPOOL_GONE;
        return GW_OK;
    }
    if (!d.found) {
        rc = insert_spool(s, h, err);
        if (rc == GW_OK) {
            *ret = SPOOL_KNOWN;
            return GW_OK;
        }
        if (rc != GW_ERR_ALREADY_EXISTS)
            return rc;
        rc = read_spool(s, h->id, &d, err);
        claim_fini(&d.claim);
        if (rc != GW_OK)
            return rc;
    }
    *ret = d.found && memcmp(d.boot, h->boot, sizeof(d.boot)) == 0 ? SPOOL_KNOWN : SPOOL_CONFLICT;
    return GW_OK;
}

/* ---- resume ---- */

static gw_status confirm(const spool_db *s, const char *id, int64_t n, int64_t tail,
                         bool *ret_matched, gw_error *err)
{
    return update_spool(s, BCON_NEW("_id", BCON_UTF8(id), "n", BCON_INT64(n)),
                        BCON_NEW("$set", "{", "seen", BCON_DATE_TIME(s->now_ms), "}", "$max", "{",
                                 "tail", BCON_INT64(tail), "}"),
                        "confirm a spool's position", ret_matched, err);
}

/* One try: *ret_settled false when n moved in between. */
static gw_status try_resume(const spool_db *s, const char *id, int64_t tail, spool_doc *d,
                            bool *ret_settled, touched_days *touched, gw_error *err)
{
    gw_status rc = read_spool(s, id, d, err);
    if (rc != GW_OK)
        return rc;
    if (!d->found)
        return gw_fail(err, GW_ERR_NOT_FOUND, "spool %s is not known", id);
    /* A standalone shows writes that a crash may still take back. This later durable write makes
     * all before it durable; only then may n be told to the relay, or its claim be applied. */
    rc = confirm(s, id, d->n, tail, ret_settled, err);
    if (rc != GW_OK || !*ret_settled || !d->has_claim)
        return rc;
    rc = spool_apply(s, id, &d->claim, touched, err);
    return rc == GW_OK ? spool_finish(s, id, d->n, err) : rc;
}

gw_status spool_resume(const spool_db *s, const char *id, int64_t tail, spool_position *ret,
                       touched_days *touched, gw_error *err)
{
    for (int i = 0; i < RESUME_TRIES; i++) {
        spool_doc d = {0};
        bool settled = false;
        gw_status rc = try_resume(s, id, tail, &d, &settled, touched, err);
        claim_fini(&d.claim);
        if (rc != GW_OK)
            return rc;
        if (settled) {
            *ret = d.position;
            return GW_OK;
        }
    }
    return gw_fail(err, GW_ERR_ABORTED, "spool %s is being moved by another stream", id);
}

/* ---- claim, apply, finish ---- */

static void append_last_id(const claim *c, bson_t *set, bson_t *unset)
{
    claim_cursor at = {0};
    gw_object_id id;
    while (claim_next(c, &at))
        ;
    if (event_id_read(at.packed, &id))
        gw_bson_append_oid(set, "lastId", &id);
    else
        (void)BSON_APPEND_BOOL(unset, "lastId", true);
}

gw_status spool_claim(const spool_db *s, const char *id, const claim *c, int64_t tail,
                      bool *ret_matched, gw_error *err)
{
    bson_t *update = bson_new();
    bson_t set;
    bson_t p;
    bson_t max;
    bson_t unset = BSON_INITIALIZER;

    (void)BSON_APPEND_DOCUMENT_BEGIN(update, "$set", &set);
    (void)BSON_APPEND_INT64(&set, "n", claim_to(c));
    (void)BSON_APPEND_INT64(&set, "done", c->from);
    (void)BSON_APPEND_DOCUMENT_BEGIN(&set, "p", &p);
    claim_append(c, &p);
    (void)bson_append_document_end(&set, &p);
    append_last_id(c, &set, &unset);
    (void)BSON_APPEND_DATE_TIME(&set, "claimedAt", s->now_ms);
    (void)bson_append_document_end(update, &set);
    if (bson_count_keys(&unset))
        (void)BSON_APPEND_DOCUMENT(update, "$unset", &unset);
    bson_destroy(&unset);
    (void)BSON_APPEND_DOCUMENT_BEGIN(update, "$max", &max);
    (void)BSON_APPEND_INT64(&max, "tail", GW_MAX(tail, claim_to(c)));
    (void)bson_append_document_end(update, &max);
    return update_spool(s, BCON_NEW("_id", BCON_UTF8(id), "n", BCON_INT64(c->from)), update,
                        "claim events", ret_matched, err);
}

gw_status spool_finish(const spool_db *s, const char *id, int64_t n, gw_error *err)
{
    return update_spool(
        s, BCON_NEW("_id", BCON_UTF8(id), "n", BCON_INT64(n)),
        BCON_NEW("$set", "{", "done", BCON_INT64(n), "}", "$unset", "{", "p", BCON_BOOL(true), "}"),
        "finish a claim", NULL, err);
}

/* ---- status and sweep ---- */

gw_status spool_note_status(const spool_db *s, const char *id, const spool_status *status,
                            gw_error *err)
{
    return update_spool(s, BCON_NEW("_id", BCON_UTF8(id)),
                        BCON_NEW("$set", "{", "seen", BCON_DATE_TIME(s->now_ms), "status", "{",
                                 "oldest", BCON_INT64(status->oldest), "oldestAt",
                                 BCON_DATE_TIME(status->oldest_timestamp_ms), "openSlots",
                                 BCON_INT64(status->open_slots), "dropped",
                                 BCON_INT64(status->dropped), "spoolBytes",
                                 BCON_INT64(status->spool_bytes), "}", "}", "$max", "{", "tail",
                                 BCON_INT64(status->tail), "}"),
                        "note a spool's status", NULL, err);
}

static gw_status find_old_claims(const spool_db *s, int64_t age_ms, char (*ids)[SPOOL_ID_SIZE],
                                 size_t *ret_count, gw_error *err)
{
    mongoc_collection_t *spools = mongoc_database_get_collection(s->db, COLLECTION_SPOOLS);
    /* A claim of the future was made before a clock stepped back. */
    bson_t *filter =
        BCON_NEW("p", "{", "$exists", BCON_BOOL(true), "}", "$or", "[", "{", "claimedAt", "{",
                 "$lt", BCON_DATE_TIME(s->now_ms - age_ms), "}", "}", "{", "claimedAt", "{", "$gt",
                 BCON_DATE_TIME(s->now_ms + age_ms), "}", "}", "]");
    bson_t *opts =
        BCON_NEW("projection", "{", "_id", BCON_INT32(1), "}", "limit", BCON_INT64(SWEEP_MAX));
    const bson_t *d = NULL;
    bson_error_t e;
    gw_status rc = GW_OK;
    size_t n = 0;

    mongoc_cursor_t *cursor = mongoc_collection_find_with_opts(spools, filter, opts, NULL);
    while (n < SWEEP_MAX && mongoc_cursor_next(cursor, &d)) {
        gw_str id;
        if (gw_bson_str(d, "_id", &id) && id.len == SPOOL_ID_SIZE - 1) {
            memcpy(ids[n], id.ptr, id.len);
            ids[n++][id.len] = '\0';
        }
    }
    if (mongoc_cursor_error(cursor, &e))
        rc = gw_mongo_fail(err, &e, NULL, "look for claims left behind");
    mongoc_cursor_destroy(cursor);
    bson_destroy(opts);
    bson_destroy(filter);
    mongoc_collection_destroy(spools);
    *ret_count = n;
    return rc;
}

gw_status spool_sweep(const spool_db *s, int64_t age_ms, size_t *ret_swept, touched_days *touched,
                      gw_error *err)
{
    char ids[SWEEP_MAX][SPOOL_ID_SIZE];
    size_t count = 0;
    gw_status rc = find_old_claims(s, age_ms, ids, &count, err);
    *ret_swept = 0;
    for (size_t i = 0; i < count; i++) {
        spool_position ignored;
        gw_error one;
        gw_status swept = spool_resume(s, ids[i], 0, &ignored, touched, &one);
        if (swept == GW_OK)
            (*ret_swept)++;
        else if (rc == GW_OK) {
            rc = swept;
            if (err)
                *err = one;
        }
    }
    return rc;
}
