#include "log_query.h"

#include "event_row.h"
#include "log_window.h"
#include "query_op.h"
#include "time_range.h"
#include "usage_collections.h"

#include <stdio.h>

#define TEXT_MAX 512 /* of a filter */

typedef Apirelay__Usage__V1__UsageRow usage_row;

/* ---- filters ---- */

bool log_status_parse(const char *text, log_status *ret)
{
    static const char *const outcomes[] = {"complete", "partial", "interrupted",
                                           "cached",   "refused", "failed"};
    int64_t code;
    log_status s = {0};
    if (*text == '\0') {
        *ret = s;
        return true;
    }
    for (size_t i = 0; i < GW_ARRAY_LEN(outcomes); i++) {
        if (strcmp(text, outcomes[i]) == 0) {
            *ret = (log_status){.outcome = outcomes[i]};
            return true;
        }
    }
    if (strlen(text) != 3 || text[0] < '1' || text[0] > '5')
        return false;
    if (strcmp(text + 1, "xx") == 0) {
        int64_t least = (text[0] - '0') * 100LL;
        *ret = (log_status){.least = least, .most = least + 99};
        return true;
    }
    if (!gw_str_to_int64(gw_str_of(text), &code))
        return false;
    *ret = (log_status){.least = code, .most = code};
    return true;
}

static void check_text(const char *text, const char *field, gw_violations *v)
{
    if (strlen(text) > TEXT_MAX)
        gw_violations_add(v, field, "must be at most %d bytes", TEXT_MAX);
}

void log_query_of(const log_request *r, int64_t now_ms, log_query *ret, gw_violations *v)
{
    ret->now_ms = now_ms;
    ret->model = gw_str_of(r->model);
    ret->request_id = gw_str_of(r->request_id);
    check_text(r->model, "model", v);
    check_text(r->request_id, "requestId", v);
    ret->has_key = *r->api_key_id != '\0';
    if (ret->has_key && !gw_object_id_parse(gw_str_of(r->api_key_id), &ret->key))
        gw_violations_add(v, "apiKeyId", "must be 24 hex digits");
    if (!log_status_parse(r->status, &ret->status))
        gw_violations_add(v, "status",
                          "must be an HTTP status (\"429\"), a class (\"4xx\") or one of "
                          "complete|partial|interrupted|cached|refused|failed");
    ret->has_from = r->from != NULL;
    ret->from_ms = r->from ? time_of(r->from, "from", v) : 0;
    /* The clock of a relay may be ahead. */
    ret->to_ms = r->to ? time_of(r->to, "to", v) : now_ms + EVENT_AHEAD_MS + 1;
    if (r->from && r->to && ret->to_ms <= ret->from_ms)
        gw_violations_add(v, "to", "the range must end after it starts");
}

static void describe_time(gw_buf *out, const char *name, const Google__Protobuf__Timestamp *t)
{
    if (t)
        gw_buf_appendf(out, "%s=%lld.%d;", name, (long long)t->seconds, (int)t->nanos);
}

void log_query_describe(const log_request *r, gw_buf *out)
{
    gw_buf_append_c(out, "logs;");
    page_filter(out, "apiKeyId", r->api_key_id);
    page_filter(out, "model", r->model);
    page_filter(out, "status", r->status);
    page_filter(out, "requestId", r->request_id);
    describe_time(out, "from", r->from);
    describe_time(out, "to", r->to);
}

/* ---- position ---- */

void log_position_format(const log_position *p, char out[LOG_POSITION_SIZE])
{
    char hex[GW_OBJECT_ID_HEX_SIZE];
    gw_object_id_format(&p->id, hex);
    (void)snprintf(out, LOG_POSITION_SIZE, "%lld:%s", (long long)p->timestamp_ms, hex);
}

bool log_position_parse(gw_str text, log_position *ret)
{
    gw_str time, rest = text;
    return gw_str_split(&rest, ':', &time) && gw_str_to_int64(time, &ret->timestamp_ms) &&
           gw_object_id_parse(rest, &ret->id);
}

/* ---- rows ---- */

static char *text_at(gw_arena *a, const bson_t *row, const char *path)
{
    gw_str s = GW_STR("");
    (void)gw_bson_str(row, path, &s);
    return reply_text(a, s);
}

static int64_t int_at(const bson_t *row, const char *path)
{
    int64_t v = 0;
    (void)gw_bson_int64(row, path, &v);
    return v;
}

static char *id_at(gw_arena *a, const bson_t *row, const char *path)
{
    gw_object_id id;
    char hex[GW_OBJECT_ID_HEX_SIZE];
    if (!gw_bson_oid(row, path, &id))
        return reply_text(a, GW_STR(""));
    gw_object_id_format(&id, hex);
    return reply_text(a, gw_str_of(hex));
}

