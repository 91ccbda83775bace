/* RatingService: a period's rows by other prices, in order of time, as far as one call goes. */
#include "query_op.h"
#include "rating_scan.h"
#include "time_range.h"
#include "usage_collections.h"

#include "mongo/bson_read.h"

#define ROWS_MAX    200000 /* looked at in one call */
#define TIME_MAX_MS 20000
#define TEXT_MAX    512 /* of a filter */

typedef Apirelay__Usage__V1__RateUsageRequest rate_request;
typedef Apirelay__Usage__V1__RateUsageResponse rate_response;

typedef struct rate_data {
    int64_t from_ms, to_ms;
    bool has_key;
    gw_object_id key;
} rate_data;

static void append_query(const rate_data *d, bson_t *filter, bson_t *opts)
{
    static const char *const read[] = {"timestamp", "apiKeyId",      "clientId",
                                       "provider",  "upstreamModel", "request.model",
                                       "usage",     "billingBasis",  "serviceTier"};
    bson_t part;
    if (d->has_key) {
        bson_oid_t oid;
        bson_oid_init_from_data(&oid, d->key.bytes);
        BSON_APPEND_OID(filter, "apiKeyId", &oid);
    }
    BSON_APPEND_DOCUMENT_BEGIN(filter, "timestamp", &part);
    BSON_APPEND_DATE_TIME(&part, "$gte", d->from_ms);
    BSON_APPEND_DATE_TIME(&part, "$lt", d->to_ms);
    bson_append_document_end(filter, &part);
    BSON_APPEND_DOCUMENT_BEGIN(opts, "sort", &part);
    BSON_APPEND_INT32(&part, "timestamp", 1);
    bson_append_document_end(opts, &part);
    BSON_APPEND_DOCUMENT_BEGIN(opts, "projection", &part);
    for (size_t i = 0; i < GW_ARRAY_LEN(read); i++)
        BSON_APPEND_INT32(&part, read[i], 1);
    bson_append_document_end(opts, &part);
}

static gw_status run_rate(query_op *o, const gw_db *db, gw_error *err)
{
    const rate_request *r = (const void *)o->request;
    const rate_data *d = o->data;
    gw_db_auto_bson filter = BSON_INITIALIZER, opts = BSON_INITIALIZER;
    gw_auto(rating) sums =
        rating_new(o->arena, &(rating_options){r->price_books, r->n_price_books, r->by_key});
    rate_response *m = reply_new(o->arena, &apirelay__usage__v1__rate_usage_response__descriptor);
    if (!sums || !m)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory to price what was used");
    rating_scan s = {
        .asked = r,
        .rating = sums,
        .clock = &gw_system_clock,
        .bounds = {ROWS_MAX, gw_clock_mono_ms(&gw_system_clock) + TIME_MAX_MS},
    };
    append_query(d, &filter, &opts);
    gw_status rc = gw_db_find(db, COLLECTION_ROWS, &filter, &opts, rating_scan_row, &s, err);
    if (rc == GW_OK || s.is_cut)
        rc = rating_reply(sums, m, err);
    if (rc != GW_OK)
        return rc;
    m->from = reply_time(o->arena, d->from_ms);
    m->to = reply_time(o->arena, d->to_ms);
    if (s.is_cut)
        m->next_from = reply_time(o->arena, s.next_ms);
    o->response = &m->base;
    return GW_OK;
}

static void check_text(const char *text, const char *field, gw_violations *v)
{
    if (strlen(text) > TEXT_MAX)
        gw_violations_add(v, field, "must be at most %d bytes", TEXT_MAX);
}

static void rate_usage(gw_rpc_call *call, const ProtobufCMessage *request, void *arg)
{
    const rate_request *r = (const void *)request;
    query_op *o = query_op_new(arg, call, request, run_rate, sizeof(rate_data));
    gw_violations v = {0};
    gw_error err = {0};
    if (!o)
        return;
    rate_data *d = o->data;
    d->from_ms = r->from ? time_of(r->from, "from", &v) : gw_month_start_ms(o->now_ms);
    d->to_ms = r->to ? time_of(r->to, "to", &v) : o->now_ms;
    if (d->to_ms <= d->from_ms)
        gw_violations_add(&v, "to", "the range must end after it starts");
    d->has_key = *r->api_key_id != '\0';
    if (d->has_key && !gw_object_id_parse(gw_str_of(r->api_key_id), &d->key))
        gw_violations_add(&v, "apiKeyId", "must be 24 hex digits");
    check_text(r->client_id, "clientId", &v);
    check_text(r->model, "model", &v);
    if (r->n_price_books > RATING_BOOKS_MAX + 1) /* the file's beside them */
        gw_violations_add(&v, "priceBooks", "must be at most %d", RATING_BOOKS_MAX + 1);
    query_op_start(o, gw_violations_split(&v, &err, &o->further), &err);
}

const gw_rpc_handler rating_handlers[] = {
    {.path = "/apirelay.usage.v1.RatingService/RateUsage", .start = rate_usage},
    {0},
};
