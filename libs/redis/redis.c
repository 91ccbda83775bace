#include "redis/command.h"

#include "redis/resp.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#define STALL_TIMEOUTS 3 /* command timeouts of silence that end a connection */

static void on_up(void *arg);
static void on_reply(void *arg, const redisReply *reply);
static void on_down(void *arg);
static void on_timeout(void *arg);

/* ---- an op's life ---- */

gw_redis_op *gw_redis_op_new(gw_redis *r, gw_redis_reply_fn done, void *arg)
{
    gw_redis_op *op = calloc(1, sizeof(*op));
    if (!op)
        return NULL;
    gw_list_init(&op->node);
    op->redis = r;
    op->done = done;
    op->arg = arg;
    gw_timer_init(&op->timeout, on_timeout, op);
    return op;
}

static void op_free(gw_redis_op *op)
{
    gw_list_remove(&op->node);
    gw_buf_fini(&op->command);
    gw_buf_fini(&op->script_args);
    free(op);
}

/* The one place that calls back. The op stays. */
static void tell(gw_redis_op *op, gw_status rc, const redisReply *reply)
{
    gw_redis_reply_fn done = op->done;
    op->done = NULL;
    gw_timer_cancel(op->redis->loop, &op->timeout);
    if (done)
        done(op->arg, rc, reply);
}

static void finish(gw_redis_op *op, gw_status rc, const redisReply *reply)
{
    op->redis->pending--;
    gw_list_remove(&op->node);
    tell(op, rc, reply);
    op_free(op);
}

static void finish_all(gw_list *ops, gw_status rc)
{
    gw_list taken; /* what a callback issues now is not among them */
    gw_list_init(&taken);
    gw_list *node;
    while ((node = gw_list_pop_front(ops)) != NULL)
        gw_list_push_back(&taken, node);
    while ((node = gw_list_first(&taken)) != NULL)
        finish(GW_CONTAINER_OF(node, gw_redis_op, node), rc, NULL);
}

/* ---- refusing: from the loop, never inside the call ---- */

static void run_refusal(void *arg)
{
    gw_redis_op *op = arg;
    gw_list_remove(&op->node);
    if (op->done)
        op->done(op->arg, op->refusal, NULL);
    op_free(op);
}

static void refuse(gw_redis_op *op, gw_status rc)
{
    op->refusal = rc;
    gw_list_push_back(&op->redis->refused, &op->node);
    gw_loop_defer(op->redis->loop, run_refusal, op);
}

void gw_redis_refuse(gw_redis *r, gw_redis_reply_fn done, void *arg, gw_status rc)
{
    gw_redis_op *op = gw_redis_op_new(r, done, arg);
    if (!op)
        abort(); /* a caller that is never called back hangs for ever; libs/loop ends the process for the same reason */
    refuse(op, rc);
}

/* ---- issuing ---- */

static void send_op(gw_redis_op *op)
{
    gw_redis *r = op->redis;
    gw_buf_append_str(gw_redis_conn_out(r->link.conn), gw_buf_str(&op->command));
    gw_buf_fini(&op->command);
    op->sent_ms = gw_loop_now_ms(r->loop);
    gw_list_push_back(&r->sent, &op->node);
}

void gw_redis_op_issue(gw_redis_op *op)
{
    gw_redis *r = op->redis;
    gw_redis_link_open(&r->link);
    if (gw_buf_failed(&op->command) || gw_buf_failed(&op->script_args)) {
        refuse(op, GW_ERR_NO_MEMORY);
    } else if (r->is_closing) {
        refuse(op, GW_ERR_CANCELLED);
    } else if (r->link.state == GW_REDIS_LINK_DOWN) {
        refuse(op, GW_ERR_UNAVAILABLE);
    } else if (r->pending >= r->max_pending) {
        refuse(op, GW_ERR_OVERLOADED);
    } else {
        r->pending++;
        gw_timer_set(r->loop, &op->timeout, r->command_timeout_ms);
        if (r->link.state == GW_REDIS_LINK_UP)
            send_op(op);
        else
            gw_list_push_back(&r->waiting, &op->node);
    }
}

void gw_redis_command(gw_redis *r, gw_redis_reply_fn done, void *arg, size_t argc,
                      const gw_str *argv)
{
    assert(argc >= 1);
    gw_redis_op *op = gw_redis_op_new(r, done, arg);
    if (!op) {
        gw_redis_refuse(r, done, arg, GW_ERR_NO_MEMORY);
        return;
    }
    gw_resp_append_command(&op->command, argc, argv);
    gw_redis_op_issue(op);
}

/* ---- what comes back ---- */

static void on_up(void *arg)
{
    gw_redis *r = arg;
    gw_list *node;
    while ((node = gw_list_pop_front(&r->waiting)) != NULL)
        send_op(GW_CONTAINER_OF(node, gw_redis_op, node));
}

