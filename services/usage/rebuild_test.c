/*
 * Rebuild under all that may happen meanwhile, each test against the store in memory and against a real server, which MONGO_URI
 * names; without it the second half is skipped.
 */
#include "rebuild.h"

#include "event_testing.h"
#include "spool_db_test_kit.h"
#include "usage_collections.h"

#define RETENTION_MS (90 * GW_MS_PER_DAY)
#define SPOOL        "0102030405"
#define OTHER_SPOOL  "0102030406"

/* ---- traffic ---- */

static void make_known(const spool_db *s, const char *id)
{
    spool_hello h = {.boot = "fifteen letters", .host = "here"};
    spool_standing standing;
    (void)snprintf(h.id, sizeof(h.id), "%s", id);
    CHECK_OK(spool_register(s, &h, &standing, err));
    CHECK(standing == SPOOL_KNOWN);
}

/* Events (from, to] of a spool, `ago_ms` old. */
static claim claim_of(uint8_t spool, int64_t from, int64_t to, int64_t ago_ms)
{
    event_queue q = {.first_seq = from + 1};
    claim c = {0};
    for (int64_t seq = from + 1; seq <= to; seq++) {
        test_event t;
        gw_auto_buf packed = {0};
        test_event_init(&t);
        t.id[1] = spool;
        t.id[11] = (uint8_t)seq;
        t.e.timestamp_ms = TEST_NOW_MS - ago_ms;
        t.e.key_load_id = t.e.client_load_id = has_server ? seq % 3 : 0;
        CHECK(event_queue_push(&q, test_event_pack(&t, &packed)));
    }
    CHECK_OK(claim_take(&q, &c, err));
    CHECK_OK(claim_judge(&c, TEST_NOW_MS, TEST_RETENTION_MS, err));
    CHECK(c.rejected_count == 0);
    event_queue_fini(&q);
    return c;
}

static void take(const spool_db *s, const char *id, const claim *c)
{
    bool matched = false;
    CHECK_OK(spool_claim(s, id, c, claim_to(c), &matched, err));
    CHECK(matched);
}

static void apply(const spool_db *s, const char *id, const claim *c)
{
    touched_days touched = {0};
    CHECK_OK(spool_apply(s, id, c, &touched, err));
    touched_days_fini(&touched);
}

static void take_and_apply(const spool_db *s, const char *id, claim c)
{
    take(s, id, &c);
    apply(s, id, &c);
    claim_fini(&c);
}

/* ---- rebuilding ---- */

typedef struct told {
    int64_t count, stored, computed;
    char path[64];
} told;

static void note(void *arg, const rebuild_difference *d)
{
    told *t = (told *)arg;
    t->count++;
    if (strcmp(d->path, "metrics.tokens.total") == 0 && d->hour_id[0] == '*') {
        t->stored = d->stored;
        t->computed = d->computed;
    }
}

static rebuild_report rebuild(const spool_db *s, bool dry_run, told *t)
{
    rebuild_report r;
    touched_days touched = {0};
    rebuild_options o = {.from_ms = TEST_NOW_MS - 3 * GW_MS_PER_HOUR,
                         .to_ms = TEST_NOW_MS + 1,
                         .retention_ms = RETENTION_MS,
                         .dry_run = dry_run,
                         .on_difference = note,
                         .arg = t};
    *t = (told){0};
    CHECK_OK(rebuild_run(s, &o, &r, &touched, err));
    CHECK((int64_t)touched.count >= r.rewritten);
    touched_days_fini(&touched);
    return r;
}

static void add_to_document(const spool_db *s, const char *id, const char *path, int64_t value)
{
    bool matched = false;
    const char *collection = rollup_hours_collection(rollup_kind_of_id(gw_str_of(id)));
    CHECK_OK(doc_store_update(s->store, collection, BCON_NEW("_id", BCON_UTF8(id)),
                              BCON_NEW("$inc", "{", path, BCON_INT64(value), "}"), &matched,
                              "spoil an hour", err));
    CHECK(matched);
}

