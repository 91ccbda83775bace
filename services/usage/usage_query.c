#include "usage_query.h"

#include "fold.h"
#include "rollup.h"
#include "usage_collections.h"
#include "usage_days.h"

#include <stdio.h>

#define QUERY_MAX_MS 15000
#define RUN_MAX      32 /* pieces read at once */

/* ---- plan ---- */

static int64_t hour_floor(int64_t ms)
{
    int64_t rest = ms % GW_MS_PER_HOUR;
    return ms - (rest < 0 ? rest + GW_MS_PER_HOUR : rest);
}

static int64_t hour_ceil(int64_t ms)
{
    return hour_floor(ms + GW_MS_PER_HOUR - 1);
}

bool usage_hour_is_split(const time_points *points, int64_t hour_ms)
{
    ptrdiff_t first = time_points_find(points, hour_ms);
    return first != time_points_find(points, hour_ms + GW_MS_PER_HOUR - 1);
}

/* Pieces come in order of time; what continues the one before joins it. */
static void add_piece(usage_plan *p, row_piece piece)
{
    row_piece *last = p->count ? &p->pieces[p->count - 1] : NULL;
    if (last && last->to_ms == piece.from_ms && last->parts == piece.parts &&
        last->point == piece.point)
        last->to_ms = piece.to_ms;
    else if (p->count < ROW_PIECES_MAX)
        p->pieces[p->count++] = piece;
}

/* Cuts [from, to) at the intervals' starts. */
static void add_rows(usage_plan *p, const time_points *points, int64_t from_ms, int64_t to_ms,
                     unsigned parts)
{
    while (from_ms < to_ms) {
        ptrdiff_t point = time_points_find(points, from_ms);
        int64_t end_ms = point < 0 ? to_ms : GW_MIN(points->starts[point + 1], to_ms);
        add_piece(p, (row_piece){from_ms, end_ms, parts, point});
        from_ms = end_ms;
    }
}

void usage_plan_make(const usage_query *q, const time_points *points, usage_plan *ret)
{
    ret->count = 0;
    ret->hours_from_ms = GW_MIN(hour_ceil(q->from_ms), q->to_ms);
    ret->hours_to_ms = GW_MAX(hour_floor(q->to_ms), ret->hours_from_ms);
    add_rows(ret, points, q->from_ms, ret->hours_from_ms, REPORT_TOTALS | REPORT_SERIES);
    int64_t done_ms = ret->hours_from_ms; /* of a split hour, for the intervals within it */
    for (size_t i = 0; i < points->count; i++) {
        int64_t hour_ms = hour_floor(points->starts[i]);
        if (hour_ms < done_ms || hour_ms >= ret->hours_to_ms ||
            !usage_hour_is_split(points, hour_ms))
            continue;
        add_rows(ret, points, hour_ms, hour_ms + GW_MS_PER_HOUR, REPORT_SERIES);
        done_ms = hour_ms + GW_MS_PER_HOUR;
    }
    add_rows(ret, points, ret->hours_to_ms, q->to_ms, REPORT_TOTALS | REPORT_SERIES);
}

/* ---- hours ---- */

static void append_range(bson_t *filter, const char *field, int64_t from_ms, int64_t to_ms)
{
    bson_t range;
    BSON_APPEND_DOCUMENT_BEGIN(filter, field, &range);
    BSON_APPEND_DATE_TIME(&range, "$gte", from_ms);
    BSON_APPEND_DATE_TIME(&range, "$lt", to_ms);
    bson_append_document_end(filter, &range);
}

static const char *slices_of(usage_group_by by)
{
    return by == GROUP_MODEL      ? "metrics.models"
           : by == GROUP_PROVIDER ? "metrics.providers"
                                  : "metrics.owners";
}