static void on_reply(void *arg, const redisReply *reply)
{
    gw_redis *r = arg;
    gw_list *node = gw_list_first(&r->sent);
    if (!node) {
        gw_error err = {0};
        (void)gw_fail(&err, GW_ERR_UNAVAILABLE, "redis at %s port %u: sent a reply to no command",
                      r->target.host, r->target.port);
        gw_redis_link_drop(&r->link, &err);
        return;
    }
    gw_redis_op *op = GW_CONTAINER_OF(node, gw_redis_op, node);
    bool is_awaited = gw_timer_is_armed(&op->timeout);
    if (op->script && is_awaited && gw_redis_op_goes_on(op, reply)) {
        gw_list_remove(&op->node);
        if (gw_redis_op_go_on(op))
            send_op(op);
        else
            finish(op, GW_ERR_NO_MEMORY, NULL);
        return;
    }
    finish(op, gw_resp_status(reply), reply);
}

static void on_down(void *arg)
{
    gw_redis *r = arg;
    finish_all(&r->waiting, GW_ERR_UNAVAILABLE);
    finish_all(&r->sent, GW_ERR_UNAVAILABLE);
}

/* A server that was stopped, or a network that swallows packets, closes nothing: silence is all there is to see. */
static void drop_if_stalled(gw_redis *r)
{
    gw_list *first = gw_list_first(&r->sent);
    if (r->link.state != GW_REDIS_LINK_UP || !first)
        return;
    int64_t asked_ms = GW_CONTAINER_OF(first, gw_redis_op, node)->sent_ms;
    int64_t heard_ms = gw_redis_conn_heard_ms(r->link.conn);
    int64_t silence_ms = gw_loop_now_ms(r->loop) - GW_MAX(asked_ms, heard_ms);
    if (silence_ms < STALL_TIMEOUTS * r->command_timeout_ms)
        return;
    gw_error err = {0};
    (void)gw_fail(&err, GW_ERR_UNAVAILABLE, "redis at %s port %u: silent for %" PRId64 " ms",
                  r->target.host, r->target.port, silence_ms);
    gw_redis_link_drop(&r->link, &err);
}

static void on_timeout(void *arg)
{
    gw_redis_op *op = arg;
    gw_redis *r = op->redis;
    bool was_sent = op->command.data == NULL;
    if (was_sent)
        tell(op, GW_ERR_DEADLINE_EXCEEDED,
             NULL); /* keeps its place: its reply is still to come, and is dropped */
    else
        finish(op, GW_ERR_DEADLINE_EXCEEDED, NULL);
    drop_if_stalled(r);
}

/* ---- the object ---- */

gw_status gw_redis_new(gw_loop *l, gw_log *log, const gw_redis_options *o, gw_redis **ret,
                       gw_error *err)
{
    static const gw_redis_link_events events = {on_up, on_reply, on_down};
    gw_redis *r = calloc(1, sizeof(*r));
    if (!r)
        return gw_fail(err, GW_ERR_NO_MEMORY, "out of memory");
    gw_status rc = gw_redis_target_init(&r->target, o, err);
    if (rc == GW_OK && r->target.is_tls)
        rc = gw_tls_client_context_new(o->tls, false, log, &r->target.tls, err);
    if (rc == GW_OK && !(r->resolver = gw_redis_resolver_new(l)))
        rc = gw_fail(err, GW_ERR_NO_MEMORY, "out of memory");
    if (rc != GW_OK) {
        gw_redis_target_fini(&r->target);
        free(r);
        return rc;
    }
    r->loop = l;
    r->log = log;
    r->command_timeout_ms = o->command_timeout_ms > 0 ? o->command_timeout_ms : 1000;
    r->max_pending = o->max_pending ? o->max_pending : 10000;
    gw_list_init(&r->waiting);
    gw_list_init(&r->sent);
    gw_list_init(&r->refused);
    gw_redis_link_init(&r->link, l, log, "commands", r->resolver, &r->target, &events, r);
    *ret = r;
    return GW_OK;
}

void gw_redis_free(gw_redis *r)
{
    if (!r)
        return;
    r->is_closing = true;
    gw_redis_subscriber_free(r->subscriber);
    gw_redis_link_fini(&r->link);
    finish_all(&r->waiting, GW_ERR_CANCELLED);
    finish_all(&r->sent, GW_ERR_CANCELLED);
    gw_list *node;
    while ((node = gw_list_pop_front(&r->refused)) != NULL)
        tell(GW_CONTAINER_OF(node, gw_redis_op, node), GW_ERR_CANCELLED,
             NULL); /* run_refusal() frees it */
    gw_redis_resolver_free(r->resolver);
    gw_redis_target_fini(&r->target);
    free(r);
}

void gw_redis_connect(gw_redis *r)
{
    gw_redis_link_open(&r->link);
}

bool gw_redis_is_up(const gw_redis *r)
{
    return r->link.state == GW_REDIS_LINK_UP;
}

size_t gw_redis_pending(const gw_redis *r)
{
    return r->pending;
}
