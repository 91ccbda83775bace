#include "usage_days.h"

#include "fold.h"
#include "usage_collections.h"

#include "core/clock.h"

#include <stdlib.h>

#define DIRTY_MAX 5000 /* hours; with more the fold is far behind, and all hours are read */

typedef struct finding {
    usage_days *days;
    size_t seen;
} finding;

void usage_append_range(bson_t *filter, const char *field, int64_t from_ms, int64_t to_ms)
{
    bson_t range;
    BSON_APPEND_DOCUMENT_BEGIN(filter, field, &range);
    BSON_APPEND_DATE_TIME(&range, "$gte", from_ms);
    BSON_APPEND_DATE_TIME(&range, "$lt", to_ms);
    bson_append_document_end(filter, &range);
}

void usage_append_subject(bson_t *filter, const usage_subject *subject)
{
    if (subject->kind == ROLLUP_KEY)
        gw_bson_append_oid(filter, "apiKeyId", &subject->key);
    else if (subject->kind == ROLLUP_ALL_KEYS)
        gw_bson_append_str(filter, "apiKeyId", GW_STR(ALL_KEYS));
}

int64_t usage_days_to_ms(const usage_days *x)
{
    return x->from_ms + (int64_t)x->count * GW_MS_PER_DAY;
}

static gw_status note_dirty(void *arg, const bson_t *hour, gw_error *err)
{
    finding *f = arg;
    int64_t date_ms;
    (void)err;
    f->seen++;
    if (gw_bson_date_ms(hour, "date", &date_ms) && date_ms >= f->days->from_ms &&
        date_ms < usage_days_to_ms(f->days))
        f->days->whole[(date_ms - f->days->from_ms) / GW_MS_PER_DAY] = false;
    return GW_OK;
}

/* An index of the dirty hours alone finds these: few, and of this subject only. */
static gw_status find_dirty(const gw_db *d, const usage_subject *subject, finding *f, gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER, opts = BSON_INITIALIZER;
    bson_t fields;
    BSON_APPEND_BOOL(&filter, "dirty", true);
    usage_append_subject(&filter, subject);
    usage_append_range(&filter, "date", f->days->from_ms, usage_days_to_ms(f->days));
    BSON_APPEND_DOCUMENT_BEGIN(&opts, "projection", &fields);
    BSON_APPEND_INT32(&fields, "date", 1);
    bson_append_document_end(&opts, &fields);
    BSON_APPEND_INT64(&opts, "limit", DIRTY_MAX);
    gw_status rc =
        gw_db_find(d, rollup_hours_collection(subject->kind), &filter, &opts, note_dirty, f, err);
    if (rc == GW_OK && f->seen == DIRTY_MAX)
        memset(f->days->whole, 0, f->days->count * sizeof(bool));
    return rc;
}

gw_status usage_days_find(const gw_db *d, int64_t from_ms, int64_t to_ms,
                          const usage_subject *subject, usage_days *ret, gw_error *err)
{
    int64_t first_ms = gw_day_start_ms(from_ms + GW_MS_PER_DAY - 1);
    int64_t end_ms = gw_day_start_ms(to_ms);
    usage_days x = {.from_ms = first_ms};
    if (first_ms < end_ms)
        x.count = (size_t)((end_ms - first_ms) / GW_MS_PER_DAY);
    x.whole = calloc(x.count + 1, sizeof(bool));
    if (!x.whole)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the days of a report");
    memset(x.whole, true, x.count * sizeof(bool));
    finding f = {.days = &x};
    gw_status rc = x.count ? find_dirty(d, subject, &f, err) : GW_OK;
    if (rc == GW_OK)
        *ret = x;
    else
        free(x.whole);
    return rc;
}

void usage_days_fini(usage_days *x)
{
    free(x->whole);
    *x = (usage_days){0};
}

/* Days alike, from `i` on: the index after the last. */
static size_t run_end(const usage_days *x, size_t i)
{
    size_t end = i + 1;
    while (end < x->count && x->whole[end] == x->whole[i])
        end++;
    return end;
}

gw_status usage_days_rest(const usage_days *x, int64_t from_ms, int64_t to_ms, usage_stretch_fn run,
                          void *arg, gw_error *err)
{
    int64_t at_ms = from_ms; /* what is before is read */
    gw_status rc = GW_OK;
    for (size_t i = 0; i < x->count && rc == GW_OK; i = run_end(x, i)) {
        if (!x->whole[i])
            continue;
        int64_t day_ms = x->from_ms + (int64_t)i * GW_MS_PER_DAY;
        if (at_ms < day_ms)
            rc = run(arg, at_ms, day_ms, err);
        at_ms = x->from_ms + (int64_t)run_end(x, i) * GW_MS_PER_DAY;
    }
    return rc == GW_OK && at_ms < to_ms ? run(arg, at_ms, to_ms, err) : rc;
}

gw_status usage_days_stretches(const usage_days *x, usage_stretch_fn run, void *arg, gw_error *err)
{
    gw_status rc = GW_OK;
    for (size_t i = 0; i < x->count && rc == GW_OK;) {
        size_t end = run_end(x, i); /* before: `run` may find a day that is not whole */
        if (x->whole[i])
            rc = run(arg, x->from_ms + (int64_t)i * GW_MS_PER_DAY,
                     x->from_ms + (int64_t)end * GW_MS_PER_DAY, err);
        i = end;
    }
    return rc;
}

/* ---- hours of a day ---- */

static bool read_figures(const bson_iter_t *hour, usage_figures *f)
{
    int64_t *const to[USAGE_HOUR_FIGURES] = {
        &f->requests,          &f->successful,     &f->failed,        &f->prompt_tokens,
        &f->completion_tokens, &f->total_tokens,   &f->cached_tokens, &f->reasoning_tokens,
        &f->cost_nano_usd,     &f->billed_nano_usd};
    bson_iter_t at;
    size_t n = 0;
    if (!BSON_ITER_HOLDS_ARRAY(hour) || !bson_iter_recurse(hour, &at))
        return false;
    while (n < USAGE_HOUR_FIGURES && bson_iter_next(&at) && BSON_ITER_HOLDS_INT(&at))
        *to[n++] = bson_iter_as_int64(&at);
    return n == USAGE_HOUR_FIGURES;
}

bool usage_day_hours_of(const bson_t *day, usage_day_hours *ret)
{
    bson_iter_t at, hours;
    memset(ret, 0, sizeof(*ret));
    if (!bson_iter_init_find(&at, day, "byHour") || !BSON_ITER_HOLDS_DOCUMENT(&at) ||
        !bson_iter_recurse(&at, &hours))
        return false;
    while (bson_iter_next(&hours)) {
        int64_t hour;
        if (gw_str_to_int64(gw_str_of(bson_iter_key(&hours)), &hour) && hour >= 0 && hour < 24)
            ret->has[hour] = read_figures(&hours, &ret->of[hour]);
    }
    return true;
}
