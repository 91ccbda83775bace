/*
 * The hours of clients and owners beside those of keys, each test against the store in memory and against a real server, which MONGO_URI
 * names; without it the second half is skipped.
 */
#include "event_testing.h"
#include "fold_store.h"
#include "spool_db_test_kit.h"
#include "usage_collections.h"

#define SPOOL "0102030405"

/* A store that one collection of cannot be written to. */
typedef struct broken_store {
    doc_store store;
    doc_store *whole;
    const char *collection;
} broken_store;

static gw_status broken_find(doc_store *s, const char *collection, const bson_t *filter,
                             const bson_t *opts, gw_db_each_fn each, void *arg, const char *what,
                             gw_error *err)
{
    doc_store *whole = GW_CONTAINER_OF(s, broken_store, store)->whole;
    return doc_store_find(whole, collection, filter, opts, each, arg, what, err);
}

static gw_status broken_write(doc_store *s, const char *collection, const doc_batch *b,
                              int64_t *ret_matched, const char *what, gw_error *err)
{
    const broken_store *broken = GW_CONTAINER_OF(s, broken_store, store);
    if (strcmp(collection, broken->collection) == 0)
        return gw_fail(err, GW_ERR_UNAVAILABLE, "%s: the server is gone", what);
    return broken->whole->ops->write(broken->whole, collection, b, ret_matched, what, err);
}

static const doc_store_ops broken_ops = {broken_find, broken_write};

/* ---- claims of an event each, of one key, client and owner ---- */

static void make_known(const spool_db *s)
{
    spool_hello h = {.boot = "fifteen letters", .host = "here"};
    spool_standing standing;
    (void)snprintf(h.id, sizeof(h.id), "%s", SPOOL);
    CHECK(spool_register(s, &h, &standing, NULL) == GW_OK);
}

static claim claim_of(int64_t seq, int sums_format)
{
    event_queue q = {.first_seq = seq};
    claim c = {0};
    test_event t;
    gw_auto_buf packed = {0};
    test_event_init(&t);
    t.id[11] = (uint8_t)seq;
    CHECK(event_queue_push(&q, test_event_pack(&t, &packed)));
    CHECK(claim_take(&q, &c, NULL) == GW_OK);
    c.sums_format = sums_format;
    event_queue_fini(&q);
    return c;
}

static void take(const spool_db *s, const claim *c)
{
    bool matched = false;
    CHECK(spool_claim(s, SPOOL, c, claim_to(c), &matched, NULL) == GW_OK && matched);
}

static gw_status apply(const spool_db *s, const claim *c)
{
    touched_days touched = {0};
    gw_status rc = spool_apply(s, SPOOL, c, &touched, NULL);
    touched_days_fini(&touched);
    return rc;
}

static void resume(const spool_db *s)
{
    spool_position p;
    touched_days touched = {0};
    CHECK(spool_resume(s, SPOOL, 0, &p, &touched, NULL) == GW_OK);
    touched_days_fini(&touched);
}

/* ---- what stands ---- */

typedef struct look {
    const char *path;
    int64_t sum, documents, without; /* the figure */
} look;

static gw_status look_at(void *arg, const bson_t *d, gw_error *err)
{
    look *l = arg;
    int64_t v = 0;
    (void)err;
    l->documents++;
    l->without += !gw_bson_int64(d, l->path, &v);
    l->sum += v;
    return GW_OK;
}

static look look_into(const spool_db *s, const char *collection, const char *path)
{
    gw_db_auto_bson all = BSON_INITIALIZER;
    look l = {.path = path};
    CHECK(doc_store_find(s->store, collection, &all, NULL, look_at, &l, "look", NULL) == GW_OK);
    return l;
}

static void expect_keys(const spool_db *s, int64_t n)
{
    look requests = look_into(s, COLLECTION_HOURS, "metrics.requests.total");
    CHECK(requests.sum == 2 * n && requests.documents == 2 && requests.without == 0);
    CHECK(look_into(s, COLLECTION_HOURS, "metrics.tokens.total").without == 0);
}

