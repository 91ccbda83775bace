/*
 * Usage events as bytes: at most EVENT_MAX_BYTES, so that three fit a 4 KiB page of the spool (USAGE.md).
 *
 * Thread: pure.
 */
#pragma once

#include "core/status.h"
#include "core/str.h"

#include "apirelay/usage/v1/event.pb-c.h"

typedef Apirelay__Usage__V1__UsageEvent usage_event;

#define EVENT_MAX_BYTES 1340

/*
 * Packs `e` into `out`, at most `cap` bytes. Too long: headers go first, then the user agent, the error text, then other free
 * texts are cut, and `truncated` says so. Returns the length; 0 only when `cap` is too small for the figures alone (< 512).
 */
size_t event_pack(const usage_event *e, uint8_t *out, size_t cap);

/* What live counters and ledgers count of a packed event; views into it. */
typedef struct event_figures {
    gw_str api_key_id, model, route;
    int64_t status_code, duration_ms, prompt_tokens, completion_tokens, cost_nano_usd, repeat_count;
    int64_t ttft_ms; /* -1: none, or a time before the start */
    int64_t timestamp_ms, total_tokens;
    int64_t key_load_id, client_load_id, owner_load_id; /* 0: of no ledger */
    int64_t grant_id, client_grant_id, owner_grant_id; /* 0: of no position */
    int64_t upstream_accepted; /* 0: no */
} event_figures;

#define EVENT_FIGURES_NONE ((event_figures){.ttft_ms = -1}) /* of nothing */

/* Of bytes from elsewhere; what we pack ourselves notes them (event_pack.h). Without an allocation. False when it is no message. */
GW_CHECK bool event_read_figures(gw_str packed, event_figures *ret);

/* Fetches them into this processor's cache (a hint, no wait). */
static inline void event_figures_expect(const event_figures *f)
{
    for (size_t i = 0; i < sizeof(*f); i += 64)
        __builtin_prefetch((const char *)f + i);
}
static inline void event_figures_expect_use(const event_figures *f) /* the same, to write there */
{
    for (size_t i = 0; i < sizeof(*f); i += 64)
        __builtin_prefetch((const char *)f + i, 1);
}

/* How far a request was when its relay died. */
typedef struct event_progress {
    int64_t completion_tokens;
    int64_t cost_nano_usd;
    int64_t last_byte_ms; /* wall clock; 0 = no byte was forwarded */
    int32_t status_code; /* sent to the client; 0 = none */
    int64_t key_load_id, client_load_id,
        owner_load_id; /* that its ledgers have now; 0 = as it was opened */
} event_progress;

/*
 * The event of an interrupted request, from what was known when it was forwarded: same id, billed by prompt estimate and delivered
 * tokens, outcome and error `interrupted`. Returns its length in `out`; 0 when `packed` does not unpack.
 */
size_t event_pack_interrupted(gw_str packed, const event_progress *progress, uint8_t *out,
                              size_t cap);
