#include "rating.h"

#include "core/clock.h"
#include "core/id.h"
#include "core/map.h"
#include "mongo/bson_read.h"
#include "price/price_tier.h"

#include <stdlib.h>

#define KNOWN_MAX 10000 /* answers of a book's that are remembered */

typedef Apirelay__Relay__V1__PriceBook book_message;
typedef Apirelay__Relay__V1__RatedFigures rated_figures;
typedef Apirelay__Relay__V1__RatedGroup rated_group;

typedef struct rating_book {
    int64_t from_ms;
    model_price *prices;
    size_t count;
    gw_map *known; /* provider and names -> price, or &no_price: a row is like many others */
} rating_book;

struct rating {
    gw_arena *arena;
    rating_book *books; /* by time, those of the same one as they were given */
    size_t book_count;
    bool by_key;
    gw_map *groups; /* model, provider and key -> rated_group */
    rated_group **list; /* all of them, the rest last */
    size_t count;
    rated_group *rest; /* NULL until there are too many */
    rated_figures totals;
};

/* What is read of a row. */
typedef struct rated_row {
    int64_t at_ms, cost;
    gw_str model, upstream_model, provider, basis, service_tier;
    token_counts tokens;
    gw_object_id key;
} rated_row;

static model_price no_price;

/* ---- books ---- */

static int64_t start_of(const book_message *b)
{
    const Google__Protobuf__Timestamp *t = b->effective_from;
    return t ? t->seconds * GW_MS_PER_S + t->nanos / 1000000 : INT64_MIN;
}

static bool fill_book(rating *r, rating_book *b, const book_message *m)
{
    b->from_ms = start_of(m);
    b->prices = gw_arena_array(r->arena, model_price, m->n_prices + 1);
    b->known = gw_map_new(NULL);
    for (size_t i = 0; b->prices && i < m->n_prices; i++)
        if (!price_from_message(r->arena, m->prices[i], &b->prices[b->count++]))
            return false;
    return b->prices && b->known;
}

/* Sorted in by time, behind those of the same one. */
static bool add_book(rating *r, const book_message *m)
{
    size_t at = r->book_count++;
    for (; at > 0 && r->books[at - 1].from_ms > start_of(m); at--)
        r->books[at] = r->books[at - 1];
    r->books[at] = (rating_book){0};
    return fill_book(r, &r->books[at], m);
}

static rating_book *book_at(rating *r, int64_t at_ms)
{
    rating_book *found = NULL;
    for (size_t i = 0; i < r->book_count && r->books[i].from_ms <= at_ms; i++)
        found = &r->books[i];
    return found;
}

static void append_name(gw_buf *key, gw_str name)
{
    gw_buf_append_str(key, name);
    gw_buf_append_char(key, '\n'); /* in none of them */
}

/* NULL: it has none. */
static const model_price *price_in(rating_book *b, const rated_row *row)
{
    gw_auto_buf key = {0};
    append_name(&key, row->provider);
    append_name(&key, row->upstream_model);
    append_name(&key, row->model);
    model_price *known = gw_map_get(b->known, gw_buf_str(&key));
    if (known)
        return known == &no_price ? NULL : known;
    const model_price *found =
        price_find_of_target(b->prices, b->count, row->upstream_model, row->model, row->provider);
    void *kept = found ? (void *)(uintptr_t)found : &no_price;
    if (gw_map_count(b->known) < KNOWN_MAX && !gw_buf_failed(&key))
        (void)!gw_map_put(b->known, gw_buf_str(&key), kept); /* else it is looked up again */
    return found;
}

/* ---- life ---- */

rating *rating_new(gw_arena *a, const rating_options *o)
{
    gw_auto(rating) r = gw_arena_zalloc(a, sizeof(*r));
    if (!r)
        return NULL;
    r->arena = a;
    r->by_key = o->by_key;
    r->groups = gw_map_new(NULL);
    r->list = gw_arena_array(a, rated_group *, RATING_GROUPS_ROOM + 1);
    r->books = gw_arena_array(a, rating_book, o->book_count + 1);
    apirelay__relay__v1__rated_figures__init(&r->totals);
    bool ok = r->groups && r->list && r->books;
    for (size_t i = 0; ok && i < o->book_count; i++)
        ok = add_book(r, o->books[i]);
    return ok ? gw_steal(&r) : NULL;
}

void rating_free(rating *r)
{
    if (!r)
        return;
    gw_map_free(r->groups);
    for (size_t i = 0; i < r->book_count; i++)
        gw_map_free(r->books[i].known);
}

/* ---- rows ---- */

static int64_t count_at(const bson_t *row, const char *path)
{
    int64_t v = 0;
    return gw_bson_int64(row, path, &v) ? GW_MAX(v, 0) : 0;
}

static gw_str text_at(const bson_t *row, const char *path)
{
    gw_str s = GW_STR("");
    return gw_bson_str(row, path, &s) ? s : GW_STR("");
}

/* False: it has no tokens, or is not ours. */
static bool read_row(const bson_t *row, rated_row *ret)
{
    *ret = (rated_row){
        .cost = count_at(row, "usage.costNanoUsd"),
        .model = text_at(row, "request.model"),
        .upstream_model = text_at(row, "upstreamModel"),
        .provider = text_at(row, "provider"),
        .basis = text_at(row, "billingBasis"),
        .service_tier = text_at(row, "serviceTier"),
        .tokens = {.prompt = count_at(row, "usage.promptTokens"),
                   .completion = count_at(row, "usage.completionTokens"),
                   .cached = count_at(row, "usage.cachedTokens"),
                   .reasoning = count_at(row, "usage.reasoningTokens"),
                   .cache_write = count_at(row, "usage.cacheWriteTokens"),
                   .long_cache_write = count_at(row, "usage.longCacheWriteTokens"),
                   .images = count_at(row, "usage.images")},
    };
    return count_at(row, "usage.totalTokens") > 0 && gw_bson_oid(row, "apiKeyId", &ret->key) &&
           gw_bson_date_ms(row, "timestamp", &ret->at_ms);
}

