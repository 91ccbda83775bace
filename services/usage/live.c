#include "live.h"

#include "core/map.h"
#include "histogram.h"
#include "query_op.h"

#include <stdlib.h>

#define NANO_PER_DOLLAR 1e9
#define KEY_BYTES       (sizeof(((gw_object_id *)NULL)->bytes))

enum { SLOTS = 2 * LIVE_SECONDS }; /* also holds what comes late */

typedef Apirelay__Usage__V1__LiveTotals live_totals;
typedef Apirelay__Usage__V1__LiveGroup live_group;

typedef struct bucket_count {
    int32_t index;
    int64_t count;
} bucket_count;

typedef struct bucket_list {
    bucket_count *items;
    size_t count, cap;
} bucket_list;

typedef struct figures {
    int64_t requests, errors, prompt, completion, cost_nano_usd;
} figures;

/* One key and model in one second; its name is the key's 12 bytes and the model. */
typedef struct cell {
    figures f;
    bucket_list duration, ttft;
} cell;

typedef struct slot {
    int64_t second;
    bool reported;
    gw_map *cells;
    int64_t open_streams, in_flight;
} slot;

struct live {
    const gw_clock *clock;
    slot slots[SLOTS];
};

static void cell_free(void *p)
{
    cell *c = p;
    free(c->duration.items);
    free(c->ttft.items);
    free(c);
}

live *live_new(const gw_clock *clock)
{
    live *l = calloc(1, sizeof(*l));
    if (!l)
        return NULL;
    l->clock = clock;
    for (size_t i = 0; i < SLOTS; i++) {
        l->slots[i].second = INT64_MIN;
        l->slots[i].cells = gw_map_new(cell_free);
        if (!l->slots[i].cells) {
            live_free(l);
            return NULL;
        }
    }
    return l;
}

void live_free(live *l)
{
    if (!l)
        return;
    for (size_t i = 0; i < SLOTS; i++)
        gw_map_free(l->slots[i].cells);
    free(l);
}

static int64_t now_s(const live *l)
{
    return gw_clock_wall_ms(l->clock) / GW_MS_PER_S;
}

/* ---- adding ---- */

static void add_sane(int64_t *to, int64_t v)
{
    int64_t sum;
    if (v > 0 && !__builtin_add_overflow(*to, v, &sum))
        *to = sum;
}

static void add_bucket(bucket_list *l, int32_t index, int64_t count)
{
    if (index < 0 || index >= HISTOGRAM_BUCKETS || count <= 0)
        return;
    for (size_t i = 0; i < l->count; i++) {
        if (l->items[i].index == index) {
            add_sane(&l->items[i].count, count);
            return;
        }
    }
    if (l->count == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 4;
        bucket_count *grown = realloc(l->items, cap * sizeof(*grown));
        if (!grown)
            return;
        l->items = grown;
        l->cap = cap;
    }
    l->items[l->count++] = (bucket_count){index, count};
}

/* NULL when out of memory: live figures may be lost. `key` is 12 bytes, or none. */
static cell *cell_of(slot *s, gw_str key, gw_str model)
{
    char name[KEY_BYTES + LIVE_MODEL_MAX] = {0};
    model.len = gw_str_utf8_cut(model, LIVE_MODEL_MAX);
    if (gw_map_count(s->cells) >= LIVE_CELLS_MAX)
        model = GW_STR("");
    else if (key.len == KEY_BYTES)
        memcpy(name, key.ptr, KEY_BYTES);
    if (model.len)
        memcpy(name + KEY_BYTES, model.ptr, model.len);
    gw_str id = gw_str_n(name, KEY_BYTES + model.len);
    cell *found = gw_map_get(s->cells, id);
    if (found)
        return found;
    found = calloc(1, sizeof(*found));
    if (found && gw_map_put(s->cells, id, found))
        return found;
    free(found);
    return NULL;
}

static slot *slot_for(live *l, int64_t second)
{
    int64_t now = now_s(l);
    /* A relay's clock may be a little ahead of ours. */
    if (second <= now - LIVE_SECONDS - 1 || second > now + 5)
        return NULL;
    return &l->slots[second % SLOTS];
}

static void clear_slot(slot *s, int64_t second)
{
    gw_map_clear(s->cells);
    *s = (slot){.second = second, .cells = s->cells};
}

void live_clear(live *l, int64_t second)
{
    slot *s = slot_for(l, second);
    if (s)
        clear_slot(s, second);
}

void live_add_figure(live *l, int64_t second, const live_figure *f)
{
    slot *s = slot_for(l, second);
    if (!s)
        return;
    if (s->second != second)
        clear_slot(s, second);
    s->reported = true;
    if (f->kind == LIVE_OPEN_STREAMS || f->kind == LIVE_IN_FLIGHT) {
        add_sane(f->kind == LIVE_IN_FLIGHT ? &s->in_flight : &s->open_streams, f->value);
        return;
    }
    cell *to = cell_of(s, f->key, f->model);
    if (!to)
        return;
    switch (f->kind) {
    case LIVE_REQUESTS:
        add_sane(&to->f.requests, f->value);
        break;
    case LIVE_ERRORS:
        add_sane(&to->f.errors, f->value);
        break;
    case LIVE_PROMPT:
        add_sane(&to->f.prompt, f->value);
        break;
    case LIVE_COMPLETION:
        add_sane(&to->f.completion, f->value);
        break;
    case LIVE_COST:
        add_sane(&to->f.cost_nano_usd, f->value);
        break;
    case LIVE_DURATION:
        add_bucket(&to->duration, f->bucket, f->value);
        break;
    default:
        add_bucket(&to->ttft, f->bucket, f->value);
    }
}

typedef struct adding {
    live *live;
    int64_t second;
} adding;

static void add_figure(void *arg, const live_figure *f)
{
    const adding *a = arg;
    live_add_figure(a->live, a->second, f);
}

void live_add(live *l, const Apirelay__Usage__V1__Live *frame)
{
    adding a = {l, frame->second};
    live_figures_of(frame, add_figure, &a);
}

/* ---- sums ---- */

typedef struct sum {
    gw_str name;
    figures f;
    histogram *duration, *ttft; /* NULL: not wanted */
} sum;

static void add_figures(figures *to, const figures *f)
{
    add_sane(&to->requests, f->requests);
    add_sane(&to->errors, f->errors);
    add_sane(&to->prompt, f->prompt);
    add_sane(&to->completion, f->completion);
    add_sane(&to->cost_nano_usd, f->cost_nano_usd);
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
    add_sane(&t->total_tokens, s->f.completion);
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
        add_sane(&p->tokens, f.completion);
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
    int64_t to_s = now_s(l);
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
