/* Replays of rejects against a real server: MONGO_URI names it; without it these tests are skipped. */
#include "rejects.h"

#include "doc_store_mongo.h"
#include "event_testing.h"
#include "store_test_kit.h"
#include "usage_collections.h"

#define SPOOL "0102030405"

static int64_t count(const gw_db *d, const char *collection)
{
    mongoc_collection_t *c = mongoc_database_get_collection(d->database, collection);
    bson_t all = BSON_INITIALIZER;
    bson_error_t e;
    int64_t n = mongoc_collection_count_documents(c, &all, NULL, NULL, NULL, &e);
    CHECK(n >= 0);
    bson_destroy(&all);
    mongoc_collection_destroy(c);
    return n;
}

static int64_t requests_in_hours(const gw_db *d)
{
    bson_t *filter = BCON_NEW("_id", BCON_UTF8("*|2025-11-23T01"));
    gw_db_auto_doc doc = NULL;
    int64_t n = 0;
    CHECK(gw_db_find_one(d, COLLECTION_HOURS, filter, NULL, &doc, NULL) == GW_OK);
    if (doc)
        (void)gw_bson_int64(doc, "metrics.requests.total", &n);
    bson_destroy(filter);
    return n;
}

static bool is_good(int64_t seq)
{
    return seq % 4 != 0;
}

/* Rejects 1-`n`; each fourth is bad for good. */
static void set_aside(const gw_db *d, int64_t n)
{
    for (int64_t seq = 1; seq <= n; seq++) {
        test_event t;
        gw_auto_buf packed = {0};
        bson_t doc = BSON_INITIALIZER;
        gw_object_id id = {{0xe0, 1}};
        test_event_init(&t);
        t.id[11] = id.bytes[11] = (uint8_t)seq;
        if (!is_good(seq))
            t.e.cost_nano_usd = -1;
        gw_str raw = test_event_pack(&t, &packed);
        gw_bson_append_oid(&doc, "_id", &id);
        BSON_APPEND_UTF8(&doc, "reason", is_good(seq) ? "in_the_future" : "bad_figure");
        BSON_APPEND_BINARY(&doc, "raw", BSON_SUBTYPE_BINARY, (const uint8_t *)raw.ptr,
                           (uint32_t)raw.len);
        BSON_APPEND_UTF8(&doc, "S", SPOOL);
        BSON_APPEND_INT64(&doc, "seq", seq);
        CHECK(gw_db_insert(d, COLLECTION_REJECTS, &doc, NULL) == GW_OK);
        bson_destroy(&doc);
    }
}

static reject_outcome replay(const gw_db *d, int64_t limit)
{
    const reject_filter f = {.limit = limit};
    reject_outcome found;
    touched_days touched = {0};
    gw_error err = {0};
    if (rejects_replay(d, &f, TEST_NOW_MS, TEST_RETENTION_MS, &found, &touched, &err) != GW_OK) {
        (void)fprintf(stderr, "%s\n", err.message);
        abort();
    }
    touched_days_fini(&touched);
    return found;
}

static void recover(const gw_db *d, int64_t later_ms)
{
    touched_days touched = {0};
    CHECK(rejects_recover(d, TEST_NOW_MS + later_ms, 60000, &touched, NULL) == GW_OK);
    touched_days_fini(&touched);
}

/* ---- tests ---- */

static void replay_all(const gw_db *d)
{
    set_aside(d, 12);
    reject_outcome r = replay(d, 500);
    CHECK(r.replayed == 9 && r.still_rejected == 3 && r.duplicates == 0);
    CHECK(count(d, COLLECTION_ROWS) == 9 && count(d, COLLECTION_REJECTS) == 3);
    CHECK(requests_in_hours(d) == 9);
    r = replay(d, 500);
    CHECK(r.replayed == 0 && r.still_rejected == 3);
    CHECK(requests_in_hours(d) == 9);
}

static void what_passes_becomes_rows_and_the_rest_stays(void **state)
{
    with_mongo(state, replay_all);
}

static void replay_in_parts(const gw_db *d)
{
    set_aside(d, 12);
    CHECK(replay(d, 4).replayed == 4);
    CHECK(replay(d, 4).replayed == 4);
    CHECK(replay(d, 4).replayed == 1);
    CHECK(count(d, COLLECTION_ROWS) == 9 && requests_in_hours(d) == 9);
}

static void a_limit_is_of_those_that_pass(void **state)
{
    with_mongo(state, replay_in_parts);
}

