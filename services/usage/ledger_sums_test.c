/* What LoadLedger answers, from hours made by claims on a real server: MONGO_URI names it; without it these tests are skipped. */
#include "ledger_sums.h"

#include "doc_store_mongo.h"
#include "event_testing.h"
#include "ledger_barrier.h"
#include "store_test_kit.h"
#include "usage_collections.h"

#define SPOOL "0102030405"
#define DAY   (TEST_NOW_MS / GW_MS_PER_DAY)

typedef struct world {
    const gw_db *d;
    doc_store_mongo store;
    spool_db s;
    int64_t n;
    int sums_format; /* of the next claims */
} world;

static world begin(const gw_db *d)
{
    world w = {.d = d, .sums_format = SUMS_FORMAT};
    w.s = (spool_db){.now_ms = TEST_NOW_MS};
    return w;
}

static void make_known(world *w)
{
    spool_hello h = {.boot = "fifteen letters", .host = "here"};
    spool_standing standing;
    w->s.store = doc_store_mongo_init(&w->store, w->d);
    (void)snprintf(h.id, sizeof(h.id), "%s", SPOOL);
    CHECK(spool_register(&w->s, &h, &standing, NULL) == GW_OK);
}

/* One event of 15 tokens and 2.5 USD, claimed; applied too, unless it is left. */
static void use(world *w, int64_t ago_ms, int64_t load_id, const char *outcome, bool leave)
{
    test_event t;
    gw_auto_buf packed = {0};
    event_queue q = {.first_seq = w->n + 1};
    claim c = {0};
    bool matched = false;
    touched_days touched = {0};
    test_event_init(&t);
    t.id[11] = (uint8_t)++w->n;
    t.e.timestamp_ms = TEST_NOW_MS - ago_ms;
    t.e.key_load_id = t.e.client_load_id = t.e.owner_load_id = load_id;
    t.e.outcome = (char *)(uintptr_t)outcome;
    CHECK(event_queue_push(&q, test_event_pack(&t, &packed)));
    CHECK(claim_take(&q, &c, NULL) == GW_OK);
    c.sums_format = w->sums_format;
    CHECK(spool_claim(&w->s, SPOOL, &c, w->n, &matched, NULL) == GW_OK);
    CHECK(matched);
    if (!leave) {
        CHECK(spool_apply(&w->s, SPOOL, &c, &touched, NULL) == GW_OK);
        CHECK(spool_finish(&w->s, SPOOL, w->n, NULL) == GW_OK);
    }
    touched_days_fini(&touched);
    claim_fini(&c);
    event_queue_fini(&q);
}

static void expect(world *w, int64_t load_id, int64_t day, int64_t today, int64_t month)
{
    const ledger_subject subjects[] = {
        {.kind = LEDGER_KEY, .id = {{0xa0, 2}}},
        {.kind = LEDGER_CLIENT, .client = GW_STR("app.one")},
        {.kind = LEDGER_OWNER, .id = {{0xb0, 3}}},
    };
    for (size_t i = 0; i < GW_ARRAY_LEN(subjects); i++) {
        ledger_amounts a;
        CHECK(ledger_sums_read(w->d, &subjects[i], load_id, day, &a, NULL) == GW_OK);
        CHECK(a.requests_today == today && a.tokens_today == 15 * today);
        CHECK(a.tokens_this_month == 15 * month);
        CHECK(a.cost_nano_usd_this_month == 2500000000 * month);
    }
}

static void sum_up(const gw_db *d)
{
    world w = begin(d);
    make_known(&w);
    use(&w, 0, 0, "complete", false);
    use(&w, 0, 7, "complete", false);
    use(&w, 0, 9, "complete", false);
    use(&w, 0, 9, "partial", false);
    use(&w, 0, 8, "complete", false);
    use(&w, 0, 9, "refused", false); /* counts nowhere */
    use(&w, 3 * GW_MS_PER_DAY, 9, "complete", false);
    use(&w, 3 * GW_MS_PER_DAY, 0, "complete", false);
    use(&w, 30 * GW_MS_PER_DAY, 0, "complete", false); /* last month */
    expect(&w, 9, DAY, 3, 4);
    expect(&w, 8, DAY, 5, 7); /* an older build-up is among the others */
    expect(&w, 10, DAY, 5, 7);
    expect(&w, 9, DAY - 3, 1, 1);
    expect(&w, 9, DAY + 1, 0, 4);
    const ledger_subject nobody = {.kind = LEDGER_CLIENT, .client = GW_STR("nobody")};
    ledger_amounts a;
    CHECK(ledger_sums_read(d, &nobody, 9, DAY, &a, NULL) == GW_OK);
    CHECK(a.requests_today == 0 && a.cost_nano_usd_this_month == 0);
}

