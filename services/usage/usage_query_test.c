/*
 * Queries against a real server: MONGO_URI names it; without it these tests are skipped.
 *
 * They share one database, because its rows and hours take longer to write than to read: each goes on
 * from where the one before left it.
 */
#include "usage_query.h"

#include "alert_rules.h"
#include "alert_watch.h"
#include "doc_store_mongo.h"
#include "fold_store.h"
#include "hour_update.h"
#include "log_query.h"
#include "rollup.h"
#include "store_test_kit.h"
#include "usage_collections.h"
#include "usage_indexes.h"
#include "usage_key_days.h"

/* ---- rows and their hours ---- */

#define KEYS     3
#define ROWS     400
#define FIRST_MS 1763769600000LL /* 2025-11-22T00:00:00Z */
#define SPAN_MS  (56 * GW_MS_PER_HOUR) /* two days, and a part of the third */

#define CLIENTS 4
#define FORMAT_2_MS                                                                                \
    (FIRST_MS + 18 * GW_MS_PER_HOUR) /* an older version summed up what was before */
static const char *const clients[CLIENTS] = {"", "app.one", "app two", "three"};
static const gw_object_id users[3] = {{{0}}, {{0xb0, 1}}, {{0xb0, 2}}};

static int64_t time_of_row(int i)
{
    return FIRST_MS + i * (SPAN_MS / ROWS) + i;
}

static void make_row(int i, bson_t *row)
{
    bson_t part;
    gw_object_id id = {{1, (uint8_t)(i >> 8), (uint8_t)i}}, key = {{(uint8_t)(i % KEYS + 1)}};
    gw_bson_append_oid(row, "_id", &id);
    gw_bson_append_oid(row, "apiKeyId", &key);
    BSON_APPEND_DATE_TIME(row, "timestamp", time_of_row(i));
    BSON_APPEND_DOCUMENT_BEGIN(row, "request", &part);
    BSON_APPEND_UTF8(&part, "model", i % 2 ? "gpt-4.1" : "claude");
    bson_append_document_end(row, &part);
    BSON_APPEND_DOCUMENT_BEGIN(row, "response", &part);
    BSON_APPEND_INT32(&part, "statusCode", i % 5 ? 200 : 429);
    BSON_APPEND_INT64(&part, "duration", 100);
    bson_append_document_end(row, &part);
    BSON_APPEND_DOCUMENT_BEGIN(row, "usage", &part);
    BSON_APPEND_INT64(&part, "totalTokens", i);
    BSON_APPEND_INT64(&part, "costNanoUsd", 1000 + i);
    bson_append_document_end(row, &part);
    BSON_APPEND_UTF8(row, "outcome", "complete");
    BSON_APPEND_BOOL(row, "upstreamAccepted", true);
    if (i % CLIENTS) /* else none */
        BSON_APPEND_UTF8(row, "clientId", clients[i % CLIENTS]);
    if (i % 3)
        gw_bson_append_oid(row, "userId", &users[i % 3]);
    if (time_of_row(i) >= FORMAT_2_MS)
        BSON_APPEND_INT32(row, SUMS_FORMAT_FIELD, SUMS_FORMAT);
}

static bson_t *hour_document(const hour_delta *h)
{
    bson_t *doc = bson_new();
    BSON_APPEND_UTF8(doc, "_id", h->id);
    hour_append_names(doc, h);
    BSON_APPEND_BOOL(doc, "dirty", true);
    BSON_APPEND_INT64(doc, "rev", 1);
    sums_append_nested(h->sums, doc);
    return doc;
}

