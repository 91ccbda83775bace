/* What must hold of what usage writes: at any time, while the course comes to its end, and at rest. */
#include "model.h"

#include "claim.h"
#include "doc_store_memory.h"
#include "event_row.h"
#include "fold.h"
#include "rebuild.h"
#include "spool_store.h"
#include "usage_collections.h"

#include <stdio.h>
#include <stdlib.h>

#define DAYS_MAX         64
#define CLAIM_AGE_MAX_MS 120000 /* all is up; a sweep comes each 15 s for what is 15 s old */

/* ---- what is in the store ---- */

typedef void (*each_fn)(void *arg, const bson_t *doc);

static void each_of(const memory_db *db, const char *collection, each_fn each, void *arg)
{
    bson_t all = BSON_INITIALIZER;
    memory_db_find(db, collection, &all, NULL, each, arg);
}

static void look_at_spool(void *arg, const bson_t *d)
{
    world *w = arg;
    int64_t n = -1, done = -1;
    gw_str id = GW_STR_NULL;
    if (!gw_bson_str(d, "_id", &id) || !gw_bson_int64(d, "n", &n) ||
        !gw_bson_int64(d, "done", &done) || done > n)
        world_fail(w, "spool %.10s: done %lld is above n %lld", id.ptr ? id.ptr : "?",
                   (long long)done, (long long)n);
}

/* ---- days whose hours say that they are in it ---- */

typedef struct day_look {
    char id[ROLLUP_ID_SIZE];
    bool dirty;
    int64_t requests, tokens; /* of the hours */
    int64_t day_requests, day_tokens; /* as folded */
} day_look;

typedef struct days_look {
    day_look days[DAYS_MAX];
    size_t count;
} days_look;

static void add_requests(const bson_t *d, int64_t *requests, int64_t *tokens)
{
    int64_t n = 0;
    if (gw_bson_int64(d, "metrics.requests.total", &n))
        *requests += n;
    if (gw_bson_int64(d, "metrics.tokens.total", &n))
        *tokens += n;
}

static day_look *day_of(days_look *l, gw_str id)
{
    for (size_t i = 0; i < l->count; i++)
        if (gw_str_eq_c(id, l->days[i].id))
            return &l->days[i];
    if (l->count == DAYS_MAX || id.len >= ROLLUP_ID_SIZE)
        return NULL;
    day_look *d = &l->days[l->count++];
    *d = (day_look){0};
    memcpy(d->id, id.ptr, id.len);
    return d;
}

static void look_at_hour(void *arg, const bson_t *hour)
{
    gw_str id = GW_STR_NULL;
    bool dirty = false;
    (void)gw_bson_str(hour, "_id", &id);
    day_look *d = day_of(arg, gw_str_slice(id, 0, id.len - (sizeof("T00") - 1)));
    if (!d)
        return;
    d->dirty |= gw_bson_bool(hour, "dirty", &dirty) && dirty;
    add_requests(hour, &d->requests, &d->tokens);
}

static void look_at_day(void *arg, const bson_t *day)
{
    gw_str id = GW_STR_NULL;
    (void)gw_bson_str(day, "_id", &id);
    day_look *d = day_of(arg, id);
    if (d)
        add_requests(day, &d->day_requests, &d->day_tokens);
}

/*
 * Reports read a day from its document while none of its hours waits for the fold: then it is their sum, at any time. Only a crash may
 * leave a day with a claim that its hours have lost, until that claim is applied again.
 */
static void look_at_days(world *w)
{
    static days_look l;
    l.count = 0;
    each_of(store_db(), COLLECTION_HOURS, look_at_hour, &l);
    each_of(store_db(), COLLECTION_DAYS, look_at_day, &l);
    each_of(store_db(), COLLECTION_TOTALS, look_at_day, &l);
    for (size_t i = 0; i < l.count; i++) {
        const day_look *d = &l.days[i];
        if (!d->dirty && (d->requests != d->day_requests || d->tokens != d->day_tokens))
            world_fail(w, "day %s has %lld requests, its hours %lld, and none waits for the fold",
                       d->id, (long long)d->day_requests, (long long)d->requests);
    }
}

static void note_claim(void *arg, const bson_t *d)
{
    *(bool *)arg |= bson_has_field(d, "p");
}

void usage_look(world *w)
{
    bool claimed = false;
    each_of(store_db(), COLLECTION_SPOOLS, look_at_spool, w);
    each_of(store_db(), COLLECTION_SPOOLS, note_claim, &claimed);
    w->taken_back &= claimed;
    if (!w->taken_back)
        look_at_days(w);
}

/* ---- on the way to rest ---- */

static void look_at_claim(void *arg, const bson_t *d)
{
    world *w = arg;
    gw_str id = GW_STR_NULL;
    int64_t n = 0;
    size_t i = 0;
    if (!bson_has_field(d, "p") || !gw_bson_str(d, "_id", &id) || !gw_bson_int64(d, "n", &n))
        return;
    while (i < w->claim_count && (w->claims[i].n != n || !gw_str_eq_c(id, w->claims[i].spool)))
        i++;
    if (i == CLAIMS_MAX)
        return;
    if (i == w->claim_count) {
        claim_seen *c = &w->claims[w->claim_count++];
        *c = (claim_seen){.n = n, .since_ms = w->mono_ms};
        (void)snprintf(c->spool, sizeof(c->spool), GW_STR_FMT, GW_STR_ARG(id));
    }
    int64_t age_ms = w->mono_ms - w->claims[i].since_ms;
    if (age_ms > CLAIM_AGE_MAX_MS)
        world_fail(w, "spool %s: its claim up to %lld is left behind, for %lld s by now",
                   w->claims[i].spool, (long long)n, (long long)age_ms / 1000);
}

