/*
 * The write plan, each test against the store in memory and against a real server, which MONGO_URI names; without it the second half
 * is skipped.
 */
#include "event_row.h"
#include "fold_store.h"
#include "rollup.h"
#include "spool_db_test_kit.h"
#include "usage_collections.h"

#include "mongo/bson_read.h"

#define RETENTION_MS (90 * GW_MS_PER_DAY)
#define OTHER_SPOOL  "00000000ff"
#define DURATION_MS  120

/* ---- events ---- */

static spool_hello hello_of(const char *id)
{
    spool_hello h = {.boot = "fifteen letters", .host = "here"};
    (void)snprintf(h.id, sizeof(h.id), "%s", id);
    return h;
}

/* Event `seq` of a spool: one key, 10 prompt tokens, 5 completion tokens. */
static void push_event(event_queue *q, uint8_t spool, int64_t seq, int64_t now_ms)
{
    uint8_t id[12] = {spool};
    uint8_t key[12] = {7};
    uint8_t packed[512];
    usage_event e = APIRELAY__USAGE__V1__USAGE_EVENT__INIT;
    id[11] = (uint8_t)seq;
    id[10] = (uint8_t)(seq >> 8);
    e.event_id = (ProtobufCBinaryData){sizeof(id), id};
    e.api_key_id = (ProtobufCBinaryData){sizeof(key), key};
    e.timestamp_ms = now_ms;
    e.model = (char *)(uintptr_t) "gpt-4.1";
    e.route = (char *)(uintptr_t) "gpt-*";
    e.provider = (char *)(uintptr_t) "openai";
    e.outcome = (char *)(uintptr_t) "complete";
    e.upstream_accepted = true;
    e.status_code = 200;
    e.duration_ms = DURATION_MS;
    e.prompt_tokens = 10;
    e.completion_tokens = 5;
    e.total_tokens = 15;
    e.cost_nano_usd = 1000;
    size_t len = apirelay__usage__v1__usage_event__pack(&e, packed);
    if (q->count == 0)
        q->first_seq = seq;
    CHECK(event_queue_push(q, gw_str_n(packed, len)));
}

static claim claim_of(const spool_db *s, uint8_t spool, int64_t from, int64_t to)
{
    event_queue q = {0};
    claim c = {0};
    for (int64_t seq = from + 1; seq <= to; seq++)
        push_event(&q, spool, seq, s->now_ms);
    CHECK_OK(claim_take(&q, &c, err));
    CHECK_OK(claim_judge(&c, s->now_ms, RETENTION_MS, err));
    event_queue_fini(&q);
    return c;
}

static bool take(const spool_db *s, const char *id, const claim *c)
{
    bool matched = false;
    CHECK_OK(spool_claim(s, id, c, claim_to(c), &matched, err));
    return matched;
}

static void apply(const spool_db *s, const char *id, const claim *c)
{
    touched_days touched = {0};
    CHECK_OK(spool_apply(s, id, c, &touched, err));
    CHECK(touched.count == 2);
    touched_days_fini(&touched);
}

static int64_t resume(const spool_db *s, const char *id)
{
    spool_position p = {0};
    touched_days touched = {0};
    CHECK_OK(spool_resume(s, id, 0, &p, &touched, err));
    touched_days_fini(&touched);
    return p.n;
}

static void make_known(const spool_db *s, const char *id)
{
    spool_hello h = hello_of(id);
    spool_standing standing = SPOOL_GONE;
    CHECK_OK(spool_register(s, &h, &standing, err));
    CHECK(standing == SPOOL_KNOWN);
}

/* ---- what stands in the database ---- */

typedef struct figure {
    const char *path; /* NULL: counts documents */
    int64_t sum;
} figure;

static gw_status add_figure(void *arg, const bson_t *d, gw_error *err)
{
    figure *f = (figure *)arg;
    int64_t v = 1;
    (void)err;
    CHECK(!f->path || gw_bson_int64(d, f->path, &v));
    f->sum += v;
    return GW_OK;
}

