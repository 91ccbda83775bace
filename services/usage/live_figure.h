/*
 * Live figure: one number of a LIVE frame, and its name in the Redis hash of its second.
 *
 *     live:<second>    field <key, 24 hex or none>|<model>|<r e p c n d<bucket> t<bucket>>
 *                      field |streams|, |flight|                     (gauges, summed over relays)
 *
 * Models hold what they hold; the name is read from its two ends.
 *
 * Thread: values.
 */
#pragma once

#include "core/str.h"

#include "apirelay/usage/v1/ingest_service.pb-c.h"

#define LIVE_MODEL_MAX 256 /* bytes; longer names are cut */

typedef enum live_kind {
    LIVE_REQUESTS,
    LIVE_ERRORS,
    LIVE_PROMPT,
    LIVE_COMPLETION,
    LIVE_COST, /* nano-USD */
    LIVE_DURATION, /* a bucket of it */
    LIVE_TTFT,
    LIVE_OPEN_STREAMS,
    LIVE_IN_FLIGHT
} live_kind;

typedef struct live_figure {
    live_kind kind;
    gw_str key; /* 12 bytes; empty: the rest */
    gw_str model;
    int32_t bucket; /* of LIVE_DURATION and LIVE_TTFT */
    int64_t value;
} live_figure;

/* Calls `each` for every figure of the frame that is not 0, gauges first. */
void live_figures_of(const Apirelay__Usage__V1__Live *frame,
                     void (*each)(void *arg, const live_figure *f), void *arg);

void live_figure_name(const live_figure *f, gw_buf *out); /* appends */
/* `key_bytes` (12) holds the key that *ret borrows, as it borrows the model. False: no such name.
 * `value` is left 0. */
bool live_figure_parse(gw_str name, char *key_bytes, live_figure *ret);
