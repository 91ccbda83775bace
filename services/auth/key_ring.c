#include "key_ring.h"

#include <assert.h>
#include <stdio.h>

void key_ring_init(key_ring *r, int64_t applied)
{
    r->base = r->applied = applied;
}

void key_ring_push(key_ring *r, const char *key_id)
{
    r->applied++;
    char *slot = r->key_ids[r->applied % KEY_RING_SIZE];
    snprintf(slot, sizeof(r->key_ids[0]), "%s", key_id);
    if (r->applied - r->base > KEY_RING_SIZE)
        r->base = r->applied - KEY_RING_SIZE;
}

bool key_ring_reaches(const key_ring *r, int64_t generation)
{
    return generation >= r->base && generation <= r->applied;
}

const char *key_ring_at(const key_ring *r, int64_t generation)
{
    assert(generation > r->base && generation <= r->applied);
    return r->key_ids[generation % KEY_RING_SIZE];
}
