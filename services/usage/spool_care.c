#include "spool_care.h"

#include "alert_rules.h"
#include "alert_watch.h"
#include "usage_collections.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct seen_spool {
    gw_str id, host;
    int64_t n, tail, seen_ms, lost_ms, open_slots;
    bool is_lost;
} seen_spool;

static bool spool_of(const bson_t *d, seen_spool *ret)
{
    seen_spool s = {.host = GW_STR("")};
    if (!gw_bson_str(d, "_id", &s.id) || s.id.len >= sizeof(((spool_news *)NULL)->id) ||
        !gw_bson_int64(d, "n", &s.n) || !gw_bson_date_ms(d, "seen", &s.seen_ms))
        return false;
    (void)gw_bson_str(d, "host", &s.host);
    (void)gw_bson_int64(d, "tail", &s.tail);
    (void)gw_bson_int64(d, "status.openSlots", &s.open_slots);
    s.is_lost = gw_bson_date_ms(d, "lostAt", &s.lost_ms);
    *ret = s;
    return true;
}

/* All but the claim: that may be 4 MiB. */
static void append_projection(bson_t *opts)
{
    bson_t fields;
    BSON_APPEND_DOCUMENT_BEGIN(opts, "projection", &fields);
    BSON_APPEND_INT32(&fields, "p", 0);
    bson_append_document_end(opts, &fields);
}

void spool_loss_id(const char *spool_id, int64_t n, char out[40])
{
    (void)snprintf(out, 40, "%s-%lld", spool_id, (long long)n);
}

/* ---- its alert: the spool stands where a rule's id does ---- */

static gw_object_id alert_id_of(gw_str spool_id)
{
    gw_object_id id = {{0}};
    for (size_t i = 0; i + 1 < spool_id.len && i / 2 < 5; i += 2) {
        char pair[3] = {spool_id.ptr[i], spool_id.ptr[i + 1], '\0'};
        id.bytes[7 + i / 2] = (uint8_t)strtoul(pair, NULL, 16);
    }
    return id;
}

static void append_alert(bson_t *doc, const seen_spool *s, int64_t now_ms)
{
    gw_object_id id;
    gw_object_id rule_id = alert_id_of(s->id);
    gw_auto_buf message = {0};
    gw_object_id_make(&id, now_ms);
    gw_buf_appendf(&message,
                   "spool " GW_STR_FMT " of " GW_STR_FMT
                   " is silent: %lld events have not come, %lld requests were in flight",
                   GW_STR_ARG(s->id), GW_STR_ARG(s->host), (long long)(s->tail - s->n),
                   (long long)s->open_slots);
    gw_bson_append_oid(doc, "_id", &id);
    gw_bson_append_oid(doc, "ruleId", &rule_id);
    BSON_APPEND_UTF8(doc, "ruleName", "a relay's spool is silent");
    BSON_APPEND_UTF8(doc, "kind", "spool_silent");
    BSON_APPEND_DOUBLE(doc, "threshold", 1);
    BSON_APPEND_UTF8(doc, "status", "firing");
    BSON_APPEND_DOUBLE(doc, "value", (double)(s->tail - s->n));
    gw_bson_append_str(doc, "message", gw_buf_str(&message));
    BSON_APPEND_DATE_TIME(doc, "startedAt", now_ms);
}

/* *ret_new false: it is firing already. */
static gw_status raise_alert(const gw_db *d, const seen_spool *s, int64_t now_ms, bool *ret_new,
                             gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER, doc = BSON_INITIALIZER;
    gw_db_auto_doc firing = NULL;
    gw_object_id rule_id = alert_id_of(s->id);
    gw_bson_append_oid(&filter, "ruleId", &rule_id);
    BSON_APPEND_UTF8(&filter, "status", "firing");
    *ret_new = false;
    gw_status rc = gw_db_find_one(d, COLLECTION_ALERTS, &filter, NULL, &firing, err);
    if (rc != GW_OK || firing)
        return rc;
    append_alert(&doc, s, now_ms);
    rc = gw_db_insert(d, COLLECTION_ALERTS, &doc, err);
    *ret_new = rc == GW_OK;
    return rc == GW_ERR_ALREADY_EXISTS ? GW_OK : rc; /* another replica was first */
}

static gw_status end_alert(const gw_db *d, gw_str spool_id, int64_t now_ms, gw_error *err)
{
    gw_object_id rule_id = alert_id_of(spool_id);
    return alerts_resolve(d, &rule_id, now_ms, err);
}

/* ---- losing ---- */

