/*
 * LibreChat's books: what it has booked for one answer, summed from its `transactions`.
 *
 * A run of an agent may call several models, each with a transaction for its prompt and one for its completion; all name the answer
 * (`messageId`). Amounts are negative there: tokens that were spent in rawAmount, credits in tokenValue, and of a prompt with a
 * cache what was read from it and written into it. 1,000,000 credits are one US dollar, and fractions of a credit are kept.
 *
 * Thread: values.
 */
#pragma once

#include "core/id.h"
#include "core/str.h"

#include <bson/bson.h>

#define LIBRECHAT_TRANSACTIONS  "transactions"
#define LIBRECHAT_NANO_A_CREDIT 1000 /* nano-USD */

typedef struct librechat_booking {
    int64_t transactions; /* that were added; 0: nothing is booked */
    int64_t newest_ms; /* when the last of them was made, by the clock of whoever made it */
    int64_t prompt_tokens, completion_tokens;
    int64_t cache_read_tokens, cache_write_tokens; /* of the prompt */
    double credits;
    double dearest_credits; /* of the one that named `model` */
    char model[128]; /* what most credits were booked for; "": none was named */
    gw_object_id user; /* whose account it was */
    bool has_user;
} librechat_booking;

/* Adds one transaction; one that is not about tokens, or that cannot be read, adds nothing. */
void librechat_booking_add(librechat_booking *b, const bson_t *transaction);

/* The credits in our unit, nano-USD. */
int64_t librechat_booking_nano_usd(const librechat_booking *b);

/* The fields that librechat_booking_add() reads, and messageId: a projection. */
void librechat_append_fields(bson_t *opts);
