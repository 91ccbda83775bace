#include "refusal_table.h"

#include <assert.h>
#include <stdlib.h>

bool refusal_table_init(refusal_table *t, uint32_t capacity)
{
    assert(capacity > 0 && (capacity & (capacity - 1)) == 0);
    *t = (refusal_table){.capacity = capacity};
    gw_list_init(&t->recent);
    gw_list_init(&t->open);
    t->keys = calloc(capacity, sizeof(*t->keys));
    t->chains = calloc(capacity, sizeof(*t->chains));
    return t->keys && t->chains;
}

void refusal_table_fini(refusal_table *t)
{
    free(t->keys);
    free(t->chains);
    *t = (refusal_table){0};
}

/* Ids are our own, not the callers': their time and counter are spread well enough by one multiplication. */
static uint32_t *chain_of(const refusal_table *t, const uint8_t *id)
{
    uint64_t first;
    uint32_t last;
    memcpy(&first, id, sizeof(first));
    memcpy(&last, id + sizeof(first), sizeof(last));
    uint64_t mixed = (first ^ (uint64_t)last << 32 ^ last) * 0x9e3779b97f4a7c15U;
    return &t->chains[(mixed >> 32) & (t->capacity - 1)];
}

refusal_key *refusal_table_find(refusal_table *t, const uint8_t id[REFUSAL_KEY_ID_SIZE])
{
    for (uint32_t at = *chain_of(t, id); at; at = t->keys[at - 1].next) {
        refusal_key *k = &t->keys[at - 1];
        if (memcmp(k->id, id, REFUSAL_KEY_ID_SIZE) != 0)
            continue;
        gw_list_remove(&k->recent);
        gw_list_push_front(&t->recent, &k->recent);
        return k;
    }
    return NULL;
}

static void unchain(refusal_table *t, const refusal_key *k)
{
    uint32_t index = (uint32_t)(k - t->keys) + 1;
    uint32_t *at = chain_of(t, k->id);
    while (*at != index)
        at = &t->keys[*at - 1].next;
    *at = k->next;
}

refusal_key *refusal_table_oldest(refusal_table *t)
{
    return t->count < t->capacity ? NULL
                                  : GW_CONTAINER_OF(gw_list_last(&t->recent), refusal_key, recent);
}

refusal_key *refusal_table_add(refusal_table *t, const uint8_t id[REFUSAL_KEY_ID_SIZE])
{
    refusal_key *k = refusal_table_oldest(t);
    if (k) {
        unchain(t, k);
        gw_list_remove(&k->recent);
        refusal_table_set_slot(t, k, NULL);
    } else {
        k = &t->keys[t->count++];
    }
    *k = (refusal_key){0};
    memcpy(k->id, id, REFUSAL_KEY_ID_SIZE);
    gw_list_init(&k->open);
    gw_list_push_front(&t->recent, &k->recent);
    uint32_t *chain = chain_of(t, id);
    k->next = *chain;
    *chain = (uint32_t)(k - t->keys) + 1;
    return k;
}

void refusal_table_set_slot(refusal_table *t, refusal_key *k, struct flight_slot *slot)
{
    if (k->slot) {
        gw_list_remove(&k->open);
        t->open_count--;
    }
    if (slot) {
        gw_list_push_back(&t->open, &k->open);
        t->open_count++;
    }
    k->slot = slot;
}
