#include "loop/loop.h"

#include "loop/loop_internal.h"

#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define EXIT_FORCED 130

void *loop_realloc(void *p, size_t count, size_t size)
{
    void *grown = reallocarray(p, count, size);
    if (!grown) {
        /* A lost timer or deferred call would hang a request for ever: worse than a restart. */
        (void)fputs("loop: out of memory\n", stderr);
        abort();
    }
    return grown;
}

static void run_deferred(gw_loop *l)
{
    /* What a deferred call defers waits for the next round, so that a chain of them cannot starve
     * the sockets. */
    for (size_t n = l->deferred_count; n > 0; n--) {
        loop_deferred d = l->deferred[l->deferred_at];
        l->deferred_at = (l->deferred_at + 1) % l->deferred_cap;
        l->deferred_count--;
        d.run(d.arg);
    }
}

static void on_alarm(uv_timer_t *t)
{
    (void)t;
}

static void set_alarm(gw_loop *l)
{
    int64_t due_ms = 0;
    if (l->deferred_count > 0) {
        due_ms = gw_loop_now_ms(l);
    } else if (!loop_timers_next(l, &due_ms)) {
        uv_timer_stop(&l->alarm);
        return;
    }
    if (uv_is_active((uv_handle_t *)&l->alarm) && l->alarm_due_ms == due_ms)
        return;
    int64_t now_ms = gw_loop_now_ms(l);
    l->alarm_due_ms = due_ms;
    uv_timer_start(&l->alarm, on_alarm, due_ms > now_ms ? (uint64_t)(due_ms - now_ms) : 0, 0);
}

static void on_before(uv_prepare_t *h)
{
    gw_loop *l = h->data;
    run_deferred(l);
    set_alarm(l);
    l->now_is_known = false;
}

static void on_after(uv_check_t *h)
{
    gw_loop *l = h->data;
    run_deferred(l);
    l->now_is_known = false;
    loop_timers_fire(l);
    run_deferred(l);
}

static void on_wake(uv_async_t *h)
{
    gw_loop *l = h->data;
    uv_stop(&l->uv);
}

static void init_handles(gw_loop *l)
{
    uv_prepare_init(&l->uv, &l->before);
    l->before.data = l;
    uv_prepare_start(&l->before, on_before);
    uv_check_init(&l->uv, &l->after);
    l->after.data = l;
    uv_check_start(&l->after, on_after);
    uv_timer_init(&l->uv, &l->alarm);
}

gw_status gw_loop_new(const gw_clock *clock, gw_loop **ret, gw_error *err)
{
    (void)signal(SIGPIPE, SIG_IGN);
    gw_loop *l = calloc(1, sizeof(*l));
    if (!l)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for an event loop");
    l->clock = clock;
    l->self = l;
    gw_list_init(&l->mailboxes);
    int rc = uv_loop_init(&l->uv);
    if (rc) {
        free(l);
        return gw_fail(err, GW_ERR_IO, "cannot make an event loop: %s", uv_strerror(rc));
    }
    rc = uv_async_init(&l->uv, &l->wake, on_wake);
    if (rc) {
        (void)uv_loop_close(&l->uv);
        free(l);
        return gw_fail(err, GW_ERR_IO, "cannot make an event loop: %s", uv_strerror(rc));
    }
    l->wake.data = l;
    init_handles(l);
    *ret = l;
    return GW_OK;
}

void gw_loop_free(gw_loop *l)
{
    if (!l)
        return;
    while (l->deferred_count > 0)
        run_deferred(l);
    loop_mailboxes_close(l);
    loop_timers_fini(l);
    uv_close((uv_handle_t *)&l->wake, NULL);
    uv_close((uv_handle_t *)&l->before, NULL);
    uv_close((uv_handle_t *)&l->after, NULL);
    uv_close((uv_handle_t *)&l->alarm, NULL);
    for (size_t i = 0; i < l->signal_count; i++)
        uv_close((uv_handle_t *)&l->signals[i], NULL);

    /* One turn runs the close callbacks; what they defer or close needs another. */
    int rc = UV_EBUSY;
    for (int turn = 0; turn < 8 && rc == UV_EBUSY; turn++) {
        while (l->uv.active_reqs.count > 0) /* with libuv's thread pool: it ends by itself */
            uv_run(&l->uv, UV_RUN_ONCE);
        uv_run(&l->uv, UV_RUN_NOWAIT);
        run_deferred(l);
        rc = uv_loop_close(&l->uv);
    }
    assert(rc == 0 && "a socket or another handle outlives its loop");
    free(l->deferred);
    free(l);
}

uv_loop_t *gw_loop_uv(gw_loop *l)
{
    return &l->uv;
}

const gw_clock *gw_loop_clock(const gw_loop *l)
{
    return l->clock;
}

int64_t gw_loop_now_ms(const gw_loop *l)
{
    gw_loop *cache = l->self;
    if (!cache->now_is_known) {
        cache->now_ms = gw_clock_mono_ms(cache->clock);
        cache->now_is_known = true;
    }
    return cache->now_ms;
}

void gw_loop_run(gw_loop *l)
{
    l->now_is_known = false;
    loop_ask_short_slices();
    uv_run(&l->uv, UV_RUN_DEFAULT);
}

void gw_loop_stop(gw_loop *l)
{
    uv_stop(&l->uv);
}

void gw_loop_stop_async(gw_loop *l)
{
    uv_async_send(&l->wake);
}

void gw_loop_defer(gw_loop *l, void (*run)(void *), void *arg)
{
    if (l->deferred_count == l->deferred_cap) {
        size_t cap = l->deferred_cap ? l->deferred_cap * 2 : 64;
        loop_deferred *ring = loop_realloc(NULL, cap, sizeof(*ring));
        for (size_t i = 0; i < l->deferred_count; i++)
            ring[i] = l->deferred[(l->deferred_at + i) % l->deferred_cap];
        free(l->deferred);
        l->deferred = ring;
        l->deferred_cap = cap;
        l->deferred_at = 0;
    }
    l->deferred[(l->deferred_at + l->deferred_count++) % l->deferred_cap] =
        (loop_deferred){run, arg};
}

/* ---- signals ---- */

static void on_signal(uv_signal_t *h, int number)
{
    gw_loop *l = h->data;
    if (number == SIGHUP) {
        if (l->reload)
            l->reload(l->signal_arg);
        return;
    }
    if (l->is_draining)
        _exit(EXIT_FORCED);
    l->is_draining = true;
    if (l->drain)
        l->drain(l->signal_arg);
}

void gw_loop_on_signals(gw_loop *l, void (*drain)(void *arg), void (*reload)(void *arg), void *arg)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP};
    l->drain = drain;
    l->reload = reload;
    l->signal_arg = arg;
    for (size_t i = 0; i < GW_ARRAY_LEN(numbers); i++) {
        uv_signal_t *h = &l->signals[l->signal_count++];
        uv_signal_init(&l->uv, h);
        h->data = l;
        int rc = uv_signal_start(h, on_signal, numbers[i]);
        assert(rc == 0);
        (void)rc;
    }
}
