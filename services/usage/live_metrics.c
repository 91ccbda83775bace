#include "live_internal.h"

#include "histogram.h"
#include "query_op.h"

#include <stdlib.h>

#define NANO_PER_DOLLAR 1e9

typedef Apirelay__Usage__V1__LiveTotals live_totals;
typedef Apirelay__Usage__V1__LiveGroup live_group;

typedef struct sum {
    gw_str name;
    figures f;
    histogram *duration, *ttft; /* NULL: not wanted */
} sum;

static void add_figures(figures *to, const figures *f)
{
    live_add_sane(&to->requests, f->requests);
    live_add_sane(&to->errors, f->errors);
    live_add_sane(&to->prompt, f->prompt);
    live_add_sane(&to->completion, f->completion);
    live_add_sane(&to->cost_nano_usd, f->cost_nano_usd);
}

static void add_buckets(histogram *h, const bucket_list *l)
{
    for (size_t i = 0; h && i < l->count; i++)
        histogram_add(h, l->items[i].index, l->items[i].count);
}

static double mean(const histogram *h)
{
    double total = 0;
    int64_t n = histogram_count(h);
    for (int i = 0; i < HISTOGRAM_BUCKETS; i++)
        total += (double)h->counts[i] * histogram_bucket_value(i);
    return n > 0 ? total / (double)n : 0;
}

static live_totals *totals_of(gw_arena *a, const sum *s, int window_seconds)
{
    live_totals *t = reply_new(a, &apirelay__usage__v1__live_totals__descriptor);
    Apirelay__Usage__V1__Performance *p =
        reply_new(a, &apirelay__usage__v1__performance__descriptor);
    if (!t || !p)
        return NULL;
    t->requests = s->f.requests;
    t->errors = s->f.errors;
    t->prompt_tokens = s->f.prompt;
    t->completion_tokens = s->f.completion;
    t->total_tokens = s->f.prompt;
    live_add_sane(&t->total_tokens, s->f.completion);
    t->cost_nano_usd = s->f.cost_nano_usd;
    t->cost = (double)s->f.cost_nano_usd / NANO_PER_DOLLAR;
    t->requests_per_second = (double)t->requests / window_seconds;
    t->tokens_per_second = (double)t->total_tokens / window_seconds;
    t->errors_per_second = (double)t->errors / window_seconds;
    t->error_rate = t->requests > 0 ? (double)t->errors / (double)t->requests : 0;
    t->performance = p;
    p->avg_response_time = mean(s->duration);
    p->p50_response_time = histogram_percentile(s->duration, 0.5);
    p->p95_response_time = histogram_percentile(s->duration, 0.95);
    p->p99_response_time = histogram_percentile(s->duration, 0.99);
    p->avg_ttft_ms = mean(s->ttft);
    p->p50_ttft_ms = histogram_percentile(s->ttft, 0.5);
    p->p95_ttft_ms = histogram_percentile(s->ttft, 0.95);
    p->p99_ttft_ms = histogram_percentile(s->ttft, 0.99);
    return t;
}

/* What the sums of one window are made of. */
typedef struct window {
    const live *live;
    int64_t from_s, to_s;
    const gw_object_id *key; /* NULL: all */
} window;

static const slot *slot_at(const window *w, int64_t second)
{
    const slot *s = &w->live->slots[second % SLOTS];
    return s->second == second ? s : NULL;
}

static bool is_asked(const window *w, gw_str name)
{
    return !w->key || memcmp(name.ptr, w->key->bytes, KEY_BYTES) == 0;
}

/* "" for the rest. */
static gw_str group_of(gw_str name, bool by_key)
{
    static const char zeros[KEY_BYTES];
    if (!by_key)
        return gw_str_slice(name, KEY_BYTES, name.len);
    return memcmp(name.ptr, zeros, KEY_BYTES) == 0 ? GW_STR("") : gw_str_slice(name, 0, KEY_BYTES);
}

static int busiest_first(const void *a, const void *b)
{
    const sum *x = *(const sum *const *)a, *y = *(const sum *const *)b;
    bool x_is_rest = x->name.len == 0, y_is_rest = y->name.len == 0;
    if (x_is_rest != y_is_rest)
        return x_is_rest ? 1 : -1;
    if (x->f.requests != y->f.requests)
        return x->f.requests < y->f.requests ? 1 : -1;
    return gw_str_cmp(x->name, y->name);
}

static bool give_histograms(gw_arena *a, sum *s)
{
    s->duration = gw_arena_new_of(a, histogram);
    s->ttft = gw_arena_new_of(a, histogram);
    return s->duration && s->ttft;
}

/* Sums of every group of the window, by figures alone: there may be many. */
static bool sum_figures(gw_arena *a, const window *w, bool by_key, gw_map *sums)
{
    for (int64_t second = w->from_s; second < w->to_s; second++) {
        const slot *s = slot_at(w, second);
        size_t at = 0;
        gw_str name;
        void *value;
        while (s && gw_map_next(s->cells, &at, &name, &value)) {
            if (!is_asked(w, name))
                continue;
            gw_str group = group_of(name, by_key);
            sum *g = gw_map_get(sums, group);
            if (!g) {
                g = gw_arena_new_of(a, sum);
                if (!g || !gw_map_put(sums, group, g))
                    return false;
                g->name = gw_arena_dup(a, group);
            }
            add_figures(&g->f, &((const cell *)value)->f);
        }
    }
    return true;
}

