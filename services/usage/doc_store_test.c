/*
 * What the protocol expects of its store: the same of the one in memory and of a real server, which MONGO_URI names; without it that
 * half is skipped. Then how the one in memory crashes.
 */
#include "doc_store_memory.h"
#include "doc_store_mongo.h"
#include "store_test_kit.h"

#define THINGS  "things"
#define INT(v)  BCON_INT64(v)
#define TEXT(v) BCON_UTF8(v)

static void (*store_body)(doc_store *s);

static void run_store_body(const gw_db *d)
{
    doc_store_mongo store;
    store_body(doc_store_mongo_init(&store, d));
}

static void with_stores(void **state, void (*body)(doc_store *s))
{
    gw_auto(memory_db) memory = memory_db_new();
    doc_store_memory store;
    body(doc_store_memory_init(&store, memory));
    store_body = body;
    with_mongo(state, run_store_body);
}

/* ---- short words for calls ---- */

static gw_status insert(doc_store *s, bson_t *d)
{
    return doc_store_insert(s, THINGS, d, "insert", NULL);
}

static bool update(doc_store *s, bson_t *filter, bson_t *change)
{
    bool matched = false;
    CHECK(doc_store_update(s, THINGS, filter, change, &matched, "update", NULL) == GW_OK);
    return matched;
}

static gw_status upsert(doc_store *s, bson_t *filter, bson_t *change)
{
    doc_batch b = {0};
    doc_batch_update(&b, filter, change, true);
    return doc_store_write(s, THINGS, &b, NULL, "upsert", NULL);
}

static gw_status keep(void *arg, const bson_t *d, gw_error *err)
{
    bson_t **last = (bson_t **)arg;
    (void)err;
    if (*last)
        bson_destroy(*last);
    *last = bson_copy(d);
    return GW_OK;
}

static gw_status count(void *arg, const bson_t *d, gw_error *err)
{
    (void)d;
    (void)err;
    ++*(int *)arg;
    return GW_OK;
}

static int found(doc_store *s, bson_t *filter)
{
    int n = 0;
    CHECK(doc_store_find(s, THINGS, filter, NULL, count, &n, "find", NULL) == GW_OK);
    bson_destroy(filter);
    return n;
}

static int64_t figure(doc_store *s, const char *id, const char *path)
{
    int64_t v = -1;
    gw_db_auto_doc d = NULL;
    bson_t *filter = BCON_NEW("_id", TEXT(id));
    CHECK(doc_store_find(s, THINGS, filter, NULL, keep, &d, "find", NULL) == GW_OK);
    bson_destroy(filter);
    CHECK(d);
    (void)gw_bson_int64(d, path, &v);
    return v;
}

/* ---- the contract ---- */

static void inserted_twice(doc_store *s)
{
    CHECK(insert(s, BCON_NEW("_id", TEXT("a"), "n", INT(1))) == GW_OK);
    CHECK(insert(s, BCON_NEW("_id", TEXT("a"), "n", INT(2))) == GW_ERR_ALREADY_EXISTS);
    CHECK(figure(s, "a", "n") == 1);
}

static void a_document_is_inserted_once(void **state)
{
    with_stores(state, inserted_twice);
}

static void batch_with_a_duplicate(doc_store *s)
{
    doc_batch b = {0};
    CHECK(insert(s, BCON_NEW("_id", TEXT("b"))) == GW_OK);
    doc_batch_insert(&b, BCON_NEW("_id", TEXT("a")));
    doc_batch_insert(&b, BCON_NEW("_id", TEXT("b")));
    doc_batch_insert(&b, BCON_NEW("_id", TEXT("c")));
    CHECK(doc_store_write(s, THINGS, &b, NULL, "insert", NULL) == GW_ERR_ALREADY_EXISTS);
    CHECK(b.count == 0);
    CHECK(found(s, bson_new()) == 3);
}

static void a_duplicate_in_a_batch_does_not_keep_the_others(void **state)
{
    with_stores(state, batch_with_a_duplicate);
}

static bson_t *unless_marked(int64_t b)
{
    return BCON_NEW("_id", TEXT("hour"), "m.s1", "{", "$not", "{", "$gte", INT(b), "}", "}");
}

static bson_t *add_and_mark(int64_t b)
{
    return BCON_NEW("$inc", "{", "metrics.requests.total", INT(2), "}", "$set", "{", "m.s1", INT(b),
                    "}", "$setOnInsert", "{", "key", TEXT("k"), "}");
}

static void marked(doc_store *s)
{
    CHECK(upsert(s, unless_marked(5), add_and_mark(5)) == GW_OK);
    CHECK(upsert(s, unless_marked(5), add_and_mark(5)) == GW_ERR_ALREADY_EXISTS);
    CHECK(upsert(s, unless_marked(4), add_and_mark(4)) == GW_ERR_ALREADY_EXISTS);
    CHECK(!update(s, unless_marked(5), add_and_mark(5)));
    CHECK(figure(s, "hour", "metrics.requests.total") == 2);
    CHECK(upsert(s, unless_marked(9), add_and_mark(9)) == GW_OK);
    CHECK(figure(s, "hour", "metrics.requests.total") == 4);
    CHECK(figure(s, "hour", "m.s1") == 9);
    CHECK(found(s, BCON_NEW("key", TEXT("k"))) == 1);
}

