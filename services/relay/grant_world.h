/*
 * The world of the ledgers, drawn at random: relays with their real grant books, keys that may share a client with limits of its own,
 * one store (in memory), a network that loses, doubles and delays commands of one statement or many, spools, usage, and faults: kill -9,
 * partitions, data loss of the store, edits, the end of a window. Times are a tenth of the real ones. What must never happen is looked for at
 * each step; once all is quiet the books must agree to the unit. For tests.
 *
 * Thread: one.
 */
#pragma once

#include <stdint.h>

/* What goes wrong in it. */
typedef enum grant_world_profile {
    WORLD_NET, /* messages; edits */
    WORLD_CRASH, /* relays, with their disk or without */
    WORLD_PART, /* partitions */
    WORLD_REDIS, /* the store loses what it has */
    WORLD_MIX,
    WORLD_PROFILES
} grant_world_profile;

/* A rule that this world does not keep, for tests of the tests. */
typedef enum grant_world_mutant {
    WORLD_WHOLE,
    WORLD_NO_FINAL,
    WORLD_OPEN_NOT_BILLED,
    WORLD_NO_BARRIER,
    WORLD_COUNTS_TWICE,
    WORLD_NO_QUARANTINE,
    WORLD_SLOTS_LAPSE_EARLY,
    WORLD_FORGIVEN_AT_LEASE
} grant_world_mutant;

typedef struct grant_world_result {
    int64_t admitted, refused, unavailable, extended; /* requests */
    int64_t batched; /* commands of several statements */
    int64_t now_ms; /* when it ended */
    char violation[256]; /* "": of none */
} grant_world_result;

/* The same seed is the same world. */
void grant_world_run(unsigned seed, grant_world_profile p, grant_world_mutant m,
                     grant_world_result *ret);