static void a_subject_is_told_what_it_used_without_its_load_id(void **state)
{
    with_mongo(state, sum_up);
}

/* An upgrade within the hour, and within a build-up. */
static void sum_up_across_an_upgrade(const gw_db *d)
{
    world w = begin(d);
    w.sums_format = SUMS_FORMAT_FIRST;
    make_known(&w);
    use(&w, 0, 0, "complete", false);
    use(&w, 0, 9, "complete", false);
    use(&w, 3 * GW_MS_PER_DAY, 0, "complete", false);
    w.sums_format = SUMS_FORMAT;
    use(&w, 0, 9, "complete", false);
    use(&w, 0, 0, "complete", false);
    expect(&w, 9, DAY, 2, 3);
    expect(&w, 10, DAY, 4, 5);
}

static void sums_of_an_older_version_and_of_this_one_are_added(void **state)
{
    with_mongo(state, sum_up_across_an_upgrade);
}

/* ---- the barrier ---- */

static void tell_status(world *w, int64_t tail)
{
    const spool_status status = {.tail = tail, .oldest = 1, .oldest_timestamp_ms = w->s.now_ms};
    CHECK(spool_note_status(&w->s, SPOOL, &status, NULL) == GW_OK);
}

static bool look(world *w, ledger_barrier *b)
{
    bool passed = false;
    touched_days touched = {0};
    CHECK(ledger_barrier_look(w->d, b, w->s.now_ms, &passed, &touched, NULL) == GW_OK);
    touched_days_fini(&touched);
    return passed;
}

static void wait_for_spools(const gw_db *d)
{
    static ledger_barrier b;
    world w = begin(d);
    CHECK(look(&w, &b) && b.count == 0); /* nobody is connected */
    make_known(&w);
    b = (ledger_barrier){0};
    tell_status(&w, 0);
    CHECK(!look(&w, &b));
    tell_status(&w, 1); /* may have been under way when the call came in */
    CHECK(!look(&w, &b));
    tell_status(&w, 2);
    CHECK(!look(&w, &b)); /* two events, none claimed */
    use(&w, 0, 0, "complete", false);
    CHECK(!look(&w, &b));
    use(&w, 0, 0, "complete", true); /* claimed, and its replica stops */
    CHECK(look(&w, &b));
    expect(&w, 9, DAY, 2, 2);
}

static void a_barrier_passes_when_what_was_told_after_it_is_applied(void **state)
{
    with_mongo(state, wait_for_spools);
}

static void leave_meanwhile(const gw_db *d)
{
    static ledger_barrier b;
    world w = begin(d);
    make_known(&w);
    tell_status(&w, 5);
    b = (ledger_barrier){0};
    CHECK(!look(&w, &b));
    w.s.now_ms += 20000; /* it is not heard any more */
    CHECK(look(&w, &b));
}

static void a_relay_that_leaves_is_not_waited_for(void **state)
{
    with_mongo(state, leave_meanwhile);
}

static void have_old_events(const gw_db *d)
{
    static ledger_barrier b;
    world w = begin(d);
    const spool_status status = {
        .tail = 5, .oldest = 1, .oldest_timestamp_ms = TEST_NOW_MS - 13 * GW_MS_PER_HOUR};
    make_known(&w);
    CHECK(spool_note_status(&w.s, SPOOL, &status, NULL) == GW_OK);
    b = (ledger_barrier){0};
    (void)look(&w, &b);
    CHECK(b.is_old);
}

static void events_of_half_a_day_are_seen(void **state)
{
    with_mongo(state, have_old_events);
}

int main(void)
{
#define MONGO_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        MONGO_TEST(a_subject_is_told_what_it_used_without_its_load_id),
        MONGO_TEST(sums_of_an_older_version_and_of_this_one_are_added),
        MONGO_TEST(a_barrier_passes_when_what_was_told_after_it_is_applied),
        MONGO_TEST(a_relay_that_leaves_is_not_waited_for),
        MONGO_TEST(events_of_half_a_day_are_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
