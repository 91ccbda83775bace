/*
 * Server-Sent Events (WHATWG HTML §9.2): an incremental reader and helpers to write.
 *
 * The reader takes bytes split anywhere, line ends LF, CRLF or CR, multi-line data, comments, and
 * calls back once an event with the raw bytes of the event too, so that a relay can pass it on
 * unchanged. Memory is bounded by `event_max_bytes`.
 */
#pragma once

#include "core/status.h"
#include "core/str.h"

typedef struct gw_sse_event {
    gw_str name; /* of the `event:` field, "" when none */
    gw_str data; /* of the `data:` lines joined with LF; ptr NULL when there was none (comments
                    only) */
    gw_str raw; /* every byte of the event including its blank line */
} gw_sse_event;

typedef struct gw_sse_reader gw_sse_reader;

/* `on_event` returns GW_OK to go on; anything else ends gw_sse_feed with it. Views live during the
 * call. */
typedef gw_status (*gw_sse_event_fn)(void *arg, const gw_sse_event *e, gw_error *err);

gw_sse_reader *gw_sse_reader_new(size_t event_max_bytes, gw_sse_event_fn on_event, void *arg);
void gw_sse_reader_free(gw_sse_reader *r);
GW_DEFINE_FREEP(gw_sse_reader)
/* GW_ERR_UPSTREAM_PROTOCOL when an event outgrows its bound. A single event inside one feed is not
 * copied. */
GW_CHECK gw_status gw_sse_feed(gw_sse_reader *r, gw_str bytes, gw_error *err);
/* Bytes of an unfinished event at the end of the stream: per the standard they are discarded. */
size_t gw_sse_pending_bytes(const gw_sse_reader *r);

void gw_sse_append_data(gw_buf *out,
                        gw_str data); /* "data: …\n\n", one data line a line of `data` */
