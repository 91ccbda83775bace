#include "usage_report.h"

#include "sums.h"

#include "core/map.h"
#include "mongo/bson_read.h"

#include <stdlib.h>

struct usage_report {
    gw_arena *arena;
    usage_group_by by;
    usage_figures totals;
    usage_figures *points;
    histogram *durations;
    gw_map *groups; /* name -> usage_group in the arena */
    bool failed;
};

/* ---- names of groups ---- */

static const struct {
    const char *text;
    usage_group_by by;
} group_names[] = {
    {"", GROUP_NONE},           {"key", GROUP_KEY},           {"apiKey", GROUP_KEY},
    {"apiKeyId", GROUP_KEY},    {"api_key", GROUP_KEY},       {"api_key_id", GROUP_KEY},
    {"model", GROUP_MODEL},     {"provider", GROUP_PROVIDER}, {"client", GROUP_CLIENT},
    {"clientId", GROUP_CLIENT}, {"client_id", GROUP_CLIENT},  {"user", GROUP_USER},
    {"userId", GROUP_USER},     {"user_id", GROUP_USER},
};

usage_group_by usage_group_by_of(const char *text, bool own, gw_violations *v)
{
    for (size_t i = 0; i < GW_ARRAY_LEN(group_names); i++) {
        usage_group_by by = group_names[i].by;
        bool may = !own || by == GROUP_NONE || by == GROUP_MODEL || by == GROUP_PROVIDER;
        if (may && strcmp(text, group_names[i].text) == 0)
            return by;
    }
    gw_violations_add(v, "groupBy", "must be one of %s",
                      own ? "model|provider" : "key|model|provider|client|user");
    return GROUP_NONE;
}

/* ---- figures ---- */

static int64_t int_at(const bson_t *d, const char *path)
{
    int64_t v = 0;
    (void)gw_bson_int64(d, path, &v);
    return v;
}

usage_figures usage_figures_of(const bson_t *hour)
{
    return (usage_figures){
        .requests = int_at(hour, "metrics.requests.total"),
        .successful = int_at(hour, "metrics.requests.successful"),
        .failed = int_at(hour, "metrics.requests.failed"),
        .prompt_tokens = int_at(hour, "metrics.tokens.prompt"),
        .completion_tokens = int_at(hour, "metrics.tokens.completion"),
        .total_tokens = int_at(hour, "metrics.tokens.total"),
        .cached_tokens = int_at(hour, "metrics.tokens.cached"),
        .reasoning_tokens = int_at(hour, "metrics.tokens.reasoning"),
        .cost_nano_usd = int_at(hour, "metrics.cost.estimatedNanoUsd"),
        .billed_nano_usd = int_at(hour, "metrics.cost.billedNanoUsd"),
    };
}

/* Of one model, provider or owner. Nothing adjusts their cost: what is billed is what it was. */
static usage_figures slice_figures(const bson_t *slice)
{
    usage_figures f = {
        .requests = int_at(slice, "requests"),
        .failed = int_at(slice, "failed"),
        .prompt_tokens = int_at(slice, "prompt"),
        .completion_tokens = int_at(slice, "completion"),
        .total_tokens = int_at(slice, "tokens"),
        .cached_tokens = int_at(slice, "cached"),
        .reasoning_tokens = int_at(slice, "reasoning"),
        .cost_nano_usd = int_at(slice, "costNanoUsd"),
    };
    f.successful = f.requests - f.failed;
    f.billed_nano_usd = f.cost_nano_usd;
    return f;
}

void usage_figures_add(usage_figures *to, const usage_figures *f)
{
    sums_add_to(&to->requests, f->requests);
    sums_add_to(&to->successful, f->successful);
    sums_add_to(&to->failed, f->failed);
    sums_add_to(&to->prompt_tokens, f->prompt_tokens);
    sums_add_to(&to->completion_tokens, f->completion_tokens);
    sums_add_to(&to->total_tokens, f->total_tokens);
    sums_add_to(&to->cached_tokens, f->cached_tokens);
    sums_add_to(&to->reasoning_tokens, f->reasoning_tokens);
    sums_add_to(&to->cost_nano_usd, f->cost_nano_usd);
    sums_add_to(&to->billed_nano_usd, f->billed_nano_usd);
}

