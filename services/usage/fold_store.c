#include "fold_store.h"

#include "fold.h"
#include "rollup.h"
#include "usage_collections.h"

#include "core/fault.h"
#include "mongo/bson_read.h"

#include <stdlib.h>

#define HOURS_A_DAY 24

typedef struct hour_read {
    char id[ROLLUP_ID_SIZE];
    int64_t rev;
} hour_read;

typedef struct day_read {
    const char *id;
    rollup_kind kind;
    const char *collection, *hours; /* where it stands, and where they do */
    fold *sums; /* of its hours */
    bool exists;
    int64_t gen; /* as read, before the hours */
    int64_t changes; /* of a mutant's guard */
    bson_value_t api_key_id;
    int64_t date_ms;
    uint32_t largest_bytes; /* of it and its hours */
    hour_read dirty[HOURS_A_DAY];
    size_t dirty_count;
} day_read;

static gw_status take_gen(void *arg, const bson_t *d, gw_error *err)
{
    day_read *day = (day_read *)arg;
    (void)err;
    day->exists = true;
    (void)gw_bson_int64(d, "gen", &day->gen);
    return GW_OK;
}

static gw_status read_gen(const spool_db *s, day_read *day, gw_error *err)
{
    bson_t *filter = BCON_NEW("_id", BCON_UTF8(day->id));
    bson_t *opts = BCON_NEW("projection", "{", "gen", BCON_INT32(1), "}");
    gw_status rc =
        doc_store_find(s->store, day->collection, filter, opts, take_gen, day, "read a day", err);
    bson_destroy(opts);
    bson_destroy(filter);
    return rc;
}

static void note_hour(day_read *day, const bson_t *hour)
{
    bson_iter_t at;
    bool dirty = false;
    int64_t rev = 0;
    int64_t date_ms = 0;
    gw_str id;

    if (!gw_bson_str(hour, "_id", &id) || id.len >= ROLLUP_ID_SIZE)
        return;
    if (day->api_key_id.value_type == BSON_TYPE_EOD && bson_iter_init_find(&at, hour, "apiKeyId"))
        bson_value_copy(bson_iter_value(&at), &day->api_key_id);
    if (gw_bson_date_ms(hour, "date", &date_ms))
        day->date_ms = gw_day_start_ms(date_ms);
    if (!gw_bson_bool(hour, "dirty", &dirty) || !dirty || !gw_bson_int64(hour, "rev", &rev) ||
        day->dirty_count == HOURS_A_DAY)
        return;
    hour_read *h = &day->dirty[day->dirty_count++];
    memcpy(h->id, id.ptr, id.len);
    h->id[id.len] = '\0';
    h->rev = rev;
}

static gw_status take_hour(void *arg, const bson_t *hour, gw_error *err)
{
    day_read *day = (day_read *)arg;
    (void)err;
    int64_t changes = 0;
    if (GW_MUTANT(FOLD_BY_SUM) && gw_bson_int64(hour, "changes", &changes))
        day->changes += changes;
    day->largest_bytes = GW_MAX(day->largest_bytes, hour->len);
    fold_add_hour(day->sums, hour);
    note_hour(day, hour);
    return GW_OK;
}

/* By key and date, which are an index; a range of ids is one too, but not on every server. */
static bool append_hours_of(const char *day_id, bson_t *filter)
{
    gw_object_id key;
    gw_str subject;
    gw_str date = gw_str_of(day_id);
    gw_auto_buf midnight = {0};
    int64_t day_ms;
    if (!gw_str_split(&date, '|', &subject))
        return false;
    gw_buf_appendf(&midnight, GW_STR_FMT "T00:00:00Z", GW_STR_ARG(date));
    if (gw_buf_failed(&midnight) || !gw_rfc3339_parse(gw_buf_str(&midnight), &day_ms))
        return false;
    if (rollup_kind_of(subject) != ROLLUP_KEY)
        gw_bson_append_str(filter, "apiKeyId", subject);
    else if (gw_object_id_parse(subject, &key))
        gw_bson_append_oid(filter, "apiKeyId", &key);
    else
        return false;
    bson_t range;
    (void)BSON_APPEND_DOCUMENT_BEGIN(filter, "date", &range);
    (void)BSON_APPEND_DATE_TIME(&range, "$gte", day_ms);
    (void)BSON_APPEND_DATE_TIME(&range, "$lt", day_ms + GW_MS_PER_DAY);
    (void)bson_append_document_end(filter, &range);
    return true;
}

static gw_status read_hours(const spool_db *s, day_read *day, gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER;
    if (!append_hours_of(day->id, &filter)) /* not from us: it has no hours */
        return GW_OK;
    return doc_store_find(s->store, day->hours, &filter, NULL, take_hour, day,
                          "read the hours of a day", err);
}

static gw_status append_day(const spool_db *s, day_read *day, bson_t *d, gw_error *err)
{
    (void)BSON_APPEND_VALUE(d, "apiKeyId", &day->api_key_id);
    (void)BSON_APPEND_DATE_TIME(d, "date", day->date_ms);
    (void)BSON_APPEND_INT64(d, "gen", (int64_t)(gw_random_u64() >> 1));
    (void)BSON_APPEND_DATE_TIME(d, "foldedAt", s->now_ms);
    if (GW_MUTANT(FOLD_BY_SUM))
        (void)BSON_APPEND_INT64(d, "changes", day->changes);
    gw_status rc = fold_append_day(day->sums, d, err);
    day->largest_bytes = GW_MAX(day->largest_bytes, d->len);
    return rc;
}

