/*
 * Link: a connection that is opened again whenever it breaks, with jittered backoff. Private to libs/redis.
 *
 * Logs redis_connected and redis_unavailable at changes only.
 */
#pragma once

#include "redis/conn.h"

typedef enum gw_redis_link_state {
    GW_REDIS_LINK_IDLE, /* nobody has asked for it yet */
    GW_REDIS_LINK_OPENING, /* the first attempt */
    GW_REDIS_LINK_UP,
    GW_REDIS_LINK_DOWN, /* lost or never reached; attempts go on */
} gw_redis_link_state;

typedef struct gw_redis_link_events {
    void (*on_up)(void *arg);
    void (*on_reply)(void *arg, const redisReply *reply);
    void (*on_down)(void *arg); /* also for each attempt that failed */
} gw_redis_link_events;

typedef struct gw_redis_link {
    gw_loop *loop;
    gw_log *log;
    const char *role; /* in the log */
    gw_redis_resolver *resolver;
    const gw_redis_target *target;
    const gw_redis_link_events *events;
    void *arg;

    gw_redis_conn *conn; /* NULL while waiting for the next attempt */
    gw_redis_link_state state;
    gw_timer retry;
    unsigned failures; /* in a row */
    int64_t up_since_ms;
} gw_redis_link;

void gw_redis_link_init(gw_redis_link *k, gw_loop *l, gw_log *log, const char *role,
                        gw_redis_resolver *v, const gw_redis_target *t,
                        const gw_redis_link_events *events, void *arg);
void gw_redis_link_fini(gw_redis_link *k); /* no event afterwards */
void gw_redis_link_open(gw_redis_link *k); /* nothing unless IDLE */
void gw_redis_link_drop(gw_redis_link *k,
                        const gw_error *err); /* gives an UP connection up: on_down, then retries */
