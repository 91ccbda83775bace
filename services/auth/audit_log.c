#include "audit_log.h"

#include "message_bson.h"
#include "messages.h"

#include <pthread.h>
#include <stdio.h>

#define AUDIT        "audit_log"
#define APPEND_TRIES 100

static audit_entry *entry_of(gw_arena *a, const bson_t *doc)
{
    audit_entry *e = message_new(a, &apirelay__auth__v1__audit_entry__descriptor);
    if (e)
        message_from_bson(a, &e->base, doc);
    return e;
}

gw_status audit_log_head(const gw_db *d, int64_t *ret_seq, char ret_hash[AUDIT_HASH_SIZE],
                         gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER, opts = BSON_INITIALIZER;
    gw_db_auto_doc doc = NULL;
    gw_str hash = GW_STR(AUDIT_NO_HASH);
    int64_t seq = 0;
    gw_db_append_page(&opts, "_id", -1, 1);
    gw_status rc = gw_db_find_one(d, AUDIT, &filter, &opts, &doc, err);
    if (rc != GW_OK)
        return rc;
    if (doc && (!gw_bson_int64(doc, "_id", &seq) || !gw_bson_str(doc, "hash", &hash) ||
                hash.len != AUDIT_HASH_SIZE - 1))
        return gw_fail(err, GW_ERR_DATA_LOSS, "the newest audit entry has no seq or hash");
    *ret_seq = seq;
    snprintf(ret_hash, AUDIT_HASH_SIZE, GW_STR_FMT, GW_STR_ARG(hash));
    return GW_OK;
}

/* The workers of a process take turns: of many who look for the same end of the chain all but one would do so in vain. */
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;

static gw_status append(const gw_db *d, gw_arena *a, audit_entry *e, gw_error *err)
{
    for (int i = 0; i < APPEND_TRIES; i++) {
        gw_db_auto_bson doc = BSON_INITIALIZER;
        char prev_hash[AUDIT_HASH_SIZE];
        gw_status rc = audit_log_head(d, &e->seq, prev_hash, err);
        if (rc != GW_OK)
            return rc;
        e->seq++;
        e->prev_hash = message_text(a, gw_str_of(prev_hash));
        audit_entry_seal(a, e);
        BSON_APPEND_INT64(&doc, "_id", e->seq);
        message_to_bson(&e->base, &doc);
        rc = gw_db_insert(d, AUDIT, &doc, err);
        if (rc != GW_ERR_ALREADY_EXISTS)
            return rc;
    }
    return gw_fail(err, GW_ERR_ABORTED, "too many audit entries at once");
}

gw_status audit_log_append(const gw_db *d, gw_arena *a, audit_entry *e, gw_error *err)
{
    pthread_mutex_lock(&turn);
    gw_status rc = append(d, a, e, err);
    pthread_mutex_unlock(&turn);
    return rc;
}

static void append_filter(bson_t *filter, const audit_filter *f)
{
    bson_t range;
    if (f->action.len)
        gw_bson_append_str(filter, "action", f->action);
    if (f->actor_id.len)
        gw_bson_append_str(filter, "actorId", f->actor_id);
    if (f->target.len)
        gw_bson_append_str(filter, "target", f->target);
    if (f->before_seq) {
        BSON_APPEND_DOCUMENT_BEGIN(filter, "_id", &range);
        BSON_APPEND_INT64(&range, "$lt", f->before_seq);
        bson_append_document_end(filter, &range);
    }
    if (f->has_from || f->has_to) {
        BSON_APPEND_DOCUMENT_BEGIN(filter, "at", &range);
        if (f->has_from)
            BSON_APPEND_DATE_TIME(&range, "$gte", f->from_ms);
        if (f->has_to)
            BSON_APPEND_DATE_TIME(&range, "$lt", f->to_ms);
        bson_append_document_end(filter, &range);
    }
}

typedef struct audit_listing {
    gw_arena *arena;
    audit_entry **entries;
    size_t count, max;
} audit_listing;

static gw_status add_entry(void *arg, const bson_t *doc, gw_error *err)
{
    audit_listing *l = arg;
    if (l->count == l->max)
        return GW_OK;
    audit_entry *e = entry_of(l->arena, doc);
    if (!e)
        return gw_fail(err, GW_ERR_NO_MEMORY, "audit entries");
    l->entries[l->count++] = e;
    return GW_OK;
}

gw_status audit_log_list(const gw_db *d, gw_arena *a, const audit_filter *f, audit_entry **ret,
                         size_t *ret_count, gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER, opts = BSON_INITIALIZER;
    audit_listing l = {a, ret, 0, (size_t)f->limit};
    append_filter(&filter, f);
    gw_db_append_page(&opts, "_id", -1, f->limit);
    gw_status rc = gw_db_find(d, AUDIT, &filter, &opts, add_entry, &l, err);
    if (rc == GW_OK)
        *ret_count = l.count;
    return rc;
}

