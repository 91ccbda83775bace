/* The fold runner over a store in memory that refuses some documents, as MongoDB does those over 16 MiB. */
#include "fold_runner.h"

#include "doc_store_memory.h"
#include "fold_store.h"
#include "usage_collections.h"
#include "usage_metrics.h"

#include "mongo/bson_read.h"
#include "testing/cmocka.h"
#include "testing/fake_clock.h"
#include "testing/until.h"

#include <stdio.h>
#include <stdlib.h>

#define DAYS 5

typedef struct fixture {
    gw_fake_clock time;
    gw_clock clock;
    gw_loop *loop;
    doc_pool pool;
    memory_db *db;
    doc_store store; /* refuses `refused` */
    const char *refused; /* id of a day */
    int refusals;
    bool is_blind; /* finds nothing, and says so */
    fold_runner *runner;
    gw_metrics *metrics;
    gw_metrics_shard *shard;
    gw_test_until until;
    doc_job *job;
    gw_status rc;
    gw_error error;
    size_t wanted;
} fixture;

static fixture *the_fixture; /* stores have no argument of their own */

static gw_status find(doc_store *s, const char *collection, const bson_t *filter,
                      const bson_t *opts, gw_db_each_fn each, void *arg, const char *what,
                      gw_error *err)
{
    doc_store_memory m;
    (void)s;
    if (the_fixture->is_blind)
        return gw_fail(err, GW_ERR_INTERNAL, "%s: no", what);
    return doc_store_find(doc_store_memory_init(&m, the_fixture->db), collection, filter, opts,
                          each, arg, what, err);
}

static bool is_refused(const doc_batch *b)
{
    gw_str id;
    for (size_t i = 0; i < b->count; i++) {
        const bson_t *names = b->writes[i].filter ? b->writes[i].filter : b->writes[i].document;
        if (the_fixture->refused && gw_bson_str(names, "_id", &id) &&
            gw_str_eq_c(id, the_fixture->refused))
            return true;
    }
    return false;
}

static gw_status write_batch(doc_store *s, const char *collection, const doc_batch *b,
                             int64_t *ret_matched, const char *what, gw_error *err)
{
    doc_store_memory m;
    (void)s;
    if (is_refused(b)) {
        the_fixture->refusals++;
        return gw_fail(err, GW_ERR_INTERNAL, "%s: larger than 16777216", what);
    }
    doc_store *memory = doc_store_memory_init(&m, the_fixture->db);
    return memory->ops->write(memory, collection, b, ret_matched, what, err);
}

static void finish_job(void *arg)
{
    fixture *f = (fixture *)arg;
    doc_job *j = gw_steal(&f->job);
    j->done(j, f->rc, &f->error);
}

static void run_now(doc_pool *p, doc_job *j)
{
    fixture *f = GW_CONTAINER_OF(p, fixture, pool);
    f->job = j;
    f->rc = j->run(j, &f->store, &f->error);
    gw_loop_defer(f->loop, finish_job, f);
}

static void add_hour(fixture *f, int key)
{
    char id[ROLLUP_ID_SIZE];
    gw_object_id key_id = {.bytes = {[11] = (uint8_t)key}};
    char hex[GW_OBJECT_ID_HEX_SIZE];
    gw_object_id_format(&key_id, hex);
    rollup_hour_id(gw_str_of(hex), 0, id);
    bson_t *d = BCON_NEW("_id", BCON_UTF8(id), "date", BCON_DATE_TIME(0), "dirty", BCON_BOOL(true),
                         "rev", BCON_INT64(key + 1), "metrics", "{", "requests", "{", "total",
                         BCON_INT64(1), "}", "}");
    gw_bson_append_oid(d, "apiKeyId", &key_id);
    const doc_write w = {.document = d};
    assert_int_equal(memory_db_write(f->db, COLLECTION_HOURS, &w), MEMORY_INSERTED);
    bson_destroy(d);
}

static int setup_at(void **state, bool is_fake)
{
    static const doc_store_ops ops = {.find = find, .write = write_batch};
    static const doc_pool_ops pool_ops = {.submit = run_now};
    fixture *f = (fixture *)calloc(1, sizeof(*f));
    gw_error err;
    assert_non_null(f);
    the_fixture = f;
    f->db = memory_db_new();
    f->store.ops = &ops;
    f->pool.ops = &pool_ops;
    f->metrics = gw_metrics_new(usage_metric_table, USAGE_METRIC_COUNT);
    f->shard = gw_metrics_shard_new(f->metrics);
    f->clock = is_fake ? gw_fake_clock_init(&f->time, GW_MS_PER_DAY) : gw_system_clock;
    assert_int_equal(gw_loop_new(&f->clock, &f->loop, &err), GW_OK);
    gw_test_until_init(&f->until, f->loop, f);
    for (int i = 0; i < DAYS; i++)
        add_hour(f, i);
    *state = f;
    return 0;
}

static int setup(void **state)
{
    return setup_at(state, false);
}

