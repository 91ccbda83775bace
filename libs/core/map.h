/*
 * Hash map from bytes to pointers. Keys are copied in; values are borrowed unless a `free_value` is
 * given.
 *
 * Keyed SipHash-2-4 with a random key for each map: keys may come from callers. Open addressing,
 * grows at 3/4. Thread: one owner.
 */
#pragma once

#include "core/str.h"

typedef struct gw_map gw_map;

/* `free_value` (may be NULL) is called for values replaced, removed or left at the end. NULL when
 * out of memory. */
gw_map *gw_map_new(void (*free_value)(void *));
void gw_map_free(gw_map *m);
GW_DEFINE_FREEP(gw_map)

void *gw_map_get(const gw_map *m, gw_str key); /* NULL when absent */
GW_CHECK bool gw_map_put(gw_map *m, gw_str key,
                         void *value); /* replaces; false when out of memory; value not NULL */
bool gw_map_remove(gw_map *m, gw_str key); /* true when it was there */
void *gw_map_take(gw_map *m, gw_str key); /* removes without freeing; NULL when absent */
size_t gw_map_count(const gw_map *m);
void gw_map_clear(gw_map *m);

/* Iteration in no order: `size_t at = 0; while (gw_map_next(m, &at, &key, &value))`. No change to
 * the map meanwhile. */
bool gw_map_next(const gw_map *m, size_t *at, gw_str *key, void **value);

uint64_t gw_siphash(const uint8_t key[16], const void *bytes, size_t len);