/* Into the collections as they are in service: with their indexes. */
static void insert_rows(const gw_db *d)
{
    static const usage_retention for_ever = {10000, 10000, 10000, 10000, 10000};
    gw_auto(rollup) r = rollup_new();
    doc_store_mongo store;
    doc_store *s = doc_store_mongo_init(&store, d);
    doc_batch rows = {0}, hours = {0}, owner_hours = {0};
    for (int i = 0; i < ROWS; i++) {
        bson_t *row = bson_new();
        make_row(i, row);
        CHECK(rollup_add_row(r, row, NULL) == GW_OK);
        doc_batch_insert(&rows, row);
    }
    for (size_t i = 0; i < rollup_count(r); i++) {
        const hour_delta *h = rollup_at(r, i);
        doc_batch_insert(h->kind == ROLLUP_OWNERS ? &owner_hours : &hours, hour_document(h));
    }
    CHECK(usage_indexes_ensure(d->database, &for_ever, NULL) == GW_OK);
    CHECK(doc_store_write(s, COLLECTION_ROWS, &rows, NULL, "insert", NULL) == GW_OK);
    CHECK(doc_store_write(s, COLLECTION_HOURS, &hours, NULL, "insert", NULL) == GW_OK);
    CHECK(doc_store_write(s, COLLECTION_OWNER_HOURS, &owner_hours, NULL, "insert", NULL) == GW_OK);
}

/* ---- what rows in [from, to) sum to, without the hours ---- */

/* Rows i with i % n == rest. */
typedef struct some_rows {
    int n, rest;
} some_rows;

static usage_figures expected_of(int64_t from_ms, int64_t to_ms, int key, some_rows of)
{
    usage_figures f = {0};
    for (int i = 0; i < ROWS; i++) {
        if (time_of_row(i) < from_ms || time_of_row(i) >= to_ms || (key >= 0 && i % KEYS != key) ||
            i % of.n != of.rest)
            continue;
        f.requests++;
        f.successful += i % 5 != 0;
        f.failed += i % 5 == 0;
        f.total_tokens += i;
        f.cost_nano_usd += 1000 + i;
        f.billed_nano_usd += 1000 + i;
    }
    return f;
}

static usage_figures expected(int64_t from_ms, int64_t to_ms, int key, int model)
{
    return expected_of(from_ms, to_ms, key, model < 0 ? (some_rows){1, 0} : (some_rows){2, model});
}

static void check_group(const usage_group *groups, size_t n, gw_str name, usage_figures want)
{
    for (size_t i = 0; i < n; i++) {
        if (gw_str_eq(groups[i].name, name)) {
            CHECK(memcmp(&groups[i].figures, &want, sizeof(want)) == 0);
            return;
        }
    }
    CHECK(want.requests == 0);
}

static void check_range(const gw_db *d, usage_query q, const char *zone_name)
{
    static time_points points;
    gw_auto(gw_arena) a = gw_arena_new();
    gw_auto(time_zone) zone = NULL;
    const time_range range = {q.from_ms, q.to_ms, INTERVAL_DAY};
    CHECK(time_zone_load(gw_str_of(zone_name), &zone, NULL) == GW_OK);
    CHECK(time_points_make(&range, zone, &points, NULL) == GW_OK);
    usage_report *r = usage_report_new(a, q.by, &points);
    usage_group *groups = NULL;
    size_t n = 0;
    int key = q.one_key ? q.key.bytes[0] - 1 : -1;
    CHECK(usage_query_run(d, &q, &points, r, NULL) == GW_OK);
    CHECK(usage_report_groups(r, &groups, &n, NULL) == GW_OK);
    usage_figures want = expected(q.from_ms, q.to_ms, key, -1);
    CHECK(memcmp(usage_report_totals(r), &want, sizeof(want)) == 0);
    for (size_t i = 0; i < points.count; i++) {
        want = expected(GW_MAX(points.starts[i], q.from_ms), GW_MIN(points.starts[i + 1], q.to_ms),
                        key, -1);
        CHECK(memcmp(&usage_report_points(r)[i], &want, sizeof(want)) == 0);
    }
    if (q.by == GROUP_MODEL) {
        check_group(groups, n, GW_STR("claude"), expected(q.from_ms, q.to_ms, key, 0));
        check_group(groups, n, GW_STR("gpt-4.1"), expected(q.from_ms, q.to_ms, key, 1));
    }
    for (int c = 0; q.by == GROUP_CLIENT && c < CLIENTS; c++)
        check_group(groups, n, gw_str_of(clients[c]),
                    expected_of(q.from_ms, q.to_ms, key, (some_rows){CLIENTS, c}));
    for (int u = 0; q.by == GROUP_USER && u < 3; u++) {
        char hex[GW_OBJECT_ID_HEX_SIZE] = "";
        if (u)
            gw_object_id_format(&users[u], hex);
        check_group(groups, n, gw_str_of(hex),
                    expected_of(q.from_ms, q.to_ms, key, (some_rows){3, u}));
    }
    for (int k = 0; q.by == GROUP_KEY && k < KEYS; k++) {
        gw_object_id id = {{(uint8_t)(k + 1)}};
        char hex[GW_OBJECT_ID_HEX_SIZE];
        gw_object_id_format(&id, hex);
        if (key < 0 || key == k)
            check_group(groups, n, gw_str_of(hex), expected(q.from_ms, q.to_ms, k, -1));
    }
}