static int setup_in_fake_time(void **state)
{
    return setup_at(state, true);
}

static int teardown(void **state)
{
    fixture *f = (fixture *)*state;
    fold_runner_free(f->runner);
    gw_test_until_cancel(&f->until);
    gw_loop_free(f->loop);
    gw_metrics_free(f->metrics);
    memory_db_free(f->db);
    free(f);
    return 0;
}

static void count_one(void *arg, const bson_t *d)
{
    (void)d;
    ++*(size_t *)arg;
}

static size_t days_of(const fixture *f)
{
    size_t n = 0;
    bson_t all = BSON_INITIALIZER;
    memory_db_find(f->db, COLLECTION_DAYS, &all, NULL, count_one, &n);
    return n;
}

static bool days_are_wanted(void *arg)
{
    const fixture *f = (const fixture *)arg;
    return days_of(f) == f->wanted && !f->job;
}

static void start(fixture *f)
{
    gw_error err;
    assert_int_equal(fold_runner_new(f->loop, &f->pool, NULL, f->shard, &f->runner, &err), GW_OK);
}

static void a_day_that_is_too_large_keeps_no_other(void **state)
{
    fixture *f = (fixture *)*state;
    f->refused = "000000000000000000000001|1970-01-01";
    f->wanted = DAYS - 1;
    start(f);
    gw_test_run_until(&f->until, days_are_wanted);
    assert_int_equal(f->refusals, 1);
}

static bool the_new_one_is_folded(void *arg)
{
    const fixture *f = (const fixture *)arg;
    return days_of(f) == DAYS && !f->job;
}

/* Each of its claims would read all of its hours again. */
static void it_is_not_tried_again_at_each_claim(void **state)
{
    fixture *f = (fixture *)*state;
    touched_days touched = {0};
    f->refused = "000000000000000000000001|1970-01-01";
    f->wanted = DAYS - 1;
    start(f);
    gw_test_run_until(&f->until, days_are_wanted);
    add_hour(f, DAYS);
    assert_true(touched_days_add(&touched, gw_str_of(f->refused)));
    assert_true(touched_days_add(&touched, GW_STR("000000000000000000000005|1970-01-01")));
    fold_runner_touch(f->runner, &touched);
    touched_days_fini(&touched);
    gw_test_run_until(&f->until, the_new_one_is_folded);
    assert_int_equal(f->refusals, 1);
}

static void advance_ms(fixture *f, int64_t ms)
{
    gw_fake_clock_advance_ms(&f->time, ms);
    for (int i = 0; i < 6; i++)
        uv_run(gw_loop_uv(f->loop), UV_RUN_NOWAIT);
}

static void assert_unfolded(const fixture *f, int days)
{
    char line[40];
    gw_auto_buf text = {0};
    (void)snprintf(line, sizeof(line), "\nusage_days_unfolded %d\n", days);
    gw_metrics_render(f->metrics, &text);
    assert_false(gw_buf_failed(&text));
    assert_non_null(strstr(text.data, line));
}

/* A sweep, and what it finds. */
static void next_sweep(fixture *f)
{
    advance_ms(f, 30000);
    advance_ms(f, 1000);
}

static void start_with_a_day_that_is_refused(fixture *f)
{
    f->refused = "000000000000000000000001|1970-01-01";
    start(f);
    next_sweep(f);
    assert_int_equal(days_of(f), DAYS - 1);
    assert_int_equal(f->refusals, 1);
    assert_unfolded(f, 1);
}

static void a_day_that_another_replica_folds_is_forgotten(void **state)
{
    fixture *f = (fixture *)*state;
    spool_db s = {.store = &f->store, .now_ms = GW_MS_PER_DAY};
    fold_outcome outcome;
    gw_error err;
    start_with_a_day_that_is_refused(f);
    next_sweep(f);
    assert_int_equal(f->refusals, 2);
    assert_unfolded(f, 1);
    const char *day = gw_steal(&f->refused);
    assert_int_equal(fold_store_day(&s, day, &outcome, &err), GW_OK);
    f->is_blind = true; /* a sweep that fails says of no day that it is clean */
    next_sweep(f);
    assert_unfolded(f, 1);
    f->is_blind = false;
    next_sweep(f);
    assert_unfolded(f, 0);
}

static void a_day_whose_hours_expire_is_forgotten(void **state)
{
    fixture *f = (fixture *)*state;
    bson_t all = BSON_INITIALIZER;
    start_with_a_day_that_is_refused(f);
    memory_db_remove(f->db, COLLECTION_HOURS, &all);
    next_sweep(f);
    assert_unfolded(f, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(a_day_that_is_too_large_keeps_no_other),
        TEST(it_is_not_tried_again_at_each_claim),
#define TEST_IN_FAKE_TIME(name) cmocka_unit_test_setup_teardown(name, setup_in_fake_time, teardown)
        TEST_IN_FAKE_TIME(a_day_that_another_replica_folds_is_forgotten),
        TEST_IN_FAKE_TIME(a_day_whose_hours_expire_is_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