/* The sum of one figure over all documents. */
static int64_t total(const spool_db *s, const char *collection, const char *path)
{
    gw_db_auto_bson all = BSON_INITIALIZER;
    figure f = {.path = path};
    CHECK_OK(doc_store_find(s->store, collection, &all, NULL, add_figure, &f, "count", err));
    return f.sum;
}

static int64_t count(const spool_db *s, const char *collection)
{
    return total(s, collection, NULL);
}

/* Rows, hours of the key and of all keys: the same figures everywhere. */
static void expect_requests(const spool_db *s, int64_t n)
{
    CHECK(count(s, COLLECTION_ROWS) == n);
    CHECK(total(s, COLLECTION_HOURS, "metrics.requests.total") == 2 * n);
    CHECK(total(s, COLLECTION_HOURS, "metrics.tokens.total") == INT64_C(2) * 15 * n);
    CHECK(total(s, COLLECTION_HOURS, "metrics.models.gpt-4%2E1.requests") == 2 * n);
    CHECK(total(s, COLLECTION_HOURS, "hist.dur.62") == 2 * n);
}

/* ---- tests ---- */

#define SPOOL "0102030405"

static void applied_twice(const spool_db *s)
{
    make_known(s, SPOOL);
    claim c = claim_of(s, 1, 0, 20);
    CHECK(take(s, SPOOL, &c));
    apply(s, SPOOL, &c);
    apply(s, SPOOL, &c);
    expect_requests(s, 20);
    claim_fini(&c);
}

static void a_claim_applied_twice_counts_once(void **state)
{
    with_spools(state, gw_clock_wall_ms(&gw_system_clock), applied_twice);
}

static void crashed(const spool_db *s)
{
    make_known(s, SPOOL);
    claim c = claim_of(s, 1, 0, 5);
    CHECK(take(s, SPOOL, &c));
    claim_fini(&c);
    CHECK(count(s, COLLECTION_ROWS) == 0);
    CHECK(resume(s, SPOOL) == 5);
    expect_requests(s, 5);
    CHECK(total(s, COLLECTION_SPOOLS, "done") == 5);
    CHECK(resume(s, SPOOL) == 5);
    expect_requests(s, 5);
}

static void resume_applies_a_claim_that_was_left_before_its_rows(void **state)
{
    with_spools(state, gw_clock_wall_ms(&gw_system_clock), crashed);
}

static void two_replicas(const spool_db *s)
{
    make_known(s, SPOOL);
    claim mine = claim_of(s, 1, 0, 4);
    claim theirs = claim_of(s, 1, 0, 7);
    CHECK(take(s, SPOOL, &mine));
    CHECK(!take(s, SPOOL, &theirs));
    CHECK(resume(s, SPOOL) == 4);
    claim rest = claim_of(s, 1, 4, 7);
    CHECK(take(s, SPOOL, &rest));
    apply(s, SPOOL, &rest);
    apply(s, SPOOL, &mine); /* a zombie of the first claim wakes up */
    expect_requests(s, 7);
    claim_fini(&mine);
    claim_fini(&theirs);
    claim_fini(&rest);
}

static void of_two_replicas_on_one_spool_one_claims(void **state)
{
    with_spools(state, gw_clock_wall_ms(&gw_system_clock), two_replicas);
}

static void two_spools(const spool_db *s)
{
    make_known(s, SPOOL);
    make_known(s, OTHER_SPOOL);
    claim one = claim_of(s, 1, 0, 3);
    claim other = claim_of(s, 2, 0, 3);
    CHECK(take(s, SPOOL, &one));
    CHECK(take(s, OTHER_SPOOL, &other));
    apply(s, SPOOL, &one);
    apply(s, OTHER_SPOOL, &other);
    apply(s, SPOOL, &one);
    expect_requests(s, 6);
    claim_fini(&one);
    claim_fini(&other);
}

static void spools_have_marks_of_their_own(void **state)
{
    with_spools(state, gw_clock_wall_ms(&gw_system_clock), two_spools);
}

