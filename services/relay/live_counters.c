#include "live_counters.h"

#include "core/map.h"

#include <stdlib.h>

#define BUCKETS     304
#define MS_MAX      4194303
#define ENTRIES_MAX 4096
#define KEY_MAX     256

typedef struct entry {
    gw_str key, model; /* views into `text` */
    int64_t requests, errors, prompt_tokens, completion_tokens, cost_nano_usd;
    uint32_t duration[BUCKETS], ttft[BUCKETS];
    char text[KEY_MAX];
} entry;

struct live_table {
    int64_t second;
    gw_map *entries; /* api key id and model -> entry */
    entry rest;
};

uint32_t live_bucket(int64_t ms)
{
    uint32_t v = (uint32_t)GW_MIN(GW_MAX(ms, 0), MS_MAX);
    if (v < 16)
        return v;
    uint32_t e = 31 - (uint32_t)__builtin_clz(v);
    return 16 * (e - 4) + (v >> (e - 4));
}

live_table *live_table_new(int64_t second)
{
    gw_auto(live_table) t = calloc(1, sizeof(*t));
    if (!t || !(t->entries = gw_map_new(free)))
        return NULL;
    t->second = second;
    return gw_steal(&t);
}

void live_table_free(live_table *t)
{
    if (!t)
        return;
    gw_map_free(t->entries);
    free(t);
}

int64_t live_table_second(const live_table *t)
{
    return t->second;
}

static entry *entry_of(live_table *t, gw_str key, gw_str model)
{
    char text[KEY_MAX];
    model = gw_str_slice(model, 0, gw_str_utf8_cut(model, KEY_MAX - 1 - GW_MIN(key.len, 32)));
    if (key.len > 32)
        return &t->rest;
    if (key.len)
        memcpy(text, key.ptr, key.len);
    if (model.len)
        memcpy(text + key.len, model.ptr, model.len);
    text[key.len + model.len] = '\0';
    gw_str both = gw_str_n(text, key.len + model.len);
    entry *e = gw_map_get(t->entries, both);
    if (e)
        return e;
    if (gw_map_count(t->entries) >= ENTRIES_MAX || !(e = calloc(1, sizeof(*e))))
        return &t->rest;
    memcpy(e->text, text, both.len + 1);
    e->key = gw_str_n(e->text, key.len);
    e->model = gw_str_n(e->text + key.len, model.len);
    if (!gw_map_put(t->entries, both, e)) {
        free(e);
        return &t->rest;
    }
    return e;
}

static void count(entry *c, const event_figures *e)
{
    int64_t requests = GW_MAX(e->repeat_count, 1);
    c->requests += requests;
    c->errors += e->status_code >= 400 ? requests : 0;
    c->prompt_tokens += e->prompt_tokens;
    c->completion_tokens += e->completion_tokens;
    c->cost_nano_usd += e->cost_nano_usd;
    c->duration[live_bucket(e->duration_ms)] += (uint32_t)requests;
    if (e->ttft_ms >= 0)
        c->ttft[live_bucket(e->ttft_ms)] += (uint32_t)requests;
}

void live_table_add(live_table *t, const event_figures *e)
{
    count(entry_of(t, e->api_key_id, e->upstream_accepted ? e->model : e->route), e);
}

/* ---- the message ---- */

static void merge(entry *into, const entry *e)
{
    into->requests += e->requests;
    into->errors += e->errors;
    into->prompt_tokens += e->prompt_tokens;
    into->completion_tokens += e->completion_tokens;
    into->cost_nano_usd += e->cost_nano_usd;
    for (size_t i = 0; i < BUCKETS; i++) {
        into->duration[i] += e->duration[i];
        into->ttft[i] += e->ttft[i];
    }
}

static int busiest_first(const void *a, const void *b)
{
    const entry *x = *(const entry *const *)a, *y = *(const entry *const *)b;
    return (x->requests < y->requests) - (x->requests > y->requests);
}

static bool buckets_of(const uint32_t counts[BUCKETS], gw_arena *a, size_t *ret_n,
                       Apirelay__Usage__V1__HistogramBucket ***ret)
{
    size_t n = 0;
    for (size_t i = 0; i < BUCKETS; i++)
        n += counts[i] > 0;
    Apirelay__Usage__V1__HistogramBucket **list =
        gw_arena_alloc(a, GW_MAX(n, (size_t)1) * sizeof(*list));
    Apirelay__Usage__V1__HistogramBucket *items =
        gw_arena_alloc(a, GW_MAX(n, (size_t)1) * sizeof(*items));
    if (!list || !items)
        return false;
    *ret_n = 0;
    for (size_t i = 0; i < BUCKETS; i++) {
        if (counts[i] == 0)
            continue;
        apirelay__usage__v1__histogram_bucket__init(&items[*ret_n]);
        items[*ret_n].index = (int32_t)i;
        items[*ret_n].count = counts[i];
        list[*ret_n] = &items[*ret_n];
        (*ret_n)++;
    }
    *ret = list;
    return true;
}

static Apirelay__Usage__V1__LiveCounter *counter_of(const entry *e, gw_arena *a)
{
    Apirelay__Usage__V1__LiveCounter *c = gw_arena_alloc(a, sizeof(*c));
    if (!c)
        return NULL;
    apirelay__usage__v1__live_counter__init(c);
    gw_str key = gw_arena_dup(a, e->key);
    c->api_key_id = (ProtobufCBinaryData){.len = key.len, .data = (uint8_t *)(uintptr_t)key.ptr};
    c->model = gw_arena_strdup(a, e->model);
    c->requests = e->requests;
    c->errors = e->errors;
    c->prompt_tokens = e->prompt_tokens;
    c->completion_tokens = e->completion_tokens;
    c->cost_nano_usd = e->cost_nano_usd;
    if (!c->model || (e->key.len && !key.ptr) ||
        !buckets_of(e->duration, a, &c->n_duration, &c->duration) ||
        !buckets_of(e->ttft, a, &c->n_ttft, &c->ttft))
        return NULL;
    return c;
}

static const entry **sorted(const live_table *t, gw_arena *a)
{
    const entry **list =
        gw_arena_alloc(a, GW_MAX(gw_map_count(t->entries), (size_t)1) * sizeof(const entry *));
    size_t n = 0, at = 0;
    gw_str key;
    void *value;
    while (list && gw_map_next(t->entries, &at, &key, &value))
        list[n++] = value;
    if (list)
        qsort(list, n, sizeof(const entry *), busiest_first);
    return list;
}

Apirelay__Usage__V1__Live *live_table_message(const live_table *t, gw_arena *a)
{
    size_t there = gw_map_count(t->entries), shown = GW_MIN(there, LIVE_COUNTERS_MAX - 1);
    Apirelay__Usage__V1__Live *m = gw_arena_alloc(a, sizeof(*m));
    Apirelay__Usage__V1__LiveCounter **list = gw_arena_alloc(a, (shown + 1) * sizeof(*list));
    entry *rest = gw_arena_alloc(a, sizeof(*rest));
    const entry **entries = sorted(t, a);
    if (!m || !list || !rest || !entries)
        return NULL;
    *rest = t->rest;
    for (size_t i = shown; i < there; i++)
        merge(rest, entries[i]);
    apirelay__usage__v1__live__init(m);
    m->second = t->second;
    m->counters = list;
    for (size_t i = 0; i < shown + (rest->requests > 0); i++) {
        list[i] = counter_of(i < shown ? entries[i] : rest, a);
        if (!list[i])
            return NULL;
        m->n_counters++;
    }
    return m;
}
