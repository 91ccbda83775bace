#include "core/arena.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(ptr, size)   ((void)(ptr), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(ptr, size) ((void)(ptr), (void)(size))
#endif

enum {
    FIRST_BLOCK = 2032,
    LARGEST_BLOCK = 65536
}; /* with the head of a block and of malloc: half a page */

typedef struct block {
    struct block *next;
    size_t size; /* of `bytes` */
    size_t used;
    _Alignas(max_align_t) char bytes[];
} block;

typedef struct deferred {
    struct deferred *next;
    void (*run)(void *);
    void *arg;
} deferred;

struct gw_arena {
    block *blocks; /* the first one is bumped */
    deferred *deferred;
    size_t bytes;
    unsigned more_holders;
};

gw_arena *gw_arena_new(void)
{
    return calloc(1, sizeof(gw_arena));
}

static void run_deferred(gw_arena *a)
{
    while (a->deferred) { /* a deferred call may allocate and defer once more */
        deferred *d = a->deferred;
        a->deferred = d->next;
        d->run(d->arg);
    }
}

static void free_block(gw_arena *a, block *b)
{
    a->bytes -= sizeof(block) + b->size;
    ASAN_UNPOISON_MEMORY_REGION(b->bytes, b->size);
    free(b);
}

static void free_blocks(gw_arena *a, const block *keep)
{
    block *b = a->blocks;
    while (b) {
        block *next = b->next;
        if (b != keep)
            free_block(a, b);
        b = next;
    }
}

gw_arena *gw_arena_ref(gw_arena *a)
{
    a->more_holders++;
    return a;
}

bool gw_arena_is_shared(const gw_arena *a)
{
    return a->more_holders > 0;
}

void gw_arena_free(gw_arena *a)
{
    if (!a)
        return;
    if (a->more_holders > 0) {
        a->more_holders--;
        return;
    }
    run_deferred(a);
    free_blocks(a, NULL);
    free(a);
}

void gw_arena_reset(gw_arena *a)
{
    assert(!gw_arena_is_shared(a));
    run_deferred(a);
    block *keep = NULL; /* the largest of ordinary size: one large body must not stay for good */
    for (block *b = a->blocks; b; b = b->next) {
        if (b->size <= LARGEST_BLOCK && (!keep || b->size > keep->size))
            keep = b;
    }
    free_blocks(a, keep);
    a->blocks = keep;
    if (keep) {
        keep->next = NULL;
        keep->used = 0;
        ASAN_POISON_MEMORY_REGION(keep->bytes, keep->size);
    }
}

static block *add_block(gw_arena *a, size_t size)
{
    size_t total;
    if (__builtin_add_overflow(size, sizeof(block), &total))
        return NULL;
    block *b = malloc(total);
    if (!b)
        return NULL;
    b->size = size;
    b->used = 0;
    a->bytes += total;
    ASAN_POISON_MEMORY_REGION(b->bytes, b->size);
    /* A block for one large allocation is full at once: the block being filled stays in front. */
    if (size > LARGEST_BLOCK && a->blocks) {
        b->next = a->blocks->next;
        a->blocks->next = b;
    } else {
        b->next = a->blocks;
        a->blocks = b;
    }
    return b;
}

static size_t next_block_size(const gw_arena *a)
{
    if (!a->blocks)
        return FIRST_BLOCK;
    return GW_MIN(GW_MAX(a->bytes, FIRST_BLOCK), LARGEST_BLOCK); /* twice as much, all in all */
}

void *gw_arena_alloc(gw_arena *a, size_t size)
{
    size_t rounded = (GW_MAX(size, 1) + _Alignof(max_align_t) - 1) & ~(_Alignof(max_align_t) - 1);
    if (rounded < size)
        return NULL;
    block *b = a->blocks;
    if (!b || b->size - b->used < rounded)
        b = add_block(a, GW_MAX(next_block_size(a), rounded));
    if (!b)
        return NULL;
    char *p = b->bytes + b->used;
    b->used += rounded;
    ASAN_UNPOISON_MEMORY_REGION(p, size);
    return p;
}

void *gw_arena_zalloc(gw_arena *a, size_t size)
{
    void *p = gw_arena_alloc(a, size);
    if (p)
        memset(p, 0, size);
    return p;
}

void *gw_arena_calloc(gw_arena *a, size_t n, size_t size)
{
    size_t total;
    return __builtin_mul_overflow(n, size, &total) ? NULL : gw_arena_zalloc(a, total);
}

char *gw_arena_strdup(gw_arena *a, gw_str s)
{
    char *copy = s.len < SIZE_MAX ? gw_arena_alloc(a, s.len + 1) : NULL;
    if (!copy)
        return NULL;
    if (s.len > 0)
        memcpy(copy, s.ptr, s.len);
    copy[s.len] = '\0';
    return copy;
}

gw_str gw_arena_dup(gw_arena *a, gw_str s)
{
    char *copy = gw_arena_strdup(a, s);
    return copy ? gw_str_n(copy, s.len) : GW_STR_NULL;
}

gw_str gw_arena_join(gw_arena *a, gw_str first, gw_str second)
{
    size_t len;
    if (__builtin_add_overflow(first.len, second.len, &len) || len == SIZE_MAX)
        return GW_STR_NULL;
    char *text = gw_arena_alloc(a, len + 1);
    if (!text)
        return GW_STR_NULL;
    if (first.len > 0)
        memcpy(text, first.ptr, first.len);
    if (second.len > 0)
        memcpy(text + first.len, second.ptr, second.len);
    text[len] = '\0';
    return gw_str_n(text, len);
}

gw_str gw_arena_int(gw_arena *a, int64_t value)
{
    char text[GW_INT_TEXT_SIZE];

    return gw_arena_dup(a, gw_str_n(text, gw_int_format(value, text)));
}

static void wipe(void *arg)
{
    const gw_str *text = arg;
    if (text->len > 0)
        explicit_bzero((void *)(uintptr_t)text->ptr, text->len);
}

gw_str gw_arena_join_secret(gw_arena *a, gw_str first, gw_str second)
{
    gw_str *text = gw_arena_new_of(a, gw_str);
    if (!text || !gw_arena_defer(a, wipe, text)) /* empty as yet */
        return GW_STR_NULL;
    *text = gw_arena_join(a, first, second);
    return *text;
}

gw_str gw_arena_printf(gw_arena *a, const char *format, ...)
{
    GW_UNINITIALIZED char guess[256]; /* most texts are short: formatted once, then copied */
    va_list args;
    va_start(args, format);
    int n = vsnprintf(guess, sizeof(guess), format, args);
    va_end(args);
    if (n >= 0 && (size_t)n < sizeof(guess))
        return gw_arena_dup(a, gw_str_n(guess, (size_t)n));
    char *text = n < 0 ? NULL : gw_arena_alloc(a, (size_t)n + 1);
    if (!text)
        return GW_STR_NULL;
    va_start(args, format);
    (void)vsnprintf(text, (size_t)n + 1, format, args);
    va_end(args);
    return gw_str_n(text, (size_t)n);
}

bool gw_arena_defer(gw_arena *a, void (*run)(void *), void *arg)
{
    deferred *d = gw_arena_alloc(a, sizeof(*d));
    if (!d)
        return false;
    *d = (deferred){a->deferred, run, arg};
    a->deferred = d;
    return true;
}

size_t gw_arena_bytes(const gw_arena *a)
{
    return a->bytes;
}
