#include "fold_store.h"

#include "apply.h"
#include "fold.h"
#include "rollup.h"
#include "usage_collections.h"

#include "mongo/bson_read.h"

#include <stdlib.h>

#define HOURS_A_DAY 24

typedef struct hour_read {
    char id[ROLLUP_ID_SIZE];
    int64_t rev;
} hour_read;

typedef struct day_read {
    const char *id;
    const char *collection;
    bool exists;
    int64_t gen; /* as read, before the hours */
    bson_value_t api_key_id;
    int64_t date_ms;
    hour_read dirty[HOURS_A_DAY];
    size_t dirty_count;
} day_read;

static gw_status read_gen(const spool_db *s, day_read *day, gw_error *err)
{
    mongoc_collection_t *days = mongoc_database_get_collection(s->db, day->collection);
    bson_t *filter = BCON_NEW("_id", BCON_UTF8(day->id));
    bson_t *opts = BCON_NEW("projection", "{", "gen", BCON_INT32(1), "}");
    const bson_t *d = NULL;
    bson_error_t e;
    gw_status rc = GW_OK;

    apply_append_read_concern(s, opts);
    mongoc_cursor_t *cursor = mongoc_collection_find_with_opts(days, filter, opts, NULL);
    if (mongoc_cursor_next(cursor, &d)) {
        day->exists = true;
        (void)gw_bson_int64(d, "gen", &day->gen);
    } else if (mongoc_cursor_error(cursor, &e)) {
        rc = gw_mongo_fail(err, &e, NULL, "read a day");
    }
    mongoc_cursor_destroy(cursor);
    bson_destroy(opts);
    bson_destroy(filter);
    mongoc_collection_destroy(days);
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

static gw_status read_hours(const spool_db *s, day_read *day, fold *f, gw_error *err)
{
    char first[ROLLUP_ID_SIZE + 4];
    char last[ROLLUP_ID_SIZE + 4];
    (void)snprintf(first, sizeof(first), "%sT00", day->id);
    (void)snprintf(last, sizeof(last), "%sT23", day->id);
    mongoc_collection_t *hours = mongoc_database_get_collection(s->db, COLLECTION_HOURS);
    bson_t *filter = BCON_NEW("_id", "{", "$gte", BCON_UTF8(first), "$lte", BCON_UTF8(last), "}");
    bson_t opts = BSON_INITIALIZER;
    const bson_t *d = NULL;
    bson_error_t e;
    gw_status rc = GW_OK;

    apply_append_read_concern(s, &opts);
    mongoc_cursor_t *cursor = mongoc_collection_find_with_opts(hours, filter, &opts, NULL);
    while (mongoc_cursor_next(cursor, &d)) {
        fold_add_hour(f, d);
        note_hour(day, d);
    }
    if (mongoc_cursor_error(cursor, &e))
        rc = gw_mongo_fail(err, &e, NULL, "read the hours of a day");
    mongoc_cursor_destroy(cursor);
    bson_destroy(&opts);
    bson_destroy(filter);
    mongoc_collection_destroy(hours);
    return rc;
}

static gw_status append_day(const spool_db *s, const day_read *day, fold *f, bson_t *d,
                            gw_error *err)
{
    (void)BSON_APPEND_VALUE(d, "apiKeyId", &day->api_key_id);
    (void)BSON_APPEND_DATE_TIME(d, "date", day->date_ms);
    (void)BSON_APPEND_INT64(d, "gen", (int64_t)(gw_random_u64() >> 1));
    (void)BSON_APPEND_DATE_TIME(d, "foldedAt", s->now_ms);
    return fold_append_day(f, d, err);
}

static gw_status insert_day(const spool_db *s, mongoc_collection_t *days, const day_read *day,
                            fold *f, bool *ret_written, gw_error *err)
{
    bson_t d = BSON_INITIALIZER;
    bson_t opts = BSON_INITIALIZER;
    bson_t reply = BSON_INITIALIZER;
    bson_error_t e;

    (void)BSON_APPEND_UTF8(&d, "_id", day->id);
    gw_status rc = append_day(s, day, f, &d, err);
    gw_mongo_append_durable(s->mongo, &opts);
    if (rc == GW_OK) {
        bson_destroy(&reply);
        *ret_written = mongoc_collection_insert_one(days, &d, &opts, &reply, &e);
        if (!*ret_written && !gw_mongo_is_duplicate_key(&e, &reply))
            rc = gw_mongo_fail(err, &e, &reply, "write a day");
    }
    bson_destroy(&reply);
    bson_destroy(&opts);
    bson_destroy(&d);
    return rc;
}

static gw_status update_day(const spool_db *s, mongoc_collection_t *days, const day_read *day,
                            fold *f, bool *ret_written, gw_error *err)
{
    bson_t *filter = BCON_NEW("_id", BCON_UTF8(day->id), "gen", BCON_INT64(day->gen));
    bson_t update = BSON_INITIALIZER;
    bson_t set;
    bson_t opts = BSON_INITIALIZER;
    bson_t reply = BSON_INITIALIZER;
    bson_error_t e;
    int64_t matched = 0;

    (void)BSON_APPEND_DOCUMENT_BEGIN(&update, "$set", &set);
    gw_status rc = append_day(s, day, f, &set, err);
    (void)bson_append_document_end(&update, &set);
    gw_mongo_append_durable(s->mongo, &opts);
    if (rc == GW_OK) {
        bson_destroy(&reply);
        if (!mongoc_collection_update_one(days, filter, &update, &opts, &reply, &e))
            rc = gw_mongo_fail(err, &e, &reply, "write a day");
        *ret_written = rc == GW_OK && gw_bson_int64(&reply, "matchedCount", &matched) && matched;
    }
    bson_destroy(&reply);
    bson_destroy(&opts);
    bson_destroy(&update);
    bson_destroy(filter);
    return rc;
}

static gw_status clean_hours(const spool_db *s, const day_read *day, gw_error *err)
{
    if (!day->dirty_count)
        return GW_OK;
    mongoc_collection_t *hours = mongoc_database_get_collection(s->db, COLLECTION_HOURS);
    bson_t opts = BSON_INITIALIZER;
    bson_t reply;
    bson_error_t e;
    gw_status rc = GW_OK;

    (void)BSON_APPEND_BOOL(&opts, "ordered", false);
    gw_mongo_append_durable(s->mongo, &opts);
    mongoc_bulk_operation_t *bulk = mongoc_collection_create_bulk_operation_with_opts(hours, &opts);
    for (size_t i = 0; i < day->dirty_count; i++) {
        bson_t *filter =
            BCON_NEW("_id", BCON_UTF8(day->dirty[i].id), "rev", BCON_INT64(day->dirty[i].rev));
        bson_t *update = BCON_NEW("$set", "{", "dirty", BCON_BOOL(false), "}");
        (void)mongoc_bulk_operation_update_one_with_opts(bulk, filter, update, NULL, &e);
        bson_destroy(update);
        bson_destroy(filter);
    }
    if (!mongoc_bulk_operation_execute(bulk, &reply, &e))
        rc = gw_mongo_fail(err, &e, &reply, "mark hours clean");
    bson_destroy(&reply);
    mongoc_bulk_operation_destroy(bulk);
    bson_destroy(&opts);
    mongoc_collection_destroy(hours);
    return rc;
}

static gw_status fold_day(const spool_db *s, day_read *day, bool *ret_folded, gw_error *err)
{
    gw_auto(fold) f = fold_new();
    if (!f)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the sums of a day");
    gw_status rc = read_gen(s, day, err);
    if (rc == GW_OK)
        rc = read_hours(s, day, f, err);
    if (rc != GW_OK)
        return rc;
    if (day->api_key_id.value_type == BSON_TYPE_EOD) { /* no hours: nothing to sum */
        *ret_folded = true;
        return GW_OK;
    }
    mongoc_collection_t *days = mongoc_database_get_collection(s->db, day->collection);
    rc = (day->exists ? update_day : insert_day)(s, days, day, f, ret_folded, err);
    mongoc_collection_destroy(days);
    return rc == GW_OK && *ret_folded ? clean_hours(s, day, err) : rc;
}

gw_status fold_store_day(const spool_db *s, const char *day_id, bool *ret_folded, gw_error *err)
{
    bool all_keys = strncmp(day_id, ALL_KEYS, sizeof(ALL_KEYS) - 1) == 0;
    day_read day = {.id = day_id, .collection = all_keys ? COLLECTION_TOTALS : COLLECTION_DAYS};
    *ret_folded = false;
    gw_status rc = fold_day(s, &day, ret_folded, err);
    bson_value_destroy(&day.api_key_id);
    return rc;
}

/* The day of an hour: its id up to the T. */
static bool add_day_of(touched_days *t, gw_str hour_id)
{
    static const size_t hour_len = sizeof("T00") - 1;
    if (hour_id.len <= hour_len || hour_id.len >= ROLLUP_ID_SIZE)
        return true;
    return touched_days_add(t, gw_str_slice(hour_id, 0, hour_id.len - hour_len));
}

gw_status fold_store_find_dirty(const spool_db *s, int64_t limit, touched_days *ret, gw_error *err)
{
    mongoc_collection_t *hours = mongoc_database_get_collection(s->db, COLLECTION_HOURS);
    bson_t *filter = BCON_NEW("dirty", BCON_BOOL(true));
    bson_t *opts =
        BCON_NEW("projection", "{", "_id", BCON_INT32(1), "}", "limit", BCON_INT64(limit));
    const bson_t *d = NULL;
    bson_error_t e;
    gw_status rc = GW_OK;

    mongoc_cursor_t *cursor = mongoc_collection_find_with_opts(hours, filter, opts, NULL);
    while (rc == GW_OK && mongoc_cursor_next(cursor, &d)) {
        gw_str id;
        if (gw_bson_str(d, "_id", &id) && !add_day_of(ret, id))
            rc = gw_fail(err, GW_ERR_NO_MEMORY, "no memory for a list of days");
    }
    if (rc == GW_OK && mongoc_cursor_error(cursor, &e))
        rc = gw_mongo_fail(err, &e, NULL, "look for dirty hours");
    mongoc_cursor_destroy(cursor);
    bson_destroy(opts);
    bson_destroy(filter);
    mongoc_collection_destroy(hours);
    return rc;
}