static bool read_headers(gw_arena *a, const bson_t *row, Apirelay__Usage__V1__UsageRequest *m)
{
    typedef Apirelay__Usage__V1__UsageRequest__HeadersEntry entry;
    bson_t headers;
    bson_iter_t at;
    if (!gw_bson_doc(row, "request.headers", &headers))
        return true;
    m->headers = gw_arena_array(a, entry *, bson_count_keys(&headers) + 1);
    if (!m->headers || !bson_iter_init(&at, &headers))
        return false;
    while (bson_iter_next(&at)) {
        gw_auto_buf name = {0};
        uint32_t len = 0;
        if (!BSON_ITER_HOLDS_UTF8(&at))
            continue;
        const char *value = bson_iter_utf8(&at, &len);
        entry *e = reply_new(a, &apirelay__usage__v1__usage_request__headers_entry__descriptor);
        if (!e)
            return false;
        gw_bson_key_unescape(&name, gw_str_n(bson_iter_key(&at), bson_iter_key_len(&at)));
        e->key = reply_text(a, gw_buf_str(&name));
        e->value = reply_text(a, gw_str_n(value, len));
        m->headers[m->n_headers++] = e;
    }
    return true;
}

static Apirelay__Usage__V1__UsageRequest *request_of(gw_arena *a, const bson_t *row)
{
    Apirelay__Usage__V1__UsageRequest *m =
        reply_new(a, &apirelay__usage__v1__usage_request__descriptor);
    if (!m || !read_headers(a, row, m))
        return NULL;
    m->endpoint = text_at(a, row, "request.endpoint");
    m->method = text_at(a, row, "request.method");
    m->model = text_at(a, row, "request.model");
    m->ip = text_at(a, row, "request.ip");
    m->user_agent = text_at(a, row, "request.userAgent");
    return m;
}

static Apirelay__Usage__V1__UsageResponse *response_of(gw_arena *a, const bson_t *row)
{
    Apirelay__Usage__V1__UsageResponse *m =
        reply_new(a, &apirelay__usage__v1__usage_response__descriptor);
    if (!m)
        return NULL;
    m->status_code = (int32_t)int_at(row, "response.statusCode");
    (void)gw_bson_double(row, "response.duration", &m->duration);
    m->error = text_at(a, row, "response.error");
    return m;
}

static Apirelay__Usage__V1__UsageFigures *figures_of(gw_arena *a, const bson_t *row)
{
    Apirelay__Usage__V1__UsageFigures *m =
        reply_new(a, &apirelay__usage__v1__usage_figures__descriptor);
    if (!m)
        return NULL;
    m->prompt_tokens = int_at(row, "usage.promptTokens");
    m->completion_tokens = int_at(row, "usage.completionTokens");
    m->total_tokens = int_at(row, "usage.totalTokens");
    (void)gw_bson_double(row, "usage.cost", &m->cost);
    m->cached_tokens = int_at(row, "usage.cachedTokens");
    m->reasoning_tokens = int_at(row, "usage.reasoningTokens");
    m->cost_nano_usd = int_at(row, "usage.costNanoUsd");
    m->cache_write_tokens = int_at(row, "usage.cacheWriteTokens");
    m->images = int_at(row, "usage.images");
    m->long_cache_write_tokens = int_at(row, "usage.longCacheWriteTokens");
    return m;
}

static Apirelay__Usage__V1__UsageMetadata *metadata_of(gw_arena *a, const bson_t *row)
{
    Apirelay__Usage__V1__UsageMetadata *m =
        reply_new(a, &apirelay__usage__v1__usage_metadata__descriptor);
    if (!m)
        return NULL;
    m->conversation_id = text_at(a, row, "metadata.conversationId");
    m->message_id = text_at(a, row, "metadata.messageId");
    m->client_version = text_at(a, row, "metadata.clientVersion");
    return m;
}

static void read_attribution(gw_arena *a, const bson_t *row, usage_row *m)
{
    m->request_id = text_at(a, row, "requestId");
    m->client_request_id = text_at(a, row, "clientRequestId");
    m->key_id = text_at(a, row, "keyId");
    m->client_id = text_at(a, row, "clientId");
    m->user_id = id_at(a, row, "userId");
    m->provider = text_at(a, row, "provider");
    m->upstream_model = text_at(a, row, "upstreamModel");
    m->end_user = text_at(a, row, "endUser");
    m->route = text_at(a, row, "route");
}

static void read_course(gw_arena *a, const bson_t *row, usage_row *m)
{
    bool flag = false;
    double ttft_ms;
    m->stream = gw_bson_bool(row, "stream", &flag) && flag;
    m->ceiling_ignored = gw_bson_bool(row, "ceilingIgnored", &flag) && flag;
    m->truncated = gw_bson_bool(row, "truncated", &flag) && flag;
    if (gw_bson_double(row, "ttftMs", &ttft_ms)) {
        m->ttft_ms_presence_case = APIRELAY__USAGE__V1__USAGE_ROW__TTFT_MS_PRESENCE_TTFT_MS;
        m->ttft_ms = ttft_ms;
    }
    m->attempts = (int32_t)int_at(row, "attempts");
    m->billing_basis = text_at(a, row, "billingBasis");
    m->outcome = text_at(a, row, "outcome");
    m->price_book_version = text_at(a, row, "priceBookVersion");
    m->finish_reason = text_at(a, row, "finishReason");
    m->service_tier = text_at(a, row, "serviceTier");
    m->repeat_count = GW_MAX(int_at(row, "repeatCount"), 1);
}

