/*
 * The guarded update of an hour, plain and as a pipeline, against a real server: MONGO_URI names it;
 * without it these tests are skipped.
 */
#include "hour_update.h"

#include "event_testing.h"
#include "store_test_kit.h"
#include "usage_collections.h"

#define KEY_HOUR "a00200000000000000000000|2025-11-23T01"
#define ALL_HOUR "*|2025-11-23T01"

static void add_request(rollup *r, const test_event *t)
{
    bson_t row;
    gw_error err;
    bson_init(&row);
    event_append_row(&t->e, SUMS_FORMAT, &row);
    CHECK(rollup_add_row(r, &row, &err) == GW_OK);
    bson_destroy(&row);
}

/* One request with this load id in each of its ledgers; 0 is without. */
static rollup *request_with(int64_t load_id)
{
    test_event t;
    test_event_init(&t);
    t.e.key_load_id = t.e.client_load_id = t.e.owner_load_id = load_id;
    rollup *r = rollup_new();
    CHECK(r);
    add_request(r, &t);
    return r;
}

/* One request of each of so many models, without load ids. */
static rollup *requests_of_models(size_t models)
{
    rollup *r = rollup_new();
    CHECK(r);
    for (size_t i = 0; i < models; i++) {
        test_event t;
        char model[32];
        test_event_init(&t);
        (void)snprintf(model, sizeof(model), "model-%zu", i);
        t.e.model = model;
        add_request(r, &t);
    }
    return r;
}

/* True when it matched, or was inserted. */
static bool update_hour(const gw_db *d, hour_delta *h, hour_form form, const char *spool, int64_t b,
                        bool upsert)
{
    char mark[HOUR_MARK_SIZE];
    hour_mark(spool, mark);
    mongoc_collection_t *hours =
        mongoc_database_get_collection(d->database, rollup_hours_collection(h->kind));
    bson_t *filter = hour_filter(h, mark, b);
    bson_t *update = hour_update(h, form, mark, b, 4711);
    bson_t *opts = BCON_NEW("upsert", BCON_BOOL(upsert));
    bson_t reply;
    bson_error_t e = {0};
    int64_t matched = 0;
    bool duplicate = false;
    if (!mongoc_collection_update_one(hours, filter, update, opts, &reply, &e)) {
        duplicate = gw_mongo_is_duplicate_key(&e, &reply);
        if (!duplicate)
            (void)fprintf(stderr, "%s\n", e.message);
        CHECK(duplicate);
    }
    (void)gw_bson_int64(&reply, "matchedCount", &matched);
    bool done = !duplicate && (matched > 0 || gw_bson_has(&reply, "upsertedId"));
    bson_destroy(&reply);
    bson_destroy(opts);
    bson_destroy(update);
    bson_destroy(filter);
    mongoc_collection_destroy(hours);
    return done;
}

/* As apply.c does it: an upsert, then the same without. True when one of the two took. `r` is freed. */
static bool enter_in_form(const gw_db *d, rollup *r, hour_form form, const char *spool, int64_t b)
{
    size_t taken = 0;
    size_t count = rollup_count(r);
    for (size_t i = 0; i < count; i++)
        taken += update_hour(d, rollup_at(r, i), form, spool, b, true) ||
                 update_hour(d, rollup_at(r, i), form, spool, b, false);
    rollup_free(r);
    CHECK(count > 0 && (taken == 0 || taken == count));
    return taken > 0;
}

static bool enter_rollup(const gw_db *d, rollup *r, const char *spool, int64_t b)
{
    return enter_in_form(d, r, HOUR_FORM_FIT, spool, b);
}

static bool enter(const gw_db *d, int64_t load_id, const char *spool, int64_t b)
{
    return enter_rollup(d, request_with(load_id), spool, b);
}

static int64_t read_figure(const gw_db *d, const char *id, const char *path)
{
    bson_t *filter = BCON_NEW("_id", BCON_UTF8(id));
    gw_db_auto_doc doc = NULL;
    gw_error err;
    int64_t v = -1;
    const char *collection = rollup_hours_collection(rollup_kind_of_id(gw_str_of(id)));
    CHECK(gw_db_find_one(d, collection, filter, NULL, &doc, &err) == GW_OK && doc);
    (void)gw_bson_int64(doc, path, &v);
    bson_destroy(filter);
    return v;
}

static void expect_load(const gw_db *d, int64_t id, int64_t requests)
{
    static const struct {
        const char *hour, *path;
    } at[] = {{KEY_HOUR, "ledger.k"},
              {"*28|2025-11-23T01", "ledger.c.app%2Eone"},
              {"*61|2025-11-23T01", "ledger.o.b00300000000000000000000"}};
    for (size_t i = 0; i < GW_ARRAY_LEN(at); i++) {
        char path[96];
        (void)snprintf(path, sizeof(path), "%s.load.id", at[i].path);
        CHECK(read_figure(d, at[i].hour, path) == id);
        (void)snprintf(path, sizeof(path), "%s.load.requests", at[i].path);
        CHECK(read_figure(d, at[i].hour, path) == requests);
        (void)snprintf(path, sizeof(path), "%s.load.costNanoUsd", at[i].path);
        CHECK(read_figure(d, at[i].hour, path) == requests * 2500000000);
    }
}