static void replay_what_is_there(const gw_db *d)
{
    set_aside(d, 3);
    CHECK(replay(d, 500).replayed == 3);
    set_aside(d, 3); /* the same events, set aside in another spool */
    reject_outcome r = replay(d, 500);
    CHECK(r.replayed == 0 && r.duplicates == 3);
    CHECK(count(d, COLLECTION_ROWS) == 3 && requests_in_hours(d) == 3);
}

static void an_event_that_has_its_row_is_not_counted_again(void **state)
{
    with_mongo(state, replay_what_is_there);
}

/* A replay that stops: its spool is known, its rejects are taken; `claimed` or not. */
static claim stop_replay(const gw_db *d, const char *spool, bool claimed)
{
    doc_store_mongo store;
    spool_db s = {.store = doc_store_mongo_init(&store, d), .now_ms = TEST_NOW_MS};
    spool_hello h = {.host = "stopped", .boot = "fifteen letters"};
    spool_standing standing;
    event_queue q = {.first_seq = 1};
    claim c = {0};
    bool matched = false;
    mongoc_collection_t *rejects = mongoc_database_get_collection(d->database, COLLECTION_REJECTS);
    bson_t *good = BCON_NEW("reason", BCON_UTF8("in_the_future"));
    bson_t *take = BCON_NEW("$set", "{", "replay", BCON_UTF8(spool), "}");
    bson_error_t e;
    (void)snprintf(h.id, sizeof(h.id), "%s", spool);
    CHECK(spool_register(&s, &h, &standing, NULL) == GW_OK);
    CHECK(mongoc_collection_update_many(rejects, good, take, NULL, NULL, &e));
    for (int64_t seq = 1; seq <= 3; seq++) {
        test_event t;
        gw_auto_buf packed = {0};
        test_event_init(&t);
        t.id[11] = (uint8_t)seq;
        CHECK(event_queue_push(&q, test_event_pack(&t, &packed)));
    }
    CHECK(claim_take(&q, &c, NULL) == GW_OK);
    if (claimed) {
        CHECK(spool_claim(&s, spool, &c, 3, &matched, NULL) == GW_OK);
        CHECK(matched);
    }
    event_queue_fini(&q);
    bson_destroy(take);
    bson_destroy(good);
    mongoc_collection_destroy(rejects);
    return c;
}

static void stop_before_the_claim(const gw_db *d)
{
    doc_store_mongo store;
    spool_db s = {.store = doc_store_mongo_init(&store, d), .now_ms = TEST_NOW_MS};
    bool matched = true;
    set_aside(d, 3);
    claim c = stop_replay(d, "aaaaaaaaaa", false);
    CHECK(replay(d, 500).replayed == 0); /* they are taken */
    recover(d, 1000); /* it may be at work still */
    CHECK(replay(d, 500).replayed == 0);
    recover(d, 61000);
    CHECK(replay(d, 500).replayed == 3);
    CHECK(spool_claim(&s, "aaaaaaaaaa", &c, 3, &matched, NULL) == GW_OK);
    CHECK(!matched); /* and comes too late when it wakes up */
    CHECK(count(d, COLLECTION_ROWS) == 3 && requests_in_hours(d) == 3);
    claim_fini(&c);
}

static void a_replay_that_stopped_before_its_claim_is_taken_back(void **state)
{
    with_mongo(state, stop_before_the_claim);
}

static void stop_after_the_claim(const gw_db *d)
{
    set_aside(d, 3);
    claim c = stop_replay(d, "bbbbbbbbbb", true);
    claim_fini(&c);
    recover(d, 61000);
    CHECK(count(d, COLLECTION_ROWS) == 3 && requests_in_hours(d) == 3);
    CHECK(count(d, COLLECTION_REJECTS) == 0);
    CHECK(replay(d, 500).replayed == 0);
}

static void a_replay_that_stopped_after_its_claim_is_finished(void **state)
{
    with_mongo(state, stop_after_the_claim);
}

int main(void)
{
#define MONGO_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        MONGO_TEST(what_passes_becomes_rows_and_the_rest_stays),
        MONGO_TEST(a_limit_is_of_those_that_pass),
        MONGO_TEST(an_event_that_has_its_row_is_not_counted_again),
        MONGO_TEST(a_replay_that_stopped_before_its_claim_is_taken_back),
        MONGO_TEST(a_replay_that_stopped_after_its_claim_is_finished),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