typedef struct audit_check {
    gw_arena *arena;
    audit_verdict *verdict;
    int64_t seq; /* expected next */
    char prev_hash[AUDIT_HASH_SIZE];
} audit_check;

static void note_missing(audit_verdict *v, int64_t seq)
{
    v->broken_seq = seq;
    snprintf(v->message, sizeof(v->message), "entry %lld is missing", (long long)seq);
}

static gw_status check_entry(void *arg, const bson_t *doc, gw_error *err)
{
    audit_check *c = arg;
    if (c->verdict->broken_seq) /* the first one counts */
        return GW_OK;
    audit_entry *e = entry_of(c->arena, doc);
    if (!e)
        return gw_fail(err, GW_ERR_NO_MEMORY, "audit entries");
    const char *fault = audit_entry_fault(c->arena, e, c->seq, c->prev_hash);
    if (e->seq > c->seq) {
        note_missing(c->verdict, c->seq);
    } else if (fault) {
        c->verdict->broken_seq = c->seq;
        snprintf(c->verdict->message, sizeof(c->verdict->message), "entry %lld %s",
                 (long long)e->seq, fault);
    } else {
        c->verdict->checked++;
        c->seq++;
        snprintf(c->prev_hash, sizeof(c->prev_hash), "%s", e->hash);
    }
    gw_arena_reset(c->arena);
    return GW_OK;
}

static gw_status check_range(const gw_db *d, audit_check *c, int64_t first, int64_t last,
                             gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER, opts = BSON_INITIALIZER;
    bson_t range;
    BSON_APPEND_DOCUMENT_BEGIN(&filter, "_id", &range);
    BSON_APPEND_INT64(&range, "$gte", first);
    BSON_APPEND_INT64(&range, "$lte", last);
    bson_append_document_end(&filter, &range);
    gw_db_append_page(&opts, "_id", 1, last - first + 1);
    return gw_db_find(d, AUDIT, &filter, &opts, check_entry, c, err);
}

/* "" when there is no such entry. */
static gw_status hash_of(const gw_db *d, int64_t seq, char ret[AUDIT_HASH_SIZE], gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER;
    gw_db_auto_doc doc = NULL;
    gw_str hash = GW_STR("");
    BSON_APPEND_INT64(&filter, "_id", seq);
    gw_status rc = gw_db_find_one(d, AUDIT, &filter, NULL, &doc, err);
    if (rc == GW_OK && doc)
        (void)gw_bson_str(doc, "hash", &hash);
    if (rc == GW_OK)
        snprintf(ret, AUDIT_HASH_SIZE, GW_STR_FMT, GW_STR_ARG(hash));
    return rc;
}

/* What a check of a part begins from: the entry before is taken as it is, but it has to be there. */
static gw_status begin_after(const gw_db *d, audit_check *c, gw_error *err)
{
    if (c->seq == 1) {
        snprintf(c->prev_hash, sizeof(c->prev_hash), "%s", AUDIT_NO_HASH);
        return GW_OK;
    }
    gw_status rc = hash_of(d, c->seq - 1, c->prev_hash, err);
    if (rc == GW_OK && *c->prev_hash == '\0')
        note_missing(c->verdict, GW_MIN(c->seq - 1, c->verdict->head_seq + 1));
    return rc;
}

static gw_status check_known(const gw_db *d, audit_known known, audit_verdict *v, gw_error *err)
{
    char hash[AUDIT_HASH_SIZE];
    gw_status rc = hash_of(d, known.seq, hash, err);
    if (rc != GW_OK || gw_str_eq_c(known.hash, hash) ||
        (v->broken_seq && v->broken_seq < known.seq))
        return rc;
    v->broken_seq = known.seq;
    snprintf(v->message, sizeof(v->message), "entry %lld %s", (long long)known.seq,
             *hash ? "is not the one that was signed" : "was signed and is missing");
    return GW_OK;
}

gw_status audit_log_verify(const gw_db *d, int64_t from, int64_t to, audit_known known,
                           audit_verdict *ret, gw_error *err)
{
    audit_verdict v = {0};
    audit_check c = {.verdict = &v, .seq = GW_MAX(from, 1)};
    gw_auto(gw_arena) arena = gw_arena_new();
    c.arena = arena;
    gw_status rc = arena ? audit_log_head(d, &v.head_seq, v.head_hash, err)
                         : gw_fail(err, GW_ERR_NO_MEMORY, "audit check");
    if (rc == GW_OK)
        rc = begin_after(d, &c, err);
    int64_t last = to > 0 ? to : v.head_seq;
    if (rc == GW_OK && !v.broken_seq && last >= c.seq)
        rc = check_range(d, &c, c.seq, last, err);
    if (rc == GW_OK && !v.broken_seq && c.seq <= last)
        note_missing(&v, c.seq);
    if (rc == GW_OK && known.seq)
        rc = check_known(d, known, &v, err);
    if (rc == GW_OK)
        *ret = v;
    return rc;
}
