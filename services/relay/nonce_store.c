#include "nonce_store.h"

#include <stdio.h>

#define NAME_MAX_BYTES 192 /* a key id of 12 and a nonce of 128 bytes */

/* SET … NX answers OK, or nil when the name was there. */
static void on_set(void *arg, gw_status rc, const redisReply *m)
{
    const nonce_take *t = arg;
    nonce_outcome outcome = NONCE_UNKNOWN;

    if (rc == GW_OK && m->type == REDIS_REPLY_STATUS)
        outcome = NONCE_FRESH;
    else if (rc == GW_OK && m->type == REDIS_REPLY_NIL)
        outcome = NONCE_USED;
    t->done(t->arg, outcome);
}

void nonce_store_take(gw_redis *redis, gw_str key_id, gw_str nonce, int64_t life_ms, nonce_take *t)
{
    char name[NAME_MAX_BYTES], life[24];
    int life_len = snprintf(life, sizeof(life), "%lld", (long long)life_ms);
    int len = snprintf(name, sizeof(name), "{" GW_STR_FMT "}:nonce:" GW_STR_FMT, GW_STR_ARG(key_id),
                       GW_STR_ARG(nonce));

    gw_redis_call(redis, on_set, t, GW_STR("SET"),
                  gw_str_n(name, GW_MIN((size_t)len, sizeof(name) - 1)), GW_STR("1"), GW_STR("PX"),
                  gw_str_n(life, (size_t)life_len), GW_STR("NX"));
}