static void append_projection(bson_t *opts, const usage_query *q, bool hours_of_day)
{
    bson_t fields;
    BSON_APPEND_DOCUMENT_BEGIN(opts, "projection", &fields);
    BSON_APPEND_INT32(&fields, "date", 1);
    BSON_APPEND_INT32(&fields, "metrics.requests", 1);
    BSON_APPEND_INT32(&fields, "metrics.tokens", 1);
    BSON_APPEND_INT32(&fields, "metrics.cost", 1);
    if (q->by != GROUP_NONE && q->by != GROUP_KEY)
        BSON_APPEND_INT32(&fields, slices_of(q->by), 1);
    if (q->durations)
        BSON_APPEND_INT32(&fields, "hist.dur", 1);
    if (hours_of_day)
        BSON_APPEND_INT32(&fields, "byHour", 1);
    bson_append_document_end(opts, &fields);
}

typedef struct reading {
    const usage_query *query;
    const time_points *points;
    usage_report *report;
    const row_piece *pieces; /* being read: they join */
    size_t piece_count;
    rollup *rows[RUN_MAX]; /* of each; NULL: it has none */
    const gw_db *db;
    usage_days days;
} reading;

static gw_status add_hour(void *arg, const bson_t *doc, gw_error *err)
{
    const reading *g = arg;
    int64_t hour_ms;
    (void)err;
    if (!gw_bson_date_ms(doc, "date", &hour_ms))
        return GW_OK;
    unsigned parts =
        usage_hour_is_split(g->points, hour_ms) ? REPORT_TOTALS : REPORT_TOTALS | REPORT_SERIES;
    usage_report_add(g->report, doc, parts, time_points_find(g->points, hour_ms));
    return GW_OK;
}

static void append_subject(const reading *g, bson_t *filter)
{
    if (g->query->one_key)
        gw_bson_append_oid(filter, "apiKeyId", &g->query->key);
    else
        gw_bson_append_str(filter, "apiKeyId", GW_STR(ALL_KEYS));
}

static gw_status read_hours(void *arg, int64_t from_ms, int64_t to_ms, gw_error *err)
{
    reading *g = arg;
    gw_db_auto_bson filter = BSON_INITIALIZER, opts = BSON_INITIALIZER;
    append_subject(g, &filter);
    append_range(&filter, "date", from_ms, to_ms);
    append_projection(&opts, g->query, false);
    return gw_db_find(g->db, COLLECTION_HOURS, &filter, &opts, add_hour, g, err);
}

/* ---- days ---- */

/* An interval starts within the day: its hours tell. */
static bool day_is_split(const time_points *points, int64_t day_ms)
{
    return time_points_find(points, day_ms) != time_points_find(points, day_ms + GW_MS_PER_DAY - 1);
}

static usage_figures figures_of_hour(const bson_t *day, int hour, bool *ret_has)
{
    usage_figures f = {0};
    int64_t *const to[USAGE_HOUR_FIGURES] = {
        &f.requests,          &f.successful,     &f.failed,        &f.prompt_tokens,
        &f.completion_tokens, &f.total_tokens,   &f.cached_tokens, &f.reasoning_tokens,
        &f.cost_nano_usd,     &f.billed_nano_usd};
    *ret_has = true;
    for (size_t i = 0; i < USAGE_HOUR_FIGURES && *ret_has; i++) {
        char path[24];
        (void)snprintf(path, sizeof(path), "byHour.%02u.%zu", (unsigned)hour % 100, i);
        *ret_has = gw_bson_int64(day, path, to[i]);
    }
    return f;
}

static void add_hours_of_day(const reading *g, const bson_t *day, int64_t day_ms)
{
    for (int i = 0; i < 24; i++) {
        int64_t hour_ms = day_ms + i * GW_MS_PER_HOUR;
        bool has;
        usage_figures f = figures_of_hour(day, i, &has);
        if (has && !usage_hour_is_split(g->points, hour_ms))
            usage_report_add_series(g->report, &f, time_points_find(g->points, hour_ms));
    }
}

