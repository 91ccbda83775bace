/*
 * Ring of slot indexes from one thread to one other. Its capacity is the number of slots there are, so that a push always fits.
 *
 * Thread: one pushes, one pops; no lock, no wait. Who pushes and then sees no sleeper was seen by it (sequentially consistent); for a
 * popper that never sleeps there is index_ring_give(), which does not wait for what the pusher stored before.
 */
#pragma once

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

typedef struct index_ring {
    uint32_t *items;
    uint32_t mask;
    _Alignas(64) atomic_uint_least32_t pushed; /* written by the pusher */
    _Alignas(64) atomic_uint_least32_t popped; /* written by the popper */
} index_ring;

/* False when out of memory. `capacity` > 0. */
static inline bool index_ring_init(index_ring *r, uint32_t capacity)
{
    uint32_t size = 1;
    while (size < capacity)
        size *= 2;
    r->items = calloc(size, sizeof(*r->items));
    r->mask = size - 1;
    atomic_init(&r->pushed, 0);
    atomic_init(&r->popped, 0);
    return r->items != NULL;
}

static inline void index_ring_fini(index_ring *r)
{
    free(r->items);
    r->items = NULL;
}

static inline uint32_t index_ring_place(index_ring *r, uint32_t index)
{
    uint32_t at = atomic_load_explicit(&r->pushed, memory_order_relaxed);
    assert(at - atomic_load_explicit(&r->popped, memory_order_relaxed) <= r->mask);
    r->items[at & r->mask] = index;
    return at + 1;
}

static inline void index_ring_push(index_ring *r, uint32_t index)
{
    atomic_store(&r->pushed, index_ring_place(r, index));
}

static inline void index_ring_give(index_ring *r, uint32_t index)
{
    atomic_store_explicit(&r->pushed, index_ring_place(r, index), memory_order_release);
}

static inline bool index_ring_pop(index_ring *r, uint32_t *ret)
{
    uint32_t at = atomic_load_explicit(&r->popped, memory_order_relaxed);
    if (at == atomic_load_explicit(&r->pushed, memory_order_acquire))
        return false;
    *ret = r->items[at & r->mask];
    atomic_store_explicit(&r->popped, at + 1, memory_order_release);
    return true;
}

static inline bool index_ring_is_empty(const index_ring *r)
{
    return atomic_load_explicit(&r->popped, memory_order_relaxed) == atomic_load(&r->pushed);
}
