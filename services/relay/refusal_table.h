/*
 * Refusal table: how many rows each key's refusals have had this second, and where the row is that counts the rest (DATA.md).
 *
 * Bounded: the key that was refused longest ago makes room for a new one.
 *
 * Thread: one owner.
 */
#pragma once

#include "core/list.h"
#include "core/str.h"

#include <stdint.h>

#define REFUSAL_KEY_ID_SIZE 12

struct flight_slot;

typedef struct refusal_key {
    gw_list recent, open; /* by last use; among those with a slot */
    uint32_t next; /* in its chain */
    uint8_t id[REFUSAL_KEY_ID_SIZE];
    int64_t second; /* wall clock; of what follows */
    int64_t rows; /* of their own */
    struct flight_slot *slot; /* of the row that counts the rest; NULL: none is open */
    int64_t waiting; /* refusals that found no slot: the next row counts them too */
} refusal_key;

typedef struct refusal_table {
    refusal_key *keys;
    uint32_t *chains; /* index + 1 of the first key; as many chains as keys, a power of two */
    uint32_t capacity, count;
    gw_list recent; /* newest first */
    gw_list open; /* keys with a slot; oldest first */
    uint32_t open_count;
} refusal_table;

/* In place. `capacity` is a power of two. False when out of memory; fini is fine then, and of a zeroed table. */
GW_CHECK bool refusal_table_init(refusal_table *t, uint32_t capacity);
void refusal_table_fini(refusal_table *t);

/* NULL when it is not there; else the newest from now on. */
refusal_key *refusal_table_find(refusal_table *t, const uint8_t id[REFUSAL_KEY_ID_SIZE]);
/* The key that refusal_table_add() puts out: its slot and what waits are the caller's to look after first. NULL: there is room. */
refusal_key *refusal_table_oldest(refusal_table *t);
/* A new key, zero but for its id; it was not there. */
refusal_key *refusal_table_add(refusal_table *t, const uint8_t id[REFUSAL_KEY_ID_SIZE]);

/* Opens (`slot` not NULL) or closes the row that counts. */
void refusal_table_set_slot(refusal_table *t, refusal_key *k, struct flight_slot *slot);
