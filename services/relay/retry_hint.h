/*
 * Retry hints: in how long a provider wants to be asked again, as it says so in
 *
 *     retry-after-ms   OpenAI: milliseconds
 *     Retry-After      seconds, or a date (RFC 9110 §10.2.3), which is read against the answer's own Date
 *     RetryInfo        Google, in the error's details: "retryDelay": "34.07s"
 *
 * the first of them that can be read. Thread: values.
 */
#pragma once

#include "core/str.h"

#include <stdint.h>
#include <yyjson.h>

#define RETRY_HINT_NONE   (-1)
#define RETRY_HINT_MAX_MS (INT64_C(31) * 86400 * 1000) /* of more nothing else is made */

typedef struct retry_heads { /* "" or NULL when absent */
    gw_str retry_after_ms, retry_after, date;
} retry_heads;

/* ms, rounded up, 0 for a date that is over; RETRY_HINT_NONE when nothing is said. `wall_ms`: where it has no Date. */
int64_t retry_hint_of_heads(const retry_heads *h, int64_t wall_ms);
/* Of the error object of an answer. */
int64_t retry_hint_of_error(yyjson_val *error);
