#include "redis/link.h"

#include "core/id.h"

#define BACKOFF_FIRST_MS 50
#define BACKOFF_MAX_MS   2000
#define STABLE_AFTER_MS                                                                            \
    5000 /* a connection that lasted this long does not count as one more failure */

static void schedule_retry(gw_redis_link *k)
{
    unsigned doublings = GW_MIN(k->failures, 10u);
    int64_t ceiling_ms = GW_MIN((int64_t)BACKOFF_FIRST_MS << doublings, BACKOFF_MAX_MS);
    /* Between half and all of it: replicas that lost the same server do not come back as one. */
    int64_t delay_ms = ceiling_ms / 2 + (int64_t)gw_random_below((uint64_t)ceiling_ms / 2 + 1);
    k->failures++;
    gw_timer_set(k->loop, &k->retry, delay_ms);
}

static void go_down(gw_redis_link *k, const gw_error *err)
{
    k->conn = NULL;
    if (k->state != GW_REDIS_LINK_DOWN)
        gw_log_warn(k->log, "redis_unavailable", gw_kv("redis.connection", k->role),
                    gw_kv_error(err));
    if (k->state == GW_REDIS_LINK_UP && gw_loop_now_ms(k->loop) - k->up_since_ms >= STABLE_AFTER_MS)
        k->failures = 0;
    k->state = GW_REDIS_LINK_DOWN;
    schedule_retry(k);
    k->events->on_down(k->arg);
}

static void on_ready(void *arg)
{
    gw_redis_link *k = arg;
    k->state = GW_REDIS_LINK_UP;
    k->up_since_ms = gw_loop_now_ms(k->loop);
    gw_log_info(k->log, "redis_connected", gw_kv("redis.connection", k->role),
                gw_kv("server.address", k->target->host),
                gw_kv("server.port", (int64_t)k->target->port));
    k->events->on_up(k->arg);
}

static void on_reply(void *arg, const redisReply *reply)
{
    gw_redis_link *k = arg;
    k->events->on_reply(k->arg, reply);
}

static void on_closed(void *arg, const gw_error *err)
{
    go_down(arg, err);
}

static void open_conn(void *arg)
{
    static const gw_redis_conn_events events = {on_ready, on_reply, on_closed};
    gw_redis_link *k = arg;
    k->conn = gw_redis_conn_open(k->loop, k->resolver, k->target, &events, k);
    if (!k->conn)
        schedule_retry(k); /* out of memory; waiting commands have their timeouts */
}

void gw_redis_link_init(gw_redis_link *k, gw_loop *l, gw_log *log, const char *role,
                        gw_redis_resolver *v, const gw_redis_target *t,
                        const gw_redis_link_events *events, void *arg)
{
    *k = (gw_redis_link){.loop = l,
                         .log = log,
                         .role = role,
                         .resolver = v,
                         .target = t,
                         .events = events,
                         .arg = arg};
    gw_timer_init(&k->retry, open_conn, k);
}

void gw_redis_link_fini(gw_redis_link *k)
{
    gw_timer_cancel(k->loop, &k->retry);
    if (k->conn)
        gw_redis_conn_close(k->conn);
    k->conn = NULL;
    k->state = GW_REDIS_LINK_DOWN;
}

void gw_redis_link_open(gw_redis_link *k)
{
    if (k->state != GW_REDIS_LINK_IDLE)
        return;
    k->state = GW_REDIS_LINK_OPENING;
    open_conn(k);
}

void gw_redis_link_drop(gw_redis_link *k, const gw_error *err)
{
    if (k->state != GW_REDIS_LINK_UP)
        return;
    gw_redis_conn_close(k->conn);
    go_down(k, err);
}
