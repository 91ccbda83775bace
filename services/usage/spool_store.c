#include "spool_store.h"

#include "event_row.h"
#include "usage_collections.h"

#include "core/fault.h"
#include "mongo/bson_read.h"

#include <stdio.h>
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
    bool has_claim_id;
    int64_t claim_id;
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
    ret->has_claim_id = gw_bson_int64(d, "claimId", &ret->claim_id);
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

static gw_status take_spool(void *arg, const bson_t *d, gw_error *err)
{
    return parse_spool(d, (spool_doc *)arg, err);
}

/* `ret` zeroed; claim_fini() its claim. */
static gw_status read_spool(const spool_db *s, const char *id, spool_doc *ret, gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER;
    (void)BSON_APPEND_UTF8(&filter, "_id", id);
    return doc_store_find(s->store, COLLECTION_SPOOLS, &filter, NULL, take_spool, ret,
                          "read a spool", err);
}

/* `filter` and `update` are taken. */
static gw_status update_spool(const spool_db *s, bson_t *filter, bson_t *update, const char *what,
                              bool *ret_matched, gw_error *err)
{
    return doc_store_update(s->store, COLLECTION_SPOOLS, filter, update, ret_matched, what, err);
}

/* ---- register ---- */

/* GW_ERR_ALREADY_EXISTS when another replica was faster. */
static gw_status insert_spool(const spool_db *s, const spool_hello *h, gw_error *err)
{
    bson_t *d = bson_new();
    (void)BSON_APPEND_UTF8(d, "_id", h->id);
    (void)BSON_APPEND_BINARY(d, "boot", BSON_SUBTYPE_BINARY, h->boot, sizeof(h->boot));
    (void)BSON_APPEND_INT64(d, "n", 0);
    (void)BSON_APPEND_INT64(d, "done", 0);
    (void)BSON_APPEND_INT64(d, "tail", h->tail);
    (void)BSON_APPEND_DATE_TIME(d, "seen", s->now_ms);
    (void)BSON_APPEND_UTF8(d, "host", h->host);
    return doc_store_insert(s->store, COLLECTION_SPOOLS, d, "register a spool", err);
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

/*
 * The document as it was read. n alone is not enough: when a crash takes a claim back, the next one may end at the same n, with other
 * bounds and other verdicts.
 */
static bson_t *filter_as_read(const char *id, const spool_doc *d)
{
    bson_t *filter = BCON_NEW("_id", BCON_UTF8(id), "n", BCON_INT64(d->n));
    bson_t none;
    if (d->has_claim_id) {
        (void)BSON_APPEND_INT64(filter, "claimId", d->claim_id);
        return filter;
    }
    (void)BSON_APPEND_DOCUMENT_BEGIN(filter, "claimId", &none);
    (void)BSON_APPEND_BOOL(&none, "$exists", false);
    (void)bson_append_document_end(filter, &none);
    return filter;
}

/* `proof` is another one each time: a write that changes nothing (`seen` of the same millisecond) need not wait for the journal. */
static gw_status confirm(const spool_db *s, const char *id, const spool_doc *d, int64_t tail,
                         bool *ret_matched, gw_error *err)
{
    if (GW_MUTANT(SWEEP_UNCONFIRMED) && tail == 0) { /* a sweep knows none */
        *ret_matched = true;
        return GW_OK;
    }
    return update_spool(s, filter_as_read(id, d),
                        BCON_NEW("$set", "{", "seen", BCON_DATE_TIME(s->now_ms), "proof",
                                 BCON_INT64((int64_t)(gw_random_u64() >> 1)), "}", "$max", "{",
                                 "tail", BCON_INT64(tail), "}"),
                        "confirm a spool's position", ret_matched, err);
}

/* One try: *ret_settled false when n moved in between. */
static gw_status try_resume(const spool_db *s, const char *id, int64_t tail, spool_doc *d,
                            bool *ret_settled, touched_days *touched, gw_error *err)
{
    gw_status rc = read_spool(s, id, d, err);
    gw_fault_point("resume.read");
    if (rc != GW_OK)
        return rc;
    if (!d->found)
        return gw_fail(err, GW_ERR_NOT_FOUND, "spool %s is not known", id);
    if (GW_MUTANT(WELCOME_UNCONFIRMED) && !touched) {
        *ret_settled = true;
        return GW_OK;
    }
    /* A standalone shows writes that a crash may still take back. This later durable write makes
     * all before it durable; only then may n be told to the relay, or its claim be applied. */
    rc = confirm(s, id, d, tail, ret_settled, err);
    gw_fault_point("resume.confirmed");
    if (rc != GW_OK || !*ret_settled || !d->has_claim || GW_MUTANT(RESUME_WITHOUT_REDO))
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
    (void)BSON_APPEND_INT64(&set, "claimId", (int64_t)(gw_random_u64() >> 1));
    append_last_id(c, &set, &unset);
    (void)BSON_APPEND_DATE_TIME(&set, "claimedAt", s->now_ms);
    (void)bson_append_document_end(update, &set);
    if (bson_count_keys(&unset))
        (void)BSON_APPEND_DOCUMENT(update, "$unset", &unset);
    bson_destroy(&unset);
    (void)BSON_APPEND_DOCUMENT_BEGIN(update, "$max", &max);
    (void)BSON_APPEND_INT64(&max, "tail", GW_MAX(tail, claim_to(c)));
    (void)bson_append_document_end(update, &max);
    gw_fault_point("claim.made_up");
    gw_status rc = update_spool(s, BCON_NEW("_id", BCON_UTF8(id), "n", BCON_INT64(c->from)), update,
                                "claim events", ret_matched, err);
    gw_fault_point("claim.answered");
    return rc;
}

#ifdef GW_MUTANTS
static gw_status prune_marks(const spool_db *s, const char *collection, const char *id, int64_t n,
                             gw_error *err)
{
    char mark[2 + SPOOL_ID_SIZE];
    bool matched = true;
    gw_status rc = GW_OK;
    (void)snprintf(mark, sizeof(mark), "m.%s", id);
    while (rc == GW_OK && matched)
        rc = doc_store_update(s->store, collection, BCON_NEW(mark, BCON_INT64(n)),
                              BCON_NEW("$unset", "{", mark, BCON_BOOL(true), "}"), &matched,
                              "prune marks", err);
    return rc;
}
#endif

gw_status spool_finish(const spool_db *s, const char *id, int64_t n, gw_error *err)
{
#ifdef GW_MUTANTS
    if (GW_MUTANT(MARKS_PRUNED) && (prune_marks(s, COLLECTION_HOURS, id, n, err) != GW_OK ||
                                    prune_marks(s, COLLECTION_OWNER_HOURS, id, n, err) != GW_OK))
        return err->code;
#endif
    gw_fault_point("finish.begun");
    gw_status rc = update_spool(
        s, BCON_NEW("_id", BCON_UTF8(id), "n", BCON_INT64(n)),
        BCON_NEW("$set", "{", "done", BCON_INT64(n), "}", "$unset", "{", "p", BCON_BOOL(true), "}"),
        "finish a claim", NULL, err);
    gw_fault_point("finish.answered");
    return rc;
}

/* ---- status and sweep ---- */

gw_status spool_note_status(const spool_db *s, const char *id, const spool_status *status,
                            gw_error *err)
{
    return update_spool(
        s, BCON_NEW("_id", BCON_UTF8(id)),
        BCON_NEW("$set", "{", "seen", BCON_DATE_TIME(s->now_ms), "status", "{", "oldest",
                 BCON_INT64(status->oldest), "oldestAt",
                 BCON_DATE_TIME(status->oldest_timestamp_ms), "openSlots",
                 BCON_INT64(status->open_slots), "dropped", BCON_INT64(status->dropped),
                 "spoolBytes", BCON_INT64(status->spool_bytes), "}", "}", "$max", "{", "tail",
                 BCON_INT64(status->tail), "}", "$inc", "{", "statusSeq", BCON_INT64(1), "}"),
        "note a spool's status", NULL, err);
}

typedef struct spool_ids {
    char ids[SWEEP_MAX][SPOOL_ID_SIZE];
    size_t count;
} spool_ids;

static gw_status add_spool_id(void *arg, const bson_t *d, gw_error *err)
{
    spool_ids *found = (spool_ids *)arg;
    gw_str id;
    (void)err;
    if (found->count < SWEEP_MAX && gw_bson_str(d, "_id", &id) && id.len == SPOOL_ID_SIZE - 1) {
        memcpy(found->ids[found->count], id.ptr, id.len);
        found->ids[found->count++][id.len] = '\0';
    }
    return GW_OK;
}

static gw_status find_old_claims(const spool_db *s, int64_t age_ms, spool_ids *ret, gw_error *err)
{
    if (GW_MUTANT(NO_SWEEP))
        return GW_OK;
    /* A claim of the future was made before a clock stepped back. */
    bson_t *filter =
        BCON_NEW("p", "{", "$exists", BCON_BOOL(true), "}", "$or", "[", "{", "claimedAt", "{",
                 "$lt", BCON_DATE_TIME(s->now_ms - age_ms), "}", "}", "{", "claimedAt", "{", "$gt",
                 BCON_DATE_TIME(s->now_ms + age_ms), "}", "}", "]");
    bson_t *opts =
        BCON_NEW("projection", "{", "_id", BCON_INT32(1), "}", "limit", BCON_INT64(SWEEP_MAX));
    gw_status rc = doc_store_find(s->store, COLLECTION_SPOOLS, filter, opts, add_spool_id, ret,
                                  "look for claims left behind", err);
    bson_destroy(opts);
    bson_destroy(filter);
    return rc;
}

gw_status spool_sweep(const spool_db *s, int64_t age_ms, size_t *ret_swept, touched_days *touched,
                      gw_error *err)
{
    spool_ids found = {0};
    gw_status rc = find_old_claims(s, age_ms, &found, err);
    *ret_swept = 0;
    for (size_t i = 0; i < found.count; i++) {
        spool_position ignored;
        gw_error one;
        gw_fault_point("sweep.found");
        gw_status swept = spool_resume(s, found.ids[i], 0, &ignored, touched, &one);
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
