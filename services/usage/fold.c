#include "fold.h"

#include "histogram.h"
#include "sums.h"

#include "core/clock.h"
#include "mongo/bson_read.h"

#include <stdio.h>
#include <stdlib.h>

#define NANO_PER_DOLLAR 1e9
#define HOURS_A_DAY     24

const char *const usage_hour_figures[USAGE_HOUR_FIGURES] = {
    "metrics.requests.total",    "metrics.requests.successful", "metrics.requests.failed",
    "metrics.tokens.prompt",     "metrics.tokens.completion",   "metrics.tokens.total",
    "metrics.tokens.cached",     "metrics.tokens.reasoning",    "metrics.cost.estimatedNanoUsd",
    "metrics.cost.billedNanoUsd"};

struct fold {
    rollup_kind kind;
    sums *sums;
    int64_t hours;
    bool has[HOURS_A_DAY];
    int64_t figures[HOURS_A_DAY][USAGE_HOUR_FIGURES];
};

fold *fold_new(rollup_kind kind)
{
    fold *f = (fold *)calloc(1, sizeof(*f));
    if (f)
        f->sums = sums_new();
    if (f && f->sums) {
        f->kind = kind;
        return f;
    }
    free(f);
    return NULL;
}

void fold_free(fold *f)
{
    if (!f)
        return;
    sums_free(f->sums);
    free(f);
}

void fold_add_hour(fold *f, const bson_t *hour)
{
    static const char *const parts[] = {"metrics", "hist"};
    for (size_t i = 0; i < GW_ARRAY_LEN(parts); i++) {
        bson_t part;
        if (gw_bson_doc(hour, parts[i], &part))
            sums_add_document(f->sums, gw_str_of(parts[i]), &part);
    }
    f->hours++;
    int64_t date_ms;
    if (!gw_bson_date_ms(hour, "date", &date_ms))
        return;
    int64_t of_day = (date_ms - gw_day_start_ms(date_ms)) / GW_MS_PER_HOUR;
    f->has[of_day] = true;
    for (size_t i = 0; i < USAGE_HOUR_FIGURES; i++)
        (void)gw_bson_int64(hour, usage_hour_figures[i], &f->figures[of_day][i]);
}

static void append_hours(const fold *f, bson_t *day)
{
    bson_t hours;
    (void)BSON_APPEND_DOCUMENT_BEGIN(day, "byHour", &hours);
    for (int i = 0; i < HOURS_A_DAY; i++) {
        char name[3];
        bson_t figures;
        if (!f->has[i])
            continue;
        (void)snprintf(name, sizeof(name), "%02u", (unsigned)i % 100);
        (void)BSON_APPEND_ARRAY_BEGIN(&hours, name, &figures);
        for (unsigned j = 0; j < USAGE_HOUR_FIGURES; j++) {
            const char *key;
            char buffer[16];
            (void)bson_uint32_to_string(j, &key, buffer, sizeof(buffer));
            (void)BSON_APPEND_INT64(&figures, key, f->figures[i][j]);
        }
        (void)bson_append_array_end(&hours, &figures);
    }
    (void)bson_append_document_end(day, &hours);
}

static void add_bucket(void *arg, gw_str name, int64_t count)
{
    int64_t index;
    if (gw_str_to_int64(name, &index))
        histogram_add((histogram *)arg, index, count);
}

static void set_performance(sums *s)
{
    histogram durations = {0};
    int64_t requests = sums_get(s, GW_STR("metrics.requests.total"));
    int64_t sum_ms = sums_get(s, GW_STR("metrics.performance.sumDuration"));
    sums_each(s, GW_STR("hist.dur"), add_bucket, &durations);
    sums_set_double(s, GW_STR("metrics.performance.avgResponseTime"),
                    requests > 0 ? (double)sum_ms / (double)requests : 0);
    sums_set_double(s, GW_STR("metrics.performance.p95ResponseTime"),
                    histogram_percentile(&durations, 0.95));
    sums_set_double(s, GW_STR("metrics.performance.p99ResponseTime"),
                    histogram_percentile(&durations, 0.99));
}

static void set_dollars(sums *s, gw_str path, gw_str nano_path)
{
    sums_set_double(s, path, (double)sums_get(s, nano_path) / NANO_PER_DOLLAR);
}

/* What the figures of a key, or of all, amount to. */
static void set_derived(fold *f)
{
    set_performance(f->sums);
    set_dollars(f->sums, GW_STR("metrics.cost.estimated"), GW_STR("metrics.cost.estimatedNanoUsd"));
    set_dollars(f->sums, GW_STR("metrics.cost.billed"), GW_STR("metrics.cost.billedNanoUsd"));
    sums_ensure_map(f->sums, GW_STR("metrics.models"));
    sums_ensure_map(f->sums, GW_STR("metrics.requests.errors"));
}

gw_status fold_append_day(fold *f, bson_t *day, gw_error *err)
{
    if (f->kind != ROLLUP_OWNERS)
        set_derived(f);
    sums_append_nested(f->sums, day);
    (void)BSON_APPEND_INT64(day, "hours", f->hours);
    if (f->kind != ROLLUP_OWNERS)
        append_hours(f, day);
    if (sums_failed(f->sums))
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the sums of a day");
    return GW_OK;
}