static void standings(const spool_db *s)
{
    spool_hello h = hello_of(SPOOL);
    spool_standing standing;
    h.registered = true;
    CHECK_OK(spool_register(s, &h, &standing, err));
    CHECK(standing == SPOOL_GONE);
    make_known(s, SPOOL);
    CHECK_OK(spool_register(s, &h, &standing, err));
    CHECK(standing == SPOOL_KNOWN);
    h.boot[0]++;
    CHECK_OK(spool_register(s, &h, &standing, err));
    CHECK(standing == SPOOL_CONFLICT);
    spool_position p;
    touched_days touched = {0};
    CHECK(spool_resume(s, OTHER_SPOOL, 0, &p, &touched, NULL) == GW_ERR_NOT_FOUND);
}

static void a_copied_or_forgotten_spool_is_told(void **state)
{
    with_spools(state, gw_clock_wall_ms(&gw_system_clock), standings);
}

static void poisoned(const spool_db *s)
{
    event_queue q = {0};
    claim c = {0};
    make_known(s, SPOOL);
    push_event(&q, 1, 1, s->now_ms);
    CHECK(event_queue_push(&q, GW_STR("\xff\xff no event")));
    push_event(&q, 1, 3, s->now_ms - 2 * RETENTION_MS);
    push_event(&q, 1, 4, s->now_ms);
    CHECK_OK(claim_take(&q, &c, err));
    CHECK_OK(claim_judge(&c, s->now_ms, RETENTION_MS, err));
    CHECK(take(s, SPOOL, &c));
    claim_fini(&c);
    CHECK(resume(s, SPOOL) == 4);
    expect_requests(s, 2);
    CHECK(count(s, COLLECTION_REJECTS) == 2);
    CHECK(total(s, COLLECTION_REJECTS, "seq") == 2 + 3);
    event_queue_fini(&q);
}

static void a_poisoned_event_spoils_only_itself(void **state)
{
    with_spools(state, gw_clock_wall_ms(&gw_system_clock), poisoned);
}

static void swept(const spool_db *s)
{
    size_t n = 0;
    touched_days touched = {0};
    make_known(s, SPOOL);
    claim c = claim_of(s, 1, 0, 5);
    CHECK(take(s, SPOOL, &c));
    claim_fini(&c);
    CHECK_OK(spool_sweep(s, 15000, &n, &touched, err));
    CHECK(n == 0);
    spool_db later = *s;
    later.now_ms += 20000;
    CHECK_OK(spool_sweep(&later, 15000, &n, &touched, err));
    CHECK(n == 1);
    expect_requests(s, 5);
    CHECK_OK(spool_sweep(&later, 15000, &n, &touched, err));
    CHECK(n == 0);
    touched_days_fini(&touched);
}

static void a_sweep_applies_what_was_left_behind(void **state)
{
    with_spools(state, gw_clock_wall_ms(&gw_system_clock), swept);
}

/* A store that crashes behind the first read of a spool: the claim that was read is taken back, and its events come again, cut otherwise. */
typedef struct crashing_store {
    doc_store base;
    const spool_db *real;
    bool crashed;
} crashing_store;

static void take_back_and_claim_again(const spool_db *s)
{
    bool matched = false;
    CHECK_OK(doc_store_update(s->store, COLLECTION_SPOOLS, BCON_NEW("_id", BCON_UTF8(SPOOL)),
                              BCON_NEW("$set", "{", "n", BCON_INT64(0), "}", "$unset", "{", "p",
                                       BCON_BOOL(true), "claimId", BCON_BOOL(true), "}"),
                              &matched, "take a claim back", err));
    CHECK(matched);
    claim first = claim_of(s, 1, 0, 3);
    claim second = claim_of(s, 1, 3, 5);
    CHECK(take(s, SPOOL, &first));
    apply(s, SPOOL, &first);
    CHECK(take(s, SPOOL, &second));
    claim_fini(&first);
    claim_fini(&second);
}

