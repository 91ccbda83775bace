/*
 * Log windows: the stretches of time in which a page of the log is looked for, newest first, until it is
 * full. What continues a page starts with the rest of its last millisecond.
 *
 * Each is one range of an index, without a choice ($or) within it, and holds about as many rows as the
 * page wants: a server that sorts what a filter matches, instead of reading an index backwards, then
 * sorts little. Windows grow while they hold too little.
 *
 * Thread: values.
 */
#pragma once

#include "log_query.h"

typedef struct log_window {
    bool is_tie; /* of one millisecond (the position's), ids before the position's */
    bool is_open; /* to the first row */
    int64_t from_ms, to_ms; /* from inclusive, to exclusive */
} log_window;

typedef struct log_windows {
    const log_query *query;
    int64_t to_ms; /* from here on all is looked at */
    int64_t length_ms; /* of the last */
    bool tie_is_due, is_over;
} log_windows;

void log_windows_start(log_windows *w, const log_query *q);
/* The next one; false when all was looked at. `found` rows of `wanted` were in the last. */
bool log_windows_next(log_windows *w, size_t found, size_t wanted, log_window *ret);

/* The query's filters, within the window. */
void log_window_append_filter(const log_window *w, const log_query *q, bson_t *filter);
