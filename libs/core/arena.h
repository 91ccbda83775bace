/*
 * Arena: memory that lives exactly as long as one request.
 *
 * Allocation is a pointer bump; everything goes at once with gw_arena_free or gw_arena_reset.
 * Foreign handles join the lifetime by gw_arena_defer; deferred calls run in reverse order.
 *
 * Two that end in either order may hold one arena: gw_arena_ref() makes the second holder, each frees it, and it goes
 * with the last.
 *
 * Out of memory returns NULL (empty views for the string functions). Thread: one owner, or holders on one loop.
 */
#pragma once

#include "core/str.h"

typedef struct gw_arena gw_arena;

gw_arena *
gw_arena_new(void); /* NULL when out of memory; the first block comes with the first allocation */
void gw_arena_free(gw_arena *a);
gw_arena *gw_arena_ref(gw_arena *a); /* `a`, with one holder more */
bool gw_arena_is_shared(const gw_arena *a); /* by more than one holder: it may not be reset */
GW_DEFINE_FREEP(gw_arena)
void gw_arena_reset(gw_arena *a); /* empties it, keeps one block for reuse */

void *gw_arena_alloc(gw_arena *a, size_t size); /* aligned for any type, uninitialised */
void *gw_arena_zalloc(gw_arena *a, size_t size);
#define gw_arena_new_of(a, type) ((type *)gw_arena_zalloc((a), sizeof(type)))
/* Zeroed; NULL also when n * size overflows. */
void *gw_arena_calloc(gw_arena *a, size_t n, size_t size);
#define gw_arena_array(a, type, n) ((type *)gw_arena_calloc((a), (n), sizeof(type)))

gw_str gw_arena_dup(gw_arena *a, gw_str s); /* the copy is NUL-terminated */
char *gw_arena_strdup(gw_arena *a, gw_str s); /* the same as a C string */
gw_str gw_arena_join(gw_arena *a, gw_str first, gw_str second); /* NUL-terminated */
gw_str gw_arena_int(gw_arena *a, int64_t value); /* decimal, NUL-terminated */
gw_str gw_arena_join_secret(gw_arena *a, gw_str first,
                            gw_str second); /* … and wiped when the arena ends or is reset */
gw_str gw_arena_printf(gw_arena *a, const char *format, ...) GW_PRINTF(2, 3);
bool gw_arena_defer(gw_arena *a, void (*run)(void *),
                    void *arg); /* false when out of memory: not registered */
size_t gw_arena_bytes(const gw_arena *a); /* held from the system */