/* Ranges with whole days in them come first; `few` of the zones and groupings. */
static void check_ranges(const gw_db *d, size_t count, bool few)
{
    static const int64_t edges[][2] = {
        {0, SPAN_MS},
        {1234567, SPAN_MS - 1234567},
        {-GW_MS_PER_DAY, 5 * GW_MS_PER_DAY},
        {1234567, 3 * GW_MS_PER_HOUR},
        {1234567, 76543210},
        {GW_MS_PER_HOUR, 2 * GW_MS_PER_HOUR},
        {GW_MS_PER_HOUR + 1000000, GW_MS_PER_HOUR + 3000000},
        {3000000, GW_MS_PER_HOUR + 1000000},
    };
    static const char *const zones[] = {"", "+05:30", "Europe/Berlin"};
    static const usage_group_by by[] = {GROUP_NONE, GROUP_MODEL, GROUP_KEY, GROUP_CLIENT,
                                        GROUP_USER};
    for (size_t e = 0; e < count && e < GW_ARRAY_LEN(edges); e++) {
        for (size_t z = 0; z < GW_ARRAY_LEN(zones); z++) {
            if (e >= 1 && z != e % GW_ARRAY_LEN(zones))
                continue;
            for (size_t g = 0; g < GW_ARRAY_LEN(by); g++) {
                usage_query q = {.from_ms = FIRST_MS + edges[e][0],
                                 .to_ms = FIRST_MS + edges[e][1],
                                 .by = by[g]};
                if (few && (by[g] == GROUP_MODEL || z == 2))
                    continue;
                check_range(d, q, zones[z]);
                if (few && by[g] == GROUP_KEY)
                    continue;
                q.one_key = true;
                q.key = (gw_object_id){{2}};
                check_range(d, q, zones[z]);
            }
        }
    }
}

/* Every day of the hours, folded: they are clean then. */
static void fold_days(const gw_db *d)
{
    doc_store_mongo store;
    spool_db s = {.store = doc_store_mongo_init(&store, d), .now_ms = FIRST_MS};
    touched_days dirty = {0};
    CHECK(fold_store_find_dirty(&s, 10000, &dirty, NULL) == GW_OK);
    for (size_t i = 0; i < dirty.count; i++) {
        fold_outcome done;
        CHECK(fold_store_day(&s, dirty.ids[i], &done, NULL) == GW_OK);
        CHECK(done.folded);
    }
    touched_days_fini(&dirty);
}