static void add_to_hour(const spool_db *s, const char *path, int64_t value)
{
    add_to_document(s, "*|2025-11-23T01", path, value);
}

/* ---- tests ---- */

static void rebuild_what_is_right(const spool_db *s)
{
    told t;
    make_known(s, SPOOL);
    make_known(s, OTHER_SPOOL);
    take_and_apply(s, SPOOL, claim_of(1, 0, 7, 0));
    take_and_apply(s, OTHER_SPOOL, claim_of(2, 0, 5, 2 * GW_MS_PER_HOUR));
    rebuild_report r = rebuild(s, false, &t);
    CHECK(r.differences == 0 && r.rewritten == 0 && t.count == 0);
    CHECK(r.rows == 12 && r.documents == 8 && r.hours == 4);
}

static void right_sums_show_no_difference(void **state)
{
    with_spools(state, TEST_NOW_MS, rebuild_what_is_right);
}

static void rebuild_what_is_wrong(const spool_db *s)
{
    told t;
    make_known(s, SPOOL);
    take_and_apply(s, SPOOL, claim_of(1, 0, 1, 2 * GW_MS_PER_HOUR));
    take_and_apply(s, SPOOL, claim_of(1, 1, 8, 0));
    add_to_hour(s, "metrics.tokens.total", 9);
    add_to_hour(s, "metrics.status.999", 1);
    add_to_hour(s, "hist.dur.115", -1);
    rebuild_report r = rebuild(s, true, &t);
    CHECK(r.differing == 1 && r.differences == 3 && r.rewritten == 0);
    CHECK(t.count == 3 && t.stored == 114 && t.computed == 105);
    r = rebuild(s, false, &t);
    CHECK(r.differences == 3 && r.rewritten == 1 && t.count == 3);
    r = rebuild(s, false, &t);
    CHECK(r.differences == 0);
    claim again = claim_of(1, 1, 8, 0); /* a zombie finds its mark as it was */
    apply(s, SPOOL, &again);
    claim_fini(&again);
    CHECK(rebuild(s, true, &t).differences == 0);
}

static void a_wrong_hour_is_told_figure_by_figure_and_made_right(void **state)
{
    with_spools(state, TEST_NOW_MS, rebuild_what_is_wrong);
}

#define CLIENT_HOUR     "*28|2025-11-23T01" /* of app.one */
#define CLIENT_REQUESTS "metrics.clients.app%2Eone.requests"

static void rebuild_owners(const spool_db *s)
{
    told t;
    make_known(s, SPOOL);
    take_and_apply(s, SPOOL, claim_of(1, 0, 1, 2 * GW_MS_PER_HOUR));
    take_and_apply(s, SPOOL, claim_of(1, 1, 4, 0));
    add_to_document(s, CLIENT_HOUR, CLIENT_REQUESTS, 2);
    CHECK(rebuild(s, false, &t).rewritten == 1 && t.count == 1);
    CHECK(rebuild(s, false, &t).differences == 0);
    claim c = claim_of(1, 4, 6, 0);
    take(s, SPOOL, &c); /* the replica stops here */
    add_to_document(s, CLIENT_HOUR, CLIENT_REQUESTS, -1);
    CHECK(rebuild(s, false, &t).rewritten == 1 && t.count == 1);
    claim_fini(&c);
    CHECK(rebuild(s, false, &t).differences == 0);
}

static void the_sums_of_owners_are_made_right(void **state)
{
    with_spools(state, TEST_NOW_MS, rebuild_owners);
}

/* Half of an hour was summed up by a version that kept owners among all keys, which another one has to finish. */
static void rebuild_across_an_upgrade(const spool_db *s)
{
    told t;
    make_known(s, SPOOL);
    claim c = claim_of(1, 0, 4, 0);
    c.sums_format = SUMS_FORMAT_FIRST;
    take(s, SPOOL, &c);
    claim_fini(&c);
    CHECK(rebuild(s, false, &t).differences == 0); /* finishes it */
    take_and_apply(s, SPOOL, claim_of(1, 4, 7, 0));
    CHECK(rebuild(s, false, &t).differences == 0);
    add_to_hour(s, "metrics.owners.b00300000000000000000000~app%2Eone.requests", -4);
    add_to_document(s, CLIENT_HOUR, CLIENT_REQUESTS,
                    -3); /* four of the one form, three of the other */
    rebuild_report r = rebuild(s, false, &t);
    CHECK(r.differences == 2 && r.rewritten == 2);
}

