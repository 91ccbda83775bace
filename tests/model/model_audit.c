/* What must hold of what usage writes, at rest. */
#include "model_audit.h"

#include "event_row.h"
#include "fold.h"
#include "rebuild.h"
#include "usage_collections.h"

#include "mongo/bson_read.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct found_row {
    gw_object_id id;
    bool interrupted;
} found_row;

typedef struct audit {
    world *w;
    found_row rows[2 * REQUESTS_MAX], rejects[REQUESTS_MAX];
    size_t row_count, reject_count;
    rollup *wanted;
    const char *collection; /* whose hours are checked */
    size_t hours;
    const memory_db *db;
} audit;

static const found_row *find_row(const found_row *rows, size_t n, const uint8_t *id)
{
    for (size_t i = 0; i < n; i++)
        if (memcmp(rows[i].id.bytes, id, EVENT_ID) == 0)
            return &rows[i];
    return NULL;
}

static void take_row(void *arg, const bson_t *d)
{
    audit *a = arg;
    gw_object_id id;
    gw_str outcome = GW_STR_NULL;
    if (!gw_bson_oid(d, "_id", &id) || find_row(a->rows, a->row_count, id.bytes))
        return; /* the TTL index took it, and a late write brought it back */
    (void)gw_bson_str(d, "outcome", &outcome);
    a->rows[a->row_count++] =
        (found_row){.id = id, .interrupted = gw_str_eq_c(outcome, "interrupted")};
    if (rollup_add_row(a->wanted, d, NULL) != GW_OK)
        world_fail(a->w, "a row cannot be summed up");
    if (!world_find_request(a->w, id.bytes))
        world_fail(a->w, "a row of nobody");
}

static void take_reject(void *arg, const bson_t *d)
{
    audit *a = arg;
    if (a->reject_count < REQUESTS_MAX && gw_bson_oid(d, "_id", &a->rejects[a->reject_count].id))
        a->reject_count++;
}

static void check_request(audit *a, const request *q)
{
    world *w = a->w;
    char id[2 * EVENT_ID + 1];
    gw_hex_encode(q->id, EVENT_ID, id);
    const found_row *row = find_row(a->rows, a->row_count, q->id);
    bool reject = find_row(a->rejects, a->reject_count, q->id) != NULL;
    w->lost += !row && !reject;
    w->rejected += reject;
    w->interrupted += row && row->interrupted;
    if (row && reject)
        world_fail(w, "request %s is both row and reject", id);
    else if (!row && !reject && !q->may_be_lost)
        world_fail(w, "request %s has no row", id);
    else if (q->answered && row && row->interrupted && !q->may_be_cut && !q->may_be_lost)
        world_fail(w, "request %s was answered and its row says interrupted", id);
}

/* Numbers of a document but those that are not sums. */
static void add_figures(sums *s, const bson_t *d)
{
    static const char *const maps[] = {"metrics", "hist", "minutes", "ledger"};
    for (size_t i = 0; i < GW_ARRAY_LEN(maps); i++) {
        bson_t map;
        if (gw_bson_doc(d, maps[i], &map))
            sums_add_document(s, gw_str_of(maps[i]), &map);
    }
}

static bool same_leaves(const bson_t *a, const bson_t *b, gw_buf *path)
{
    bson_iter_t at;
    (void)bson_iter_init(&at, a);
    while (bson_iter_next(&at)) {
        bson_t inner;
        int64_t v = 0, other = 0;
        size_t len = path->len;
        if (len)
            gw_buf_append_char(path, '.');
        gw_buf_append_c(path, bson_iter_key(&at));
        bool same = true;
        if (gw_bson_doc(a, bson_iter_key(&at), &inner)) {
            bson_t theirs = BSON_INITIALIZER;
            bson_t none = BSON_INITIALIZER;
            same = same_leaves(&inner,
                               gw_bson_doc(b, bson_iter_key(&at), &theirs) ? &theirs : &none, path);
        } else if (gw_bson_int64(a, bson_iter_key(&at), &v)) {
            (void)gw_bson_int64(b, bson_iter_key(&at), &other);
            same = v == other;
        }
        if (!same)
            return false;
        path->len = len;
    }
    return true;
}

