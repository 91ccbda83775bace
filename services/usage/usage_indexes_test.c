/* The indexes on a real server: MONGO_URI names it; without it these tests are skipped. */
#include "usage_indexes.h"

#include "alert_rules.h"
#include "store_test_kit.h"
#include "usage_collections.h"

static const usage_retention usual = {.rows_days = 90,
                                      .spools_days = 400,
                                      .rejects_days = 400,
                                      .losses_days = 3650,
                                      .alerts_days = 30};

/* Seconds until what `field` dates expires; -1 when nothing does, -2 when there is no such index. */
static int64_t expiry_of(const gw_db *d, const char *collection, const char *field)
{
    mongoc_collection_t *c = mongoc_database_get_collection(d->database, collection);
    mongoc_cursor_t *at = mongoc_collection_find_indexes_with_opts(c, NULL);
    const bson_t *index;
    int64_t seconds = -2;
    while (mongoc_cursor_next(at, &index)) {
        bson_t key;
        if (!gw_bson_doc(index, "key", &key) || bson_count_keys(&key) != 1 ||
            !bson_has_field(&key, field))
            continue;
        seconds = -1;
        (void)gw_bson_int64(index, "expireAfterSeconds", &seconds);
    }
    mongoc_cursor_destroy(at);
    mongoc_collection_destroy(c);
    return seconds;
}

static void ensure(const gw_db *d, const usage_retention *keep)
{
    gw_error err = {0};
    if (usage_indexes_ensure(d->database, keep, &err) != GW_OK) {
        (void)fprintf(stderr, "%s\n", err.message);
        abort();
    }
}

static void make_twice(const gw_db *d)
{
    ensure(d, &usual);
    ensure(d, &usual);
    CHECK(expiry_of(d, COLLECTION_ROWS, "timestamp") == 90LL * 86400);
    CHECK(expiry_of(d, COLLECTION_SPOOLS, "seen") == 400LL * 86400);
    CHECK(expiry_of(d, COLLECTION_REJECTS, "at") == 400LL * 86400);
    CHECK(expiry_of(d, COLLECTION_LOSSES, "at") == 3650LL * 86400);
    CHECK(expiry_of(d, COLLECTION_ALERTS, "resolvedAt") == 30LL * 86400);
    CHECK(expiry_of(d, COLLECTION_HOURS, "date") == -1); /* sums never expire */
    CHECK(expiry_of(d, COLLECTION_OWNER_HOURS, "date") == -1);
    CHECK(expiry_of(d, COLLECTION_TOTALS, "date") == -1);
}

static void every_collection_keeps_what_it_is_told_to(void **state)
{
    with_mongo(state, make_twice);
}

static void change_the_setting(const gw_db *d)
{
    usage_retention other = usual;
    ensure(d, &usual);
    other.rows_days = 7;
    other.alerts_days = 1;
    ensure(d, &other);
    CHECK(expiry_of(d, COLLECTION_ROWS, "timestamp") == 7LL * 86400);
    CHECK(expiry_of(d, COLLECTION_ALERTS, "resolvedAt") == 86400);
    CHECK(expiry_of(d, COLLECTION_SPOOLS, "seen") == 400LL * 86400);
}

static void a_changed_setting_changes_what_stands(void **state)
{
    with_mongo(state, change_the_setting);
}

static void make_over_a_plain_index(const gw_db *d)
{
    gw_error err;
    CHECK(gw_mongo_ensure_indexes(d->database, COLLECTION_REJECTS,
                                  "[{\"name\":\"at_1\",\"key\":{\"at\":1}}]", &err) == GW_OK);
    ensure(d, &usual);
    CHECK(expiry_of(d, COLLECTION_REJECTS, "at") == 400LL * 86400);
}

static void an_index_without_expiry_gets_one(void **state)
{
    with_mongo(state, make_over_a_plain_index);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_collection_keeps_what_it_is_told_to, setup, teardown),
        cmocka_unit_test_setup_teardown(a_changed_setting_changes_what_stands, setup, teardown),
        cmocka_unit_test_setup_teardown(an_index_without_expiry_gets_one, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
