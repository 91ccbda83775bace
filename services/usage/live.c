#include "live_internal.h"

#include "histogram.h"

#include <stdlib.h>

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

/* ---- adding ---- */

static void add_bucket(bucket_list *l, int32_t index, int64_t count)
{
    if (index < 0 || index >= HISTOGRAM_BUCKETS || count <= 0)
        return;
    for (size_t i = 0; i < l->count; i++) {
        if (l->items[i].index == index) {
            live_add_sane(&l->items[i].count, count);
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
    int64_t now = live_now_s(l);
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
        live_add_sane(f->kind == LIVE_IN_FLIGHT ? &s->in_flight : &s->open_streams, f->value);
        return;
    }
    cell *to = cell_of(s, f->key, f->model);
    if (!to)
        return;
    switch (f->kind) {
    case LIVE_REQUESTS:
        live_add_sane(&to->f.requests, f->value);
        break;
    case LIVE_ERRORS:
        live_add_sane(&to->f.errors, f->value);
        break;
    case LIVE_PROMPT:
        live_add_sane(&to->f.prompt, f->value);
        break;
    case LIVE_COMPLETION:
        live_add_sane(&to->f.completion, f->value);
        break;
    case LIVE_COST:
        live_add_sane(&to->f.cost_nano_usd, f->value);
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