/* ---- adding ---- */

static void free_groups(void *map)
{
    gw_map_free(map);
}

usage_report *usage_report_new(gw_arena *a, usage_group_by by, const time_points *points)
{
    usage_report *r = gw_arena_new_of(a, usage_report);
    gw_map *groups = gw_map_new(NULL);
    if (!r || !groups || !gw_arena_defer(a, free_groups, groups)) {
        gw_map_free(groups);
        return NULL;
    }
    *r = (usage_report){.arena = a, .by = by, .groups = groups};
    r->points = gw_arena_array(a, usage_figures, (points ? points->count : 0) + 1);
    r->durations = gw_arena_new_of(a, histogram);
    return r->points && r->durations ? r : NULL;
}

static void add_to_group(usage_report *r, gw_str name, const usage_figures *f)
{
    usage_group *g = gw_map_get(r->groups, name);
    if (!g) {
        g = gw_arena_new_of(r->arena, usage_group);
        if (g)
            g->name = gw_arena_dup(r->arena, name);
        if (!g || !gw_map_put(r->groups, name, g)) {
            r->failed = true;
            return;
        }
    }
    usage_figures_add(&g->figures, f);
}

void usage_report_add_key(usage_report *r, const gw_object_id *key, const usage_figures *f)
{
    char hex[GW_OBJECT_ID_HEX_SIZE];
    gw_object_id_format(key, hex);
    add_to_group(r, gw_str_of(hex), f);
}

/* Where the slices of groups stand: of a key, and once of all keys, by "<userId>~<clientId>". */
static const char *pairs_of(usage_group_by by)
{
    return by == GROUP_CLIENT || by == GROUP_USER ? "metrics.owners" : NULL;
}

const char *usage_report_slices(usage_group_by by)
{
    switch (by) {
    case GROUP_MODEL:
        return "metrics.models";
    case GROUP_PROVIDER:
        return "metrics.providers";
    case GROUP_CLIENT:
        return "metrics.clients";
    case GROUP_USER:
        return "metrics.users";
    case GROUP_NONE:
    case GROUP_KEY:
        break;
    }
    return NULL;
}

/* A user id holds no '~'. */
static gw_str part_of_pair(usage_group_by by, gw_str name)
{
    gw_str user, rest = name;
    if (!gw_str_split(&rest, '~', &user))
        return GW_STR("");
    return by == GROUP_USER ? user : rest;
}

static void add_groups(usage_report *r, const bson_t *hour, const char *path, bool pairs)
{
    bson_t map, slice;
    bson_iter_t at;
    if (!path || !gw_bson_doc(hour, path, &map) || !bson_iter_init(&at, &map))
        return;
    while (bson_iter_next(&at)) {
        uint32_t len = 0;
        const uint8_t *bytes = NULL;
        if (!BSON_ITER_HOLDS_DOCUMENT(&at))
            continue;
        bson_iter_document(&at, &len, &bytes);
        if (!bson_init_static(&slice, bytes, len))
            continue;
        gw_auto_buf name = {0};
        gw_bson_key_unescape(&name, gw_str_n(bson_iter_key(&at), bson_iter_key_len(&at)));
        usage_figures f = slice_figures(&slice);
        gw_str group = gw_buf_str(&name);
        add_to_group(r, pairs ? part_of_pair(r->by, group) : group, &f);
    }
}

static void add_durations(usage_report *r, const bson_t *hour)
{
    bson_t map;
    bson_iter_t at;
    int64_t index;
    if (!gw_bson_doc(hour, "hist.dur", &map) || !bson_iter_init(&at, &map))
        return;
    while (bson_iter_next(&at))
        if (gw_str_to_int64(gw_str_n(bson_iter_key(&at), bson_iter_key_len(&at)), &index) &&
            BSON_ITER_HOLDS_INT(&at))
            histogram_add(r->durations, index, bson_iter_as_int64(&at));
}