static gw_status write_loss(const gw_db *d, const seen_spool *s, gw_str by, int64_t now_ms,
                            gw_error *err)
{
    gw_db_auto_bson doc = BSON_INITIALIZER;
    char id[40], spool[16];
    (void)snprintf(spool, sizeof(spool), GW_STR_FMT, GW_STR_ARG(s->id));
    spool_loss_id(spool, s->n, id);
    BSON_APPEND_UTF8(&doc, "_id", id);
    gw_bson_append_str(&doc, "S", s->id);
    gw_bson_append_str(&doc, "host", s->host);
    BSON_APPEND_INT64(&doc, "n", s->n);
    BSON_APPEND_INT64(&doc, "tail", s->tail);
    BSON_APPEND_INT64(&doc, "events", GW_MAX(s->tail - s->n, 0));
    BSON_APPEND_INT64(&doc, "openSlots", s->open_slots);
    BSON_APPEND_DATE_TIME(&doc, "seen", s->seen_ms);
    BSON_APPEND_DATE_TIME(&doc, "at", now_ms);
    gw_bson_append_str(&doc, "by", by);
    gw_status rc = gw_db_insert(d, COLLECTION_LOSSES, &doc, err);
    return rc == GW_ERR_ALREADY_EXISTS ? GW_OK : rc;
}

/* Written down first, then marked: whoever stops in between does it again. *ret_marked false: it was
 * heard meanwhile, or another replica marked it. */
static gw_status lose(const gw_db *d, const seen_spool *s, gw_str by, int64_t now_ms,
                      bool *ret_marked, gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER, update = BSON_INITIALIZER;
    bson_t part;
    int64_t matched = 0;
    gw_status rc = write_loss(d, s, by, now_ms, err);
    if (rc != GW_OK)
        return rc;
    gw_bson_append_str(&filter, "_id", s->id);
    BSON_APPEND_INT64(&filter, "n", s->n);
    BSON_APPEND_DATE_TIME(&filter, "seen", s->seen_ms);
    BSON_APPEND_DOCUMENT_BEGIN(&filter, "lostAt", &part);
    BSON_APPEND_BOOL(&part, "$exists", false);
    bson_append_document_end(&filter, &part);
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$set", &part);
    BSON_APPEND_DATE_TIME(&part, "lostAt", now_ms);
    bson_append_document_end(&update, &part);
    rc = gw_db_update_one(d, COLLECTION_SPOOLS, &filter, &update, &matched, err);
    *ret_marked = matched > 0;
    return rc == GW_OK && matched > 0 ? end_alert(d, s->id, now_ms, err) : rc;
}

gw_status spool_care_lose(const gw_db *d, const char *id, gw_str by, int64_t now_ms, gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER, opts = BSON_INITIALIZER;
    gw_db_auto_doc doc = NULL;
    seen_spool s;
    bool marked;
    BSON_APPEND_UTF8(&filter, "_id", id);
    append_projection(&opts);
    gw_status rc = gw_db_find_one(d, COLLECTION_SPOOLS, &filter, &opts, &doc, err);
    if (rc != GW_OK)
        return rc;
    if (!doc || !spool_of(doc, &s))
        return gw_fail(err, GW_ERR_NOT_FOUND, "there is no such spool");
    if (s.is_lost && s.lost_ms >= s.seen_ms)
        return GW_OK;
    if (s.seen_ms > now_ms - SPOOL_LIVE_MS)
        return gw_fail(err, GW_ERR_FAILED_PRECONDITION,
                       "the relay of this spool was heard a moment ago");
    return lose(d, &s, by, now_ms, &marked, err);
}

/* ---- a lost one is heard ---- */

static gw_status take_back(const gw_db *d, const seen_spool *s, int64_t now_ms, gw_error *err)
{
    gw_db_auto_bson loss = BSON_INITIALIZER, returned = BSON_INITIALIZER;
    gw_db_auto_bson spool = BSON_INITIALIZER, unmark = BSON_INITIALIZER;
    bson_t part;
    gw_bson_append_str(&loss, "S", s->id);
    BSON_APPEND_DOCUMENT_BEGIN(&loss, "returnedAt", &part);
    BSON_APPEND_BOOL(&part, "$exists", false);
    bson_append_document_end(&loss, &part);
    BSON_APPEND_DOCUMENT_BEGIN(&returned, "$set", &part);
    BSON_APPEND_DATE_TIME(&part, "returnedAt", now_ms);
    bson_append_document_end(&returned, &part);
    gw_status rc = gw_db_update_one(d, COLLECTION_LOSSES, &loss, &returned, NULL, err);
    if (rc != GW_OK)
        return rc;
    gw_bson_append_str(&spool, "_id", s->id);
    BSON_APPEND_DATE_TIME(&spool, "lostAt", s->lost_ms);
    BSON_APPEND_DOCUMENT_BEGIN(&unmark, "$unset", &part);
    BSON_APPEND_BOOL(&part, "lostAt", true);
    bson_append_document_end(&unmark, &part);
    return gw_db_update_one(d, COLLECTION_SPOOLS, &spool, &unmark, NULL, err);
}

