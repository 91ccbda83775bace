/*
 * Streams: options.connections of them, opened at options.ramp a second, one answer each. The window opens when all have
 * their first chunk; the run ends when all are complete. Chunks carry the upstream's clock (script.h).
 */
#include "load_run.h"
#include "script.h"

#include <stdlib.h>

#define TICK_MS 1

typedef struct listener {
    load_run *run;
    int64_t started_ns;
    bool has_begun;
} listener;

typedef struct sse {
    load_run *run;
    gw_timer timer;
    listener *listeners;
    size_t opened, begun, ended;
    int64_t started_ns;
} sse;

static bool read_mark(gw_str at, int64_t *ret_ns)
{
    return at.len > SCRIPT_TIME_DIGITS &&
           gw_str_to_int64(gw_str_n(at.ptr + 1, SCRIPT_TIME_DIGITS), ret_ns);
}

static void note_chunk(load_run *r, int64_t sent_ns, int64_t now_ns)
{
    if (!r->is_measuring)
        return;
    r->chunks++;
    histogram_add(&r->chunk_delay, now_ns - sent_ns);
}

static void begin(listener *s, int64_t now_ns)
{
    sse *all = s->run->state;
    s->has_begun = true;
    histogram_add(&s->run->first_chunk, now_ns - s->started_ns); /* of every stream */
    if (++all->begun == s->run->options->connections)
        load_run_open_window(s->run);
}

static void on_body(load_link *l, gw_str bytes, void *arg)
{
    listener *s = arg;
    int64_t now_ns = load_now_ns();
    const char *end = bytes.ptr + bytes.len;
    const char *at = bytes.ptr;
    (void)l;
    if (!s->has_begun)
        begin(s, now_ns);
    while ((at = memchr(at, SCRIPT_TIME_MARK, (size_t)(end - at)))) {
        int64_t sent_ns;
        if (read_mark(gw_str_n(at, (size_t)(end - at)), &sent_ns))
            note_chunk(s->run, sent_ns, now_ns);
        at++;
    }
}

static void on_connected(load_link *l, void *arg)
{
    gw_str parts[LOAD_REQUEST_PARTS];
    listener *s = arg;
    s->run->sent++;
    load_requests_next(s->run->requests, parts);
    load_link_write(l, parts, LOAD_REQUEST_PARTS);
}

static void finish(listener *s)
{
    sse *all = s->run->state;
    if (!s->has_begun)
        begin(s, load_now_ns()); /* it never will: the others are measured */
    if (++all->ended == s->run->options->connections)
        load_run_end(s->run);
}

static void on_answered(load_link *l, int status, bool keeps, void *arg)
{
    listener *s = arg;
    (void)keeps;
    load_run_count_answer(s->run, status, s->started_ns);
    load_link_close(l, false);
    finish(s);
}

static void on_lost(load_link *l, void *arg)
{
    listener *s = arg;
    (void)l;
    s->run->lost++;
    finish(s);
}

static const load_link_ops link_ops = {
    .connected = on_connected, .body = on_body, .answered = on_answered, .lost = on_lost};

static void open_due(void *arg)
{
    sse *all = arg;
    load_run *r = all->run;
    double due = (double)(load_now_ns() - all->started_ns) * 1e-9 * r->options->ramp + 1;
    while (all->opened < r->options->connections && (double)all->opened < due) {
        listener *s = &all->listeners[all->opened++];
        *s = (listener){.run = r, .started_ns = load_now_ns()};
        if (!load_link_open(r->target, &link_ops, s))
            abort();
    }
    if (all->opened < r->options->connections)
        gw_timer_set(r->loop, &all->timer, TICK_MS);
}

static void start(load_run *r)
{
    sse *all = calloc(1, sizeof(*all));
    if (!all || !(all->listeners = calloc(r->options->connections, sizeof(*all->listeners))))
        abort();
    all->run = r;
    all->started_ns = load_now_ns();
    r->state = all;
    gw_timer_init(&all->timer, open_due, all);
    open_due(all);
}

static void stop(load_run *r)
{
    (void)r; /* the streams end by themselves */
}

const load_kind load_sse = {.start = start, .stop = stop};
