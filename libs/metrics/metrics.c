#include "metrics/shard.h"

#include <assert.h>
#include <stdlib.h>

#define LABEL_BYTES_MAX 128

gw_metrics *gw_metrics_new(const gw_metric_info *table, size_t n)
{
    gw_metrics *m = calloc(1, sizeof(*m));
    if (!m)
        return NULL;
    pthread_mutex_init(&m->shards_lock, NULL); /* cannot fail on Linux with default attributes */
    m->families = calloc(n ? n : 1, sizeof(*m->families));
    if (!m->families) {
        gw_metrics_free(m);
        return NULL;
    }
    for (; m->metric_count < n; m->metric_count++)
        gw_metric_family_init(&m->families[m->metric_count], &table[m->metric_count]);
    return m;
}

void gw_metrics_set_build(gw_metrics *m, const char *service, const char *version)
{
    m->service = service;
    m->version = version;
}

static void shard_free(gw_metrics_shard *s, size_t metric_count)
{
    for (size_t i = 0; i < metric_count; i++) {
        gw_metric_cell *next;
        for (gw_metric_cell *cell = atomic_load(&s->cells[i].published); cell; cell = next) {
            next = cell->next;
            free(cell);
        }
    }
    free(s);
}

void gw_metrics_free(gw_metrics *m)
{
    if (!m)
        return;
    gw_metrics_shard *next;
    for (gw_metrics_shard *s = atomic_load(&m->shards); s; s = next) {
        next = s->next;
        shard_free(s, m->metric_count);
    }
    for (size_t i = 0; i < m->metric_count; i++)
        gw_metric_family_fini(&m->families[i]);
    free(m->families);
    pthread_mutex_destroy(&m->shards_lock);
    free(m);
}

/* Multiplied in as FNV-1a does it, eight bytes at once: at most 512 combinations, so nobody can flood a chain. */
static uint64_t hash_values(const gw_str *values, size_t n)
{
    const uint64_t prime = 1099511628211u;
    uint64_t hash = 14695981039346656037u;
    for (size_t i = 0; i < n; i++) {
        gw_str rest = values[i];
        uint64_t word = rest.len; /* "a", "" is not "", "a" */
        hash = (hash ^ word) * prime;
        for (; rest.len >= sizeof(word);
             rest = gw_str_n(rest.ptr + sizeof(word), rest.len - sizeof(word))) {
            memcpy(&word, rest.ptr, sizeof(word));
            hash = (hash ^ word) * prime;
            hash ^= hash >> 32;
        }
        for (size_t j = 0; j < rest.len; j++)
            hash = (hash ^ (unsigned char)rest.ptr[j]) * prime;
    }
    return hash ^ (hash >> 32);
}

/* Makes the cell of combination number `index` and publishes it to scrapes. NULL when out of
 * memory. */
static gw_metric_cell *add_cell(gw_metric_family *f, gw_metric_cells *cells, size_t index)
{
    size_t buckets = f->info->kind == GW_METRIC_HISTOGRAM ? f->bound_count + 1 : 0;
    gw_metric_cell *cell = calloc(1, sizeof(*cell) + buckets * sizeof(cell->buckets[0]));
    if (!cell)
        return NULL;
    cell->index = index;
    cell->set = gw_metric_family_set(f, index);
    cell->hash = hash_values(cell->set->values, f->label_count);
    cell->chain_next = cells->chains[cell->hash % GW_METRIC_CHAINS];
    cells->chains[cell->hash % GW_METRIC_CHAINS] = cell;
    cell->next = atomic_load_explicit(&cells->published, memory_order_relaxed);
    atomic_store_explicit(&cells->published, cell, memory_order_release);
    return cell;
}

static gw_metric_cell *find_cell(const gw_metric_family *f, gw_metric_cells *cells,
                                 const gw_str *values)
{
    if (cells->recent && gw_metric_values_eq(f, cells->recent->set->values, values))
        return cells->recent;
    uint64_t hash = hash_values(values, f->label_count);
    for (gw_metric_cell *cell = cells->chains[hash % GW_METRIC_CHAINS]; cell;
         cell = cell->chain_next) {
        if (cell->hash == hash && gw_metric_values_eq(f, cell->set->values, values))
            return cells->recent = cell;
    }
    return NULL;
}

/* NULL when out of memory or when the call does not fit the table: the measurement is lost, nothing
 * else. */
