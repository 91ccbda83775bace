#define _GNU_SOURCE /* pthread_setname_np */
#include "rpc/init.h"
#include "rpc/rpc_internal.h"

#include <assert.h>
#include <grpc/support/log.h>
#include <grpc/support/time.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

/*
 * gRPC writes its own lines, not JSON and with whole header values in them; what matters comes to us
 * as the status of a call or of a start.
 */
static void drop_log(gpr_log_func_args *args)
{
    (void)args;
}

void gw_rpc_init(void)
{
    if (!getenv("GRPC_VERBOSITY") && !getenv("GRPC_TRACE")) /* someone looks into gRPC itself */
        gpr_set_log_function(drop_log);
    sigset_t all, before;
    rpc_accept_prepare();
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    grpc_init();
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void gw_rpc_shutdown(void)
{
    grpc_shutdown_blocking();
}

/* Also when a mailbox is freed with the event in it: an event is never lost, or its call would be. */
static void deliver(gw_message *m)
{
    rpc_tag *t = GW_CONTAINER_OF(m, rpc_tag, message);
    t->complete(t->owner, t->success);
}

void rpc_tag_init(rpc_tag *t, void (*complete)(void *owner, bool success), void *owner)
{
    *t = (rpc_tag){
        .message = {.deliver = deliver, .destroy = deliver}, .complete = complete, .owner = owner};
}

void rpc_pump_take(gw_rpc_pump *p)
{
    atomic_fetch_add_explicit(&p->in_core, 1, memory_order_release);
}

void rpc_pump_untake(gw_rpc_pump *p)
{
    size_t before = atomic_fetch_sub_explicit(&p->in_core, 1, memory_order_acq_rel);
    assert(before > 0 && "an event of a batch that was never started");
    (void)before;
}

bool rpc_start_batch(gw_rpc_pump *p, grpc_call *core, const grpc_op *ops, size_t n, rpc_tag *t)
{
    rpc_pump_take(p);
    if (grpc_call_start_batch(core, ops, n, t, NULL) == GRPC_CALL_OK)
        return true;
    rpc_pump_untake(p);
    return false;
}

static void *run(void *arg)
{
    gw_rpc_pump *p = arg;
    for (;;) {
        grpc_event e =
            grpc_completion_queue_next(p->queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
        if (e.type == GRPC_QUEUE_SHUTDOWN)
            return NULL;
        if (e.type != GRPC_OP_COMPLETE)
            continue;
        rpc_pump_untake(p); /* before the tag is looked at */
        rpc_tag *t = e.tag;
        t->success = e.success != 0;
        (void)gw_mailbox_post(p->mailbox, &t->message);
    }
}

static int start_thread(gw_rpc_pump *p)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&p->thread, NULL, run, p);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc == 0)
        (void)pthread_setname_np(p->thread, "rpc-pump");
    return rc;
}

gw_status gw_rpc_pump_new(gw_loop *l, gw_rpc_pump **ret, gw_error *err)
{
    gw_rpc_pump *p = calloc(1, sizeof *p);
    if (!p)
        return gw_fail(err, GW_ERR_NO_MEMORY, "rpc: no memory for a pump");
    p->loop = l;
    gw_status rc = gw_mailbox_new(l, &p->mailbox, err);
    if (rc != GW_OK) {
        free(p);
        return rc;
    }
    gw_rpc_init();
    p->queue = grpc_completion_queue_create_for_next(NULL);
    p->running = start_thread(p) == 0;
    if (!p->running) {
        gw_rpc_pump_free(p);
        return gw_fail(err, GW_ERR_IO, "rpc: cannot start a thread");
    }
    *ret = p;
    return GW_OK;
}

void gw_rpc_pump_describe(gw_rpc_pump *p, const gw_schema *schema, gw_rpc_metrics metrics)
{
    p->schema = schema;
    p->metrics = metrics;
}

void rpc_pump_stop(gw_rpc_pump *p)
{
    if (!p->mailbox)
        return;
    grpc_completion_queue_shutdown(p->queue);
    if (p->running)
        pthread_join(p->thread, NULL);
    else
        (void)run(p); /* the thread could not be started: the queue is empty */
    gw_mailbox_free(gw_steal(&p->mailbox));
}

void gw_rpc_pump_free(gw_rpc_pump *p)
{
    if (!p)
        return;
    rpc_pump_stop(p);
    grpc_completion_queue_destroy(p->queue);
    gw_rpc_shutdown();
    free(p);
}
