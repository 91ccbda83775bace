/* Rows that meet LibreChat's books, against a real server: MONGO_URI names it; without it these tests are skipped. */
#include "librechat_join.h"

#include "event_testing.h"
#include "librechat_books.h"
#include "store_test_kit.h"
#include "usage_collections.h"
#include "usage_indexes.h"

#include "core/fault.h"

#define END_MS (TEST_NOW_MS + 1234) /* of the answer of a test's event */
#define S      1000

/* The database is LibreChat's too, as it is by default. */
static librechat_joined pass(const gw_db *d, int64_t now_ms)
{
    librechat_joined joined;
    gw_error err = {0};
    mongoc_client_t *client = mongoc_client_new(getenv("MONGO_URI"));
    gw_db_auto_reader librechat = gw_db_reader_open(client, mongoc_database_get_name(d->database));
    gw_status rc = librechat_join_pass(d, librechat, now_ms, &joined, &err);
    if (rc != GW_OK)
        (void)fprintf(stderr, "%s\n", err.message);
    CHECK(rc == GW_OK);
    gw_db_reader_close(gw_steal(&librechat));
    mongoc_client_destroy(client);
    return joined;
}

/* Its number is the last byte of its id. */
static void put_row(const gw_db *d, uint8_t number, const char *response_id, int64_t at_ms)
{
    test_event t;
    bson_t row;
    test_event_init(&t);
    t.id[11] = number;
    t.e.timestamp_ms = at_ms;
    t.e.upstream_response_id = TEXT(response_id);
    t.e.cost_nano_usd = 1500000;
    test_event_row(&t, &row);
    CHECK(gw_db_insert(d, COLLECTION_ROWS, &row, NULL) == GW_OK);
    bson_destroy(&row);
}

static void book(const gw_db *d, const char *response_id, const char *type, int64_t tokens,
                 double credits, int64_t at_ms)
{
    gw_object_id id;
    bson_t *t = BCON_NEW("messageId", BCON_UTF8(response_id), "tokenType", BCON_UTF8(type), "model",
                         BCON_UTF8("gpt-4o"), "rawAmount", BCON_INT64(-tokens), "tokenValue",
                         BCON_DOUBLE(-credits), "context", BCON_UTF8("message"));
    gw_object_id_make(&id, at_ms);
    gw_bson_append_oid(t, "_id", &id);
    CHECK(gw_db_insert(d, LIBRECHAT_TRANSACTIONS, t, NULL) == GW_OK);
    bson_destroy(t);
}

static void book_both(const gw_db *d, const char *response_id, int64_t at_ms)
{
    book(d, response_id, "prompt", 12, 1000.5, at_ms);
    book(d, response_id, "completion", 6, 600, at_ms);
}

static bson_t *row_of(const gw_db *d, uint8_t number)
{
    const gw_object_id id = {{0xe0, 1, [11] = number}};
    gw_db_auto_bson filter = BSON_INITIALIZER;
    bson_t *row = NULL;
    gw_bson_append_oid(&filter, "_id", &id);
    CHECK(gw_db_find_one(d, COLLECTION_ROWS, &filter, NULL, &row, NULL) == GW_OK && row);
    return row;
}

static int64_t int_in(const bson_t *row, const char *path)
{
    int64_t v = INT64_MIN;
    CHECK(gw_bson_int64(row, path, &v));
    return v;
}

static bool is_booked(const gw_db *d, uint8_t number, bool *ret_done)
{
    bool booked = false;
    bson_t *row = row_of(d, number);
    *ret_done = gw_bson_bool(row, "librechat.booked", &booked);
    CHECK(*ret_done != gw_bson_has(row, "librechat.lookAt"));
    bson_destroy(row);
    return booked;
}

static void expect(const gw_db *d, uint8_t number, bool done, bool booked)
{
    bool is_done;
    bool was_booked = is_booked(d, number, &is_done);
    CHECK(is_done == done && was_booked == booked);
}