static gw_status add_day(void *arg, const bson_t *doc, gw_error *err)
{
    reading *g = arg;
    int64_t day_ms;
    bson_t hours;
    (void)err;
    if (!gw_bson_date_ms(doc, "date", &day_ms) || day_ms < g->days.from_ms ||
        day_ms >= usage_days_to_ms(&g->days))
        return GW_OK;
    bool *whole = &g->days.whole[(day_ms - g->days.from_ms) / GW_MS_PER_DAY];
    bool split = g->points->count > 0 && day_is_split(g->points, day_ms);
    if (split && !gw_bson_doc(doc, "byHour", &hours))
        *whole = false; /* folded by an older version: its hours are read */
    if (!*whole)
        return GW_OK;
    usage_report_add(g->report, doc, split ? REPORT_TOTALS : REPORT_TOTALS | REPORT_SERIES,
                     split ? -1 : time_points_find(g->points, day_ms));
    if (split)
        add_hours_of_day(g, doc, day_ms);
    return GW_OK;
}

static gw_status read_days(void *arg, int64_t from_ms, int64_t to_ms, gw_error *err)
{
    reading *g = arg;
    gw_db_auto_bson filter = BSON_INITIALIZER, opts = BSON_INITIALIZER;
    bool split = false;
    for (int64_t day_ms = from_ms; day_ms < to_ms && g->points->count; day_ms += GW_MS_PER_DAY)
        split = split || day_is_split(g->points, day_ms);
    append_subject(g, &filter);
    append_range(&filter, "date", from_ms, to_ms);
    append_projection(&opts, g->query, split);
    return gw_db_find(g->db, g->query->one_key ? COLLECTION_DAYS : COLLECTION_TOTALS, &filter,
                      &opts, add_day, g, err);
}

/* ---- by key: the server sums, there are many keys an hour ---- */

static void append_sum(bson_t *group, const char *name, const char *path)
{
    bson_t sum;
    BSON_APPEND_DOCUMENT_BEGIN(group, name, &sum);
    BSON_APPEND_UTF8(&sum, "$sum", path);
    bson_append_document_end(group, &sum);
}

static void append_key_pipeline(bson_t *pipeline, const char *collection, int64_t from_ms,
                                int64_t to_ms)
{
    bson_t stage, inner, not_all;
    BSON_APPEND_DOCUMENT_BEGIN(pipeline, "0", &stage);
    BSON_APPEND_DOCUMENT_BEGIN(&stage, "$match", &inner);
    if (strcmp(collection, COLLECTION_HOURS) == 0) { /* days of all keys are elsewhere */
        BSON_APPEND_DOCUMENT_BEGIN(&inner, "apiKeyId", &not_all);
        gw_bson_append_str(&not_all, "$ne", GW_STR(ALL_KEYS));
        bson_append_document_end(&inner, &not_all);
    }
    append_range(&inner, "date", from_ms, to_ms);
    bson_append_document_end(&stage, &inner);
    bson_append_document_end(pipeline, &stage);
    BSON_APPEND_DOCUMENT_BEGIN(pipeline, "1", &stage);
    BSON_APPEND_DOCUMENT_BEGIN(&stage, "$group", &inner);
    BSON_APPEND_UTF8(&inner, "_id", "$apiKeyId");
    append_sum(&inner, "requests", "$metrics.requests.total");
    append_sum(&inner, "successful", "$metrics.requests.successful");
    append_sum(&inner, "failed", "$metrics.requests.failed");
    append_sum(&inner, "prompt", "$metrics.tokens.prompt");
    append_sum(&inner, "completion", "$metrics.tokens.completion");
    append_sum(&inner, "total", "$metrics.tokens.total");
    append_sum(&inner, "cached", "$metrics.tokens.cached");
    append_sum(&inner, "reasoning", "$metrics.tokens.reasoning");
    append_sum(&inner, "estimated", "$metrics.cost.estimatedNanoUsd");
    append_sum(&inner, "billed", "$metrics.cost.billedNanoUsd");
    bson_append_document_end(&stage, &inner);
    bson_append_document_end(pipeline, &stage);
}