/* Of every document of a collection whose date is within [from, to). */
static void change_between(const gw_db *d, const char *collection, int64_t from_ms, int64_t to_ms,
                           bson_t *update)
{
    mongoc_collection_t *c = mongoc_database_get_collection(d->database, collection);
    bson_t *filter =
        BCON_NEW("date", "{", "$gte", BCON_DATE_TIME(from_ms), "$lt", BCON_DATE_TIME(to_ms), "}");
    bson_error_t e;
    CHECK(mongoc_collection_update_many(c, filter, update, NULL, NULL, &e));
    bson_destroy(update);
    bson_destroy(filter);
    mongoc_collection_destroy(c);
}

static void change_second_day(const gw_db *d, const char *collection, bson_t *update)
{
    change_between(d, collection, FIRST_MS + GW_MS_PER_DAY, FIRST_MS + 2 * GW_MS_PER_DAY, update);
}

static void change_requests(const gw_db *d, const char *collection, int64_t by)
{
    change_second_day(d, collection,
                      BCON_NEW("$inc", "{", "metrics.requests.total", BCON_INT64(by), "}"));
}

static void sums_agree(const gw_db *d)
{
    check_ranges(d, SIZE_MAX, false); /* from hours: none is folded */
}

static void sums_of_days_agree(const gw_db *d)
{
    fold_days(d);
    check_ranges(d, 2, true);
    change_requests(d, COLLECTION_HOURS, 999); /* they are not read */
    check_ranges(d, 1, true);
    change_requests(d, COLLECTION_HOURS, -999);
}

static int64_t count_kept(const gw_db *d, const bson_t *filter)
{
    mongoc_collection_t *c = mongoc_database_get_collection(d->database, COLLECTION_BY_KEY);
    int64_t n = mongoc_collection_count_documents(c, filter, NULL, NULL, NULL, NULL);
    mongoc_collection_destroy(c);
    return n;
}

static void sums_agree_whatever_is_kept_by_key(const gw_db *d)
{
    gw_db_auto_bson all = BSON_INITIALIZER, emptied = BSON_INITIALIZER;
    const usage_query by_key = {
        .from_ms = FIRST_MS, .to_ms = FIRST_MS + 2 * GW_MS_PER_DAY, .by = GROUP_KEY};
    BSON_APPEND_BINARY(&emptied, "keys", BSON_SUBTYPE_BINARY, (const uint8_t *)"", 0);
    fold_days(d);
    CHECK(gw_db_delete(d, COLLECTION_BY_KEY, &all, NULL, NULL) == GW_OK);
    check_range(d, by_key, "");
    CHECK(count_kept(d, &all) == 2);
    change_requests(d, COLLECTION_DAYS, 999); /* they are not read for reports by key now */
    check_range(d, by_key, "");
    change_requests(d, COLLECTION_DAYS, -999);
    change_second_day(
        d, COLLECTION_BY_KEY,
        BCON_NEW("$set", "{", "keys", BCON_BIN(BSON_SUBTYPE_BINARY, (const uint8_t *)"", 0), "}"));
    CHECK(count_kept(d, &emptied) == 1);
    check_range(d, by_key, ""); /* does not agree with the day: summed anew, and kept */
    CHECK(count_kept(d, &emptied) == 0);
    CHECK(count_kept(d, &all) == 2);
}