void usage_look_for_old_claims(world *w)
{
    each_of(store_db(), COLLECTION_SPOOLS, look_at_claim, w);
}

static void take_n(void *arg, const bson_t *d)
{
    (void)gw_bson_int64(d, "n", (int64_t *)arg);
}

int64_t usage_claimed(const uint8_t spool_id[5])
{
    char hex[SPOOL_ID_SIZE];
    int64_t n = -1;
    gw_hex_encode(spool_id, SPOOL_ID_BYTES, hex);
    bson_t *by_id = BCON_NEW("_id", BCON_UTF8(hex));
    memory_db_find(store_db(), COLLECTION_SPOOLS, by_id, NULL, take_n, &n);
    bson_destroy(by_id);
    return n;
}

static void note_restless(void *arg, const bson_t *d)
{
    bool dirty = false;
    if (bson_has_field(d, "p") || (gw_bson_bool(d, "dirty", &dirty) && dirty))
        *(bool *)arg = true;
}

bool usage_is_quiet(void)
{
    bool restless = false;
    each_of(store_db(), COLLECTION_SPOOLS, note_restless, &restless);
    each_of(store_db(), COLLECTION_HOURS, note_restless, &restless);
    return !restless;
}

static void excuse_row(void *arg, const bson_t *d)
{
    gw_object_id id;
    if (gw_bson_oid(d, "_id", &id))
        world_excuse(arg, id.bytes);
}

static void excuse_claim(void *arg, const bson_t *d)
{
    bson_t p;
    claim c = {0};
    claim_cursor at = {0};
    if (!gw_bson_doc(d, "p", &p) || claim_parse(&p, &c, NULL) != GW_OK)
        return;
    while (claim_next(&c, &at)) {
        gw_object_id id;
        if (event_id_read(at.packed, &id))
            world_excuse(arg, id.bytes);
    }
    claim_fini(&c);
}

void usage_excuse_all(world *w)
{
    each_of(store_db(), COLLECTION_ROWS, excuse_row, w);
    each_of(store_expired(), COLLECTION_ROWS, excuse_row, w); /* its backup is as old */
    each_of(store_db(), COLLECTION_REJECTS, excuse_row, w);
    each_of(store_db(), COLLECTION_SPOOLS, excuse_claim, w);
}

/* ---- the invariants at rest ---- */

typedef struct found_row {
    gw_object_id id;
    bool interrupted;
} found_row;

typedef struct audit {
    world *w;
    found_row rows[2 * REQUESTS_MAX], rejects[REQUESTS_MAX];
    size_t row_count, reject_count;
    rollup *wanted;
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
        bson_t *by_id = BCON_NEW("_id", BCON_UTF8(bson_iter_key(&at)));
        int64_t n = -1;
        memory_db_find(a->db, COLLECTION_SPOOLS, by_id, NULL, take_n, &n);
        bson_destroy(by_id);
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
    gw_auto(fold) f = fold_new();
    bson_t *hours = BCON_NEW("_id", "{", "$gte", BCON_UTF8(first), "$lte", BCON_UTF8(last), "}");
    memory_db_find(a->db, COLLECTION_HOURS, hours, NULL, add_if_of_day, f);
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
    memory_db_find(a->db, day[0] == '*' ? COLLECTION_TOTALS : COLLECTION_DAYS, by_id, NULL,
                   note_there, &there);
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
    each_of(a->db, COLLECTION_ROWS, take_row, a);
    each_of(store_expired(), COLLECTION_ROWS, take_row, a);
    each_of(a->db, COLLECTION_REJECTS, take_reject, a);
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
    each_of(store_expired(), COLLECTION_ROWS, note_there, &expired);
    if (expired)
        return;
    if (rebuild_run(&s, &o, &report, &touched, &err) != GW_OK)
        world_fail(w, "a rebuild at rest fails: %s", err.message);
    else if (report.differing)
        world_fail(w, "a rebuild at rest changes %lld documents", (long long)report.differing);
    touched_days_fini(&touched);
}

void usage_check(world *w)
{
    audit *a = calloc(1, sizeof(*a));
    if (!a)
        abort();
    take_rows(w, a);
    each_of(a->db, COLLECTION_HOURS, check_hour, a);
    if (a->hours != rollup_count(a->wanted))
        world_fail(w, "%zu hours stand for the rows of %zu", a->hours, rollup_count(a->wanted));
    each_of(a->db, COLLECTION_DAYS, check_day, a);
    each_of(a->db, COLLECTION_TOTALS, check_day, a);
    each_of(a->db, COLLECTION_HOURS, check_hour_has_day, a);
    if (!w->failure[0])
        check_rebuild(w);
    rollup_free(a->wanted);
    free(a);
}