static void hours_of_before_and_after_an_upgrade_are_as_their_rows_say(void **state)
{
    with_spools(state, TEST_NOW_MS, rebuild_across_an_upgrade);
}

static void rebuild_before_the_hours(const spool_db *s)
{
    told t;
    make_known(s, SPOOL);
    claim c = claim_of(1, 0, 6, 0);
    take(s, SPOOL, &c); /* the replica stops here: p has what nobody applied */
    CHECK(rebuild(s, false, &t).differences == 0);
    CHECK(t.count == 0);
    apply(s, SPOOL, &c); /* and comes to life */
    CHECK(rebuild(s, true, &t).differences == 0);
    claim_fini(&c);
}

static void a_claim_left_behind_is_finished_first(void **state)
{
    with_spools(state, TEST_NOW_MS, rebuild_before_the_hours);
}

static void rebuild_a_busy_spool(const spool_db *s)
{
    told t;
    make_known(s, SPOOL);
    take_and_apply(s, SPOOL, claim_of(1, 0, 6, 0)); /* applied, and nobody has said done */
    add_to_hour(s, "metrics.tokens.total", -9);
    CHECK(rebuild(s, false, &t).rewritten == 1);
    take_and_apply(s, SPOOL, claim_of(1, 6, 9, 0));
    CHECK(rebuild(s, true, &t).differences == 0);
}

static void the_hour_of_a_busy_spool_is_rebuilt_too(void **state)
{
    with_spools(state, TEST_NOW_MS, rebuild_a_busy_spool);
}

/* A store in which a claim is applied whenever rows are read for the first time: between documents and rows. */
typedef struct busy_store {
    doc_store base;
    const spool_db *real;
    int64_t left; /* claims to come */
    int64_t next;
} busy_store;

static gw_status busy_find(doc_store *base, const char *collection, const bson_t *filter,
                           const bson_t *opts, gw_db_each_fn each, void *arg, const char *what,
                           gw_error *err)
{
    busy_store *b = (busy_store *)base;
    if (b->left > 0 && strcmp(collection, COLLECTION_ROWS) == 0) {
        b->left--;
        take_and_apply(b->real, SPOOL, claim_of(1, b->next, b->next + 1, 0));
        b->next++;
    }
    return doc_store_find(b->real->store, collection, filter, opts, each, arg, what, err);
}

static gw_status busy_write(doc_store *base, const char *collection, const doc_batch *batch,
                            int64_t *ret_matched, const char *what, gw_error *err)
{
    busy_store *b = (busy_store *)base;
    return b->real->store->ops->write(b->real->store, collection, batch, ret_matched, what, err);
}

static void rebuild_under_traffic(const spool_db *s)
{
    static const doc_store_ops ops = {.find = busy_find, .write = busy_write};
    busy_store busy = {.base.ops = &ops, .real = s, .left = 6, .next = 4};
    spool_db between = {.store = &busy.base, .now_ms = s->now_ms};
    told t;
    make_known(s, SPOOL);
    take_and_apply(s, SPOOL, claim_of(1, 0, 4, 0));
    CHECK(rebuild(&between, true, &t).differences == 0);
    CHECK(t.count == 0);
    busy.left = 3;
    add_to_hour(s, "metrics.tokens.total", 9);
    take_and_apply(s, SPOOL, claim_of(1, busy.next, busy.next + 1, 2 * GW_MS_PER_HOUR));
    busy.next++;
    rebuild_report r = rebuild(&between, false, &t);
    CHECK(r.rewritten == 1 && t.count == 1);
    CHECK(rebuild(s, true, &t).differences == 0);
}

