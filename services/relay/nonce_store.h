/*
 * Nonce store: a signed request is served once, whichever relay it reaches (SECURITY.md, Signed requests).
 *
 *     {<key id>}:nonce:<nonce>   in Redis, for as long as its request could pass once more (relay_request_verify.c)
 *
 * A nonce is taken only after its signature held, so strangers fill nothing.
 *
 * Thread: the loop of the Redis client.
 */
#pragma once

#include "redis/redis.h"

typedef enum nonce_outcome {
    NONCE_FRESH,
    NONCE_USED, /* and its life is not over */
    NONCE_UNKNOWN, /* Redis does not say */
} nonce_outcome;

typedef struct nonce_take { /* the asker's; lives until `done` */
    void (*done)(void *arg,
                 nonce_outcome outcome); /* exactly once, never inside nonce_store_take() */
    void *arg;
} nonce_take;

/* `life_ms` > 0 is that of a nonce that is new; a use of one that is not changes nothing. */
void nonce_store_take(gw_redis *redis, gw_str key_id, gw_str nonce, int64_t life_ms, nonce_take *t);
