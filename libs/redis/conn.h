/*
 * Connection: one TCP connection to Redis from its opening to its end. Private to libs/redis.
 *
 *   RESOLVING -> CONNECTING (address by address) -> SECURING (rediss://) -> GREETING (AUTH, SELECT, PING) -> READY -> CLOSED
 *
 * It belongs to whoever opened it until on_closed or gw_redis_conn_close(); the memory goes when libuv lets go.
 */
#pragma once

#include "redis/resolve.h"
#include "redis/target.h"

typedef struct gw_redis_conn gw_redis_conn;

/* On the loop, never inside a call to the connection. */
typedef struct gw_redis_conn_events {
    void (*on_ready)(void *arg);
    void (*on_reply)(void *arg, const redisReply *reply); /* after on_ready, in order */
    void (*on_closed)(void *arg,
                      const gw_error *err); /* the last one; not after gw_redis_conn_close() */
} gw_redis_conn_events;

/* NULL when out of memory. */
gw_redis_conn *gw_redis_conn_open(gw_loop *l, gw_redis_resolver *v, const gw_redis_target *t,
                                  const gw_redis_conn_events *events, void *arg);
void gw_redis_conn_close(gw_redis_conn *c); /* no event afterwards; also from inside one */

/* Where the caller appends commands once READY; they leave before the loop blocks. */
gw_buf *gw_redis_conn_out(gw_redis_conn *c);
int64_t gw_redis_conn_heard_ms(const gw_redis_conn *c); /* gw_loop_now_ms() when bytes came last */
