#include "redis/command.h"
#include "redis/resp.h"

#include <stdlib.h>

/* Command timeouts between two PINGs; one that nothing follows ends the connection. */
#define HEARTBEAT_TIMEOUTS 5

typedef struct subscription {
    gw_list node;
    gw_redis_message_fn on_message;
    void *arg;
    gw_str channel; /* its bytes */
    char bytes[];
} subscription;

struct gw_redis_subscriber {
    gw_redis *redis;
    gw_redis_link link;
    gw_list subscriptions;
    gw_timer heartbeat;
    int64_t pinged_ms; /* 0 before the first PING of a connection */
};

static subscription *find(gw_redis_subscriber *s, gw_str channel)
{
    gw_list_each (node, &s->subscriptions) {
        subscription *one = GW_CONTAINER_OF(node, subscription, node);
        if (gw_str_eq(one->channel, channel))
            return one;
    }
    return NULL;
}

static void subscribe(gw_redis_subscriber *s, gw_str channel)
{
    gw_resp_append_command(gw_redis_conn_out(s->link.conn), 2,
                           (const gw_str[]){GW_STR("SUBSCRIBE"), channel});
}

static void arm_heartbeat(gw_redis_subscriber *s)
{
    gw_timer_set(s->redis->loop, &s->heartbeat, HEARTBEAT_TIMEOUTS * s->redis->command_timeout_ms);
}

static void on_up(void *arg)
{
    gw_redis_subscriber *s = arg;
    gw_list_each (node, &s->subscriptions)
        subscribe(s, GW_CONTAINER_OF(node, subscription, node)->channel);
    s->pinged_ms = 0;
    arm_heartbeat(s);
}

static void on_down(void *arg)
{
    gw_redis_subscriber *s = arg;
    gw_timer_cancel(s->redis->loop, &s->heartbeat);
}

GW_PRINTF(2, 3) static void drop(gw_redis_subscriber *s, const char *format, ...)
{
    gw_error err = {0};
    va_list args;
    va_start(args, format);
    (void)gw_vfail(&err, GW_ERR_UNAVAILABLE, format, args);
    va_end(args);
    gw_redis_link_drop(&s->link, &err);
}

/* Messages may be rare, and a dead peer closes nothing: each beat wants to have heard something since the last. */
static void on_heartbeat(void *arg)
{
    gw_redis_subscriber *s = arg;
    if (gw_redis_conn_heard_ms(s->link.conn) < s->pinged_ms) {
        drop(s, "redis at %s port %u: the subscription is silent", s->redis->target.host,
             s->redis->target.port);
        return;
    }
    gw_resp_append_command(gw_redis_conn_out(s->link.conn), 1, (const gw_str[]){GW_STR("PING")});
    s->pinged_ms = gw_loop_now_ms(s->redis->loop);
    arm_heartbeat(s);
}

static bool is_text(const redisReply *reply)
{
    return reply->type == REDIS_REPLY_STRING || reply->type == REDIS_REPLY_STATUS;
}

/* RESP2 pub/sub: [subscribe, channel, count], [message, channel, payload], [pong, ""]. */
static void on_reply(void *arg, const redisReply *reply)
{
    gw_redis_subscriber *s = arg;
    if (gw_resp_status(reply) != GW_OK) {
        drop(s, "redis refuses the subscription: " GW_STR_FMT, (int)GW_MIN(reply->len, 120),
             reply->str);
        return;
    }
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements < 2 || !is_text(reply->element[0]) ||
        !is_text(reply->element[1])) {
        if (reply->type !=
            REDIS_REPLY_STATUS) /* the PONG that came before the first subscription */
            drop(s, "redis sent what is no message to a subscriber");
        return;
    }
    gw_str kind = gw_resp_text(reply->element[0]);
    subscription *one = find(s, gw_resp_text(reply->element[1]));
    if (!one)
        return;
    if (gw_str_eq_c(kind, "subscribe")) {
        one->on_message(one->arg, one->channel, NULL);
    } else if (gw_str_eq_c(kind, "message") && reply->elements == 3 && is_text(reply->element[2])) {
        gw_str message = gw_resp_text(reply->element[2]);
        one->on_message(one->arg, one->channel, &message);
    }
}

static gw_redis_subscriber *subscriber_new(gw_redis *r)
{
    static const gw_redis_link_events events = {on_up, on_reply, on_down};
    gw_redis_subscriber *s = calloc(1, sizeof(*s));
    if (!s)
        return NULL;
    s->redis = r;
    gw_list_init(&s->subscriptions);
    gw_timer_init(&s->heartbeat, on_heartbeat, s);
    gw_redis_link_init(&s->link, r->loop, r->log, "subscriptions", r->resolver, &r->target, &events,
                       s);
    return s;
}

void gw_redis_subscriber_free(gw_redis_subscriber *s)
{
    if (!s)
        return;
    gw_timer_cancel(s->redis->loop, &s->heartbeat);
    gw_redis_link_fini(&s->link);
    gw_list *node;
    while ((node = gw_list_pop_front(&s->subscriptions)) != NULL)
        free(GW_CONTAINER_OF(node, subscription, node));
    free(s);
}

gw_status gw_redis_subscribe(gw_redis *r, gw_str channel, gw_redis_message_fn on_message, void *arg,
                             gw_error *err)
{
    if (!r->subscriber)
        r->subscriber = subscriber_new(r);
    gw_redis_subscriber *s = r->subscriber;
    if (s && find(s, channel))
        return gw_fail(err, GW_ERR_ALREADY_EXISTS, "channel " GW_STR_FMT " is subscribed already",
                       GW_STR_ARG(channel));
    subscription *one = s ? calloc(1, sizeof(*one) + channel.len) : NULL;
    if (!one)
        return gw_fail(err, GW_ERR_NO_MEMORY, "out of memory");
    if (channel.len)
        memcpy(one->bytes, channel.ptr, channel.len);
    one->channel = gw_str_n(one->bytes, channel.len);
    one->on_message = on_message;
    one->arg = arg;
    gw_list_push_back(&s->subscriptions, &one->node);
    if (s->link.state == GW_REDIS_LINK_UP)
        subscribe(s, one->channel);
    else
        gw_redis_link_open(&s->link);
    return GW_OK;
}