/* One part has the client, another one the owner. */
static void expect_owners(const spool_db *s, const char *collection, int64_t n)
{
    look client = look_into(s, collection, "metrics.clients.app%2Eone.requests");
    look user = look_into(s, collection, "metrics.users.b00300000000000000000000.requests");
    CHECK(client.documents == (n ? 2 : 0) && client.without == client.documents / 2);
    CHECK(client.sum == n && user.sum == n);
}

static size_t count_dirty_days(const spool_db *s)
{
    touched_days found = {0};
    CHECK(fold_store_find_dirty(s, 100, &found, NULL) == GW_OK);
    size_t count = found.count;
    touched_days_fini(&found);
    return count;
}

static void fold_all(const spool_db *s)
{
    touched_days found = {0};
    CHECK(fold_store_find_dirty(s, 100, &found, NULL) == GW_OK);
    for (size_t i = 0; i < found.count; i++) {
        fold_outcome outcome;
        CHECK(fold_store_day(s, found.ids[i], &outcome, NULL) == GW_OK);
        CHECK(outcome.folded && outcome.largest_bytes > 0);
    }
    touched_days_fini(&found);
}

/* ---- tests ---- */

static void stand_apart(const spool_db *s)
{
    make_known(s);
    for (int64_t seq = 1; seq <= 3; seq++) {
        claim c = claim_of(seq, SUMS_FORMAT);
        take(s, &c);
        CHECK(apply(s, &c) == GW_OK);
        CHECK(apply(s, &c) == GW_OK); /* again */
        claim_fini(&c);
        expect_keys(s, seq);
        expect_owners(s, COLLECTION_OWNER_HOURS, seq);
        CHECK(count_dirty_days(s) == 4);
        fold_all(s);
        CHECK(count_dirty_days(s) == 0);
        expect_owners(s, COLLECTION_OWNERS, seq);
    }
    CHECK(look_into(s, COLLECTION_DAYS, "metrics.requests.total").sum == 3);
    CHECK(look_into(s, COLLECTION_TOTALS, "metrics.requests.total").sum == 3);
}

static void hours_of_keys_have_what_hours_have_and_those_of_owners_stand_apart(void **state)
{
    with_spools(state, TEST_NOW_MS, stand_apart);
}

static void stop_half_way(const spool_db *s)
{
    static const char *const collections[] = {COLLECTION_HOURS, COLLECTION_OWNER_HOURS};
    make_known(s);
    for (int64_t n = 1; n <= 2; n++) {
        broken_store broken = {{&broken_ops}, s->store, collections[n - 1]};
        spool_db half = {.store = &broken.store, .now_ms = s->now_ms};
        claim c = claim_of(n, SUMS_FORMAT);
        take(s, &c);
        CHECK(apply(&half, &c) == GW_ERR_UNAVAILABLE);
        resume(s); /* another replica */
        CHECK(apply(s, &c) == GW_OK); /* and the first one, long after */
        claim_fini(&c);
        expect_keys(s, n);
        expect_owners(s, COLLECTION_OWNER_HOURS, n);
    }
}

static void a_claim_that_stops_at_either_collection_is_finished_and_counts_once(void **state)
{
    with_spools(state, TEST_NOW_MS, stop_half_way);
}

static void finish_the_first_format(const spool_db *s)
{
    make_known(s);
    claim c = claim_of(1, SUMS_FORMAT_FIRST);
    take(s, &c);
    claim_fini(&c);
    resume(s);
    expect_keys(s, 1);
    expect_owners(s, COLLECTION_OWNER_HOURS, 0);
    const char *pair = "metrics.owners.b00300000000000000000000~app%2Eone.requests";
    CHECK(look_into(s, COLLECTION_HOURS, pair).sum == 2);
    CHECK(count_dirty_days(s) == 2);
}

static void a_claim_of_an_older_version_makes_no_documents_apart(void **state)
{
    with_spools(state, TEST_NOW_MS, finish_the_first_format);
}

int main(void)
{
#define STORE_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        STORE_TEST(hours_of_keys_have_what_hours_have_and_those_of_owners_stand_apart),
        STORE_TEST(a_claim_that_stops_at_either_collection_is_finished_and_counts_once),
        STORE_TEST(a_claim_of_an_older_version_makes_no_documents_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
