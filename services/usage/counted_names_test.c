#include "counted_names.h"

#include "doc_store_memory.h"
#include "event_name.h"
#include "event_testing.h"
#include "usage_collections.h"

#include "core/clock.h"
#include "mongo/bson_read.h"
#include "testing/cmocka.h"

#include <stdio.h>
#include <stdlib.h>

#define NOON_MS (20000 * GW_MS_PER_DAY + GW_MS_PER_DAY / 2)

typedef struct fixture {
    memory_db *db;
    doc_store_memory store;
    spool_db s;
    counted_names *names;
    gw_buf packed;
    claim c;
} fixture;

static int setup(void **state)
{
    fixture *f = (fixture *)calloc(1, sizeof(*f));
    assert_non_null(f);
    f->db = memory_db_new();
    f->s = (spool_db){.store = doc_store_memory_init(&f->store, f->db), .now_ms = NOON_MS};
    f->names = counted_names_new();
    assert_non_null(f->names);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = (fixture *)*state;
    claim_fini(&f->c);
    gw_buf_fini(&f->packed);
    counted_names_free(f->names);
    memory_db_free(f->db);
    free(f);
    return 0;
}

static gw_str pack(fixture *f, const char *model, int64_t at_ms)
{
    test_event t;
    test_event_init(&t);
    t.e.model = TEXT(model);
    t.e.timestamp_ms = at_ms;
    return test_event_pack(&t, &f->packed);
}

static void make_claim(fixture *f, const event_queue *q)
{
    gw_error err;
    claim_fini(&f->c);
    assert_int_equal(claim_take(q, &f->c, &err), GW_OK);
    assert_int_equal(claim_judge(&f->c, NOON_MS, TEST_RETENTION_MS, &err), GW_OK);
    assert_int_equal(f->c.rejected_count, 0);
}

/* A claim of one event; whether it counts by its name. */
static bool counts(fixture *f, const char *model, int64_t at_ms)
{
    event_queue q = {.first_seq = 1};
    assert_true(event_queue_push(&q, pack(f, model, at_ms)));
    make_claim(f, &q);
    event_queue_fini(&q);
    return counted_names_bound(f->names, &f->s, &f->c) == 0;
}

/* So many new names; how many of them do not count. */
static size_t flood(fixture *f, int first, int count)
{
    size_t dropped = 0;
    for (int n = 0; n < count; n += 1000) {
        event_queue q = {.first_seq = 1};
        for (int i = n; i < n + 1000; i++) {
            char model[32];
            (void)snprintf(model, sizeof(model), "gpt-made-up-%d", first + i);
            assert_true(event_queue_push(&q, pack(f, model, NOON_MS)));
        }
        make_claim(f, &q);
        event_queue_fini(&q);
        dropped += counted_names_bound(f->names, &f->s, &f->c);
    }
    return dropped;
}

static void many_relays_together_do_not_fill_a_day(void **state)
{
    fixture *f = (fixture *)*state;
    size_t dropped = flood(f, 0, 100000);
    size_t counted = 100000 - dropped;
    assert_in_range(counted * 165, COUNTED_NAMES_BYTES / 8 * 7, COUNTED_NAMES_BYTES / 8 * 9);
    assert_true(counts(f, "gpt-made-up-0", NOON_MS + 1));
    assert_false(counts(f, "gpt-another", NOON_MS + 1));
    assert_true(counts(f, "gpt-*", NOON_MS)); /* its route */
    assert_true(counts(f, "gpt-another", NOON_MS - GW_MS_PER_DAY));
}

/* What says the name still is what a row, its sums and a rebuild of them go by. */
static void what_does_not_count_keeps_its_name_in_the_row(void **state)
{
    fixture *f = (fixture *)*state;
    claim_cursor at = {0};
    row_facts facts;
    gw_str model;
    (void)flood(f, 0, 100000);
    assert_false(counts(f, "gpt-another", NOON_MS));
    assert_true(claim_next(&f->c, &at));
    usage_event *e = event_unpack(at.packed);
    assert_non_null(e);
    bson_t row = BSON_INITIALIZER;
    event_append_row(e, SUMS_FORMAT, &row);
    event_free(e);
    assert_true(gw_bson_str(&row, "request.model", &model));
    assert_true(gw_str_eq_c(model, "gpt-another"));
    assert_true(row_facts_of(&row, &facts));
    assert_true(gw_str_eq_c(facts.model, "gpt-*"));
    bson_destroy(&row);
}

