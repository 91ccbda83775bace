#include "rating_scan.h"

#include "testing/cmocka.h"
#include "testing/exhaust.h"
#include "testing/fake_clock.h"

typedef Apirelay__Usage__V1__RateUsageRequest rate_request;
typedef Apirelay__Usage__V1__RateUsageResponse rate_response;

typedef struct fixture {
    gw_arena *arena;
    gw_fake_clock time;
    gw_clock clock;
    rate_request asked;
    rating_scan scan;
} fixture;

static int set_up(void **state)
{
    static fixture f;

    f = (fixture){.arena = gw_arena_new()};
    f.clock = gw_fake_clock_init(&f.time, 1764000000000);
    apirelay__usage__v1__rate_usage_request__init(&f.asked);
    f.scan = (rating_scan){
        .asked = &f.asked,
        .rating = f.arena ? rating_new(f.arena, &(rating_options){0}) : NULL,
        .clock = &f.clock,
        .bounds = {1000, gw_clock_mono_ms(&f.clock) + 1000},
    };
    *state = &f;
    return f.scan.rating ? 0 : -1;
}

static int tear_down(void **state)
{
    fixture *f = *state;

    rating_free(f->scan.rating);
    gw_arena_free(f->arena);
    return 0;
}

static bson_t *make_row(int64_t at_ms, const char *model, const char *client)
{
    bson_oid_t key;
    bson_t *row = bson_new();
    bson_t part;

    bson_oid_init_from_string(&key, "0123456789abcdef01234567");
    BSON_APPEND_OID(row, "apiKeyId", &key);
    BSON_APPEND_DATE_TIME(row, "timestamp", at_ms);
    BSON_APPEND_UTF8(row, "clientId", client);
    BSON_APPEND_DOCUMENT_BEGIN(row, "request", &part);
    BSON_APPEND_UTF8(&part, "model", model);
    bson_append_document_end(row, &part);
    BSON_APPEND_DOCUMENT_BEGIN(row, "usage", &part);
    BSON_APPEND_INT64(&part, "totalTokens", 1);
    bson_append_document_end(row, &part);
    return row;
}

static gw_status see_of(fixture *f, int64_t at_ms, const char *model, const char *client)
{
    gw_error err;
    bson_t *row = make_row(at_ms, model, client);
    gw_status rc = rating_scan_row(&f->scan, row, &err);

    bson_destroy(row);
    return rc;
}

static gw_status see(fixture *f, int64_t at_ms)
{
    return see_of(f, at_ms, "m", "c");
}

static int64_t requests(fixture *f)
{
    rate_response reply;
    gw_error err;

    apirelay__usage__v1__rate_usage_response__init(&reply);
    assert_int_equal(rating_reply(f->scan.rating, &reply, &err), GW_OK);
    return reply.totals->requests;
}

static void it_ends_behind_all_rows_of_the_time_at_which_there_are_enough(void **state)
{
    fixture *f = *state;

    f->scan.bounds.rows = 2;
    assert_int_equal(see(f, 10), GW_OK);
    assert_int_equal(see(f, 20), GW_OK);
    assert_int_equal(see(f, 20), GW_OK); /* one time is not divided */
    assert_int_equal(see(f, 30), GW_ERR_CANCELLED);
    assert_true(f->scan.is_cut);
    assert_int_equal(f->scan.next_ms, 30);
    assert_int_equal(requests(f), 3);
}

static void it_ends_when_its_time_is_over_but_not_before_it_got_anywhere(void **state)
{
    fixture *f = *state;

    gw_fake_clock_advance_ms(&f->time, 5000);
    assert_int_equal(see(f, 10), GW_OK);
    assert_int_equal(see(f, 11), GW_ERR_CANCELLED);
    assert_int_equal(f->scan.next_ms, 11);
    assert_int_equal(requests(f), 1);
}

static void who_goes_on_counts_each_row_once(void **state)
{
    static const int64_t times[] = {1, 1, 2, 3, 3, 3, 4, 5, 5};
    fixture *f = *state;
    size_t calls = 0;

    for (int64_t from_ms = 0; from_ms >= 0; calls++) {
        f->scan.rows = f->scan.last_ms = 0;
        f->scan.is_cut = false;
        f->scan.bounds.rows = 2;
        for (size_t i = 0; i < GW_ARRAY_LEN(times) && !f->scan.is_cut; i++) {
            gw_status rc = times[i] >= from_ms ? see(f, times[i]) : GW_OK;
            assert_int_equal(rc, f->scan.is_cut ? GW_ERR_CANCELLED : GW_OK);
        }
        from_ms = f->scan.is_cut ? f->scan.next_ms : -1;
    }
    assert_int_equal(calls, 3);
    assert_int_equal(requests(f), GW_ARRAY_LEN(times));
}

static void rows_of_others_are_looked_at_and_not_counted(void **state)
{
    static char model[] = "m", client[] = "c";
    fixture *f = *state;

    f->asked.model = model;
    f->asked.client_id = client;
    assert_int_equal(see_of(f, 1, "m", "c"), GW_OK);
    assert_int_equal(see_of(f, 2, "m", "other"), GW_OK);
    assert_int_equal(see_of(f, 3, "m2", "c"), GW_OK);
    assert_int_equal(f->scan.rows, 3);
    assert_int_equal(requests(f), 1);
}

/* All of a rating: books, groups, the answer. */
static gw_status rate_all(void *arg)
{
    static Apirelay__Relay__V1__ModelPrice price = APIRELAY__RELAY__V1__MODEL_PRICE__INIT;
    static Apirelay__Relay__V1__ModelPrice *prices[] = {&price};
    Apirelay__Relay__V1__PriceBook book = APIRELAY__RELAY__V1__PRICE_BOOK__INIT, *books[] = {&book};
    bson_t *const *rows = arg;
    rate_response reply = APIRELAY__USAGE__V1__RATE_USAGE_RESPONSE__INIT;
    gw_auto(gw_arena) arena = gw_arena_new();
    gw_error err;

    price.model = (char *)(uintptr_t) "*";
    book.prices = prices;
    book.n_prices = 1;
    gw_auto(rating) r = arena ? rating_new(arena, &(rating_options){books, 1, true}) : NULL;
    gw_status rc = r ? GW_OK : GW_ERR_NO_MEMORY;
    for (size_t i = 0; rc == GW_OK && i < 2; i++)
        rc = rating_add(r, rows[i], &err);
    return rc == GW_OK ? rating_reply(r, &reply, &err) : rc;
}

static void a_rating_survives_the_loss_of_any_allocation(void **state)
{
    bson_t *rows[] = {make_row(1, "m", "c"), make_row(2, "n", "c")};

    (void)state;
    gw_exhaust(rate_all, rows);
    bson_destroy(rows[0]);
    bson_destroy(rows[1]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(it_ends_behind_all_rows_of_the_time_at_which_there_are_enough),
        TEST(it_ends_when_its_time_is_over_but_not_before_it_got_anywhere),
        TEST(who_goes_on_counts_each_row_once),
        TEST(rows_of_others_are_looked_at_and_not_counted),
        TEST(a_rating_survives_the_loss_of_any_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