static void compare_sums(world *w, const char *what, const char *id, sums *stored, sums *wanted)
{
    bson_t a = BSON_INITIALIZER, b = BSON_INITIALIZER;
    gw_auto_buf path = {0};
    sums_append_nested(stored, &a);
    sums_append_nested(wanted, &b);
    if (!same_leaves(&a, &b, &path) || (gw_buf_clear(&path), !same_leaves(&b, &a, &path)))
        world_fail(w, "%s %s differs from its parts at %.*s: %lld requests stored, %lld are there",
                   what, id, (int)path.len, path.len ? path.data : "",
                   (long long)sums_get(stored, GW_STR("metrics.requests.total")),
                   (long long)sums_get(wanted, GW_STR("metrics.requests.total")));
    bson_destroy(&a);
    bson_destroy(&b);
}

static hour_delta *wanted_hour(const audit *a, gw_str id)
{
    for (size_t i = 0; i < rollup_count(a->wanted); i++)
        if (gw_str_eq_c(id, rollup_at(a->wanted, i)->id))
            return rollup_at(a->wanted, i);
    return NULL;
}

static void check_marks(audit *a, const bson_t *d, const char *hour)
{
    bson_t marks;
    bson_iter_t at;
    if (!gw_bson_doc(d, "m", &marks) || !bson_iter_init(&at, &marks))
        return;
    while (bson_iter_next(&at)) {
        int64_t n = audit_claimed(a->db, bson_iter_key(&at));
        if (bson_iter_as_int64(&at) > n)
            world_fail(a->w, "hour %s has mark %lld of a spool at %lld", hour,
                       (long long)bson_iter_as_int64(&at), (long long)n);
    }
}

static void check_hour(void *arg, const bson_t *d)
{
    audit *a = arg;
    gw_str id = GW_STR_NULL;
    (void)gw_bson_str(d, "_id", &id);
    hour_delta *wanted = wanted_hour(a, id);
    a->hours++;
    check_marks(a, d, id.ptr);
    if (!wanted) {
        world_fail(a->w, "hour %s has no rows", id.ptr);
        return;
    }
    if (strcmp(rollup_hours_collection(wanted->kind), a->collection) != 0)
        world_fail(a->w, "hour %s stands in %s", wanted->id, a->collection);
    gw_auto(sums) stored = sums_new();
    add_figures(stored, d);
    compare_sums(a->w, "hour", wanted->id, stored, wanted->sums);
}

static void add_if_of_day(void *arg, const bson_t *hour)
{
    fold_add_hour(arg, hour);
}

/* A day again from its hours, by the same fold: that the hours are right has been checked by now. */
static void check_day(void *arg, const bson_t *d)
{
    audit *a = arg;
    gw_str id = GW_STR_NULL;
    bson_t again = BSON_INITIALIZER;
    char first[64], last[64];
    (void)gw_bson_str(d, "_id", &id);
    (void)snprintf(first, sizeof(first), GW_STR_FMT "T00", GW_STR_ARG(id));
    (void)snprintf(last, sizeof(last), GW_STR_FMT "T23", GW_STR_ARG(id));
    rollup_kind kind = rollup_kind_of_id(id);
    gw_auto(fold) f = fold_new(kind);
    bson_t *hours = BCON_NEW("_id", "{", "$gte", BCON_UTF8(first), "$lte", BCON_UTF8(last), "}");
    memory_db_find(a->db, rollup_hours_collection(kind), hours, NULL, add_if_of_day, f);
    bson_destroy(hours);
    if (fold_append_day(f, &again, NULL) != GW_OK)
        abort();
    gw_auto(sums) stored = sums_new();
    gw_auto(sums) wanted = sums_new();
    add_figures(stored, d);
    add_figures(wanted, &again);
    compare_sums(a->w, "day", id.ptr, stored, wanted);
    bson_destroy(&again);
}

