#include "usage_keys.h"

#include "usage_collections.h"
#include "usage_days.h"
#include "usage_key_days.h"

#include "core/clock.h"

#include <stdlib.h>

#define DIRTY_MAX 50000 /* hours; with more the fold is far behind, and all hours are summed */

typedef struct key_hour {
    gw_object_id key;
    int64_t hour_ms;
    usage_figures figures;
} key_hour;

typedef struct key_hours {
    key_hour *items;
    size_t count, capacity;
} key_hours;

typedef struct reading {
    const gw_db *db;
    usage_report *report;
    int64_t from_ms, to_ms;
    size_t seen; /* hours that wait, those of all keys included */
    key_hours dirty; /* in the order of keys, then of time */
    key_hours old; /* midnights of days that were folded by an older version */
} reading;

/* ---- lists ---- */

static gw_status add_key_hour(key_hours *list, const key_hour *item, gw_error *err)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? 2 * list->capacity : 256;
        key_hour *items = realloc(list->items, capacity * sizeof(*items));
        if (!items)
            return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the hours of a report");
        list->items = items;
        list->capacity = capacity;
    }
    list->items[list->count++] = *item;
    return GW_OK;
}

static int by_key_and_time(const void *a, const void *b)
{
    const key_hour *x = a, *y = b;
    int order = memcmp(x->key.bytes, y->key.bytes, sizeof(x->key.bytes));
    return order ? order : (x->hour_ms > y->hour_ms) - (x->hour_ms < y->hour_ms);
}

static bool is_dirty(const reading *g, const gw_object_id *key, int64_t hour_ms)
{
    const key_hour wanted = {.key = *key, .hour_ms = hour_ms};
    return g->dirty.count && bsearch(&wanted, g->dirty.items, g->dirty.count,
                                     sizeof(*g->dirty.items), by_key_and_time) != NULL;
}

/* ---- hours that wait for the fold ---- */

static gw_status note_dirty(void *arg, const bson_t *hour, gw_error *err)
{
    reading *g = arg;
    key_hour h = {.figures = usage_figures_of(hour)};
    g->seen++;
    if (!gw_bson_oid(hour, "apiKeyId", &h.key) || !gw_bson_date_ms(hour, "date", &h.hour_ms) ||
        h.hour_ms < g->from_ms || h.hour_ms >= g->to_ms)
        return GW_OK; /* of all keys */
    return add_key_hour(&g->dirty, &h, err);
}

static void append_projection(bson_t *opts, bool of_figures)
{
    static const char *const fields[] = {"metrics.requests", "metrics.tokens", "metrics.cost"};
    bson_t d;
    BSON_APPEND_DOCUMENT_BEGIN(opts, "projection", &d);
    BSON_APPEND_INT32(&d, "apiKeyId", 1);
    BSON_APPEND_INT32(&d, "date", 1);
    for (size_t i = 0; of_figures && i < GW_ARRAY_LEN(fields); i++)
        BSON_APPEND_INT32(&d, fields[i], 1);
    if (!of_figures)
        BSON_APPEND_INT32(&d, "byHour", 1);
    bson_append_document_end(opts, &d);
}

static gw_status find_dirty(reading *g, gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER, opts = BSON_INITIALIZER;
    BSON_APPEND_BOOL(&filter, "dirty", true);
    usage_append_range(&filter, "date", g->from_ms, g->to_ms);
    append_projection(&opts, true);
    BSON_APPEND_INT64(&opts, "limit", DIRTY_MAX);
    gw_status rc = gw_db_find(g->db, COLLECTION_HOURS, &filter, &opts, note_dirty, g, err);
    if (g->dirty.count)
        qsort(g->dirty.items, g->dirty.count, sizeof(*g->dirty.items), by_key_and_time);
    return rc;
}

/* ---- days in part: what their documents keep of the hours ---- */

static gw_status add_day(void *arg, const bson_t *day, gw_error *err)
{
    reading *g = arg;
    key_hour of_day = {0};
    usage_day_hours hours;
    bool any = false;
    if (!gw_bson_oid(day, "apiKeyId", &of_day.key) ||
        !gw_bson_date_ms(day, "date", &of_day.hour_ms))
        return GW_OK;
    if (!usage_day_hours_of(day, &hours))
        return add_key_hour(&g->old, &of_day, err);
    for (int i = 0; i < 24; i++) {
        int64_t hour_ms = of_day.hour_ms + i * GW_MS_PER_HOUR;
        if (!hours.has[i] || hour_ms < g->from_ms || hour_ms >= g->to_ms ||
            is_dirty(g, &of_day.key, hour_ms))
            continue;
        usage_figures_add(&of_day.figures, &hours.of[i]);
        any = true;
    }
    if (any)
        usage_report_add_key(g->report, &of_day.key, &of_day.figures);
    return GW_OK;
}