/* False when out of memory. */
static bool read_booking(gw_arena *a, const bson_t *row, usage_row *m)
{
    bool booked = false;
    int64_t at_ms = 0;
    m->upstream_response_id = text_at(a, row, "upstreamResponseId");
    if (!gw_bson_bool(row, "librechat.booked", &booked))
        return true;
    Apirelay__Usage__V1__LibrechatBooking *b =
        reply_new(a, &apirelay__usage__v1__librechat_booking__descriptor);
    if (!b)
        return false;
    (void)gw_bson_date_ms(row, "librechat.at", &at_ms);
    (void)gw_bson_double(row, "librechat.credits", &b->credits);
    b->booked = booked;
    b->cost_nano_usd = int_at(row, "librechat.costNanoUsd");
    b->prompt_tokens = int_at(row, "librechat.promptTokens");
    b->completion_tokens = int_at(row, "librechat.completionTokens");
    b->cache_read_tokens = int_at(row, "librechat.cacheReadTokens");
    b->cache_write_tokens = int_at(row, "librechat.cacheWriteTokens");
    b->difference_tokens = int_at(row, "librechat.differenceTokens");
    b->difference_nano_usd = int_at(row, "librechat.differenceNanoUsd");
    b->transactions = int_at(row, "librechat.transactions");
    b->model = text_at(a, row, "librechat.model");
    b->user_id = id_at(a, row, "librechat.userId");
    b->at = reply_time(a, at_ms);
    m->librechat = b;
    return b->at != NULL;
}

usage_row *log_row_of(gw_arena *a, const bson_t *row)
{
    usage_row *m = reply_new(a, &apirelay__usage__v1__usage_row__descriptor);
    int64_t timestamp_ms = 0;
    if (!m)
        return NULL;
    (void)gw_bson_date_ms(row, "timestamp", &timestamp_ms);
    m->id = id_at(a, row, "_id");
    m->api_key_id = id_at(a, row, "apiKeyId");
    m->timestamp = reply_time(a, timestamp_ms);
    m->request = request_of(a, row);
    m->response = response_of(a, row);
    m->usage = figures_of(a, row);
    m->metadata = metadata_of(a, row);
    read_attribution(a, row, m);
    read_course(a, row, m);
    bool whole = m->timestamp && m->request && m->response && m->usage && m->metadata;
    return whole && read_booking(a, row, m) ? m : NULL;
}

/* ---- reading ---- */

typedef struct listing {
    gw_arena *arena;
    usage_row **rows;
    size_t count, limit;
    bool more;
    log_position last;
} listing;

static gw_status add_row(void *arg, const bson_t *doc, gw_error *err)
{
    listing *l = arg;
    if (l->count == l->limit) {
        l->more = true;
        return GW_OK;
    }
    /* An _id that is no ObjectId is not ours; a list that is ordered by it cannot go on there. */
    if (!gw_bson_oid(doc, "_id", &l->last.id) ||
        !gw_bson_date_ms(doc, "timestamp", &l->last.timestamp_ms))
        return GW_OK;
    l->rows[l->count] = log_row_of(l->arena, doc);
    if (!l->rows[l->count])
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for a page of the log");
    l->count++;
    return GW_OK;
}

static gw_status read_window(const gw_db *d, const log_query *q, const log_window *w, listing *l,
                             gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER, opts = BSON_INITIALIZER;
    bson_t sort;
    log_window_append_filter(w, q, &filter);
    BSON_APPEND_DOCUMENT_BEGIN(&opts, "sort", &sort);
    BSON_APPEND_INT32(&sort, "timestamp", -1);
    BSON_APPEND_INT32(&sort, "_id", -1);
    bson_append_document_end(&opts, &sort);
    /* One more tells whether a page follows. */
    BSON_APPEND_INT64(&opts, "limit", (int64_t)(l->limit - l->count) + 1);
    return gw_db_find(d, COLLECTION_ROWS, &filter, &opts, add_row, l, err);
}

gw_status log_query_run(const gw_db *d, gw_arena *a, const log_query *q, usage_row ***ret,
                        size_t *ret_count, log_position *ret_last, bool *ret_more, gw_error *err)
{
    listing l = {.arena = a, .limit = (size_t)q->limit};
    log_windows windows;
    log_window w;
    size_t before = 0;
    gw_status rc = GW_OK;
    l.rows = gw_arena_array(a, usage_row *, l.limit + 1);
    if (!l.rows)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for a page of the log");
    log_windows_start(&windows, q);
    while (rc == GW_OK && !l.more &&
           log_windows_next(&windows, l.count - before, l.limit - l.count + 1, &w)) {
        before = l.count;
        rc = read_window(d, q, &w, &l, err);
    }
    if (rc != GW_OK)
        return rc;
    *ret = l.rows;
    *ret_count = l.count;
    *ret_last = l.last;
    *ret_more = l.more;
    return GW_OK;
}
