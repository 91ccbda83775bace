#include "ledger_barrier.h"

#include "doc_store_mongo.h"
#include "spool_care.h"
#include "usage_collections.h"

#include "core/clock.h"

#define OLD_MS (12 * GW_MS_PER_HOUR)

typedef struct standing {
    gw_str id;
    int64_t seq, n, done, tail, seen_ms, oldest, oldest_ms;
} standing;

static bool standing_of(const bson_t *d, standing *ret)
{
    standing s = {0};
    if (!gw_bson_str(d, "_id", &s.id) || s.id.len != SPOOL_ID_SIZE - 1 ||
        !gw_bson_int64(d, "n", &s.n) || !gw_bson_int64(d, "done", &s.done) ||
        !gw_bson_date_ms(d, "seen", &s.seen_ms))
        return false;
    (void)gw_bson_int64(d, "tail", &s.tail);
    (void)gw_bson_int64(d, "statusSeq", &s.seq);
    (void)gw_bson_int64(d, "status.oldest", &s.oldest);
    (void)gw_bson_date_ms(d, "status.oldestAt", &s.oldest_ms);
    *ret = s;
    return true;
}

typedef struct looking {
    const spool_db *s;
    ledger_barrier *b;
    touched_days *touched;
} looking;

static bool is_connected(const looking *l, const standing *s)
{
    return s->seen_ms > l->s->now_ms - SPOOL_LIVE_MS;
}

static gw_status begin(void *arg, const bson_t *doc, gw_error *err)
{
    looking *l = arg;
    standing s;
    if (!standing_of(doc, &s) || !is_connected(l, &s))
        return GW_OK;
    if (l->b->count == LEDGER_SPOOLS_MAX)
        return gw_fail(err, GW_ERR_OVERLOADED, "more than %d spools are connected",
                       LEDGER_SPOOLS_MAX);
    barrier_spool *x = &l->b->spools[l->b->count++];
    *x = (barrier_spool){.first_seq = s.seq, .told = -1};
    memcpy(x->id, s.id.ptr, s.id.len);
    if (s.oldest > 0 && s.oldest_ms < l->s->now_ms - OLD_MS)
        l->b->is_old = true;
    return GW_OK;
}

static gw_status look_at(void *arg, const bson_t *doc, gw_error *err)
{
    looking *l = arg;
    standing s;
    barrier_spool *x = NULL;
    if (!standing_of(doc, &s))
        return GW_OK;
    for (size_t i = 0; i < l->b->count && !x; i++)
        if (gw_str_eq_c(s.id, l->b->spools[i].id))
            x = &l->b->spools[i];
    if (!x || x->passed)
        return GW_OK;
    if (x->told < 0 && s.seq >= x->first_seq + 2)
        x->told = s.tail;
    if (x->told >= 0 && s.n >= x->told) {
        spool_position ignored;
        gw_status rc =
            s.done < s.n ? spool_resume(l->s, x->id, 0, &ignored, l->touched, err) : GW_OK;
        x->passed = rc == GW_OK;
        return rc == GW_ERR_ABORTED ? GW_OK : rc; /* it is moving: look again */
    }
    x->passed = !is_connected(l, &s);
    return GW_OK;
}

gw_status ledger_barrier_look(const gw_db *d, ledger_barrier *b, int64_t now_ms, bool *ret_passed,
                              touched_days *touched, gw_error *err)
{
    doc_store_mongo store;
    spool_db s = {.store = doc_store_mongo_init(&store, d), .now_ms = now_ms};
    looking l = {&s, b, touched};
    gw_db_auto_bson all = BSON_INITIALIZER, opts = BSON_INITIALIZER;
    bson_t fields;
    BSON_APPEND_DOCUMENT_BEGIN(&opts, "projection", &fields);
    BSON_APPEND_INT32(&fields, "p", 0);
    bson_append_document_end(&opts, &fields);
    gw_status rc =
        gw_db_find(d, COLLECTION_SPOOLS, &all, &opts, b->begun ? look_at : begin, &l, err);
    b->begun = true;
    *ret_passed = true;
    for (size_t i = 0; i < b->count; i++)
        *ret_passed = *ret_passed && b->spools[i].passed;
    return rc;
}