static void join_one(const gw_db *d)
{
    put_row(d, 1, "chatcmpl-a", TEST_NOW_MS);
    book_both(d, "chatcmpl-a", END_MS);
    book_both(d, "chatcmpl-other", END_MS);
    CHECK(pass(d, END_MS + 4 * S).rows == 0); /* too early */
    librechat_joined j = pass(d, END_MS + 12 * S);
    CHECK(j.rows == 1 && j.booked == 1 && j.unbooked == 0);
    CHECK(j.more_nano_usd == 100500 && j.less_nano_usd == 0);
    bson_t *row = row_of(d, 1);
    double credits = 0;
    gw_str model;
    CHECK(gw_bson_double(row, "librechat.credits", &credits) && credits == 1600.5);
    CHECK(int_in(row, "librechat.costNanoUsd") == 1600500);
    CHECK(int_in(row, "librechat.promptTokens") == 12);
    CHECK(int_in(row, "librechat.completionTokens") == 6);
    CHECK(int_in(row, "librechat.differenceTokens") == 3);
    CHECK(int_in(row, "librechat.differenceNanoUsd") == 100500);
    CHECK(int_in(row, "librechat.transactions") == 2);
    CHECK(gw_bson_str(row, "librechat.model", &model) && gw_str_eq_c(model, "gpt-4o"));
    CHECK(int_in(row, "usage.costNanoUsd") == 1500000); /* ours stays */
    CHECK(int_in(row, "usage.totalTokens") == 15);
    bson_destroy(row);
    j = pass(d, END_MS + 60 * S); /* once is enough */
    CHECK(j.rows == 0 && j.booked == 0);
}

static void a_row_gets_what_librechat_booked_for_it_once(void **state)
{
    with_mongo(state, join_one);
}

static void wait_for_books(const gw_db *d)
{
    put_row(d, 1, "chatcmpl-late", TEST_NOW_MS);
    librechat_joined j = pass(d, END_MS + 6 * S);
    CHECK(j.rows == 1 && j.booked == 0 && j.unbooked == 0);
    CHECK(pass(d, END_MS + 7 * S).rows == 0); /* not at every turn */
    expect(d, 1, false, false);
    book(d, "chatcmpl-late", "prompt", 12, 1000, END_MS + 20 * S);
    j = pass(d, END_MS + 25 * S); /* the other half may follow */
    CHECK(j.rows == 1 && j.booked == 0);
    book(d, "chatcmpl-late", "completion", 6, 600, END_MS + 21 * S);
    j = pass(d, END_MS + 300 * S);
    CHECK(j.rows == 1 && j.booked == 1);
    expect(d, 1, true, true);
}

static void books_that_come_late_are_waited_for(void **state)
{
    with_mongo(state, wait_for_books);
}

static void give_up(const gw_db *d)
{
    put_row(d, 1, "chatcmpl-never", TEST_NOW_MS);
    CHECK(pass(d, END_MS + 1000 * S).unbooked == 0);
    librechat_joined j = pass(d, END_MS + LIBRECHAT_LATE_MS + 600 * S);
    CHECK(j.rows == 1 && j.unbooked == 1 && j.booked == 0 && j.more_nano_usd == 0);
    expect(d, 1, true, false);
    CHECK(pass(d, END_MS + 2LL * LIBRECHAT_LATE_MS).rows == 0);
}

static void what_is_not_booked_in_an_hour_is_not_booked(void **state)
{
    with_mongo(state, give_up);
}

/* Two weeks of rows that nobody looked at: the setting is new. */
static void catch_up(const gw_db *d)
{
    static const int64_t day_ms = 24LL * 3600 * S;
    const usage_retention keep = {3650, 3650, 3650, 3650, 3650};
    gw_error err = {0};
    CHECK(usage_indexes_ensure(d->database, &keep, &err) == GW_OK);
    for (uint8_t i = 0; i < 14; i++) {
        char id[32];
        (void)snprintf(id, sizeof(id), "chatcmpl-%d", i);
        put_row(d, i, id, TEST_NOW_MS - i * day_ms);
        if (i % 2 == 0)
            book_both(d, id, END_MS - i * day_ms + 2 * S);
    }
    book_both(d, "chatcmpl-1", END_MS + 2 * S); /* a day late: not of this answer's time */
    librechat_joined j = pass(d, END_MS + day_ms);
    CHECK(j.rows == 14 && j.booked == 7 && j.unbooked == 7);
    CHECK(j.more_nano_usd == 7 * 100500);
    for (uint8_t i = 0; i < 14; i++)
        expect(d, i, true, i % 2 == 0);
}

static void old_rows_are_caught_up_with(void **state)
{
    with_mongo(state, catch_up);
}

