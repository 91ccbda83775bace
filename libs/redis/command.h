/*
 * What redis.c, script.c and subscribe.c share. Private to libs/redis.
 */
#pragma once

#include "redis/link.h"

#include "core/list.h"

/* One command between the call and its reply. */
typedef struct gw_redis_op {
    gw_list node; /* in `waiting`, `sent` or `refused` of its gw_redis */
    gw_redis *redis;
    gw_redis_reply_fn done; /* NULL once called */
    void *arg;
    gw_timer timeout;
    gw_buf command; /* RESP, until it is sent */
    gw_status refusal;
    int64_t sent_ms;

    /* NULL for a plain command, and once Redis need not be told it */
    const gw_redis_script *script;
    bool is_loading; /* its command is FUNCTION LOAD; the call itself follows */
    /* RESP of key count, keys and arguments, in case they have to be sent again */
    gw_buf script_args;
    size_t script_argc; /* of those */
} gw_redis_op;

typedef struct gw_redis_subscriber gw_redis_subscriber;

struct gw_redis {
    gw_loop *loop;
    gw_log *log;
    gw_redis_target target;
    gw_redis_resolver *resolver;
    gw_redis_link link;
    int64_t command_timeout_ms;
    size_t max_pending;
    size_t pending; /* waiting and sent */
    gw_list waiting; /* for the first connection */
    gw_list sent; /* in the order of their replies */
    gw_list refused; /* to be told so from the loop */
    bool is_closing;
    gw_redis_subscriber *subscriber; /* NULL until the first subscription */
};

/* A new op that nothing points to; NULL when out of memory. */
gw_redis_op *gw_redis_op_new(gw_redis *r, gw_redis_reply_fn done, void *arg);
void gw_redis_op_issue(
    gw_redis_op *op); /* sends, queues or refuses it; takes it over. Its `command` is filled */
void gw_redis_refuse(gw_redis *r, gw_redis_reply_fn done, void *arg,
                     gw_status rc); /* without an op */

/* script.c: whether `reply` is not yet the answer to the script's call: it is unknown, or was now loaded. */
bool gw_redis_op_goes_on(const gw_redis_op *op, const redisReply *reply);
/* Fills `command` with what comes next for such an op; false when out of memory. */
GW_CHECK bool gw_redis_op_go_on(gw_redis_op *op);

void gw_redis_subscriber_free(gw_redis_subscriber *s);
