#include "ledger_sums.h"

#include "owner_parts.h"
#include "sums.h"
#include "usage_collections.h"

#include "core/clock.h"

typedef struct adding {
    gw_str path; /* "ledger.k" */
    int64_t load_id, day_ms;
    ledger_amounts *to;
} adding;

/* Of one figure: all of it, but for what the load id has. */
static int64_t figure(const adding *a, const bson_t *hour, const char *name)
{
    gw_auto_buf path = {0};
    int64_t all = 0, id = 0, loaded = 0;
    gw_buf_appendf(&path, GW_STR_FMT ".%s", GW_STR_ARG(a->path), name);
    if (gw_buf_failed(&path) || !gw_bson_int64(hour, path.data, &all))
        return 0;
    gw_buf_clear(&path);
    gw_buf_appendf(&path, GW_STR_FMT ".load.id", GW_STR_ARG(a->path));
    if (gw_buf_failed(&path) || !gw_bson_int64(hour, path.data, &id) || id != a->load_id)
        return all;
    gw_buf_clear(&path);
    gw_buf_appendf(&path, GW_STR_FMT ".load.%s", GW_STR_ARG(a->path), name);
    if (!gw_buf_failed(&path))
        (void)gw_bson_int64(hour, path.data, &loaded);
    return all - loaded;
}

static gw_status add_hour(void *arg, const bson_t *hour, gw_error *err)
{
    const adding *a = arg;
    int64_t date_ms;
    (void)err;
    if (!gw_bson_date_ms(hour, "date", &date_ms))
        return GW_OK;
    int64_t tokens = figure(a, hour, "tokens");
    sums_add_to(&a->to->tokens_this_month, tokens);
    sums_add_to(&a->to->cost_nano_usd_this_month, figure(a, hour, "costNanoUsd"));
    if (date_ms < a->day_ms)
        return GW_OK;
    sums_add_to(&a->to->tokens_today, tokens);
    sums_add_to(&a->to->requests_today, figure(a, hour, "requests"));
    return GW_OK;
}

static int64_t month_start_ms(int64_t day_ms)
{
    return day_ms - (gw_date_of_ms(day_ms).day - 1) * GW_MS_PER_DAY;
}

/* Of the subject's month until the end of the day. `filter` names its documents. */
static gw_status add_hours(const gw_db *d, const char *collection, bson_t *filter, adding *a,
                           gw_error *err)
{
    gw_db_auto_bson opts = BSON_INITIALIZER;
    bson_t part;
    BSON_APPEND_DOCUMENT_BEGIN(filter, "date", &part);
    BSON_APPEND_DATE_TIME(&part, "$gte", month_start_ms(a->day_ms));
    BSON_APPEND_DATE_TIME(&part, "$lt", a->day_ms + GW_MS_PER_DAY);
    bson_append_document_end(filter, &part);
    BSON_APPEND_DOCUMENT_BEGIN(&opts, "projection", &part);
    BSON_APPEND_INT32(&part, "date", 1);
    BSON_APPEND_INT32(&part, a->path.ptr, 1);
    bson_append_document_end(&opts, &part);
    return gw_db_find(d, collection, filter, &opts, add_hour, a, err);
}

static gw_status add_key(const gw_db *d, const gw_object_id *key, adding *a, gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER;
    gw_bson_append_oid(&filter, "apiKeyId", key);
    return add_hours(d, COLLECTION_HOURS, &filter, a, err);
}

/* `name`: of a client or an owner. */
static gw_status add_owner(const gw_db *d, gw_str name, adding *a, gw_error *err)
{
    gw_db_auto_bson of_all = BSON_INITIALIZER, of_part = BSON_INITIALIZER;
    char part[OWNER_SUBJECT_SIZE];
    owner_part_of(name, part);
    BSON_APPEND_UTF8(&of_all, "apiKeyId", ALL_KEYS);
    BSON_APPEND_UTF8(&of_part, "apiKeyId", part);
    gw_status rc = add_hours(d, COLLECTION_HOURS, &of_all, a, err);
    return rc == GW_OK ? add_hours(d, COLLECTION_OWNER_HOURS, &of_part, a, err) : rc;
}

gw_status ledger_sums_read(const gw_db *d, const ledger_subject *s, int64_t load_id, int64_t day,
                           ledger_amounts *ret, gw_error *err)
{
    static const char *const maps[] = {
        [LEDGER_KEY] = "ledger.k", [LEDGER_CLIENT] = "ledger.c.", [LEDGER_OWNER] = "ledger.o."};
    gw_auto_buf path = {0};
    char hex[GW_OBJECT_ID_HEX_SIZE];
    ledger_amounts sum = {0};
    gw_object_id_format(&s->id, hex);
    gw_str name = s->kind == LEDGER_CLIENT ? s->client : gw_str_of(hex);
    gw_buf_append_c(&path, maps[s->kind]);
    if (s->kind != LEDGER_KEY)
        gw_bson_key_escape(&path, name);
    if (gw_buf_failed(&path))
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for a ledger's name");
    adding a = {gw_buf_str(&path), load_id, day * GW_MS_PER_DAY, &sum};
    gw_status rc =
        s->kind == LEDGER_KEY ? add_key(d, &s->id, &a, err) : add_owner(d, name, &a, err);
    if (rc == GW_OK)
        *ret = sum;
    return rc;
}