static void add_key_sums(usage_report *r, const bson_t *doc)
{
    gw_object_id key;
    usage_figures f = {0};
    if (!gw_bson_oid(doc, "_id", &key))
        return;
    (void)gw_bson_int64(doc, "requests", &f.requests);
    (void)gw_bson_int64(doc, "successful", &f.successful);
    (void)gw_bson_int64(doc, "failed", &f.failed);
    (void)gw_bson_int64(doc, "prompt", &f.prompt_tokens);
    (void)gw_bson_int64(doc, "completion", &f.completion_tokens);
    (void)gw_bson_int64(doc, "total", &f.total_tokens);
    (void)gw_bson_int64(doc, "cached", &f.cached_tokens);
    (void)gw_bson_int64(doc, "reasoning", &f.reasoning_tokens);
    (void)gw_bson_int64(doc, "estimated", &f.cost_nano_usd);
    (void)gw_bson_int64(doc, "billed", &f.billed_nano_usd);
    usage_report_add_key(r, &key, &f);
}

static gw_status sum_keys(reading *g, const char *collection, int64_t from_ms, int64_t to_ms,
                          gw_error *err)
{
    gw_db_auto_bson pipeline = BSON_INITIALIZER, opts = BSON_INITIALIZER;
    bson_error_t e;
    const bson_t *doc, *reply;
    gw_status rc = GW_OK;
    append_key_pipeline(&pipeline, collection, from_ms, to_ms);
    BSON_APPEND_INT64(&opts, "maxTimeMS", QUERY_MAX_MS);
    mongoc_collection_t *c = mongoc_database_get_collection(g->db->database, collection);
    mongoc_cursor_t *cursor =
        mongoc_collection_aggregate(c, MONGOC_QUERY_NONE, &pipeline, &opts, NULL);
    while (mongoc_cursor_next(cursor, &doc))
        add_key_sums(g->report, doc);
    if (mongoc_cursor_error_document(cursor, &e, &reply))
        rc = gw_mongo_fail(err, &e, reply, "sum by key");
    mongoc_cursor_destroy(cursor);
    mongoc_collection_destroy(c);
    return rc;
}

static gw_status sum_keys_of_days(void *arg, int64_t from_ms, int64_t to_ms, gw_error *err)
{
    return sum_keys(arg, COLLECTION_DAYS, from_ms, to_ms, err);
}

static gw_status sum_keys_of_hours(void *arg, int64_t from_ms, int64_t to_ms, gw_error *err)
{
    return sum_keys(arg, COLLECTION_HOURS, from_ms, to_ms, err);
}

/* ---- days where they tell all, hours for the rest ---- */

static gw_status read_stretches(reading *g, const usage_plan *p, usage_stretch_fn of_days,
                                usage_stretch_fn of_hours, gw_error *err)
{
    gw_status rc = usage_days_stretches(&g->days, of_days, g, err);
    return rc == GW_OK
               ? usage_days_rest(&g->days, p->hours_from_ms, p->hours_to_ms, of_hours, g, err)
               : rc;
}

static gw_status read_whole_hours(reading *g, const usage_plan *p, gw_error *err)
{
    const gw_object_id *key = g->query->one_key ? &g->query->key : NULL;
    bool each_key = g->query->by == GROUP_KEY && !key;
    gw_status rc =
        usage_days_find(g->db, p->hours_from_ms, p->hours_to_ms, key, each_key, &g->days, err);
    if (rc != GW_OK)
        return rc;
    rc = read_stretches(g, p, read_days, read_hours, err);
    if (rc == GW_OK && each_key)
        rc = read_stretches(g, p, sum_keys_of_days, sum_keys_of_hours, err);
    usage_days_fini(&g->days);
    return rc;
}

/* ---- rows ---- */

