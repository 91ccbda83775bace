/*
 * Event to row: what a packed UsageEvent must be, and the document of api_usage made of it.
 *
 * Judging comes before the claim and its verdict is kept in the claim: after it nothing is set
 * aside, so that every replica and every later version makes the same rows of the same claim.
 *
 * Everything rollups count by stands in the row: an hour can be made again from its rows
 * (rollup.h).
 *
 * Thread: values.
 */
#pragma once

#include "core/id.h"
#include "core/status.h"
#include "core/str.h"

#include <bson/bson.h>

#include "apirelay/usage/v1/event.pb-c.h"

#define EVENT_FORMAT            1 /* of Hello.format */
#define EVENT_BYTES_MAX         (16 << 10) /* a relay packs 1,340 at most */
#define EVENT_AHEAD_MS          (10LL * 60 * 1000)
#define EVENT_TOKENS_MAX        1000000000000LL
#define EVENT_COST_NANO_USD_MAX 1000000000000000LL /* a million dollars */
#define EVENT_RESPONSE_ID_MAX   64 /* of what LibreChat calls an answer; a longer one is left out */
#define EVENT_DURATION_MS_MAX   (30LL * 24 * 3600 * 1000)

typedef Apirelay__Usage__V1__UsageEvent usage_event;

/* The unpacked event, freed by the caller; NULL when it is no UsageEvent at all. */
usage_event *event_unpack(gw_str packed);
void event_free(usage_event *e); /* NULL is fine */

/* Why an event makes no row. */
#define EVENT_REASONS                                                                              \
    "malformed|too_large|bad_id|bad_figure|bad_word|name_too_long|too_many_headers|in_the_future|" \
    "too_old"
bool event_reason_is_known(gw_str reason);

/* NULL when a row can be made of it, else why not: one of EVENT_REASONS. */
const char *event_judge(gw_str packed, int64_t now_ms, int64_t retention_ms);

/* The event's id as far as it can be read; else 12 bytes made of spool and seq, the same each time. */
void event_id_of(gw_str packed, gw_str spool_id, int64_t seq, gw_object_id *ret);
/* False when there is none to read. */
GW_CHECK bool event_id_read(gw_str packed, gw_object_id *ret);

/* Short, of a-z, 0-9 and _, as the names of our tables are. */
bool event_is_word(gw_str text);

/* Appends the fields of the row of a judged event to `row`; the claim's format (rollup.h). */
void event_append_row(const usage_event *e, int sums_format, bson_t *row);
