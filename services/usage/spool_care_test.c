/* Spools that fall silent, against a real server: MONGO_URI names it; without it these tests are skipped. */
#include "spool_care.h"

#include "alert_rules.h"
#include "store_test_kit.h"
#include "usage_collections.h"

#define NOW_MS INT64_C(1763861130123)
#define SPOOL  "0a02030405"

static const spool_care care = {.silent_ms = 900000, .lost_ms = 86400000};

static void put_spool(const gw_db *d, int64_t n, int64_t tail, int64_t silent_for_ms)
{
    bson_t *filter = BCON_NEW("_id", BCON_UTF8(SPOOL));
    bson_t *update =
        BCON_NEW("$set", "{", "n", BCON_INT64(n), "done", BCON_INT64(n), "tail", BCON_INT64(tail),
                 "seen", BCON_DATE_TIME(NOW_MS - silent_for_ms), "host", BCON_UTF8("relay-7"),
                 "status", "{", "openSlots", BCON_INT64(3), "}", "}");
    CHECK(gw_db_upsert_one(d, COLLECTION_SPOOLS, filter, update, NULL) == GW_OK);
    bson_destroy(update);
    bson_destroy(filter);
}

static spool_round look(const gw_db *d, int64_t now_ms)
{
    spool_round r;
    gw_error err = {0};
    if (spool_care_look(d, &care, now_ms, &r, &err) != GW_OK) {
        (void)fprintf(stderr, "%s\n", err.message);
        abort();
    }
    return r;
}

static int64_t count(const gw_db *d, const char *collection, bson_t *filter)
{
    mongoc_collection_t *c = mongoc_database_get_collection(d->database, collection);
    bson_error_t e;
    int64_t n = mongoc_collection_count_documents(c, filter, NULL, NULL, NULL, &e);
    CHECK(n >= 0);
    bson_destroy(filter);
    mongoc_collection_destroy(c);
    return n;
}

static int64_t firing(const gw_db *d)
{
    return count(d, COLLECTION_ALERTS,
                 BCON_NEW("status", BCON_UTF8("firing"), "kind", BCON_UTF8("spool_silent"), "value",
                          BCON_DOUBLE(40)));
}

static int64_t losses(const gw_db *d, bool returned)
{
    return count(d, COLLECTION_LOSSES,
                 BCON_NEW("S", BCON_UTF8(SPOOL), "events", BCON_INT64(40), "openSlots",
                          BCON_INT64(3), "returnedAt", "{", "$exists", BCON_BOOL(returned), "}"));
}

static void fall_silent(const gw_db *d)
{
    put_spool(d, 60, 100, 60000);
    CHECK(look(d, NOW_MS).silent == 0);
    put_spool(d, 100, 100, 2000000);
    CHECK(look(d, NOW_MS).silent == 0); /* it has brought all */
    put_spool(d, 60, 100, 900000);
    spool_round r = look(d, NOW_MS);
    CHECK(r.silent == 1 && r.silent_events == 40 && r.news_count == 1);
    CHECK(r.news[0].kind == SPOOL_FELL_SILENT && r.news[0].events == 40 &&
          r.news[0].open_slots == 3 && strcmp(r.news[0].host, "relay-7") == 0);
    CHECK(firing(d) == 1);
    r = look(d, NOW_MS + 1000);
    CHECK(r.silent == 1 && r.news_count == 0 && firing(d) == 1); /* told once */
    put_spool(d, 100, 100, 0);
    r = look(d, NOW_MS + 2000);
    CHECK(r.silent == 0 && firing(d) == 0);
}

static void a_silent_spool_with_events_raises_one_alert_until_it_is_heard(void **state)
{
    with_mongo(state, fall_silent);
}

static void be_lost(const gw_db *d)
{
    put_spool(d, 60, 100, 900000);
    (void)look(d, NOW_MS);
    put_spool(d, 60, 100, 86400000);
    spool_round r = look(d, NOW_MS);
    CHECK(r.news_count == 1 && r.news[0].kind == SPOOL_LOST && r.news[0].events == 40);
    CHECK(losses(d, false) == 1 && firing(d) == 0);
    r = look(d, NOW_MS + 1000);
    CHECK(r.news_count == 0 && r.silent == 0 && losses(d, false) == 1);
    put_spool(d, 100, 100, -5000); /* its disk was found */
    r = look(d, NOW_MS + 6000);
    CHECK(r.news_count == 1 && r.news[0].kind == SPOOL_RETURNED);
    CHECK(losses(d, true) == 1);
    CHECK(look(d, NOW_MS + 7000).news_count == 0);
}

static void a_spool_silent_for_a_day_is_written_down_and_may_come_back(void **state)
{
    with_mongo(state, be_lost);
}

static void lose_by_hand(const gw_db *d)
{
    CHECK(spool_care_lose(d, SPOOL, GW_STR("ann"), NOW_MS, NULL) == GW_ERR_NOT_FOUND);
    put_spool(d, 60, 100, 1000);
    CHECK(spool_care_lose(d, SPOOL, GW_STR("ann"), NOW_MS, NULL) == GW_ERR_FAILED_PRECONDITION);
    put_spool(d, 60, 100, 60000);
    CHECK(spool_care_lose(d, SPOOL, GW_STR("ann"), NOW_MS, NULL) == GW_OK);
    CHECK(spool_care_lose(d, SPOOL, GW_STR("bob"), NOW_MS + 5, NULL) == GW_OK);
    CHECK(losses(d, false) == 1);
    CHECK(count(d, COLLECTION_LOSSES, BCON_NEW("by", BCON_UTF8("ann"))) == 1);
}

static void an_admin_may_say_that_a_spool_is_lost(void **state)
{
    with_mongo(state, lose_by_hand);
}

int main(void)
{
#define MONGO_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        MONGO_TEST(a_silent_spool_with_events_raises_one_alert_until_it_is_heard),
        MONGO_TEST(a_spool_silent_for_a_day_is_written_down_and_may_come_back),
        MONGO_TEST(an_admin_may_say_that_a_spool_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
