/*
 * Idle connections: options.connections of them, opened at options.ramp a second, one whole answer each, then silence. The
 * window opens when all are answered; memory is what it is for.
 */
#include "load_run.h"

#include <stdlib.h>

#define TICK_MS 1

typedef struct idle {
    load_run *run;
    gw_timer timer;
    size_t opened, settled;
    int64_t started_ns;
} idle;

static void settle(load_run *r)
{
    idle *all = r->state;
    if (++all->settled == r->options->connections)
        load_run_open_window(r);
}

static void on_connected(load_link *l, void *arg)
{
    gw_str parts[LOAD_REQUEST_PARTS];
    load_run *r = arg;
    r->sent++;
    load_requests_next(r->requests, parts);
    load_link_write(l, parts, LOAD_REQUEST_PARTS);
}

static void on_answered(load_link *l, int status, bool keeps, void *arg)
{
    load_run *r = arg;
    (void)l;
    load_run_count_answer(r, status, load_now_ns());
    r->lost += !keeps;
    settle(r);
}

static void on_lost(load_link *l, void *arg)
{
    load_run *r = arg;
    idle *all = r->state;
    (void)l;
    r->lost++;
    if (all->settled < r->options->connections)
        settle(r);
}

static const load_link_ops link_ops = {
    .connected = on_connected, .answered = on_answered, .lost = on_lost};

static void open_due(void *arg)
{
    idle *all = arg;
    load_run *r = all->run;
    double due = (double)(load_now_ns() - all->started_ns) * 1e-9 * r->options->ramp + 1;
    for (; all->opened < r->options->connections && (double)all->opened < due; all->opened++)
        if (!load_link_open(r->target, &link_ops, r))
            abort();
    if (all->opened < r->options->connections)
        gw_timer_set(r->loop, &all->timer, TICK_MS);
}

static void start(load_run *r)
{
    idle *all = calloc(1, sizeof(*all));
    if (!all)
        abort();
    all->run = r;
    all->started_ns = load_now_ns();
    r->state = all;
    gw_timer_init(&all->timer, open_due, all);
    open_due(all);
}

static void stop(load_run *r)
{
    load_run_end(r);
}

const load_kind load_idle = {.start = start, .stop = stop};