/* ---- a look ---- */

typedef struct look {
    const gw_db *d;
    const spool_care *care;
    int64_t now_ms;
    spool_round *round;
} look;

static void tell(look *l, spool_news_kind kind, const seen_spool *s)
{
    if (l->round->news_count == SPOOL_NEWS_MAX)
        return;
    spool_news *n = &l->round->news[l->round->news_count++];
    *n = (spool_news){
        .kind = kind, .events = GW_MAX(s->tail - s->n, 0), .open_slots = s->open_slots};
    (void)snprintf(n->id, sizeof(n->id), GW_STR_FMT, GW_STR_ARG(s->id));
    (void)snprintf(n->host, sizeof(n->host), GW_STR_FMT, GW_STR_ARG(s->host));
}

static gw_status look_at_silent(look *l, const seen_spool *s, gw_error *err)
{
    bool is_new = false;
    bool waits = s->tail > s->n;
    if (waits && l->now_ms - s->seen_ms >= l->care->lost_ms) {
        gw_status rc = lose(l->d, s, GW_STR(""), l->now_ms, &is_new, err);
        if (is_new)
            tell(l, SPOOL_LOST, s);
        return rc;
    }
    if (!waits)
        return GW_OK;
    l->round->silent++;
    l->round->silent_events += s->tail - s->n;
    gw_status rc = raise_alert(l->d, s, l->now_ms, &is_new, err);
    if (is_new)
        tell(l, SPOOL_FELL_SILENT, s);
    return rc;
}

static gw_status look_at(void *arg, const bson_t *doc, gw_error *err)
{
    look *l = arg;
    seen_spool s;
    if (!spool_of(doc, &s))
        return GW_OK;
    if (s.is_lost && s.seen_ms <= s.lost_ms)
        return GW_OK;
    if (s.is_lost) {
        gw_status rc = take_back(l->d, &s, l->now_ms, err);
        if (rc == GW_OK)
            tell(l, SPOOL_RETURNED, &s);
        return rc;
    }
    return l->now_ms - s.seen_ms >= l->care->silent_ms ? look_at_silent(l, &s, err) : GW_OK;
}

/* Alerts of spools that were heard again, or have brought what they had. */
static gw_status end_old_alert(void *arg, const bson_t *doc, gw_error *err)
{
    look *l = arg;
    gw_object_id rule_id;
    gw_db_auto_bson filter = BSON_INITIALIZER, opts = BSON_INITIALIZER;
    gw_db_auto_doc spool = NULL;
    char id[2 * 5 + 1];
    seen_spool s;
    if (!gw_bson_oid(doc, "ruleId", &rule_id))
        return GW_OK;
    gw_hex_encode(rule_id.bytes + 7, 5, id);
    BSON_APPEND_UTF8(&filter, "_id", id);
    append_projection(&opts);
    gw_status rc = gw_db_find_one(l->d, COLLECTION_SPOOLS, &filter, &opts, &spool, err);
    if (rc != GW_OK)
        return rc;
    bool still = spool && spool_of(spool, &s) && !s.is_lost && s.tail > s.n &&
                 l->now_ms - s.seen_ms >= l->care->silent_ms;
    return still ? GW_OK : alerts_resolve(l->d, &rule_id, l->now_ms, err);
}

gw_status spool_care_look(const gw_db *d, const spool_care *c, int64_t now_ms, spool_round *ret,
                          gw_error *err)
{
    gw_db_auto_bson all = BSON_INITIALIZER, opts = BSON_INITIALIZER, firing = BSON_INITIALIZER;
    look l = {d, c, now_ms, ret};
    *ret = (spool_round){0};
    append_projection(&opts);
    gw_status rc = gw_db_find(d, COLLECTION_SPOOLS, &all, &opts, look_at, &l, err);
    if (rc != GW_OK)
        return rc;
    BSON_APPEND_UTF8(&firing, "kind", "spool_silent");
    BSON_APPEND_UTF8(&firing, "status", "firing");
    return gw_db_find(d, COLLECTION_ALERTS, &firing, NULL, end_old_alert, &l, err);
}