/* Such as nobody of us writes; the first ones that are due. */
static void put_unreadable(const gw_db *d, int n, const bson_t *form)
{
    bson_t *row = bson_copy(form);
    (void)BSON_APPEND_INT32(row, "_id", n);
    CHECK(gw_db_insert(d, COLLECTION_ROWS, row, NULL) == GW_OK);
    bson_destroy(row);
}

static int64_t rows_with(const gw_db *d, const char *path)
{
    bson_error_t e;
    bson_t *filter = BCON_NEW(path, "{", "$exists", BCON_BOOL(true), "}");
    mongoc_collection_t *rows = mongoc_database_get_collection(d->database, COLLECTION_ROWS);
    int64_t n = mongoc_collection_count_documents(rows, filter, NULL, NULL, NULL, &e);
    mongoc_collection_destroy(rows);
    bson_destroy(filter);
    return n;
}

static void go_past(const gw_db *d)
{
    bson_t *forms[] = {
        BCON_NEW("librechat", "{", "lookAt", BCON_DATE_TIME(1000), "}"),
        BCON_NEW("librechat", "{", "lookAt", "[", BCON_DATE_TIME(1000), "]", "}"),
        BCON_NEW("librechat", "[", "{", "lookAt", BCON_DATE_TIME(1000), "}", "]"),
        BCON_NEW("librechat", "{", "lookAt", BCON_DATE_TIME(1000), "}", "upstreamResponseId",
                 BCON_UTF8(""), "timestamp", BCON_DATE_TIME(1000)),
    };
    for (int i = 0; i < 250; i++)
        put_unreadable(d, i, forms[(size_t)i % GW_ARRAY_LEN(forms)]);
    for (size_t i = 0; i < GW_ARRAY_LEN(forms); i++)
        bson_destroy(forms[i]);
    put_row(d, 1, "chatcmpl-a", TEST_NOW_MS);
    book_both(d, "chatcmpl-a", END_MS);
    librechat_joined j = pass(d, END_MS + 12 * S);
    CHECK(j.rows == LIBRECHAT_ROWS_A_PASS && j.unreadable == LIBRECHAT_ROWS_A_PASS);
    j = pass(d, END_MS + 12 * S);
    CHECK(j.rows == 51 && j.unreadable == 50 && j.booked == 1 && j.unbooked == 0);
    CHECK(rows_with(d, "librechat.unreadable") == 250 && rows_with(d, "librechat.lookAt") == 0);
    expect(d, 1, true, true);
    CHECK(pass(d, END_MS + 12 * S).rows == 0);
}

static void rows_that_cannot_be_read_are_given_up_and_are_in_nobodys_way(void **state)
{
    with_mongo(state, go_past);
}

#ifdef GW_FAULT_POINTS

static const gw_db *meanwhile_in;

/* Another replica's whole pass, when this one has read and not yet written. */
static void another_pass(const char *point)
{
    if (strcmp(point, "librechat.read") != 0)
        return;
    gw_fault_set_hook(NULL);
    CHECK(pass(meanwhile_in, END_MS + 12 * S).booked == 1);
}

static void race(const gw_db *d)
{
    put_row(d, 1, "chatcmpl-a", TEST_NOW_MS);
    book_both(d, "chatcmpl-a", END_MS);
    meanwhile_in = d;
    gw_fault_set_hook(another_pass);
    librechat_joined j = pass(d, END_MS + 20 * S);
    CHECK(j.rows == 1 && j.booked == 0 && j.more_nano_usd == 0); /* nor counted twice */
    bson_t *row = row_of(d, 1);
    int64_t at_ms = 0;
    CHECK(gw_bson_date_ms(row, "librechat.at", &at_ms) && at_ms == END_MS + 12 * S);
    bson_destroy(row);
}

static void of_two_replicas_one_writes(void **state)
{
    with_mongo(state, race);
}

#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_row_gets_what_librechat_booked_for_it_once, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(books_that_come_late_are_waited_for, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_not_booked_in_an_hour_is_not_booked, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(
            rows_that_cannot_be_read_are_given_up_and_are_in_nobodys_way, setup, teardown),
        cmocka_unit_test_setup_teardown(old_rows_are_caught_up_with, setup, teardown),
#ifdef GW_FAULT_POINTS
        cmocka_unit_test_setup_teardown(of_two_replicas_one_writes, setup, teardown),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
