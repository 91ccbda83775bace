/*
 * Log query: rows of api_usage, newest first, as the call log.
 *
 * Thread: log_query_run() on a worker; the rest values.
 */
#pragma once

#include "core/arena.h"
#include "core/id.h"
#include "core/violations.h"
#include "mongo/db.h"

#include "apirelay/usage/v1/usage_service.pb-c.h"

/* Which status a row must have. */
typedef struct log_status {
    int64_t least, most; /* HTTP status; 0: any */
    const char *outcome; /* NULL: any */
} log_status;
/* "429", "4xx" or an outcome; "" is any. */
GW_CHECK bool log_status_parse(const char *text, log_status *ret);

/* Where a page ended. */
typedef struct log_position {
    int64_t timestamp_ms;
    gw_object_id id;
} log_position;
#define LOG_POSITION_SIZE 48
void log_position_format(const log_position *p, char out[LOG_POSITION_SIZE]);
GW_CHECK bool log_position_parse(gw_str text, log_position *ret);

typedef struct log_query {
    int64_t limit;
    bool has_key, has_from, has_after;
    gw_object_id key;
    gw_str model, request_id; /* borrowed; "": any */
    log_status status;
    int64_t from_ms, to_ms;
    int64_t now_ms; /* wall: few rows are later, and none by more than EVENT_AHEAD_MS */
    log_position after;
} log_query;

typedef Apirelay__Usage__V1__ListLogsRequest log_request;

/* Filters of a request; `limit` and `after` are left alone. */
void log_query_of(const log_request *r, int64_t now_ms, log_query *ret, gw_violations *v);
/* The filters as canonical text, for the cursor. */
void log_query_describe(const log_request *r, gw_buf *out);

/* A row as its message, in the arena; NULL when out of memory. */
Apirelay__Usage__V1__UsageRow *log_row_of(gw_arena *a, const bson_t *row);

/* `*ret_last` is written when there are more. */
GW_CHECK gw_status log_query_run(const gw_db *d, gw_arena *a, const log_query *q,
                                 Apirelay__Usage__V1__UsageRow ***ret, size_t *ret_count,
                                 log_position *ret_last, bool *ret_more, gw_error *err);
