#include "key_ring.h"

#include <assert.h>

void key_ring_init(key_ring *r, int64_t applied)
{
    r->base = r->applied = applied;
}

void key_ring_push(key_ring *r, const change_subject *subject)
{
    r->applied++;
    r->subjects[r->applied % KEY_RING_SIZE] = *subject;
    if (r->applied - r->base > KEY_RING_SIZE)
        r->base = r->applied - KEY_RING_SIZE;
}

bool key_ring_reaches(const key_ring *r, int64_t generation)
{
    return generation >= r->base && generation <= r->applied;
}

const change_subject *key_ring_at(const key_ring *r, int64_t generation)
{
    assert(generation > r->base && generation <= r->applied);
    return &r->subjects[generation % KEY_RING_SIZE];
}