static void expect_requests(const gw_db *d, int64_t n)
{
    CHECK(read_figure(d, KEY_HOUR, "metrics.requests.total") == n);
    CHECK(read_figure(d, ALL_HOUR, "metrics.requests.total") == n);
    CHECK(read_figure(d, KEY_HOUR, "metrics.models.gpt-4%2E1.tokens") == 15 * n);
    CHECK(read_figure(d, KEY_HOUR, "hist.dur.115") == n);
    CHECK(read_figure(d, KEY_HOUR, "metrics.status.200") == n);
    CHECK(read_figure(d, ALL_HOUR, "minutes.25.requests") == n);
    CHECK(read_figure(d, KEY_HOUR, "ledger.k.requests") == n);
    CHECK(read_figure(d, KEY_HOUR, "rev") == 4711);
}

static void mix_forms(const gw_db *d)
{
    CHECK(enter(d, 5, "0102030405", 1)); /* a pipeline makes the document */
    CHECK(!enter(d, 5, "0102030405", 1)); /* and guards it */
    CHECK(enter(d, 0, "0102030405", 2));
    CHECK(enter(d, 5, "0102030406", 1)); /* another spool */
    CHECK(!enter(d, 0, "0102030405", 2));
    expect_requests(d, 3);
    expect_load(d, 5, 2);
}

static void an_hour_takes_a_claim_once_in_either_form(void **state)
{
    with_mongo(state, mix_forms);
}

static void change_load_ids(const gw_db *d)
{
    static const int64_t ids[] = {5, 5, 9, 5, 9, 8};
    for (size_t i = 0; i < GW_ARRAY_LEN(ids); i++)
        CHECK(enter(d, ids[i], "0102030405", (int64_t)i + 1));
    expect_requests(d, 6);
    expect_load(d, 9, 2);
}

static void a_higher_load_id_replaces_an_equal_one_adds_a_lower_one_leaves(void **state)
{
    with_mongo(state, change_load_ids);
}

static bool is_pipeline(rollup *r)
{
    bson_t *update = hour_update(rollup_at(r, 0), HOUR_FORM_FIT, "m.0102030405", 1, 1);
    bool has_stage = gw_bson_has(update, "0");
    bson_destroy(update);
    return has_stage;
}

static void enter_wide_hours(const gw_db *d)
{
    enum {
        MODELS = 300
    }; /* eight figures each: seconds as an $inc on a server that compares paths in pairs */
    rollup *wide = requests_of_models(MODELS);
    rollup *narrow = requests_of_models(1);
    CHECK(is_pipeline(wide) && !is_pipeline(narrow));
    CHECK(enter_rollup(d, narrow, "0102030405", 1));
    CHECK(enter_rollup(d, wide, "0102030405", 2));
    CHECK(!enter_rollup(d, requests_of_models(MODELS), "0102030405", 2));
    for (size_t i = 0; i < 2; i++) {
        const char *hour = i ? ALL_HOUR : KEY_HOUR;
        CHECK(read_figure(d, hour, "metrics.requests.total") == MODELS + 1);
        CHECK(read_figure(d, hour, "metrics.models.model-0.requests") == 2);
        CHECK(read_figure(d, hour, "metrics.models.model-299.tokens") == 15);
    }
}

static void an_hour_of_many_models_is_entered_by_a_pipeline(void **state)
{
    with_mongo(state, enter_wide_hours);
}

/* So many requests at the highest cost that is taken for one. */
static rollup *dear_requests(int count, int64_t load_id)
{
    rollup *r = rollup_new();
    CHECK(r);
    for (int i = 0; i < count; i++) {
        test_event t;
        test_event_init(&t);
        t.e.cost_nano_usd = EVENT_COST_NANO_USD_MAX;
        t.e.key_load_id = t.e.client_load_id = t.e.owner_load_id = load_id;
        add_request(r, &t);
    }
    return r;
}

static void enter_more_than_a_figure_holds(const gw_db *d)
{
    static const char *const cost[] = {"metrics.cost.estimatedNanoUsd", "ledger.k.costNanoUsd",
                                       "ledger.k.load.costNanoUsd"};
    CHECK(enter_rollup(d, dear_requests(5000, 0), "0102030405", 1));
    CHECK(enter_in_form(d, dear_requests(5000, 0), HOUR_FORM_PIPELINE, "0102030405", 2));
    CHECK(enter_in_form(d, dear_requests(5000, 7), HOUR_FORM_PIPELINE, "0102030405", 3));
    CHECK(enter_in_form(d, dear_requests(5000, 7), HOUR_FORM_PIPELINE, "0102030405", 4));
    for (size_t i = 0; i < GW_ARRAY_LEN(cost); i++)
        CHECK(read_figure(d, KEY_HOUR, cost[i]) == INT64_MAX);
    CHECK(read_figure(d, KEY_HOUR, "metrics.requests.total") == 20000);
}

static void a_sum_that_is_too_large_stays_at_the_largest_number(void **state)
{
    with_mongo(state, enter_more_than_a_figure_holds);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_hour_takes_a_claim_once_in_either_form, setup, teardown),
        cmocka_unit_test_setup_teardown(a_sum_that_is_too_large_stays_at_the_largest_number, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(an_hour_of_many_models_is_entered_by_a_pipeline, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(
            a_higher_load_id_replaces_an_equal_one_adds_a_lower_one_leaves, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
