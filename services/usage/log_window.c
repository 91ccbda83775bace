#include "log_window.h"

#include "core/clock.h"

#define FIRST_MS   (10 * GW_MS_PER_S)
#define LONGEST_MS (400 * GW_MS_PER_DAY) /* then all the rest at once */

void log_windows_start(log_windows *w, const log_query *q)
{
    *w = (log_windows){.query = q, .to_ms = q->to_ms, .tie_is_due = q->has_after};
    if (q->has_after)
        w->to_ms = GW_MIN(q->to_ms, q->after.timestamp_ms);
}

/* After one without rows twice or four times: what is behind a long silence may be dense. */
static int64_t next_length_ms(const log_windows *w, size_t found, size_t wanted)
{
    if (w->length_ms == 0)
        return FIRST_MS;
    if (found == 0)
        return w->length_ms * (w->length_ms < GW_MS_PER_HOUR ? 4 : 2);
    size_t times = (wanted + found - 1) / found;
    return w->length_ms * (int64_t)GW_MIN(GW_MAX(times, 2), 8);
}

bool log_windows_next(log_windows *w, size_t found, size_t wanted, log_window *ret)
{
    const log_query *q = w->query;
    if (w->tie_is_due) {
        int64_t at_ms = q->after.timestamp_ms;
        w->tie_is_due = false;
        *ret = (log_window){.is_tie = true, .from_ms = at_ms, .to_ms = at_ms + 1};
        return true;
    }
    w->is_over = w->is_over || (q->has_from && w->to_ms <= q->from_ms);
    if (w->is_over)
        return false;
    if (q->request_id.len) { /* another index finds it */
        *ret = (log_window){.is_open = !q->has_from, .from_ms = q->from_ms, .to_ms = w->to_ms};
        w->is_over = true;
        return true;
    }
    if (w->to_ms >
        q->now_ms + 1) { /* what is to come has hardly any rows: no reason to make long steps */
        int64_t from_ms = q->has_from ? GW_MAX(q->now_ms + 1, q->from_ms) : q->now_ms + 1;
        *ret = (log_window){.from_ms = from_ms, .to_ms = w->to_ms};
        w->to_ms = from_ms;
        return true;
    }
    w->length_ms = next_length_ms(w, found, wanted);
    int64_t from_ms = w->to_ms - w->length_ms;
    /* No row is older than 1970, and a server may refuse a time before the year 1. */
    bool is_last = q->has_from ? from_ms <= q->from_ms : w->length_ms > LONGEST_MS || from_ms <= 0;
    *ret = (log_window){.is_open = is_last && !q->has_from,
                        .from_ms = is_last ? q->from_ms : from_ms,
                        .to_ms = w->to_ms};
    w->to_ms = ret->from_ms;
    w->is_over = is_last;
    return true;
}

static void append_time(const log_window *w, const log_query *q, bson_t *filter)
{
    bson_t part;
    if (w->is_tie) {
        BSON_APPEND_DATE_TIME(filter, "timestamp", w->from_ms);
        BSON_APPEND_DOCUMENT_BEGIN(filter, "_id", &part);
        gw_bson_append_oid(&part, "$lt", &q->after.id);
        bson_append_document_end(filter, &part);
        return;
    }
    BSON_APPEND_DOCUMENT_BEGIN(filter, "timestamp", &part);
    if (!w->is_open)
        BSON_APPEND_DATE_TIME(&part, "$gte", w->from_ms);
    BSON_APPEND_DATE_TIME(&part, "$lt", w->to_ms);
    bson_append_document_end(filter, &part);
}

void log_window_append_filter(const log_window *w, const log_query *q, bson_t *filter)
{
    bson_t part;
    if (q->request_id.len)
        gw_bson_append_str(filter, "requestId", q->request_id);
    if (q->has_key)
        gw_bson_append_oid(filter, "apiKeyId", &q->key);
    append_time(w, q, filter);
    if (q->model.len)
        gw_bson_append_str(filter, "request.model", q->model);
    if (q->status.outcome)
        BSON_APPEND_UTF8(filter, "outcome", q->status.outcome);
    if (q->status.least) {
        BSON_APPEND_DOCUMENT_BEGIN(filter, "response.statusCode", &part);
        BSON_APPEND_INT64(&part, "$gte", q->status.least);
        BSON_APPEND_INT64(&part, "$lte", q->status.most);
        bson_append_document_end(filter, &part);
    }
}