void usage_report_add(usage_report *r, const bson_t *hour, unsigned parts, ptrdiff_t point)
{
    usage_figures f = usage_figures_of(hour);
    if (parts & REPORT_TOTALS) {
        usage_figures_add(&r->totals, &f);
        add_groups(r, hour, usage_report_slices(r->by), false);
        add_groups(r, hour, pairs_of(r->by), true);
        add_durations(r, hour);
    }
    if ((parts & REPORT_SERIES) && point >= 0)
        usage_figures_add(&r->points[point], &f);
}

void usage_report_add_series(usage_report *r, const usage_figures *f, ptrdiff_t point)
{
    if (point >= 0)
        usage_figures_add(&r->points[point], f);
}

/* ---- results ---- */

gw_status usage_report_check(const usage_report *r, gw_error *err)
{
    return r->failed ? gw_fail(err, GW_ERR_NO_MEMORY, "no memory for a usage report") : GW_OK;
}

const usage_figures *usage_report_totals(const usage_report *r)
{
    return &r->totals;
}

const usage_figures *usage_report_points(const usage_report *r)
{
    return r->points;
}

const histogram *usage_report_durations(const usage_report *r)
{
    return r->durations;
}

const usage_figures *usage_report_group(const usage_report *r, gw_str name)
{
    const usage_group *g = gw_map_get(r->groups, name);
    return g ? &g->figures : NULL;
}

static int by_cost(const void *a, const void *b)
{
    const usage_group *x = a, *y = b;
    if (x->figures.cost_nano_usd != y->figures.cost_nano_usd)
        return x->figures.cost_nano_usd < y->figures.cost_nano_usd ? 1 : -1;
    if (x->figures.requests != y->figures.requests)
        return x->figures.requests < y->figures.requests ? 1 : -1;
    return gw_str_cmp(x->name, y->name);
}

/* Hours keep no slice of requests that named no model, nor of those for which no provider was tried. */
static void add_nameless(usage_report *r)
{
    usage_figures named = {0};
    size_t at = 0;
    gw_str name;
    void *value;
    while (gw_map_next(r->groups, &at, &name, &value))
        usage_figures_add(&named, &((const usage_group *)value)->figures);
    const usage_figures *t = &r->totals;
    usage_figures rest = {
        .requests = t->requests - named.requests,
        .successful = t->successful - named.successful,
        .failed = t->failed - named.failed,
        .prompt_tokens = t->prompt_tokens - named.prompt_tokens,
        .completion_tokens = t->completion_tokens - named.completion_tokens,
        .total_tokens = t->total_tokens - named.total_tokens,
        .cached_tokens = t->cached_tokens - named.cached_tokens,
        .reasoning_tokens = t->reasoning_tokens - named.reasoning_tokens,
        .cost_nano_usd = t->cost_nano_usd - named.cost_nano_usd,
        .billed_nano_usd = t->billed_nano_usd - named.billed_nano_usd,
    };
    if (rest.requests > 0)
        add_to_group(r, GW_STR(""), &rest);
}

gw_status usage_report_groups(usage_report *r, usage_group **ret, size_t *ret_count, gw_error *err)
{
    if (r->by == GROUP_PROVIDER || r->by == GROUP_MODEL)
        add_nameless(r);
    size_t n = gw_map_count(r->groups), at = 0;
    usage_group *all = gw_arena_array(r->arena, usage_group, n + 1);
    if (!all)
        r->failed = true;
    gw_status rc = usage_report_check(r, err);
    if (rc != GW_OK)
        return rc;
    gw_str name;
    void *value;
    for (size_t i = 0; gw_map_next(r->groups, &at, &name, &value); i++)
        all[i] = *(const usage_group *)value;
    qsort(all, n, sizeof(*all), by_cost);
    if (n > USAGE_GROUPS_MAX) {
        usage_group other = {.name = GW_STR("other")};
        for (size_t i = USAGE_GROUPS_MAX - 1; i < n; i++)
            usage_figures_add(&other.figures, &all[i].figures);
        n = USAGE_GROUPS_MAX;
        all[n - 1] = other;
    }
    *ret = all;
    *ret_count = n;
    return GW_OK;
}
