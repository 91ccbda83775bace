/*
 * Nonce store: a signed request is served once, whichever relay it reaches (SECURITY.md, Signed requests).
 *
 *     {<key id>}:nonce:<nonce>   in Redis, for 600 s: twice what a timestamp may be off
 *
 * A nonce is taken only after its signature held, so strangers fill nothing.
 *
 * Thread: the loop of the Redis client.
 */
#pragma once

#include "redis/redis.h"

#define NONCE_LIFE_S "600"

typedef enum nonce_outcome {
    NONCE_FRESH,
    NONCE_USED, /* within the last 600 s */
    NONCE_UNKNOWN, /* Redis does not say */
} nonce_outcome;

typedef struct nonce_take { /* the asker's; lives until `done` */
    void (*done)(void *arg,
                 nonce_outcome outcome); /* exactly once, never inside nonce_store_take() */
    void *arg;
} nonce_take;

void nonce_store_take(gw_redis *redis, gw_str key_id, gw_str nonce, nonce_take *t);