/* Histograms of the groups that are shown; the others' go to `rest`. */
static void sum_histograms(const window *w, bool by_key, const gw_map *sums, sum *rest)
{
    for (int64_t second = w->from_s; second < w->to_s; second++) {
        const slot *s = slot_at(w, second);
        size_t at = 0;
        gw_str name;
        void *value;
        while (s && gw_map_next(s->cells, &at, &name, &value)) {
            if (!is_asked(w, name))
                continue;
            const cell *c = value;
            const sum *g = gw_map_get(sums, group_of(name, by_key));
            add_buckets(g && g->duration ? g->duration : rest->duration, &c->duration);
            add_buckets(g && g->ttft ? g->ttft : rest->ttft, &c->ttft);
        }
    }
}

static live_group *group_message(gw_arena *a, const sum *s, bool by_key, int window_seconds)
{
    live_group *g = reply_new(a, &apirelay__usage__v1__live_group__descriptor);
    char hex[GW_OBJECT_ID_HEX_SIZE];
    if (!g)
        return NULL;
    g->group = reply_text(a, s->name);
    if (by_key && s->name.len) {
        gw_hex_encode(s->name.ptr, KEY_BYTES, hex);
        g->group = reply_text(a, gw_str_of(hex));
    }
    g->totals = totals_of(a, s, window_seconds);
    return g->totals ? g : NULL;
}

static bool groups_with(gw_arena *a, const window *w, bool by_key, gw_map *sums, live_group ***ret,
                        size_t *ret_count)
{
    size_t at = 0, shown = 0;
    live_group **groups = gw_arena_array(a, live_group *, LIVE_GROUPS_MAX);
    sum rest = {0};
    gw_str name;
    void *value;
    if (!groups || !sum_figures(a, w, by_key, sums) || !give_histograms(a, &rest))
        return false;
    size_t n = gw_map_count(sums);
    sum **all = gw_arena_array(a, sum *, n + 1);
    if (!all)
        return false;
    for (size_t i = 0; gw_map_next(sums, &at, &name, &value); i++)
        all[i] = value;
    qsort((void *)all, n, sizeof(*all), busiest_first);
    for (size_t i = 0; i < n; i++) {
        bool is_own = all[i]->name.len > 0 && shown < LIVE_GROUPS_MAX - 1;
        if (!is_own)
            add_figures(&rest.f, &all[i]->f);
        else if (!give_histograms(a, all[shown++]))
            return false;
    }
    sum_histograms(w, by_key, sums, &rest);
    int seconds = (int)(w->to_s - w->from_s);
    for (size_t i = 0; i < shown; i++)
        if (!(groups[i] = group_message(a, all[i], by_key, seconds)))
            return false;
    if (rest.f.requests > 0 && !(groups[shown++] = group_message(a, &rest, by_key, seconds)))
        return false;
    *ret = groups;
    *ret_count = shown;
    return true;
}

static bool make_groups(gw_arena *a, const window *w, bool by_key, live_group ***ret,
                        size_t *ret_count)
{
    gw_auto(gw_map) sums = gw_map_new(NULL);
    return sums && groups_with(a, w, by_key, sums, ret, ret_count);
}

static bool make_series(gw_arena *a, const window *w, sum *totals,
                        Apirelay__Usage__V1__GetMetricsResponse *m)
{
    m->series = gw_arena_array(a, Apirelay__Usage__V1__LivePoint *, (size_t)(w->to_s - w->from_s));
    for (int64_t second = w->from_s; m->series && second < w->to_s; second++) {
        const slot *s = slot_at(w, second);
        figures f = {0};
        size_t at = 0;
        gw_str name;
        void *value;
        while (s && gw_map_next(s->cells, &at, &name, &value)) {
            const cell *c = value;
            if (!is_asked(w, name))
                continue;
            add_figures(&f, &c->f);
            add_buckets(totals->duration, &c->duration);
            add_buckets(totals->ttft, &c->ttft);
        }
        add_figures(&totals->f, &f);
        Apirelay__Usage__V1__LivePoint *p =
            reply_new(a, &apirelay__usage__v1__live_point__descriptor);
        if (!p)
            return false;
        p->start = reply_time(a, second * GW_MS_PER_S);
        p->requests = f.requests;
        p->errors = f.errors;
        p->tokens = f.prompt;
        live_add_sane(&p->tokens, f.completion);
        p->cost_nano_usd = f.cost_nano_usd;
        m->series[m->n_series++] = p;
    }
    return m->series != NULL;
}

/* Relays report a second just after it: of the last one some reports may be on their way. */
static void read_gauges(const window *w, Apirelay__Usage__V1__GetMetricsResponse *m)
{
    static const int ages[] = {2, 1, 3};
    for (size_t i = 0; i < GW_ARRAY_LEN(ages); i++) {
        const slot *s = slot_at(w, w->to_s - ages[i]);
        if (s && s->reported) {
            m->open_streams = s->open_streams;
            m->in_flight = s->in_flight;
            return;
        }
    }
}

Apirelay__Usage__V1__GetMetricsResponse *
live_metrics(const live *l, gw_arena *a, int window_seconds, const gw_object_id *api_key_id)
{
    int64_t to_s = live_now_s(l);
    window w = {l, to_s - window_seconds, to_s, api_key_id};
    sum totals = {0};
    Apirelay__Usage__V1__GetMetricsResponse *m =
        reply_new(a, &apirelay__usage__v1__get_metrics_response__descriptor);
    if (!m || !give_histograms(a, &totals) || !make_series(a, &w, &totals, m) ||
        !make_groups(a, &w, false, &m->models, &m->n_models) ||
        !make_groups(a, &w, true, &m->keys, &m->n_keys))
        return NULL;
    m->at = reply_time(a, to_s * GW_MS_PER_S);
    m->window_seconds = window_seconds;
    m->totals = totals_of(a, &totals, window_seconds);
    read_gauges(&w, m);
    return m->at && m->totals ? m : NULL;
}
