#include "usage_days.h"

#include "usage_collections.h"

#include "core/clock.h"

#include <stdlib.h>

#define DIRTY_MAX 5000 /* hours; with more the fold is far behind, and all hours are read */

typedef struct finding {
    usage_days *days;
    const gw_object_id *key;
    bool each_key;
    size_t seen;
} finding;

int64_t usage_days_to_ms(const usage_days *x)
{
    return x->from_ms + (int64_t)x->count * GW_MS_PER_DAY;
}

static bool concerns(const finding *f, const bson_t *hour)
{
    gw_object_id key;
    bool is_of_a_key = gw_bson_oid(hour, "apiKeyId", &key);
    if (f->each_key)
        return true;
    return f->key ? is_of_a_key && memcmp(key.bytes, f->key->bytes, sizeof(key.bytes)) == 0
                  : !is_of_a_key;
}

static gw_status note_dirty(void *arg, const bson_t *hour, gw_error *err)
{
    finding *f = arg;
    int64_t date_ms;
    (void)err;
    f->seen++;
    if (!gw_bson_date_ms(hour, "date", &date_ms) || date_ms < f->days->from_ms ||
        date_ms >= usage_days_to_ms(f->days) || !concerns(f, hour))
        return GW_OK;
    f->days->whole[(date_ms - f->days->from_ms) / GW_MS_PER_DAY] = false;
    return GW_OK;
}

static gw_status find_dirty(const gw_db *d, finding *f, gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER, opts = BSON_INITIALIZER;
    bson_t fields;
    BSON_APPEND_BOOL(&filter, "dirty", true);
    BSON_APPEND_DOCUMENT_BEGIN(&opts, "projection", &fields);
    BSON_APPEND_INT32(&fields, "apiKeyId", 1);
    BSON_APPEND_INT32(&fields, "date", 1);
    bson_append_document_end(&opts, &fields);
    BSON_APPEND_INT64(&opts, "limit", DIRTY_MAX);
    gw_status rc = gw_db_find(d, COLLECTION_HOURS, &filter, &opts, note_dirty, f, err);
    if (rc == GW_OK && f->seen == DIRTY_MAX)
        memset(f->days->whole, 0, f->days->count * sizeof(bool));
    return rc;
}

gw_status usage_days_find(const gw_db *d, int64_t from_ms, int64_t to_ms, const gw_object_id *key,
                          bool each_key, usage_days *ret, gw_error *err)
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
    finding f = {.days = &x, .key = key, .each_key = each_key};
    gw_status rc = x.count ? find_dirty(d, &f, err) : GW_OK;
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