static rated_group *make_group(rating *r)
{
    rated_group *g = gw_arena_new_of(r->arena, rated_group);
    rated_figures *f = gw_arena_new_of(r->arena, rated_figures);
    if (!g || !f)
        return NULL;
    apirelay__relay__v1__rated_group__init(g);
    apirelay__relay__v1__rated_figures__init(f);
    g->figures = f;
    return g;
}

static bool name_group(rating *r, rated_group *g, const rated_row *row)
{
    char hex[GW_OBJECT_ID_HEX_SIZE];
    gw_object_id_format(&row->key, hex);
    g->model = gw_arena_strdup(r->arena, row->model);
    g->provider = gw_arena_strdup(r->arena, row->provider);
    if (r->by_key)
        g->api_key_id = gw_arena_strdup(r->arena, gw_str_of(hex));
    return g->model && g->provider && g->api_key_id;
}

/* NULL when out of memory. */
static rated_group *group_of(rating *r, const rated_row *row)
{
    gw_auto_buf key = {0};
    append_name(&key, row->model);
    append_name(&key, row->provider);
    if (r->by_key)
        gw_buf_append(&key, row->key.bytes, sizeof(row->key.bytes));
    rated_group *g = gw_buf_failed(&key) ? NULL : gw_map_get(r->groups, gw_buf_str(&key));
    if (g || gw_buf_failed(&key))
        return g;
    if (r->count == RATING_GROUPS_ROOM) {
        if (!r->rest)
            r->rest = make_group(r);
        return r->rest;
    }
    g = make_group(r);
    if (!g || !name_group(r, g, row) || !gw_map_put(r->groups, gw_buf_str(&key), g))
        return NULL;
    r->list[r->count++] = g;
    return g;
}

static void add_figures(rated_figures *to, const rated_figures *f)
{
    to->requests += f->requests;
    to->cost_nano_usd += f->cost_nano_usd;
    to->rated_nano_usd += f->rated_nano_usd;
    to->difference_nano_usd += f->difference_nano_usd;
    to->changed += f->changed;
    to->unpriced += f->unpriced;
    to->formerly_unpriced += f->formerly_unpriced;
}

/* A tier that the book does not have: it had no price before either, or the model's own stood in (relay_request_tier.c). */
static const model_price *price_of_row(rating_book *b, const rated_row *row)
{
    const model_price *p = price_in(b, row);
    const model_price *in_tier = p ? price_in_tier(p, row->service_tier) : NULL;
    return in_tier || gw_str_eq_c(row->basis, "unpriced") ? in_tier : p;
}

gw_status rating_add(rating *r, const bson_t *doc, gw_error *err)
{
    rated_row row;
    if (!read_row(doc, &row))
        return GW_OK;
    rating_book *book = book_at(r, row.at_ms);
    const model_price *price = book ? price_of_row(book, &row) : NULL;
    rated_figures f = APIRELAY__RELAY__V1__RATED_FIGURES__INIT;
    f.requests = 1;
    f.cost_nano_usd = row.cost;
    f.rated_nano_usd = price ? price_of(price, &row.tokens) : 0;
    f.difference_nano_usd = f.rated_nano_usd - f.cost_nano_usd;
    f.changed = f.difference_nano_usd != 0;
    f.unpriced = !price;
    f.formerly_unpriced = gw_str_eq_c(row.basis, "unpriced");
    rated_group *g = group_of(r, &row);
    if (!g)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory to sum what requests would cost");
    add_figures(g->figures, &f);
    add_figures(&r->totals, &f);
    return GW_OK;
}

/* ---- the answer ---- */

static int64_t weight_of(const rated_group *g)
{
    return llabs(g->figures->difference_nano_usd);
}

/* Largest difference first, then most cost; names make the order total. */
static int by_difference(const void *a, const void *b)
{
    const rated_group *x = *(rated_group *const *)a, *y = *(rated_group *const *)b;
    if (weight_of(x) != weight_of(y))
        return weight_of(x) > weight_of(y) ? -1 : 1;
    if (x->figures->cost_nano_usd != y->figures->cost_nano_usd)
        return x->figures->cost_nano_usd > y->figures->cost_nano_usd ? -1 : 1;
    int order = strcmp(x->model, y->model);
    order = order ? order : strcmp(x->provider, y->provider);
    return order ? order : strcmp(x->api_key_id, y->api_key_id);
}

gw_status rating_reply(rating *r, Apirelay__Usage__V1__RateUsageResponse *ret, gw_error *err)
{
    qsort(r->list, r->count, sizeof(*r->list), by_difference);
    if (r->count > RATING_GROUPS_MAX && !r->rest)
        r->rest = make_group(r);
    if (r->count > RATING_GROUPS_MAX && !r->rest)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the answer");
    while (r->count > RATING_GROUPS_MAX)
        add_figures(r->rest->figures, r->list[--r->count]->figures);
    if (r->rest)
        r->list[r->count++] = r->rest;
    ret->totals = &r->totals;
    ret->groups = r->list;
    ret->n_groups = r->count;
    return GW_OK;
}
