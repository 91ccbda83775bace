#include "hour_update.h"

#include "usage_collections.h"

#include "core/fault.h"
#include "mongo/bson_read.h"

#include <stdio.h>

void hour_mark(const char *spool_id, char out[HOUR_MARK_SIZE])
{
    (void)snprintf(out, HOUR_MARK_SIZE, "m.%s", spool_id);
}

bson_t *hour_filter(const hour_delta *h, const char *mark, int64_t b)
{
    if (GW_MUTANT(ROLLUP_UNCONDITIONAL))
        return BCON_NEW("_id", BCON_UTF8(h->id));
    return BCON_NEW("_id", BCON_UTF8(h->id), mark, "{", "$not", "{", "$gte", BCON_INT64(b), "}",
                    "}");
}

void hour_append_names(bson_t *d, const hour_delta *h)
{
    if (h->kind == ROLLUP_KEY)
        gw_bson_append_oid(d, "apiKeyId", &h->api_key_id);
    else
        (void)BSON_APPEND_UTF8(d, "apiKeyId", h->subject);
    (void)BSON_APPEND_DATE_TIME(d, "date", h->hour_ms);
}

/* `rev` is random and no counter: a crash could give a counter's value to other content. */
static void append_marks(bson_t *d, const char *mark, int64_t b, int64_t rev)
{
    (void)bson_append_int64(d, mark, -1, b);
    (void)BSON_APPEND_BOOL(d, "dirty", true);
    (void)BSON_APPEND_INT64(d, "rev", rev);
}

static void append_plain(bson_t *update, hour_delta *h, const char *mark, int64_t b, int64_t rev)
{
    bson_t part;
    (void)BSON_APPEND_DOCUMENT_BEGIN(update, "$inc", &part);
    sums_append_flat(h->sums, &part);
    if (GW_MUTANT(FOLD_BY_SUM))
        (void)BSON_APPEND_INT64(&part, "changes", 1);
    (void)bson_append_document_end(update, &part);
    (void)BSON_APPEND_DOCUMENT_BEGIN(update, "$set", &part);
    append_marks(&part, mark, b, rev);
    (void)bson_append_document_end(update, &part);
    (void)BSON_APPEND_DOCUMENT_BEGIN(update, "$setOnInsert", &part);
    hour_append_names(&part, h);
    (void)bson_append_document_end(update, &part);
}

/* ---- as a pipeline ---- */

/* "<path>": {$min: [{$add: [{$ifNull: ["$<path>", 0]}, value]}, INT64_MAX]}: a sum that is too large became a double, which is
 * no figure. */
static void append_added(bson_t *set, const char *path, int64_t value)
{
    gw_auto_buf reference = {0};
    gw_buf_appendf(&reference, "$%s", path);
    if (gw_buf_failed(&reference))
        return;
    bson_t *sum =
        BCON_NEW("$min", "[", "{", "$add", "[", "{", "$ifNull", "[", BCON_UTF8(reference.data),
                 BCON_INT64(0), "]", "}", BCON_INT64(value), "]", "}", BCON_INT64(INT64_MAX), "]");
    (void)BSON_APPEND_DOCUMENT(set, path, sum);
    bson_destroy(sum);
}

static void append_sums(bson_t *set, hour_delta *h)
{
    bson_t flat = BSON_INITIALIZER;
    bson_iter_t at;
    sums_append_flat(h->sums, &flat);
    if (bson_iter_init(&at, &flat))
        while (bson_iter_next(&at))
            append_added(set, bson_iter_key(&at), bson_iter_as_int64(&at));
    bson_destroy(&flat);
}

/* One amount of a load: what stands when the id is lower, the sum when it is equal, else `value`. */
static void append_amount(bson_t *set, const char *path, const char *name, int64_t id,
                          int64_t value)
{
    gw_auto_buf field = {0};
    gw_auto_buf its_id = {0};
    gw_buf_appendf(&field, "$%s.load.%s", path, name);
    gw_buf_appendf(&its_id, "$%s.load.id", path);
    if (gw_buf_failed(&field) || gw_buf_failed(&its_id))
        return;
    bson_t *choice = BCON_NEW("$cond", "[", "{", "$gt", "[", BCON_UTF8(its_id.data), BCON_INT64(id),
                              "]", "}", BCON_UTF8(field.data), "{", "$cond", "[", "{", "$eq", "[",
                              BCON_UTF8(its_id.data), BCON_INT64(id), "]", "}", "{", "$min", "[",
                              "{", "$add", "[", BCON_UTF8(field.data), BCON_INT64(value), "]", "}",
                              BCON_INT64(INT64_MAX), "]", "}", BCON_INT64(value), "]", "}", "]");
    (void)BSON_APPEND_DOCUMENT(set, field.data + 1, choice);
    bson_destroy(choice);
}

static void append_load(bson_t *set, const ledger_load *l)
{
    gw_auto_buf path = {0};
    gw_buf_append_str(&path, gw_buf_str(&l->path));
    if (gw_buf_failed(&path))
        return;
    append_amount(set, path.data, "requests", l->id, l->requests);
    append_amount(set, path.data, "tokens", l->id, l->tokens);
    append_amount(set, path.data, "costNanoUsd", l->id, l->cost_nano_usd);
    gw_auto_buf its_id = {0};
    gw_buf_appendf(&its_id, "$%s.load.id", path.data);
    if (gw_buf_failed(&its_id))
        return;
    bson_t *newest = BCON_NEW("$max", "[", BCON_UTF8(its_id.data), BCON_INT64(l->id), "]");
    (void)BSON_APPEND_DOCUMENT(set, its_id.data + 1, newest);
    bson_destroy(newest);
}

/* Within one $set every expression sees the document as it was before. */
static void append_pipeline(bson_t *update, hour_delta *h, const char *mark, int64_t b, int64_t rev)
{
    bson_t stage;
    bson_t set;
    (void)BSON_APPEND_DOCUMENT_BEGIN(update, "0", &stage);
    (void)BSON_APPEND_DOCUMENT_BEGIN(&stage, "$set", &set);
    hour_append_names(&set, h);
    append_sums(&set, h);
    for (size_t i = 0; i < h->load_count; i++)
        append_load(&set, &h->loads[i]);
    append_marks(&set, mark, b, rev);
    (void)bson_append_document_end(&stage, &set);
    (void)bson_append_document_end(update, &stage);
}

bson_t *hour_update(hour_delta *h, hour_form form, const char *mark, int64_t b, int64_t rev)
{
    bson_t *update = bson_new();
    if (form == HOUR_FORM_PIPELINE || h->load_count || sums_count(h->sums) > HOUR_PATHS_PLAIN)
        append_pipeline(update, h, mark, b, rev);
    else
        append_plain(update, h, mark, b, rev);
    return update;
}
