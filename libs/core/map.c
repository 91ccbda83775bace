#include "core/map.h"

#include "core/id.h"

#include <stdlib.h>

enum { FIRST_SLOTS = 16 };

typedef struct slot {
    char *key; /* NULL = free */
    size_t key_len;
    uint64_t hash;
    void *value;
} slot;

struct gw_map {
    uint8_t secret[16];
    slot *slots;
    size_t n_slots; /* 0 or a power of two */
    size_t count;
    void (*free_value)(void *);
};

gw_map *gw_map_new(void (*free_value)(void *))
{
    gw_map *m = calloc(1, sizeof(*m));
    if (!m)
        return NULL;
    gw_random_bytes(m->secret, sizeof(m->secret));
    m->free_value = free_value;
    return m;
}

void gw_map_free(gw_map *m)
{
    if (!m)
        return;
    gw_map_clear(m);
    free(m->slots);
    free(m);
}

static slot *find_slot(const gw_map *m, gw_str key, uint64_t hash)
{
    size_t at = hash & (m->n_slots - 1);
    while (m->slots[at].key) {
        slot *s = &m->slots[at];
        if (s->hash == hash && gw_str_eq(gw_str_n(s->key, s->key_len), key))
            return s;
        at = (at + 1) & (m->n_slots - 1);
    }
    return &m->slots[at];
}

static bool grow(gw_map *m)
{
    size_t n = m->n_slots > 0 ? m->n_slots * 2 : FIRST_SLOTS;
    slot *slots = calloc(n, sizeof(*slots));
    if (!slots)
        return false;
    for (size_t i = 0; i < m->n_slots; i++) {
        if (!m->slots[i].key)
            continue;
        size_t at = m->slots[i].hash & (n - 1);
        while (slots[at].key)
            at = (at + 1) & (n - 1);
        slots[at] = m->slots[i];
    }
    free(m->slots);
    m->slots = slots;
    m->n_slots = n;
    return true;
}

void *gw_map_get(const gw_map *m, gw_str key)
{
    if (m->count == 0)
        return NULL;
    const slot *s = find_slot(m, key, gw_siphash(m->secret, key.ptr, key.len));
    return s->key ? s->value : NULL;
}

bool gw_map_put(gw_map *m, gw_str key, void *value)
{
    uint64_t hash = gw_siphash(m->secret, key.ptr, key.len);
    slot *s = m->n_slots > 0 ? find_slot(m, key, hash) : NULL;
    if (s && s->key) {
        void *old = s->value;
        s->value = value;
        if (m->free_value && old != value)
            m->free_value(old);
        return true;
    }
    if (!s || (m->count + 1) * 4 > m->n_slots * 3) {
        if (!grow(m))
            return false;
        s = find_slot(m, key, hash);
    }
    char *copy = gw_str_dup(key);
    if (!copy)
        return false;
    *s = (slot){copy, key.len, hash, value};
    m->count++;
    return true;
}

/* Moves later members of the same run back, so that no probe ends at the gap and no tombstone is
 * needed. */
static void close_gap(gw_map *m, size_t gap)
{
    size_t mask = m->n_slots - 1;
    for (size_t at = (gap + 1) & mask; m->slots[at].key; at = (at + 1) & mask) {
        size_t home = m->slots[at].hash & mask;
        if (((at - home) & mask) >= ((at - gap) & mask)) {
            m->slots[gap] = m->slots[at];
            gap = at;
        }
    }
    m->slots[gap] = (slot){0};
}

void *gw_map_take(gw_map *m, gw_str key)
{
    if (m->count == 0)
        return NULL;
    slot *s = find_slot(m, key, gw_siphash(m->secret, key.ptr, key.len));
    if (!s->key)
        return NULL;
    void *value = s->value;
    free(s->key);
    m->count--;
    close_gap(m, (size_t)(s - m->slots));
    return value;
}

bool gw_map_remove(gw_map *m, gw_str key)
{
    void *value = gw_map_take(m, key);
    if (value && m->free_value)
        m->free_value(value);
    return value != NULL;
}

size_t gw_map_count(const gw_map *m)
{
    return m->count;
}

void gw_map_clear(gw_map *m)
{
    for (size_t i = 0; i < m->n_slots; i++) {
        slot old = m->slots[i];
        m->slots[i] = (slot){0};
        free(old.key);
        if (old.key && m->free_value)
            m->free_value(old.value);
    }
    m->count = 0;
}

bool gw_map_next(const gw_map *m, size_t *at, gw_str *key, void **value)
{
    for (; *at < m->n_slots; (*at)++) {
        const slot *s = &m->slots[*at];
        if (!s->key)
            continue;
        *key = gw_str_n(s->key, s->key_len);
        *value = s->value;
        (*at)++;
        return true;
    }
    return false;
}