static void add_total(const fixture *f, int64_t at_ms, int names)
{
    char id[ROLLUP_ID_SIZE];
    bson_t d = BSON_INITIALIZER, metrics, models;
    rollup_day_id(GW_STR(ALL_KEYS), at_ms, id);
    (void)BSON_APPEND_UTF8(&d, "_id", id);
    (void)BSON_APPEND_DOCUMENT_BEGIN(&d, "metrics", &metrics);
    (void)BSON_APPEND_DOCUMENT_BEGIN(&metrics, "models", &models);
    for (int i = 0; i < names; i++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "gpt-of-yesterday%%2E%d", i);
        (void)BSON_APPEND_INT64(&models, name, 1);
    }
    (void)bson_append_document_end(&metrics, &models);
    (void)bson_append_document_end(&d, &metrics);
    const doc_write w = {.document = &d};
    assert_int_equal(memory_db_write(f->db, COLLECTION_TOTALS, &w), MEMORY_INSERTED);
    bson_destroy(&d);
}

/* It may have been killed, or be one of several. */
static void what_others_have_counted_is_known(void **state)
{
    fixture *f = (fixture *)*state;
    add_total(f, NOON_MS, 30000);
    assert_false(counts(f, "gpt-new", NOON_MS));
    assert_true(counts(f, "gpt-of-yesterday.7", NOON_MS));
}

#define MANY_DAYS 12 /* more than are kept */

/* After a long time away, say: a day is read, or comes back, while others take its place. */
static void a_claim_of_many_days_takes_no_more_for_any(void **state)
{
    fixture *f = (fixture *)*state;
    event_queue q = {.first_seq = 1};
    for (int day = 0; day < MANY_DAYS; day++)
        add_total(f, NOON_MS - day * GW_MS_PER_DAY, 30000);
    for (int round = 0; round < 3; round++)
        for (int day = 0; day < MANY_DAYS; day++) {
            char model[32];
            (void)snprintf(model, sizeof(model), "gpt-new-%d", round);
            assert_true(event_queue_push(&q, pack(f, model, NOON_MS - day * GW_MS_PER_DAY)));
        }
    make_claim(f, &q);
    event_queue_fini(&q);
    assert_int_equal(counted_names_bound(f->names, &f->s, &f->c), 3 * MANY_DAYS);
    assert_false(counts(f, "gpt-new", NOON_MS));
    assert_true(counts(f, "gpt-of-yesterday.7", NOON_MS));
}

static void names_that_do_not_count_already_stay_so(void **state)
{
    fixture *f = (fixture *)*state;
    event_name name;
    test_event t;
    test_event_init(&t);
    t.e.upstream_accepted = false;
    assert_true(event_name_read(test_event_pack(&t, &f->packed), &name));
    assert_int_equal(name.accepted_len, 0);
    assert_int_equal(name.timestamp_ms, TEST_NOW_MS);
    assert_true(gw_str_eq_c(name.model, "gpt-4.1") && gw_str_eq_c(name.route, "gpt-*"));
}

static void cut_bytes_are_no_event(void **state)
{
    fixture *f = (fixture *)*state;
    event_name name;
    gw_str whole = pack(f, "gpt-4.1", NOON_MS);
    size_t read = 0;
    for (size_t len = 0; len <= whole.len; len++) {
        char *part = (char *)malloc(len + 1); /* so that a read behind it is noticed */
        memcpy(part, whole.ptr, len);
        read += event_name_read(gw_str_n(part, len), &name);
        free(part);
    }
    assert_in_range(read, 2, whole.len / 2); /* between two fields */
    static const char odd[] =
        "\xc0\x02\x81\x80\x00"; /* upstream_accepted, in more bytes than it needs */
    char bytes[sizeof(odd)];
    memcpy(bytes, odd, sizeof(odd));
    assert_true(event_name_read(gw_str_n(bytes, 5), &name));
    assert_int_equal(name.accepted_len, 3);
    event_name_drop(bytes, &name);
    assert_true(event_name_read(gw_str_n(bytes, 5), &name));
    assert_int_equal(name.accepted_len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(many_relays_together_do_not_fill_a_day),
        TEST(what_does_not_count_keeps_its_name_in_the_row),
        TEST(what_others_have_counted_is_known),
        TEST(a_claim_of_many_days_takes_no_more_for_any),
        TEST(names_that_do_not_count_already_stay_so),
        TEST(cut_bytes_are_no_event),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