/* So a day may have any number of keys. */
static void sums_agree_in_parts(const gw_db *d)
{
    gw_db_auto_bson all = BSON_INITIALIZER, second = BSON_INITIALIZER;
    const usage_query by_key = {
        .from_ms = FIRST_MS, .to_ms = FIRST_MS + 2 * GW_MS_PER_DAY, .by = GROUP_KEY};
    BSON_APPEND_DATE_TIME(&second, "date", FIRST_MS + GW_MS_PER_DAY + 1);
    fold_days(d);
    CHECK(gw_db_delete(d, COLLECTION_BY_KEY, &all, NULL, NULL) == GW_OK);
    check_range(d, by_key, "");
    CHECK(count_kept(d, &all) == 2); /* as one document each */
    CHECK(gw_db_delete(d, COLLECTION_BY_KEY, &all, NULL, NULL) == GW_OK);
    usage_key_days_part_keys = 1;
    check_range(d, by_key, "");
    int64_t parts = count_kept(d, &all);
    CHECK(parts > 4 && count_kept(d, &second) == 1);
    change_requests(d, COLLECTION_DAYS, 999); /* they are not read now */
    check_range(d, by_key, "");
    change_requests(d, COLLECTION_DAYS, -999);
    /* A part of another report, or none: all is summed anew, and kept. */
    change_between(d, COLLECTION_BY_KEY, FIRST_MS + GW_MS_PER_DAY + 1, FIRST_MS + GW_MS_PER_DAY + 2,
                   BCON_NEW("$inc", "{", "made", BCON_INT64(1), "}"));
    check_range(d, by_key, "");
    CHECK(gw_db_delete(d, COLLECTION_BY_KEY, &second, NULL, NULL) == GW_OK);
    check_range(d, by_key, "");
    CHECK(count_kept(d, &all) == parts);
    usage_key_days_part_keys = 50000; /* what is left over counts for nothing */
    change_second_day(d, COLLECTION_BY_KEY, BCON_NEW("$inc", "{", "made", BCON_INT64(1), "}"));
    change_between(d, COLLECTION_BY_KEY, FIRST_MS, FIRST_MS + 1,
                   BCON_NEW("$set", "{", "parts", BCON_INT64(1), "}"));
    check_range(d, by_key, "");
    check_range(d, by_key, "");
}

/* An hour that waits says more than its day, and than its day keeps of it. */
static void sums_agree_though_an_hour_waits(const gw_db *d)
{
    static const char *const days[] = {COLLECTION_DAYS, COLLECTION_TOTALS};
    static const char *const hours[] = {COLLECTION_HOURS, COLLECTION_OWNER_HOURS};
    const int64_t hour_ms = FIRST_MS + GW_MS_PER_DAY + 6 * GW_MS_PER_HOUR;
    fold_days(d);
    for (size_t i = 0; i < GW_ARRAY_LEN(hours); i++)
        change_between(d, hours[i], hour_ms, hour_ms + 1,
                       BCON_NEW("$set", "{", "dirty", BCON_BOOL(true), "}"));
    for (size_t i = 0; i < GW_ARRAY_LEN(days); i++)
        change_second_day(d, days[i],
                          BCON_NEW("$inc", "{", "metrics.requests.total", BCON_INT64(999),
                                   "byHour.06.0", BCON_INT64(999), "}"));
    check_ranges(d, 6, true);
    fold_days(d); /* puts it right */
    check_ranges(d, 2, true);
}

static void sums_agree_though_days_are_old(const gw_db *d)
{
    static const char *const days[] = {COLLECTION_DAYS, COLLECTION_TOTALS};
    for (size_t i = 0; i < GW_ARRAY_LEN(days); i++) /* by an older version */
        change_second_day(d, days[i], BCON_NEW("$unset", "{", "byHour", BCON_BOOL(true), "}"));
    check_ranges(d, 1, true);
    change_second_day(d, COLLECTION_HOURS, BCON_NEW("$set", "{", "dirty", BCON_BOOL(true), "}"));
    for (size_t i = 0; i < GW_ARRAY_LEN(days); i++) /* what is old is not read */
        change_requests(d, days[i], 999);
    check_ranges(d, 1, true);
}

static void whole_days_are_those_of_their_hours(void **state)
{
    with_mongo(state, sums_of_days_agree);
}

static void days_of_many_keys_are_kept_in_parts(void **state)
{
    with_mongo(state, sums_agree_in_parts);
}

static void days_by_key_are_kept_and_count_while_they_agree(void **state)
{
    with_mongo(state, sums_agree_whatever_is_kept_by_key);
}

static void an_hour_that_waits_counts_as_it_is_now(void **state)
{
    with_mongo(state, sums_agree_though_an_hour_waits);
}

