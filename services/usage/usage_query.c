#include "usage_query.h"

#include "rollup.h"
#include "usage_collections.h"

#define QUERY_MAX_MS 15000

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

static void append_projection(bson_t *opts, const usage_query *q)
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
    bson_append_document_end(opts, &fields);
}

typedef struct reading {
    const usage_query *query;
    const time_points *points;
    usage_report *report;
    rollup *rows; /* of the piece being read */
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

static gw_status read_hours(const gw_db *d, reading *g, const usage_plan *p, gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER, opts = BSON_INITIALIZER;
    if (g->query->one_key)
        gw_bson_append_oid(&filter, "apiKeyId", &g->query->key);
    else
        gw_bson_append_str(&filter, "apiKeyId", GW_STR(ALL_KEYS));
    append_range(&filter, "date", p->hours_from_ms, p->hours_to_ms);
    append_projection(&opts, g->query);
    return gw_db_find(d, COLLECTION_HOURS, &filter, &opts, add_hour, g, err);
}

/* ---- by key: the server sums, there are many keys an hour ---- */

static void append_sum(bson_t *group, const char *name, const char *path)
{
    bson_t sum;
    BSON_APPEND_DOCUMENT_BEGIN(group, name, &sum);
    BSON_APPEND_UTF8(&sum, "$sum", path);
    bson_append_document_end(group, &sum);
}

static void append_key_pipeline(bson_t *pipeline, const usage_plan *p)
{
    bson_t stage, inner, not_all;
    BSON_APPEND_DOCUMENT_BEGIN(pipeline, "0", &stage);
    BSON_APPEND_DOCUMENT_BEGIN(&stage, "$match", &inner);
    BSON_APPEND_DOCUMENT_BEGIN(&inner, "apiKeyId", &not_all);
    gw_bson_append_str(&not_all, "$ne", GW_STR(ALL_KEYS));
    bson_append_document_end(&inner, &not_all);
    append_range(&inner, "date", p->hours_from_ms, p->hours_to_ms);
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

static gw_status read_keys(const gw_db *d, reading *g, const usage_plan *p, gw_error *err)
{
    gw_db_auto_bson pipeline = BSON_INITIALIZER, opts = BSON_INITIALIZER;
    bson_error_t e;
    const bson_t *doc, *reply;
    gw_status rc = GW_OK;
    append_key_pipeline(&pipeline, p);
    BSON_APPEND_INT64(&opts, "maxTimeMS", QUERY_MAX_MS);
    mongoc_collection_t *c = mongoc_database_get_collection(d->database, COLLECTION_HOURS);
    mongoc_cursor_t *cursor =
        mongoc_collection_aggregate(c, MONGOC_QUERY_NONE, &pipeline, &opts, NULL);
    while (mongoc_cursor_next(cursor, &doc))
        add_key_sums(g->report, doc);
    if (mongoc_cursor_error_document(cursor, &e, &reply))
        rc = gw_mongo_fail(err, &e, reply, "sum " COLLECTION_HOURS " by key");
    mongoc_cursor_destroy(cursor);
    mongoc_collection_destroy(c);
    return rc;
}

/* ---- rows ---- */

static gw_status add_row(void *arg, const bson_t *row, gw_error *err)
{
    const reading *g = arg;
    row_facts ignored;
    if (!row_facts_of(row, &ignored)) /* not from us: it is in no rollup either */
        return GW_OK;
    return rollup_add_row(g->rows, row, err);
}

static void add_rollup(reading *g, const row_piece *piece)
{
    for (size_t i = 0; i < rollup_count(g->rows); i++) {
        hour_delta *h = rollup_at(g->rows, i);
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

static gw_status read_rows(const gw_db *d, reading *g, const row_piece *piece, gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER, opts = BSON_INITIALIZER;
    gw_auto(rollup) rows = rollup_new();
    if (!rows)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the rows of a report");
    if (g->query->one_key)
        gw_bson_append_oid(&filter, "apiKeyId", &g->query->key);
    append_range(&filter, "timestamp", piece->from_ms, piece->to_ms);
    append_row_projection(&opts);
    g->rows = rows;
    gw_status rc = gw_db_find(d, COLLECTION_ROWS, &filter, &opts, add_row, g, err);
    if (rc == GW_OK)
        add_rollup(g, piece);
    g->rows = NULL;
    return rc;
}

gw_status usage_query_run(const gw_db *d, const usage_query *q, const time_points *points,
                          usage_report *r, gw_error *err)
{
    static const time_points none = {0};
    usage_plan plan;
    reading g = {q, points ? points : &none, r, NULL};
    gw_status rc = GW_OK;
    usage_plan_make(q, g.points, &plan);
    if (plan.hours_from_ms < plan.hours_to_ms) {
        rc = read_hours(d, &g, &plan, err);
        if (rc == GW_OK && q->by == GROUP_KEY && !q->one_key)
            rc = read_keys(d, &g, &plan, err);
    }
    for (size_t i = 0; rc == GW_OK && i < plan.count; i++)
        rc = read_rows(d, &g, &plan.pieces[i], err);
    if (rc == GW_OK && q->by == GROUP_KEY && q->one_key && usage_report_totals(r)->requests > 0)
        usage_report_add_key(r, &q->key, usage_report_totals(r));
    return rc == GW_OK ? usage_report_check(r, err) : rc;
}