/* A row of the run that is read belongs to one of its pieces. */
static gw_status add_row(void *arg, const bson_t *row, gw_error *err)
{
    reading *g = arg;
    row_facts ignored;
    int64_t at_ms;
    size_t i = 0;
    if (!row_facts_of(row, &ignored)) /* not from us: it is in no rollup either */
        return GW_OK;
    (void)gw_bson_date_ms(row, "timestamp", &at_ms);
    while (i + 1 < g->piece_count && at_ms >= g->pieces[i].to_ms)
        i++;
    if (!g->rows[i])
        g->rows[i] = rollup_new();
    if (!g->rows[i])
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the rows of a report");
    return rollup_add_row(g->rows[i], row, err);
}

static void add_rollup(reading *g, rollup *rows, const row_piece *piece)
{
    for (size_t i = 0; i < rollup_count(rows); i++) {
        hour_delta *h = rollup_at(rows, i);
        gw_db_auto_bson doc = BSON_INITIALIZER;
        sums_append_nested(h->sums, &doc);
        if (h->is_all_keys != g->query->one_key)
            usage_report_add(g->report, &doc, piece->parts, piece->point);
        bool is_group = !h->is_all_keys && g->query->by == GROUP_KEY && !g->query->one_key;
        if (is_group && (piece->parts & REPORT_TOTALS)) {
            usage_figures f = usage_figures_of(&doc);
            usage_report_add_key(g->report, &h->api_key_id, &f);
        }
    }
}

static void append_row_projection(bson_t *opts)
{
    static const char *const fields[] = {
        "apiKeyId", "timestamp",   "request.model",   "response", "usage",
        "outcome",  "route",       "provider",        "clientId", "userId",
        "ttftMs",   "repeatCount", "upstreamAccepted"};
    bson_t d;
    BSON_APPEND_DOCUMENT_BEGIN(opts, "projection", &d);
    for (size_t i = 0; i < GW_ARRAY_LEN(fields); i++)
        BSON_APPEND_INT32(&d, fields[i], 1);
    bson_append_document_end(opts, &d);
}

/* As many pieces, from the first on, as join; *g says how many. */
static gw_status read_run(reading *g, const row_piece *pieces, size_t count, gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER, opts = BSON_INITIALIZER;
    size_t n = 1;
    while (n < count && n < RUN_MAX && pieces[n].from_ms == pieces[n - 1].to_ms)
        n++;
    g->pieces = pieces;
    g->piece_count = n;
    if (g->query->one_key)
        gw_bson_append_oid(&filter, "apiKeyId", &g->query->key);
    append_range(&filter, "timestamp", pieces[0].from_ms, pieces[n - 1].to_ms);
    append_row_projection(&opts);
    gw_status rc = gw_db_find(g->db, COLLECTION_ROWS, &filter, &opts, add_row, g, err);
    for (size_t i = 0; i < n; i++) {
        if (g->rows[i] && rc == GW_OK)
            add_rollup(g, g->rows[i], &pieces[i]);
        rollup_free(g->rows[i]);
        g->rows[i] = NULL;
    }
    return rc;
}

gw_status usage_query_run(const gw_db *d, const usage_query *q, const time_points *points,
                          usage_report *r, gw_error *err)
{
    static const time_points none = {0};
    usage_plan plan;
    reading g = {.query = q, .points = points ? points : &none, .report = r, .db = d};
    gw_status rc = GW_OK;
    usage_plan_make(q, g.points, &plan);
    if (plan.hours_from_ms < plan.hours_to_ms)
        rc = read_whole_hours(&g, &plan, err);
    for (size_t i = 0; rc == GW_OK && i < plan.count; i += g.piece_count)
        rc = read_run(&g, &plan.pieces[i], plan.count - i, err);
    if (rc == GW_OK && q->by == GROUP_KEY && q->one_key && usage_report_totals(r)->requests > 0)
        usage_report_add_key(r, &q->key, usage_report_totals(r));
    return rc == GW_OK ? usage_report_check(r, err) : rc;
}