static gw_status insert_day(const spool_db *s, day_read *day, bool *ret_written, gw_error *err)
{
    bson_t *d = bson_new();
    (void)BSON_APPEND_UTF8(d, "_id", day->id);
    gw_status rc = append_day(s, day, d, err);
    if (rc != GW_OK) {
        bson_destroy(d);
        return rc;
    }
    rc = doc_store_insert(s->store, day->collection, d, "write a day", err);
    *ret_written = rc == GW_OK;
    return rc == GW_ERR_ALREADY_EXISTS ? GW_OK : rc;
}

static gw_status update_day(const spool_db *s, day_read *day, bool *ret_written, gw_error *err)
{
    bson_t *update = bson_new();
    bson_t set;
    (void)BSON_APPEND_DOCUMENT_BEGIN(update, "$set", &set);
    gw_status rc = append_day(s, day, &set, err);
    (void)bson_append_document_end(update, &set);
    if (rc != GW_OK) {
        bson_destroy(update);
        return rc;
    }
    bson_t *filter = GW_MUTANT(FOLD_BY_SUM)
                         ? BCON_NEW("_id", BCON_UTF8(day->id), "changes", "{", "$lt",
                                    BCON_INT64(day->changes), "}")
                         : BCON_NEW("_id", BCON_UTF8(day->id), "gen", BCON_INT64(day->gen));
    rc = doc_store_update(s->store, day->collection, filter, update, ret_written, "write a day",
                          err);
    *ret_written = *ret_written || GW_MUTANT(FOLD_BY_SUM);
    return rc;
}

static gw_status clean_hours(const spool_db *s, const day_read *day, gw_error *err)
{
    doc_batch batch = {0};
    for (size_t i = 0; i < day->dirty_count; i++)
        doc_batch_update(
            &batch,
            BCON_NEW("_id", BCON_UTF8(day->dirty[i].id), "rev", BCON_INT64(day->dirty[i].rev)),
            BCON_NEW("$set", "{", "dirty", BCON_BOOL(false), "}"), false);
    return doc_store_write(s->store, day->hours, &batch, NULL, "mark hours clean", err);
}

static gw_status fold_day(const spool_db *s, day_read *day, bool *ret_folded, gw_error *err)
{
    gw_auto(fold) f = fold_new(day->kind);
    day->sums = f;
    if (!f)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the sums of a day");
    gw_status rc = read_gen(s, day, err);
    gw_fault_point("day.read");
    if (rc == GW_OK)
        rc = read_hours(s, day, err);
    gw_fault_point("hours.read");
    if (rc != GW_OK)
        return rc;
    if (day->api_key_id.value_type == BSON_TYPE_EOD) { /* no hours: nothing to sum */
        *ret_folded = true;
        return GW_OK;
    }
    rc = (day->exists ? update_day : insert_day)(s, day, ret_folded, err);
    gw_fault_point("day.written");
    return rc == GW_OK && *ret_folded ? clean_hours(s, day, err) : rc;
}

gw_status fold_store_day(const spool_db *s, const char *day_id, fold_outcome *ret, gw_error *err)
{
    rollup_kind kind = rollup_kind_of_id(gw_str_of(day_id));
    day_read day = {.id = day_id,
                    .kind = kind,
                    .collection = rollup_days_collection(kind),
                    .hours = rollup_hours_collection(kind)};
    *ret = (fold_outcome){0};
    gw_status rc = fold_day(s, &day, &ret->folded, err);
    ret->largest_bytes = day.largest_bytes;
    bson_value_destroy(&day.api_key_id);
    return rc;
}

/* The day of an hour: its id up to the T. */
static gw_status add_day_of(void *arg, const bson_t *hour, gw_error *err)
{
    static const size_t hour_len = sizeof("T00") - 1;
    gw_str id;
    if (!gw_bson_str(hour, "_id", &id) || id.len <= hour_len || id.len >= ROLLUP_ID_SIZE ||
        touched_days_add((touched_days *)arg, gw_str_slice(id, 0, id.len - hour_len)))
        return GW_OK;
    return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for a list of days");
}

static gw_status find_dirty(const spool_db *s, const char *collection, int64_t limit,
                            touched_days *ret, gw_error *err)
{
    bson_t *filter = BCON_NEW("dirty", BCON_BOOL(true));
    bson_t *opts =
        BCON_NEW("projection", "{", "_id", BCON_INT32(1), "}", "limit", BCON_INT64(limit));
    gw_status rc = doc_store_find(s->store, collection, filter, opts, add_day_of, ret,
                                  "look for dirty hours", err);
    bson_destroy(opts);
    bson_destroy(filter);
    return rc;
}

gw_status fold_store_find_dirty(const spool_db *s, int64_t limit, touched_days *ret, gw_error *err)
{
    gw_status rc = find_dirty(s, COLLECTION_HOURS, limit, ret, err);
    return rc == GW_OK ? find_dirty(s, COLLECTION_OWNER_HOURS, limit, ret, err) : rc;
}