static void claims_that_come_meanwhile_are_no_difference(void **state)
{
    with_spools(state, TEST_NOW_MS, rebuild_under_traffic);
}

static void rebuild_what_has_expired(const spool_db *s)
{
    rebuild_report r;
    touched_days touched = {0};
    told t;
    rebuild_options o = {
        .from_ms = TEST_NOW_MS - RETENTION_MS, .to_ms = TEST_NOW_MS, .retention_ms = RETENTION_MS};
    CHECK(rebuild_run(s, &o, &r, &touched, NULL) == GW_ERR_FAILED_PRECONDITION);
    o.from_ms = o.to_ms;
    CHECK(rebuild_run(s, &o, &r, &touched, NULL) == GW_ERR_INVALID_ARGUMENT);
    make_known(s, SPOOL);
    take_and_apply(s, SPOOL, claim_of(1, 0, 4, 0));
    add_to_hour(s, "metrics.requests.total", 3); /* as if three rows were gone, and none is older */
    add_to_document(s, CLIENT_HOUR, CLIENT_REQUESTS, 3);
    r = rebuild(s, false, &t);
    CHECK(r.differences == 2 && r.kept == 2 && r.rewritten == 0);
}

/* An hour of all keys whose rows have expired. */
static void insert_expired_hour(const spool_db *s, const char *id, int64_t date_ms)
{
    CHECK_OK(doc_store_insert(s->store, COLLECTION_HOURS,
                              BCON_NEW("_id", BCON_UTF8(id), "apiKeyId", BCON_UTF8(ALL_KEYS),
                                       "date", BCON_DATE_TIME(date_ms), "metrics", "{", "requests",
                                       "{", "total", BCON_INT64(5), "}", "}", "rev", BCON_INT64(1)),
                              "make an hour", err));
}

/*
 * Rows were kept for less than an hour, now they are kept for long, and an event that was long under way is older than all that
 * have gone: the hour before has lost its rows, this one may have lost some.
 */
static void rebuild_what_expired_under_an_older_setting(const spool_db *s)
{
    told t;
    int64_t hour_ms = TEST_NOW_MS / GW_MS_PER_HOUR * GW_MS_PER_HOUR;
    make_known(s, SPOOL);
    make_known(s, OTHER_SPOOL);
    take_and_apply(s, SPOOL, claim_of(1, 0, 4, 0));
    take_and_apply(s, OTHER_SPOOL, claim_of(2, 0, 1, 5 * GW_MS_PER_HOUR));
    insert_expired_hour(s, "*|2025-11-22T23", hour_ms - 2 * GW_MS_PER_HOUR);
    add_to_hour(s, "metrics.requests.total", 3);
    rebuild_report r = rebuild(s, false, &t);
    CHECK(r.differences == 2 && r.kept == 2 && r.rewritten == 0);
}

static void sums_do_not_shrink_because_rows_have_expired_under_an_older_setting(void **state)
{
    with_spools(state, TEST_NOW_MS, rebuild_what_expired_under_an_older_setting);
}

static void sums_do_not_shrink_because_rows_expire(void **state)
{
    with_spools(state, TEST_NOW_MS, rebuild_what_has_expired);
}

int main(void)
{
#define STORE_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        STORE_TEST(right_sums_show_no_difference),
        STORE_TEST(a_wrong_hour_is_told_figure_by_figure_and_made_right),
        STORE_TEST(the_sums_of_owners_are_made_right),
        STORE_TEST(hours_of_before_and_after_an_upgrade_are_as_their_rows_say),
        STORE_TEST(a_claim_left_behind_is_finished_first),
        STORE_TEST(the_hour_of_a_busy_spool_is_rebuilt_too),
        STORE_TEST(claims_that_come_meanwhile_are_no_difference),
        STORE_TEST(sums_do_not_shrink_because_rows_expire),
        STORE_TEST(sums_do_not_shrink_because_rows_have_expired_under_an_older_setting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
