#include "usage_key_days.h"

#include "usage_collections.h"
#include "usage_days.h"

#include "core/clock.h"

#include <endian.h>
#include <stdio.h>
#include <stdlib.h>

#define QUERY_MAX_MS 15000
#define DAYS_MAX     400 /* of a longer range none is kept */
#define PARTS_MAX    20 /* of a day; one with more keys is summed each time */

size_t usage_key_days_part_keys = 50000; /* 4.6 MB */

enum { FIGURES = sizeof(usage_figures) / sizeof(int64_t) };

typedef struct packed_key {
    uint8_t key[12];
    uint8_t figures[FIGURES][8]; /* little endian */
} packed_key;
_Static_assert(sizeof(packed_key) == 92, "as the header says");

typedef struct reading {
    const gw_db *db;
    usage_report *report;
    int64_t from_ms;
    size_t count; /* days */
    usage_figures totals[DAYS_MAX];
    bool has_total[DAYS_MAX], is_done[DAYS_MAX];
    /* of the day whose documents are read: those so far, in their order */
    struct {
        size_t day;
        int64_t made, parts, seen;
        gw_buf keys;
    } kept;
    /* of the day that is summed */
    gw_buf packed;
    usage_figures sum;
    size_t keys;
} reading;

/* ---- the server sums ---- */

static void append_sum(bson_t *group, const char *name, const char *path)
{
    bson_t sum;
    BSON_APPEND_DOCUMENT_BEGIN(group, name, &sum);
    BSON_APPEND_UTF8(&sum, "$sum", path);
    bson_append_document_end(group, &sum);
}