static gw_status read_days(reading *g, int64_t from_ms, int64_t to_ms, gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER, opts = BSON_INITIALIZER;
    usage_append_range(&filter, "date", from_ms, to_ms);
    append_projection(&opts, false);
    return gw_db_find(g->db, COLLECTION_DAYS, &filter, &opts, add_day, g, err);
}

static gw_status add_hour(void *arg, const bson_t *hour, gw_error *err)
{
    const reading *g = arg;
    gw_object_id key;
    int64_t hour_ms;
    (void)err;
    if (!gw_bson_oid(hour, "apiKeyId", &key) || !gw_bson_date_ms(hour, "date", &hour_ms) ||
        is_dirty(g, &key, hour_ms))
        return GW_OK;
    usage_figures f = usage_figures_of(hour);
    usage_report_add_key(g->report, &key, &f);
    return GW_OK;
}

static gw_status read_hours_of_old_days(reading *g, gw_error *err)
{
    gw_status rc = GW_OK;
    for (size_t i = 0; rc == GW_OK && i < g->old.count; i++) {
        gw_db_auto_bson filter = BSON_INITIALIZER, opts = BSON_INITIALIZER;
        int64_t day_ms = g->old.items[i].hour_ms;
        usage_append_subject(&filter,
                             &(usage_subject){.kind = ROLLUP_KEY, .key = g->old.items[i].key});
        usage_append_range(&filter, "date", GW_MAX(day_ms, g->from_ms),
                           GW_MIN(day_ms + GW_MS_PER_DAY, g->to_ms));
        append_projection(&opts, true);
        rc = gw_db_find(g->db, COLLECTION_HOURS, &filter, &opts, add_hour, g, err);
    }
    return rc;
}

/* ---- all of it ---- */

static void mark_days_in_part(const reading *g, int64_t first_ms, size_t count, bool *in_part)
{
    for (size_t i = 0; i < count; i++) {
        int64_t day_ms = first_ms + (int64_t)i * GW_MS_PER_DAY;
        in_part[i] = day_ms < g->from_ms || day_ms + GW_MS_PER_DAY > g->to_ms;
    }
    for (size_t i = 0; i < g->dirty.count; i++)
        in_part[(g->dirty.items[i].hour_ms - first_ms) / GW_MS_PER_DAY] = true;
}

static gw_status read_all_days(reading *g, gw_error *err)
{
    int64_t first_ms = gw_day_start_ms(g->from_ms);
    size_t count = (size_t)((g->to_ms - first_ms + GW_MS_PER_DAY - 1) / GW_MS_PER_DAY);
    bool *in_part = calloc(count, sizeof(bool));
    gw_status rc = GW_OK;
    if (!in_part)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the days of a report");
    mark_days_in_part(g, first_ms, count, in_part);
    for (size_t i = 0, end; rc == GW_OK && i < count; i = end) {
        for (end = i + 1; end < count && in_part[end] == in_part[i]; end++) {
        }
        int64_t from_ms = first_ms + (int64_t)i * GW_MS_PER_DAY,
                to_ms = first_ms + (int64_t)end * GW_MS_PER_DAY;
        rc = in_part[i] ? read_days(g, from_ms, to_ms, err)
                        : usage_key_days_add(g->db, from_ms, to_ms, g->report, err);
    }
    free(in_part);
    return rc;
}

gw_status usage_keys_add(const gw_db *d, int64_t from_ms, int64_t to_ms, usage_report *r,
                         gw_error *err)
{
    reading g = {.db = d, .report = r, .from_ms = from_ms, .to_ms = to_ms};
    gw_status rc = find_dirty(&g, err);
    if (rc == GW_OK && g.seen == DIRTY_MAX)
        rc = usage_key_hours_sum(d, from_ms, to_ms, r, err);
    else if (rc == GW_OK) {
        rc = read_all_days(&g, err);
        if (rc == GW_OK)
            rc = read_hours_of_old_days(&g, err);
        for (size_t i = 0; rc == GW_OK && i < g.dirty.count; i++)
            usage_report_add_key(r, &g.dirty.items[i].key, &g.dirty.items[i].figures);
    }
    free(g.dirty.items);
    free(g.old.items);
    return rc;
}