static gw_metric_cell *cell_of(gw_metrics_shard *s, unsigned metric, gw_metric_kind kind,
                               const gw_str *labels, size_t n)
{
    if (metric >= s->metrics->metric_count)
        return NULL;
    gw_metric_family *f = &s->metrics->families[metric];
    assert(n == f->label_count && "as many label values as the table names");
    assert(kind == f->info->kind ||
           (kind == GW_METRIC_COUNTER && f->info->kind == GW_METRIC_GAUGE));
    if (n != f->label_count ||
        (kind == GW_METRIC_HISTOGRAM) != (f->info->kind == GW_METRIC_HISTOGRAM))
        return NULL;
    gw_metric_cells *cells = &s->cells[metric];
    gw_metric_cell *cell = find_cell(f, cells, labels); /* whose values were looked at once */
    if (cell)
        return cell;
    gw_str values[GW_METRIC_LABELS_MAX];
    for (size_t i = 0; i < n; i++) {
        /* One byte of bad UTF-8 makes Prometheus drop the whole scrape. */
        values[i] = gw_str_is_utf8(labels[i]) ? labels[i] : GW_STR("invalid");
        if (values[i].len > LABEL_BYTES_MAX)
            values[i].len = gw_str_utf8_cut(values[i], LABEL_BYTES_MAX);
    }
    cell = find_cell(f, cells, values);
    if (cell)
        return cell;
    int index = gw_metric_family_index(f, values);
    if (index < 0)
        return NULL;
    cell = find_cell(
        f, cells, gw_metric_family_set(f, (size_t)index)->values); /* "other" may be here already */
    return cell ? cell : add_cell(f, cells, (size_t)index);
}

gw_metrics_shard *gw_metrics_shard_new(gw_metrics *m)
{
    gw_metrics_shard *s = calloc(1, sizeof(*s) + m->metric_count * sizeof(s->cells[0]));
    if (!s)
        return NULL;
    s->metrics = m;
    /* A metric without labels is there from the start: rate() then sees the first event. */
    for (unsigned i = 0; i < m->metric_count; i++) {
        if (m->families[i].label_count == 0)
            (void)cell_of(s, i, m->families[i].info->kind, NULL, 0);
    }
    pthread_mutex_lock(&m->shards_lock);
    s->next = atomic_load(&m->shards);
    atomic_store(&m->shards, s);
    pthread_mutex_unlock(&m->shards_lock);
    return s;
}

gw_metric_series *gw_metric_series_of(gw_metrics_shard *s, unsigned metric, const gw_str *labels,
                                      size_t n)
{
    return cell_of(s, metric, GW_METRIC_COUNTER, labels, n);
}

void gw_metric_series_add(gw_metric_series *series, int64_t delta)
{
    if (!series)
        return;
    /* One writer: a plain add, which only must not tear for the reader. */
    int64_t value = atomic_load_explicit(&series->value, memory_order_relaxed);
    atomic_store_explicit(&series->value, value + delta, memory_order_relaxed);
}

void gw_metric_add(gw_metrics_shard *s, unsigned metric, int64_t delta, const gw_str *labels,
                   size_t n)
{
    gw_metric_series_add(cell_of(s, metric, GW_METRIC_COUNTER, labels, n), delta);
}

void gw_metric_set(gw_metrics_shard *s, unsigned metric, int64_t value, const gw_str *labels,
                   size_t n)
{
    gw_metric_cell *cell = cell_of(s, metric, GW_METRIC_GAUGE, labels, n);
    if (cell)
        atomic_store_explicit(&cell->value, value, memory_order_relaxed);
}

void gw_metric_observe(gw_metrics_shard *s, unsigned metric, double value, const gw_str *labels,
                       size_t n)
{
    gw_metric_cell *cell = cell_of(s, metric, GW_METRIC_HISTOGRAM, labels, n);
    if (!cell || value != value)
        return; /* NaN would spoil the sum for ever */
    const gw_metric_family *f = &s->metrics->families[metric];
    size_t bucket = 0;
    while (bucket < f->bound_count && value > f->bounds[bucket])
        bucket++;
    uint64_t count = atomic_load_explicit(&cell->buckets[bucket], memory_order_relaxed);
    atomic_store_explicit(&cell->buckets[bucket], count + 1, memory_order_relaxed);
    double sum = atomic_load_explicit(&cell->sum, memory_order_relaxed);
    atomic_store_explicit(&cell->sum, sum + value, memory_order_relaxed);
}
