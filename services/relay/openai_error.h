/*
 * OpenAI errors: how a failure looks on /v1, `{"error":{"message","type","param","code"}}`.
 *
 * A failure is one of our own errors, or an upstream's refusal that is passed on in its own words
 * (scrubbed) because only the caller can act on it.
 *
 * Thread: values; views live as long as what they were made of.
 */
#pragma once

#include "core/arena.h"
#include "core/status.h"
#include "core/str.h"

typedef struct openai_error {
    gw_error error; /* our row and message */
    int http_status;
    gw_str type;
    gw_str code; /* ptr NULL: null */
    gw_str param; /* ptr NULL: null */
    gw_str message; /* ptr NULL: error.message */
    gw_str retry_after; /* value of Retry-After to give, "" = none */
    int64_t retry_ms; /* what an upstream's body says of it (retry_hint.h); 0: nothing */
} openai_error;

/* The failure that our error table describes. `err` is copied. */
void openai_error_from(openai_error *e, const gw_error *err);

/* Appends the JSON object. */
void openai_error_write(const openai_error *e, gw_buf *out);
/* Appends the in-band form of a stream that fails: one `data:` event; no [DONE] follows it. */
void openai_error_write_event(const openai_error *e, gw_buf *out);

/*
 * What an upstream's error answer means for the caller (DATA.md, Errors on /v1): 401 and 403 are
 * ours to mend (502), 429 stays (of a used-up quota with a code of its own: waiting does not help), 5xx become 502, 503 or 504, other 4xx are the caller's own and keep
 * status and words. `body` may be any shape: OpenAI's object, {"error": "text"}, {"message"}, text.
 * `credential` is what we sent, so that it can be scrubbed. Texts go to `arena`.
 */
void openai_error_from_upstream(openai_error *e, gw_arena *arena, gw_str provider, int status,
                                bool is_json, gw_str body, gw_str credential);
/* The credential's quota or credit there is used up: for providers that say so in words of their own. */
void openai_error_from_quota(openai_error *e, gw_str provider);
/* The same for an error object inside a 200: a JSON answer or a stream's event. */
void openai_error_from_inband(openai_error *e, gw_arena *arena, gw_str provider, gw_str json,
                              gw_str credential);