static void note_there(void *arg, const bson_t *d)
{
    (void)d;
    *(bool *)arg = true;
}

static void check_hour_has_day(void *arg, const bson_t *hour)
{
    audit *a = arg;
    gw_str id = GW_STR_NULL;
    bool there = false;
    char day[64];
    (void)gw_bson_str(hour, "_id", &id);
    (void)snprintf(day, sizeof(day), GW_STR_FMT, GW_STR_ARG(gw_str_slice(id, 0, id.len - 3)));
    bson_t *by_id = BCON_NEW("_id", BCON_UTF8(day));
    memory_db_find(a->db, rollup_days_collection(rollup_kind_of_id(id)), by_id, NULL, note_there,
                   &there);
    bson_destroy(by_id);
    if (!there)
        world_fail(a->w, "hour %s has no day", id.ptr);
}

/* The rows, rejects and requests; `a` zeroed. */
static void take_rows(world *w, audit *a)
{
    a->w = w;
    a->db = store_db();
    a->wanted = rollup_new();
    audit_each(a->db, COLLECTION_ROWS, take_row, a);
    audit_each(store_expired(), COLLECTION_ROWS, take_row, a);
    audit_each(a->db, COLLECTION_REJECTS, take_reject, a);
    for (size_t i = 0; i < w->request_count; i++)
        check_request(a, &w->requests[i]);
}

void usage_check_requests(world *w)
{
    audit *a = calloc(1, sizeof(*a));
    if (!a)
        abort();
    take_rows(w, a);
    rollup_free(a->wanted);
    free(a);
}

/* A rebuild has nothing to do. Expired rows are not oldest first here, as it takes them to be: then it is not asked. */
static void check_rebuild(world *w)
{
    doc_store_memory memory;
    touched_days touched = {0};
    rebuild_report report;
    gw_error err = {0};
    const spool_db s = {.store = doc_store_memory_init(&memory, store_db()), .now_ms = w->wall_ms};
    const rebuild_options o = {.from_ms = MODEL_WALL_MS - 4 * GW_MS_PER_HOUR,
                               .to_ms = w->wall_ms + GW_MS_PER_HOUR,
                               .retention_ms = MODEL_RETENTION_MS};
    bool expired = false;
    audit_each(store_expired(), COLLECTION_ROWS, note_there, &expired);
    if (expired)
        return;
    if (rebuild_run(&s, &o, &report, &touched, &err) != GW_OK)
        world_fail(w, "a rebuild at rest fails: %s", err.message);
    else if (report.differing)
        world_fail(w, "a rebuild at rest changes %lld documents", (long long)report.differing);
    touched_days_fini(&touched);
}

static void check_hours(audit *a, const char *collection)
{
    a->collection = collection;
    audit_each(a->db, collection, check_hour, a);
    audit_each(a->db, collection, check_hour_has_day, a);
}

void usage_check(world *w)
{
    audit *a = calloc(1, sizeof(*a));
    if (!a)
        abort();
    take_rows(w, a);
    check_hours(a, COLLECTION_HOURS);
    check_hours(a, COLLECTION_OWNER_HOURS);
    if (a->hours != rollup_count(a->wanted))
        world_fail(w, "%zu hours stand for the rows of %zu", a->hours, rollup_count(a->wanted));
    audit_each(a->db, COLLECTION_DAYS, check_day, a);
    audit_each(a->db, COLLECTION_TOTALS, check_day, a);
    audit_each(a->db, COLLECTION_OWNERS, check_day, a);
    if (!w->failure[0])
        check_rebuild(w);
    rollup_free(a->wanted);
    free(a);
}