static void a_day_that_is_not_folded_yet_is_read_from_its_hours(void **state)
{
    with_mongo(state, sums_agree_though_days_are_old);
}

static void whatever_the_range_sums_are_those_of_its_rows(void **state)
{
    with_mongo(state, sums_agree);
}

static void page_through(const gw_db *d)
{
    gw_auto(gw_arena) a = gw_arena_new();
    log_query q = {.limit = 33,
                   .to_ms = FIRST_MS + 2 * SPAN_MS,
                   .now_ms = FIRST_MS + SPAN_MS,
                   .status = {.least = 400, .most = 499}};
    bool more = true;
    int row = ROWS - 5, count = 0;
    while (more) {
        Apirelay__Usage__V1__UsageRow **rows = NULL;
        size_t n = 0;
        CHECK(log_query_run(d, a, &q, &rows, &n, &q.after, &more, NULL) == GW_OK);
        CHECK(n > 0 && n <= 33);
        for (size_t i = 0; i < n; i++, row -= 5, count++) {
            CHECK(rows[i]->usage->total_tokens == row);
            CHECK(rows[i]->response->status_code == 429);
        }
        q.has_after = true;
    }
    CHECK(count == ROWS / 5);
}

static void the_log_is_paged_newest_first(void **state)
{
    with_mongo(state, page_through);
}

static int64_t count_alerts(const gw_db *d, const char *status)
{
    gw_db_auto_bson filter = BSON_INITIALIZER;
    mongoc_collection_t *c = mongoc_database_get_collection(d->database, COLLECTION_ALERTS);
    BSON_APPEND_UTF8(&filter, "status", status);
    int64_t n = mongoc_collection_count_documents(c, &filter, NULL, NULL, NULL, NULL);
    mongoc_collection_destroy(c);
    return n;
}

static void raise_and_resolve(const gw_db *d)
{
    gw_db_auto_bson doc = BSON_INITIALIZER;
    alert_rule r = APIRELAY__USAGE__V1__ALERT_RULE__INIT;
    gw_object_id id = {{9}};
    int64_t now_ms = FIRST_MS + 20 * GW_MS_PER_HOUR + 5;
    r.name = r.kind = (char *)(uintptr_t) "requests";
    r.threshold = 10;
    r.window_seconds = 7200;
    alert_rule_append(&r, &id, now_ms, &doc);
    CHECK(gw_db_insert(d, COLLECTION_ALERT_RULES, &doc, NULL) == GW_OK);
    CHECK(alerts_evaluate(d, now_ms, NULL) == GW_OK);
    CHECK(alerts_evaluate(d, now_ms, NULL) == GW_OK);
    CHECK(count_alerts(d, "firing") == 1);
    CHECK(alerts_evaluate(d, now_ms + 10 * GW_MS_PER_DAY, NULL) == GW_OK);
    CHECK(count_alerts(d, "firing") == 0);
    CHECK(count_alerts(d, "resolved") == 1);
}

static void an_alert_fires_once_and_is_resolved(void **state)
{
    with_mongo(state, raise_and_resolve);
}

static int setup_with_rows(void **state)
{
    int rc = setup(state);
    if (rc == 0 && *state)
        with_mongo(state, insert_rows);
    return rc;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whatever_the_range_sums_are_those_of_its_rows),
        cmocka_unit_test(the_log_is_paged_newest_first),
        cmocka_unit_test(an_alert_fires_once_and_is_resolved),
        cmocka_unit_test(whole_days_are_those_of_their_hours),
        cmocka_unit_test(days_by_key_are_kept_and_count_while_they_agree),
        cmocka_unit_test(days_of_many_keys_are_kept_in_parts),
        cmocka_unit_test(an_hour_that_waits_counts_as_it_is_now),
        cmocka_unit_test(a_day_that_is_not_folded_yet_is_read_from_its_hours),
    };
    return cmocka_run_group_tests(tests, setup_with_rows, teardown);
}