static void an_upsert_that_its_mark_keeps_out_is_a_duplicate(void **state)
{
    with_stores(state, marked);
}

static void guarded(doc_store *s)
{
    CHECK(insert(s, BCON_NEW("_id", TEXT("s"), "n", INT(3), "tail", INT(7), "p", "{", "x", "{", "y",
                             INT(1), "}", "}")) == GW_OK);
    CHECK(!update(s, BCON_NEW("_id", TEXT("s"), "n", INT(2)),
                  BCON_NEW("$set", "{", "n", INT(9), "}")));
    CHECK(update(
        s, BCON_NEW("_id", TEXT("s"), "n", INT(3)),
        BCON_NEW("$set", "{", "n", INT(4), "}", "$max", "{", "tail", INT(5), "top", INT(1), "}")));
    CHECK(figure(s, "s", "n") == 4);
    CHECK(figure(s, "s", "tail") == 7);
    CHECK(figure(s, "s", "top") == 1);
    CHECK(figure(s, "s", "p.x.y") == 1);
    CHECK(found(s, BCON_NEW("p", "{", "$exists", BCON_BOOL(true), "}")) == 1);
    CHECK(update(s, BCON_NEW("_id", TEXT("s")), BCON_NEW("$unset", "{", "p", INT(1), "}")));
    CHECK(found(s, BCON_NEW("p", "{", "$exists", BCON_BOOL(true), "}")) == 0);
}

static void an_update_changes_only_what_its_filter_finds(void **state)
{
    with_stores(state, guarded);
}

static void ranged(doc_store *s)
{
    for (int64_t i = 0; i < 5; i++) {
        char id[40];
        (void)snprintf(id, sizeof(id), "k|2025T0%lld", (long long)i);
        CHECK(insert(s, BCON_NEW("_id", TEXT(id), "at", BCON_DATE_TIME(i * 10), "dirty",
                                 BCON_BOOL(i % 2))) == GW_OK);
    }
    CHECK(found(s, BCON_NEW("_id", "{", "$gte", TEXT("k|2025T01"), "$lte", TEXT("k|2025T03"),
                            "}")) == 3);
    CHECK(found(s, BCON_NEW("at", "{", "$lt", BCON_DATE_TIME(20), "}")) == 2);
    CHECK(found(s, BCON_NEW("dirty", BCON_BOOL(true))) == 2);
    CHECK(found(s, BCON_NEW("at", INT(10))) == 0); /* a number is no date */
    CHECK(found(s, BCON_NEW("$or", "[", "{", "at", "{", "$gt", BCON_DATE_TIME(30), "}", "}", "{",
                            "dirty", BCON_BOOL(true), "}", "]")) == 3);
}

static void a_find_tells_ranges_and_types(void **state)
{
    with_stores(state, ranged);
}

/* ---- crashes ---- */

static int count_in(const memory_db *db)
{
    doc_store_memory s;
    bson_t *all = bson_new();
    int n = 0;
    CHECK(doc_store_find(doc_store_memory_init(&s, (memory_db *)(uintptr_t)db), THINGS, all, NULL,
                         count, &n, "find", NULL) == GW_OK);
    bson_destroy(all);
    return n;
}

static void put(memory_db *db, bson_t *d)
{
    CHECK(memory_db_write(db, THINGS, &(doc_write){.document = d}) == MEMORY_INSERTED);
    bson_destroy(d);
}

static void a_crash_takes_back_what_was_not_journaled(void **state)
{
    (void)state;
    gw_auto(memory_db) db = memory_db_new();
    put(db, BCON_NEW("_id", TEXT("a"), "n", INT(1)));
    memory_db_journal(db);
    bson_t *filter = BCON_NEW("_id", TEXT("a")), *change = BCON_NEW("$inc", "{", "n", INT(1), "}");
    const doc_write w = {.filter = filter, .document = change};
    assert_int_equal(memory_db_write(db, THINGS, &w), MEMORY_CHANGED);
    put(db, BCON_NEW("_id", TEXT("b")));
    put(db, BCON_NEW("_id", TEXT("c")));
    assert_int_equal(memory_db_unjournaled(db), 3);
    gw_auto(memory_db) backup = memory_db_copy(db);
    memory_db_crash(db, 2);
    assert_int_equal(count_in(db), 2);
    assert_int_equal(count_in(backup), 3);
    assert_int_equal(memory_db_write(db, THINGS, &w), MEMORY_CHANGED);
    memory_db_crash(db, 0);
    doc_store_memory s;
    assert_int_equal(figure(doc_store_memory_init(&s, db), "a", "n"), 2);
    bson_destroy(filter);
    bson_destroy(change);
}

int main(void)
{
#define MONGO_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        MONGO_TEST(a_document_is_inserted_once),
        MONGO_TEST(a_duplicate_in_a_batch_does_not_keep_the_others),
        MONGO_TEST(an_upsert_that_its_mark_keeps_out_is_a_duplicate),
        MONGO_TEST(an_update_changes_only_what_its_filter_finds),
        MONGO_TEST(a_find_tells_ranges_and_types),
        cmocka_unit_test(a_crash_takes_back_what_was_not_journaled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