static gw_status crashing_find(doc_store *base, const char *collection, const bson_t *filter,
                               const bson_t *opts, gw_db_each_fn each, void *arg, const char *what,
                               gw_error *err)
{
    crashing_store *c = (crashing_store *)base;
    gw_status rc = doc_store_find(c->real->store, collection, filter, opts, each, arg, what, err);
    if (!c->crashed)
        take_back_and_claim_again(c->real);
    c->crashed = true;
    return rc;
}

static gw_status crashing_write(doc_store *base, const char *collection, const doc_batch *batch,
                                int64_t *ret_matched, const char *what, gw_error *err)
{
    const crashing_store *c = (crashing_store *)base;
    return c->real->store->ops->write(c->real->store, collection, batch, ret_matched, what, err);
}

static void taken_back(const spool_db *s)
{
    static const doc_store_ops ops = {.find = crashing_find, .write = crashing_write};
    crashing_store crashing = {.base.ops = &ops, .real = s};
    const spool_db behind = {.store = &crashing.base, .now_ms = s->now_ms};
    make_known(s, SPOOL);
    claim c = claim_of(s, 1, 0, 5);
    CHECK(take(s, SPOOL, &c));
    claim_fini(&c);
    CHECK(resume(&behind, SPOOL) == 5);
    expect_requests(s, 5);
}

static void a_claim_that_a_crash_took_back_is_not_applied_though_the_next_ends_there(void **state)
{
    with_spools(state, gw_clock_wall_ms(&gw_system_clock), taken_back);
}

static void folded(const spool_db *s)
{
    touched_days touched = {0};
    fold_outcome outcome;
    make_known(s, SPOOL);
    for (int64_t from = 0; from < 20; from += 10) {
        claim c = claim_of(s, 1, from, from + 10);
        CHECK(take(s, SPOOL, &c));
        CHECK_OK(spool_apply(s, SPOOL, &c, &touched, err));
        claim_fini(&c);
    }
    for (size_t i = 0; i < touched.count; i++)
        CHECK_OK(fold_store_day(s, touched.ids[i], &outcome, err));
    CHECK(total(s, COLLECTION_DAYS, "metrics.requests.total") == 20);
    CHECK(total(s, COLLECTION_TOTALS, "metrics.requests.total") == 20);
    CHECK(total(s, COLLECTION_DAYS, "metrics.models.gpt-4%2E1.tokens") == INT64_C(20) * 15);
    CHECK(count(s, COLLECTION_DAYS) == 1);
    touched_days_fini(&touched);
    CHECK_OK(fold_store_find_dirty(s, 100, &touched, err));
    CHECK(touched.count == 0);

    claim c = claim_of(s, 1, 20, 21);
    CHECK(take(s, SPOOL, &c));
    CHECK_OK(spool_apply(s, SPOOL, &c, &touched, err));
    claim_fini(&c);
    touched_days_fini(&touched);
    CHECK_OK(fold_store_find_dirty(s, 100, &touched, err));
    CHECK(touched.count == 2);
    touched_days_fini(&touched);
}

static void days_are_the_sums_of_their_hours(void **state)
{
    with_spools(state, gw_clock_wall_ms(&gw_system_clock), folded);
}

int main(void)
{
#define MONGO_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        MONGO_TEST(a_claim_applied_twice_counts_once),
        MONGO_TEST(resume_applies_a_claim_that_was_left_before_its_rows),
        MONGO_TEST(of_two_replicas_on_one_spool_one_claims),
        MONGO_TEST(spools_have_marks_of_their_own),
        MONGO_TEST(a_copied_or_forgotten_spool_is_told),
        MONGO_TEST(a_poisoned_event_spoils_only_itself),
        MONGO_TEST(a_sweep_applies_what_was_left_behind),
        MONGO_TEST(a_claim_that_a_crash_took_back_is_not_applied_though_the_next_ends_there),
        MONGO_TEST(days_are_the_sums_of_their_hours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
