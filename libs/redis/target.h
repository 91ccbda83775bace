/*
 * Target: where a Redis is and how to sign in, read from a URL. Private to libs/redis.
 */
#pragma once

#include "redis/redis.h"
#include "tls/tls.h"

typedef struct gw_redis_target {
    char *host; /* name or address, without brackets */
    char *user; /* "" for the default user */
    char *password; /* "" for none */
    bool is_tls;
    gw_tls_context *tls; /* made by gw_redis_new() when is_tls; NULL: plain */
    uint16_t port;
    uint32_t db;
    int64_t connect_timeout_ms;
} gw_redis_target;

GW_CHECK gw_status gw_redis_target_init(gw_redis_target *t, const gw_redis_options *o,
                                        gw_error *err);
void gw_redis_target_fini(gw_redis_target *t); /* wipes the password */
