/*
 * Offence book: refusals that a rule of the key counts (ApiKey.security.auto_suspend), over all relays.
 *
 *     note() ─▶ Redis: {<key id>}:offences:<rule>:<generation> ─▶ so many within the window? ─▶ auth: SuspendByRule
 *                       list of the last `count` times                                     ─▶ the watch tells every relay
 *
 * A key without the rule costs a look at its policy. Of a key with it one statement is under way at a time; what comes meanwhile
 * goes with the next. The generation is part of the name, so counting begins anew after each change of the key: a resumed key is not
 * suspended for what it did before.
 *
 * While Redis is away nothing is counted. While auth is away the call waits for it; a further offence makes another one.
 *
 * Log: key_suspended_by_rule, key_suspension_failed. Thread: one loop.
 */
#pragma once

#include "policy.h"

#include "metrics/metrics.h"
#include "redis/redis.h"
#include "rpc/client.h"

typedef enum offence {
    OFFENCE_LIMIT_EXCEEDED,
    OFFENCE_BAD_SIGNATURE,
} offence;

typedef struct offence_book offence_book;

typedef struct offence_book_options {
    gw_redis *redis; /* borrowed; freed before the book */
    gw_rpc_channel *auth; /* borrowed; freed before the book */
    gw_str service_token; /* presented to auth */
    gw_log *log;
    gw_metrics_shard *metrics; /* may be NULL */
} offence_book_options;

GW_CHECK gw_status offence_book_new(const offence_book_options *o, offence_book **ret,
                                    gw_error *err);
void offence_book_free(offence_book *b); /* NULL is fine */
void offence_book_set_service_token(offence_book *b, gw_str token);

/* Out of memory it is not counted. */
void offence_book_note(offence_book *b, const key_policy *p, offence what);
