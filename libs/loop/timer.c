#include "loop/loop.h"

#include "loop/loop_internal.h"

#include <stdlib.h>

static bool is_before(const loop_timer_place *a, const loop_timer_place *b)
{
    return a->due_ms != b->due_ms ? a->due_ms < b->due_ms : a->order < b->order;
}

static void place(gw_loop *l, size_t index, loop_timer_place p)
{
    l->heap[index] = p;
    p.timer->heap_index = index;
}

static void sift(gw_loop *l, size_t index, loop_timer_place p)
{
    while (index > 1 && is_before(&p, &l->heap[index / 2])) {
        place(l, index, l->heap[index / 2]);
        index /= 2;
    }
    for (;;) {
        size_t child = index * 2;
        if (child > l->heap_count)
            break;
        if (child < l->heap_count && is_before(&l->heap[child + 1], &l->heap[child]))
            child++;
        if (!is_before(&l->heap[child], &p))
            break;
        place(l, index, l->heap[child]);
        index = child;
    }
    place(l, index, p);
}

static loop_timer_place place_of(gw_timer *t)
{
    return (loop_timer_place){t->due_ms, t->order, t};
}

/* A timer that was put off kept its place: it moves when that comes first, and most are put off again before. */
static void settle_first(gw_loop *l)
{
    while (l->heap_count > 0 && l->heap[1].order != l->heap[1].timer->order)
        sift(l, 1, place_of(l->heap[1].timer));
}

void gw_timer_init(gw_timer *t, void (*fire)(void *), void *arg)
{
    *t = (gw_timer){.fire = fire, .arg = arg};
}

void gw_timer_set(gw_loop *l, gw_timer *t, int64_t delay_ms)
{
    t->due_ms = gw_loop_now_ms(l) + (delay_ms > 0 ? delay_ms : 0);
    t->order = l->timers_set++;
    if (t->heap_index == 0) {
        if (l->heap_count + 1 >= l->heap_cap) {
            l->heap_cap = l->heap_cap ? l->heap_cap * 2 : 64;
            l->heap = loop_realloc(l->heap, l->heap_cap, sizeof(*l->heap));
        }
        sift(l, ++l->heap_count, place_of(t));
    } else if (t->due_ms < l->heap[t->heap_index].due_ms) {
        sift(l, t->heap_index, place_of(t));
    }
}

void gw_timer_cancel(gw_loop *l, gw_timer *t)
{
    if (t->heap_index == 0)
        return;
    size_t hole = t->heap_index;
    loop_timer_place last = l->heap[l->heap_count--];
    t->heap_index = 0;
    if (last.timer != t)
        sift(l, hole, last);
}

bool loop_timers_next(gw_loop *l, int64_t *ret_due_ms)
{
    settle_first(l);
    if (l->heap_count == 0)
        return false;
    *ret_due_ms = l->heap[1].due_ms;
    return true;
}

void loop_timers_fire(gw_loop *l)
{
    int64_t now_ms = gw_loop_now_ms(l);
    /* A timer set by a callback waits for the next round, even when it is due at once. */
    uint64_t set_before = l->timers_set;
    for (;;) {
        settle_first(l);
        if (l->heap_count == 0 || l->heap[1].due_ms > now_ms || l->heap[1].order >= set_before)
            return;
        gw_timer *t = l->heap[1].timer;
        gw_timer_cancel(l, t);
        t->fire(t->arg);
    }
}

void loop_timers_fini(gw_loop *l)
{
    for (size_t i = 1; i <= l->heap_count; i++)
        l->heap[i].timer->heap_index = 0;
    free(l->heap);
    l->heap = NULL;
    l->heap_count = l->heap_cap = 0;
}
