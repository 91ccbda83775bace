/*
 * Whole answers. Closed loop: each connection asks again as soon as it is answered. At a fixed rate: requests become due
 * at random times (exponential gaps) whether or not earlier ones are answered, and latency counts from when one was due,
 * so that a proxy that stalls does not look good by being asked less.
 */
#include "load_run.h"

#include <math.h>
#include <stdlib.h>
#include <sys/timerfd.h>

enum { BACKLOG_MAX = 1 << 18 }; /* requests due and not sent yet */

typedef struct client {
    load_run *run;
    load_link *link; /* NULL until it is opened, and between two of them */
    int64_t started_ns;
    bool is_busy;
} client;

typedef struct unary {
    load_run *run;
    client *clients;
    client **free; /* connected and not asked for anything; the last one freed is used first */
    size_t free_count;
    size_t busy;
    /* fixed rate */
    int alarm_fd;
    uv_poll_t alarm;
    int64_t next_due_ns;
    uint64_t random;
    int64_t *backlog; /* a ring of due times */
    size_t backlog_at, backlog_count;
} unary;

static void open_link(client *c);

static void send_request(client *c, int64_t due_ns)
{
    gw_str parts[LOAD_REQUEST_PARTS];
    unary *u = c->run->state;
    c->started_ns = due_ns;
    c->is_busy = true;
    u->busy++;
    c->run->sent++;
    load_requests_next(c->run->requests, parts);
    load_link_write(c->link, parts, LOAD_REQUEST_PARTS);
}

static void be_free(client *c)
{
    unary *u = c->run->state;
    if (c->run->is_stopping) {
        if (u->busy == 0)
            load_run_end(c->run);
    } else if (c->run->options->rate <= 0) {
        send_request(c, load_now_ns());
    } else if (u->backlog_count > 0) {
        int64_t due_ns = u->backlog[u->backlog_at];
        u->backlog_at = (u->backlog_at + 1) % BACKLOG_MAX;
        u->backlog_count--;
        send_request(c, due_ns);
    } else {
        u->free[u->free_count++] = c;
    }
}

static void be_done(client *c)
{
    unary *u = c->run->state;
    u->busy -= c->is_busy;
    c->is_busy = false;
}

/* Opens the next connection unless the run ends. */
static void go_on_without_link(client *c)
{
    unary *u = c->run->state;
    c->link = NULL;
    if (!c->run->is_stopping)
        open_link(c);
    else if (u->busy == 0)
        load_run_end(c->run);
}

static void on_connected(load_link *l, void *arg)
{
    client *c = arg;
    (void)l;
    if (c->run->options->closes && c->run->options->rate <= 0 && !c->run->is_stopping)
        send_request(c, c->started_ns); /* the connection is a part of the request */
    else
        be_free(c);
}

static void on_answered(load_link *l, int status, bool keeps, void *arg)
{
    client *c = arg;
    (void)l;
    be_done(c);
    load_run_count_answer(c->run, status, c->started_ns);
    if (keeps)
        be_free(c);
    else
        go_on_without_link(c);
}

static void forget_free(unary *u, const client *c)
{
    for (size_t i = 0; i < u->free_count; i++)
        if (u->free[i] == c)
            u->free[i] = u->free[--u->free_count];
}

static void on_lost(load_link *l, void *arg)
{
    client *c = arg;
    (void)l;
    c->run->lost += c->is_busy;
    forget_free(c->run->state, c);
    be_done(c);
    go_on_without_link(c);
}

static const load_link_ops link_ops = {
    .connected = on_connected, .answered = on_answered, .lost = on_lost};

static void open_link(client *c)
{
    c->started_ns = load_now_ns();
    c->link = load_link_open(c->run->target, &link_ops, c);
    if (!c->link)
        abort();
}

/* ---- fixed rate ---- */

static void set_alarm(unary *u)
{
    struct itimerspec at = {.it_value = {.tv_sec = u->next_due_ns / 1000000000,
                                         .tv_nsec = u->next_due_ns % 1000000000}};
    if (timerfd_settime(u->alarm_fd, TFD_TIMER_ABSTIME, &at, NULL) != 0)
        abort();
}

static void become_due(unary *u, int64_t due_ns)
{
    if (u->free_count > 0) {
        send_request(u->free[--u->free_count], due_ns);
    } else if (u->backlog_count < BACKLOG_MAX) {
        u->backlog[(u->backlog_at + u->backlog_count++) % BACKLOG_MAX] = due_ns;
    } else {
        u->run->unsent++;
    }
}

static void on_alarm(uv_poll_t *p, int status, int events)
{
    unary *u = p->data;
    (void)status;
    (void)events;
    if (u->run->is_stopping) {
        uv_poll_stop(p);
        return;
    }
    int64_t now_ns = load_now_ns();
    while (u->next_due_ns <= now_ns) {
        become_due(u, u->next_due_ns);
        u->next_due_ns +=
            (int64_t)(-log(1 - load_random(&u->random)) * 1e9 / u->run->options->rate) + 1;
    }
    set_alarm(u);
}

static void start_alarm(unary *u)
{
    u->backlog = calloc(BACKLOG_MAX, sizeof(*u->backlog));
    u->alarm_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (!u->backlog || u->alarm_fd < 0)
        abort();
    u->random = LOAD_RANDOM_SEED;
    u->next_due_ns = load_now_ns();
    u->alarm.data = u;
    uv_poll_init(gw_loop_uv(u->run->loop), &u->alarm, u->alarm_fd);
    uv_poll_start(&u->alarm, UV_READABLE, on_alarm);
    set_alarm(u);
}

/* ---- kind ---- */

static void start(load_run *r)
{
    unary *u = calloc(1, sizeof(*u));
    size_t n = r->options->connections;
    if (!u || !(u->clients = calloc(n, sizeof(*u->clients))) ||
        !(u->free = calloc(n, sizeof(*u->free))))
        abort();
    u->run = r;
    r->state = u;
    for (size_t i = 0; i < n; i++) {
        u->clients[i].run = r;
        open_link(&u->clients[i]);
    }
    if (r->options->rate > 0)
        start_alarm(u);
    load_run_open_window(r);
}

static void stop(load_run *r)
{
    const unary *u = r->state;
    r->unsent += (int64_t)u->backlog_count;
    if (u->busy == 0)
        load_run_end(r);
}

const load_kind load_unary = {.start = start, .stop = stop};
