#include "shared_reads.h"

void shared_reads_init(shared_reads *s, gw_loop *l, const shared_reads_options *o)
{
    *s = (shared_reads){.loop = l, .o = *o};
    gw_list_init(&s->idle);
    gw_list_init(&s->queue);
}

/* ---- what is learnt of reads as such ---- */

static void note_failure(shared_reads *s, const gw_error *err)
{
    s->tried_ms = gw_loop_now_ms(s->loop);
    if (!s->is_failing)
        gw_log_warn(s->o.log, s->o.lost, gw_kv_error(err));
    s->is_failing = true;
}

static void note_success(shared_reads *s)
{
    if (s->is_failing)
        gw_log_info(s->o.log, s->o.found);
    s->is_failing = false;
}

/* ---- who waits ---- */

/* An asker may go away, or others come, while one is told; so may what was read. */
static void tell_all(shared_read *r)
{
    gw_list told;
    gw_list *node;

    gw_timer_cancel(r->all->loop, &r->limit);
    gw_list_init(&told);
    while ((node = gw_list_pop_front(&r->waits)))
        gw_list_push_back(&told, node);
    while ((node = gw_list_pop_front(&told))) {
        shared_wait *w = GW_CONTAINER_OF(node, shared_wait, node);
        gw_list_init(&w->node);
        w->done(w->arg);
    }
}

static void on_limit(void *arg)
{
    shared_read *r = arg;
    const shared_reads_options *o = &r->all->o;
    gw_error err;

    if (gw_list_is_empty(&r->waits))
        return;
    (void)gw_fail(&err, GW_ERR_DEADLINE_EXCEEDED, "%s was not read within %lld ms", o->what,
                  (long long)o->wait_ms);
    note_failure(r->all, &err);
    tell_all(r);
}

void shared_wait_forget(shared_wait *w)
{
    gw_list_remove(&w->node);
}

/* ---- reading ---- */

static void read_next(shared_reads *s)
{
    gw_list *node;

    while (s->reads < s->o.reads_max && (node = gw_list_pop_front(&s->queue))) {
        shared_read *r = GW_CONTAINER_OF(node, shared_read, node);
        gw_list_init(&r->node);
        r->is_queued = false;
        if (gw_list_is_empty(&r->waits)) { /* nobody wants to know any more */
            gw_list_push_back(&s->idle, &r->node);
            continue;
        }
        r->is_reading = true;
        s->reads++;
        s->o.begin(r);
    }
}

static void put_into_queue(shared_read *r)
{
    gw_list_push_back(&r->all->queue, &r->node);
    r->is_queued = true;
}

void shared_read_ended(shared_read *r, gw_status rc, const gw_error *err, bool again)
{
    shared_reads *s = r->all;

    s->reads--;
    r->is_reading = false;
    if (rc == GW_OK)
        note_success(s);
    else
        note_failure(s, err);
    if (rc == GW_OK && again && !gw_list_is_empty(&r->waits)) {
        put_into_queue(r);
    } else {
        gw_list_push_back(&s->idle, &r->node);
        tell_all(r);
    }
    read_next(s);
}

bool shared_read_ask(shared_read *r, shared_wait *w)
{
    shared_reads *s = r->all;
    int64_t now_ms = gw_loop_now_ms(s->loop);

    if (s->is_failing && now_ms - s->tried_ms < s->o.retry_ms)
        return false;
    if (s->is_failing)
        s->tried_ms = now_ms; /* this is the try */
    if (gw_list_is_empty(&r->waits))
        gw_timer_set(s->loop, &r->limit, s->o.wait_ms);
    gw_list_push_back(&r->waits, &w->node);
    if (!r->is_queued && !r->is_reading) {
        gw_list_remove(&r->node);
        put_into_queue(r);
        read_next(s);
    }
    return true;
}

/* ---- things ---- */

void shared_read_init(shared_read *r, shared_reads *s)
{
    *r = (shared_read){.all = s};
    gw_list_init(&r->waits);
    gw_timer_init(&r->limit, on_limit, r);
    gw_list_push_back(&s->idle, &r->node);
}

void shared_read_fini(shared_read *r)
{
    gw_list_remove(&r->node);
    gw_timer_cancel(r->all->loop, &r->limit);
}

void shared_read_used(shared_read *r)
{
    if (r->is_queued || r->is_reading)
        return;
    gw_list_remove(&r->node);
    gw_list_push_back(&r->all->idle, &r->node);
}

shared_read *shared_reads_oldest(const shared_reads *s)
{
    gw_list *oldest = gw_list_first(&s->idle);
    return oldest ? GW_CONTAINER_OF(oldest, shared_read, node) : NULL;
}