static void append_pipeline(bson_t *pipeline, const char *collection, int64_t from_ms,
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
    usage_append_range(&inner, "date", from_ms, to_ms);
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

static usage_figures sums_of(const bson_t *doc)
{
    usage_figures f = {0};
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
    return f;
}

/* ---- documents of the collection ---- */

static void pack(reading *g, const gw_object_id *key, const usage_figures *f)
{
    packed_key p;
    int64_t figures[FIGURES];
    memcpy(figures, f, sizeof(figures));
    memcpy(p.key, key->bytes, sizeof(p.key));
    for (size_t i = 0; i < FIGURES; i++) {
        uint64_t bits = htole64((uint64_t)figures[i]);
        memcpy(p.figures[i], &bits, sizeof(bits));
    }
    gw_buf_append(&g->packed, (const char *)&p, sizeof(p));
}

static usage_figures unpack(const char *bytes, gw_object_id *key)
{
    packed_key p;
    usage_figures f;
    int64_t figures[FIGURES];
    memcpy(&p, bytes, sizeof(p));
    memcpy(key->bytes, p.key, sizeof(p.key));
    for (size_t i = 0; i < FIGURES; i++) {
        uint64_t bits;
        memcpy(&bits, p.figures[i], sizeof(bits));
        figures[i] = (int64_t)le64toh(bits);
    }
    memcpy(&f, figures, sizeof(f));
    return f;
}

static bool agrees(const reading *g, size_t day, const usage_figures *sum)
{
    return g->has_total[day] && memcmp(sum, &g->totals[day], sizeof(*sum)) == 0;
}

static bool day_of(const reading *g, const bson_t *doc, size_t *ret)
{
    int64_t date_ms;
    if (!gw_bson_date_ms(doc, "date", &date_ms) || date_ms < g->from_ms ||
        date_ms >= g->from_ms + (int64_t)g->count * GW_MS_PER_DAY)
        return false;
    *ret = (size_t)((date_ms - g->from_ms) / GW_MS_PER_DAY);
    return true;
}

static gw_status take_total(void *arg, const bson_t *doc, gw_error *err)
{
    reading *g = arg;
    size_t day;
    (void)err;
    if (!day_of(g, doc, &day))
        return GW_OK;
    g->totals[day] = usage_figures_of(doc);
    g->has_total[day] = true;
    return GW_OK;
}

/* What one report wrote of a day, all of it. */
static void take_day(reading *g)
{
    const gw_buf *keys = &g->kept.keys;
    gw_object_id key;
    usage_figures sum = {0};
    if (gw_buf_failed(keys))
        return;
    for (size_t at = 0; at < keys->len; at += sizeof(packed_key)) {
        usage_figures f = unpack(keys->data + at, &key);
        usage_figures_add(&sum, &f);
    }
    if (!agrees(g, g->kept.day, &sum))
        return;
    for (size_t at = 0; at < keys->len; at += sizeof(packed_key)) {
        usage_figures f = unpack(keys->data + at, &key);
        usage_report_add_key(g->report, &key, &f);
    }
    g->is_done[g->kept.day] = true;
}

static void begin_day(reading *g, size_t day, const bson_t *doc)
{
    g->kept.day = day;
    g->kept.made = g->kept.seen = 0;
    g->kept.parts = 1; /* of an older version */
    (void)gw_bson_int64(doc, "made", &g->kept.made);
    (void)gw_bson_int64(doc, "parts", &g->kept.parts);
    gw_buf_clear(&g->kept.keys);
}

static gw_status take_kept(void *arg, const bson_t *doc, gw_error *err)
{
    reading *g = arg;
    gw_str keys;
    size_t day;
    int64_t date_ms = 0, made = 0;
    (void)err;
    if (!day_of(g, doc, &day) || !gw_bson_binary(doc, "keys", &keys) ||
        keys.len % sizeof(packed_key) != 0)
        return GW_OK;
    (void)gw_bson_date_ms(doc, "date", &date_ms);
    (void)gw_bson_int64(doc, "made", &made);
    int64_t part = date_ms - gw_day_start_ms(date_ms);
    if (part == 0)
        begin_day(g, day, doc);
    if (day != g->kept.day || made != g->kept.made || part != g->kept.seen)
        return GW_OK; /* left over, of another report */
    gw_buf_append_str(&g->kept.keys, keys);
    if (++g->kept.seen == g->kept.parts)
        take_day(g);
    return GW_OK;
}

static gw_status read_totals(reading *g, int64_t to_ms, gw_error *err)
{
    static const char *const fields[] = {"date", "metrics.requests", "metrics.tokens",
                                         "metrics.cost"};
    gw_db_auto_bson filter = BSON_INITIALIZER, opts = BSON_INITIALIZER;
    bson_t d;
    usage_append_range(&filter, "date", g->from_ms, to_ms);
    BSON_APPEND_DOCUMENT_BEGIN(&opts, "projection", &d);
    for (size_t i = 0; i < GW_ARRAY_LEN(fields); i++)
        BSON_APPEND_INT32(&d, fields[i], 1);
    bson_append_document_end(&opts, &d);
    return gw_db_find(g->db, COLLECTION_TOTALS, &filter, &opts, take_total, g, err);
}

static gw_status read_kept(reading *g, int64_t to_ms, gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER, opts = BSON_INITIALIZER;
    bson_t by;
    usage_append_range(&filter, "date", g->from_ms, to_ms);
    BSON_APPEND_DOCUMENT_BEGIN(&opts, "sort", &by);
    BSON_APPEND_INT32(&by, "date", 1);
    bson_append_document_end(&opts, &by);
    return gw_db_find(g->db, COLLECTION_BY_KEY, &filter, &opts, take_kept, g, err);
}

/* False when it is not written. */
static bool keep_part(const reading *g, size_t day, size_t part, size_t parts, int64_t made)
{
    gw_db_auto_bson filter = BSON_INITIALIZER, update = BSON_INITIALIZER;
    int64_t day_ms = g->from_ms + (int64_t)day * GW_MS_PER_DAY;
    size_t at = part * usage_key_days_part_keys * sizeof(packed_key);
    size_t len = GW_MIN(g->packed.len - at, usage_key_days_part_keys * sizeof(packed_key));
    gw_date date = gw_date_of_ms(day_ms);
    char id[48], number[24] = "";
    bson_t set;
    gw_error ignored;
    if (part > 0)
        (void)snprintf(number, sizeof(number), "|%zu", part);
    (void)snprintf(id, sizeof(id), "%04d-%02d-%02d%s", date.year, date.month, date.day, number);
    BSON_APPEND_UTF8(&filter, "_id", id);
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$set", &set);
    BSON_APPEND_DATE_TIME(&set, "date", day_ms + (int64_t)part);
    BSON_APPEND_BINARY(&set, "keys", BSON_SUBTYPE_BINARY, (const uint8_t *)g->packed.data + at,
                       (uint32_t)len);
    BSON_APPEND_INT64(&set, "made", made);
    BSON_APPEND_INT64(&set, "parts", (int64_t)parts);
    bson_append_document_end(&update, &set);
    return gw_db_upsert_one(g->db, COLLECTION_BY_KEY, &filter, &update, &ignored) == GW_OK;
}

/* The report has its figures, so it does not matter to it when they cannot be written. */
static void keep(const reading *g, size_t day)
{
    int64_t made = (int64_t)(gw_random_u64() >> 1);
    size_t a_part = usage_key_days_part_keys;
    size_t parts = GW_MAX((g->keys + a_part - 1) / a_part, 1);
    if (!agrees(g, day, &g->sum) || parts > PARTS_MAX || gw_buf_failed(&g->packed))
        return;
    for (size_t i = 0; i < parts && keep_part(g, day, i, parts, made); i++) {
    }
}

/* ---- summing ---- */

static gw_status sum_by_server(reading *g, const char *collection, int64_t from_ms, int64_t to_ms,
                               gw_error *err)
{
    gw_db_auto_bson pipeline = BSON_INITIALIZER, opts = BSON_INITIALIZER;
    bson_error_t e;
    const bson_t *doc, *reply;
    gw_status rc = GW_OK;
    append_pipeline(&pipeline, collection, from_ms, to_ms);
    BSON_APPEND_INT64(&opts, "maxTimeMS", QUERY_MAX_MS);
    mongoc_collection_t *c = mongoc_database_get_collection(g->db->database, collection);
    mongoc_cursor_t *cursor =
        mongoc_collection_aggregate(c, MONGOC_QUERY_NONE, &pipeline, &opts, NULL);
    gw_buf_clear(&g->packed);
    g->sum = (usage_figures){0};
    g->keys = 0;
    while (mongoc_cursor_next(cursor, &doc)) {
        gw_object_id key;
        usage_figures f = sums_of(doc);
        if (!gw_bson_oid(doc, "_id", &key))
            continue;
        usage_report_add_key(g->report, &key, &f);
        usage_figures_add(&g->sum, &f);
        if (g->keys++ < PARTS_MAX * usage_key_days_part_keys)
            pack(g, &key, &f);
    }
    if (mongoc_cursor_error_document(cursor, &e, &reply))
        rc = gw_mongo_fail(err, &e, reply, "sum by key");
    mongoc_cursor_destroy(cursor);
    mongoc_collection_destroy(c);
    return rc;
}

/* Days that nothing is known of are summed together: most often they have nothing. */
static gw_status sum_days(reading *g, gw_error *err)
{
    gw_status rc = GW_OK;
    for (size_t i = 0, end; rc == GW_OK && i < g->count; i = end) {
        end = i + 1;
        while (!g->has_total[i] && end < g->count && !g->has_total[end] && !g->is_done[end])
            end++;
        if (g->is_done[i])
            continue;
        rc = sum_by_server(g, COLLECTION_DAYS, g->from_ms + (int64_t)i * GW_MS_PER_DAY,
                           g->from_ms + (int64_t)end * GW_MS_PER_DAY, err);
        if (rc == GW_OK && end == i + 1)
            keep(g, i);
    }
    return rc;
}

static reading *new_reading(const gw_db *d, usage_report *r, gw_error *err)
{
    reading *g = calloc(1, sizeof(*g));
    if (!g) {
        (void)gw_fail(err, GW_ERR_NO_MEMORY, "no memory for a report by key");
        return NULL;
    }
    g->db = d;
    g->report = r;
    return g;
}

static void free_reading(reading *g)
{
    gw_buf_fini(&g->packed);
    gw_buf_fini(&g->kept.keys);
    free(g);
}

gw_status usage_key_days_add(const gw_db *d, int64_t from_ms, int64_t to_ms, usage_report *r,
                             gw_error *err)
{
    reading *g = new_reading(d, r, err);
    size_t count = (size_t)((to_ms - from_ms) / GW_MS_PER_DAY);
    gw_status rc;
    if (!g)
        return GW_ERR_NO_MEMORY;
    if (count > DAYS_MAX) {
        rc = sum_by_server(g, COLLECTION_DAYS, from_ms, to_ms, err);
        free_reading(g);
        return rc;
    }
    g->from_ms = from_ms;
    g->count = count;
    rc = read_totals(g, to_ms, err);
    if (rc == GW_OK)
        rc = read_kept(g, to_ms, err);
    if (rc == GW_OK)
        rc = sum_days(g, err);
    free_reading(g);
    return rc;
}

gw_status usage_key_hours_sum(const gw_db *d, int64_t from_ms, int64_t to_ms, usage_report *r,
                              gw_error *err)
{
    reading *g = new_reading(d, r, err);
    if (!g)
        return GW_ERR_NO_MEMORY;
    gw_status rc = sum_by_server(g, COLLECTION_HOURS, from_ms, to_ms, err);
    free_reading(g);
    return rc;
}
