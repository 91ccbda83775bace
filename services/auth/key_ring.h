/*
 * Key ring: the newest changes in memory, from which watchers are served.
 *
 * Generations in it are contiguous: it holds all of (base, applied]. A watcher that stands below base
 * cannot be served from it.
 *
 * Thread: one owner.
 */
#pragma once

#include "change_subject.h"

#define KEY_RING_SIZE 8192

typedef struct key_ring {
    int64_t base, applied;
    change_subject subjects[KEY_RING_SIZE]; /* of generation g at g % KEY_RING_SIZE */
} key_ring;

/* Holds nothing; `applied` is where it goes on. */
void key_ring_init(key_ring *r, int64_t applied);
/* The change after `applied`; the oldest goes when it is full. */
void key_ring_push(key_ring *r, const change_subject *subject);
/* Whether all changes after `generation` are here. */
bool key_ring_reaches(const key_ring *r, int64_t generation);
/* What a generation in (base, applied] is a change of. */
const change_subject *key_ring_at(const key_ring *r, int64_t generation);
