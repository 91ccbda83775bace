#include "usage_query.h"

#include "rollup.h"
#include "usage_collections.h"
#include "usage_days.h"
#include "usage_keys.h"

#define RUN_MAX 32 /* pieces read at once */

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

static void append_projection(bson_t *opts, const usage_query *q, bool hours_of_day)
{
    bson_t fields;
    BSON_APPEND_DOCUMENT_BEGIN(opts, "projection", &fields);
    BSON_APPEND_INT32(&fields, "date", 1);
    BSON_APPEND_INT32(&fields, "metrics.requests", 1);
    BSON_APPEND_INT32(&fields, "metrics.tokens", 1);
    BSON_APPEND_INT32(&fields, "metrics.cost", 1);
    if (usage_report_slices(q->by))
        BSON_APPEND_INT32(&fields, usage_report_slices(q->by), 1);
    if (q->by == GROUP_CLIENT || q->by == GROUP_USER)
        BSON_APPEND_INT32(&fields, "metrics.owners", 1);
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
    usage_subject subject; /* whose days and hours are read */
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

static gw_status read_hours(void *arg, int64_t from_ms, int64_t to_ms, gw_error *err)
{
    reading *g = arg;
    gw_db_auto_bson filter = BSON_INITIALIZER, opts = BSON_INITIALIZER;
    usage_append_subject(&filter, &g->subject);
    usage_append_range(&filter, "date", from_ms, to_ms);
    append_projection(&opts, g->query, false);
    return gw_db_find(g->db, rollup_hours_collection(g->subject.kind), &filter, &opts, add_hour, g,
                      err);
}

/* ---- days ---- */

/* An interval starts within the day: its hours tell. */
static bool day_is_split(const time_points *points, int64_t day_ms)
{
    return time_points_find(points, day_ms) != time_points_find(points, day_ms + GW_MS_PER_DAY - 1);
}

static void add_hours_of_day(const reading *g, const usage_day_hours *hours, int64_t day_ms)
{
    for (int i = 0; i < 24; i++) {
        int64_t hour_ms = day_ms + i * GW_MS_PER_HOUR;
        if (hours->has[i] && !usage_hour_is_split(g->points, hour_ms))
            usage_report_add_series(g->report, &hours->of[i], time_points_find(g->points, hour_ms));
    }
}

static gw_status add_day(void *arg, const bson_t *doc, gw_error *err)
{
    reading *g = arg;
    int64_t day_ms;
    usage_day_hours hours;
    (void)err;
    if (!gw_bson_date_ms(doc, "date", &day_ms) || day_ms < g->days.from_ms ||
        day_ms >= usage_days_to_ms(&g->days))
        return GW_OK;
    bool *whole = &g->days.whole[(day_ms - g->days.from_ms) / GW_MS_PER_DAY];
    bool split = g->points->count > 0 && day_is_split(g->points, day_ms);
    if (split && !usage_day_hours_of(doc, &hours))
        *whole = false; /* folded by an older version: its hours are read */
    if (!*whole)
        return GW_OK;
    usage_report_add(g->report, doc, split ? REPORT_TOTALS : REPORT_TOTALS | REPORT_SERIES,
                     split ? -1 : time_points_find(g->points, day_ms));
    if (split)
        add_hours_of_day(g, &hours, day_ms);
    return GW_OK;
}

static gw_status read_days(void *arg, int64_t from_ms, int64_t to_ms, gw_error *err)
{
    reading *g = arg;
    gw_db_auto_bson filter = BSON_INITIALIZER, opts = BSON_INITIALIZER;
    bool split = false;
    for (int64_t day_ms = from_ms; day_ms < to_ms && g->points->count; day_ms += GW_MS_PER_DAY)
        split = split || day_is_split(g->points, day_ms);
    usage_append_subject(&filter, &g->subject);
    usage_append_range(&filter, "date", from_ms, to_ms);
    append_projection(&opts, g->query, split);
    return gw_db_find(g->db, rollup_days_collection(g->subject.kind), &filter, &opts, add_day, g,
                      err);
}

/* ---- days where they tell all, hours for the rest ---- */

static gw_status read_subject(reading *g, const usage_plan *p, gw_error *err)
{
    gw_status rc =
        usage_days_find(g->db, p->hours_from_ms, p->hours_to_ms, &g->subject, &g->days, err);
    if (rc != GW_OK)
        return rc;
    rc = usage_days_stretches(&g->days, read_days, g, err);
    if (rc == GW_OK)
        rc = usage_days_rest(&g->days, p->hours_from_ms, p->hours_to_ms, read_hours, g, err);
    usage_days_fini(&g->days);
    return rc;
}

/* Groups alone: parts of owners have no figures of their own, so that there is nothing to say by interval. */
static gw_status read_owners(const reading *all, const usage_plan *p, gw_error *err)
{
    static const time_points none = {0};
    reading g = {.query = all->query, .points = &none, .report = all->report, .db = all->db};
    g.subject.kind = ROLLUP_OWNERS;
    return read_subject(&g, p, err);
}

static gw_status read_whole_hours(reading *g, const usage_plan *p, gw_error *err)
{
    const usage_query *q = g->query;
    g->subject = (usage_subject){q->one_key ? ROLLUP_KEY : ROLLUP_ALL_KEYS, q->key};
    gw_status rc = read_subject(g, p, err);
    if (rc != GW_OK || q->one_key)
        return rc;
    if (q->by == GROUP_KEY)
        return usage_keys_add(g->db, p->hours_from_ms, p->hours_to_ms, g->report, err);
    return q->by == GROUP_CLIENT || q->by == GROUP_USER ? read_owners(g, p, err) : GW_OK;
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
        if (h->kind == (g->query->one_key ? ROLLUP_KEY : ROLLUP_ALL_KEYS))
            usage_report_add(g->report, &doc, piece->parts, piece->point);
        bool is_group = h->kind == ROLLUP_KEY && g->query->by == GROUP_KEY && !g->query->one_key;
        if (is_group && (piece->parts & REPORT_TOTALS)) {
            usage_figures f = usage_figures_of(&doc);
            usage_report_add_key(g->report, &h->api_key_id, &f);
        }
    }
}

/* Without the format of their sums: in a report owners may stand among all keys'. */
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
    usage_append_range(&filter, "timestamp", pieces[0].from_ms, pieces[n - 1].to_ms);
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
