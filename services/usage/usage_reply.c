#include "usage_reply.h"

#include "query_op.h"

#define NANO_PER_DOLLAR 1e9

typedef Apirelay__Usage__V1__UsageTotals usage_totals;
typedef Apirelay__Usage__V1__CostTotals cost_totals;

static usage_totals *totals_of(gw_arena *a, const usage_figures *f)
{
    usage_totals *t = reply_new(a, &apirelay__usage__v1__usage_totals__descriptor);
    if (!t)
        return NULL;
    t->requests = f->requests;
    t->successful = f->successful;
    t->failed = f->failed;
    t->prompt_tokens = f->prompt_tokens;
    t->completion_tokens = f->completion_tokens;
    t->total_tokens = f->total_tokens;
    t->cost = (double)f->cost_nano_usd / NANO_PER_DOLLAR;
    t->cost_nano_usd = f->cost_nano_usd;
    t->cached_tokens = f->cached_tokens;
    t->reasoning_tokens = f->reasoning_tokens;
    return t;
}

static cost_totals *costs_of(gw_arena *a, const usage_figures *f)
{
    cost_totals *t = reply_new(a, &apirelay__usage__v1__cost_totals__descriptor);
    if (!t)
        return NULL;
    t->estimated = (double)f->cost_nano_usd / NANO_PER_DOLLAR;
    t->estimated_nano_usd = f->cost_nano_usd;
    t->billed = (double)f->billed_nano_usd / NANO_PER_DOLLAR;
    t->billed_nano_usd = f->billed_nano_usd;
    t->requests = f->requests;
    t->total_tokens = f->total_tokens;
    return t;
}

static gw_status no_memory(gw_error *err)
{
    return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the answer");
}

gw_status usage_reply_of(gw_arena *a, usage_report *r, const time_points *points, usage_reply *ret,
                         gw_error *err)
{
    usage_group *groups = NULL;
    size_t n = 0;
    gw_status rc = usage_report_groups(r, &groups, &n, err);
    if (rc != GW_OK)
        return rc;
    usage_reply p = {totals_of(a, usage_report_totals(r)), n, points->count,
                     gw_arena_array(a, Apirelay__Usage__V1__UsageGroup *, n + 1),
                     gw_arena_array(a, Apirelay__Usage__V1__UsagePoint *, points->count + 1)};
    if (!p.totals || !p.groups || !p.series)
        return no_memory(err);
    for (size_t i = 0; i < n; i++) {
        Apirelay__Usage__V1__UsageGroup *g =
            reply_new(a, &apirelay__usage__v1__usage_group__descriptor);
        if (!g)
            return no_memory(err);
        g->group = reply_text(a, groups[i].name);
        g->totals = totals_of(a, &groups[i].figures);
        p.groups[i] = g;
    }
    for (size_t i = 0; i < points->count; i++) {
        Apirelay__Usage__V1__UsagePoint *s =
            reply_new(a, &apirelay__usage__v1__usage_point__descriptor);
        if (!s)
            return no_memory(err);
        s->start = reply_time(a, points->starts[i]);
        s->totals = totals_of(a, &usage_report_points(r)[i]);
        p.series[i] = s;
    }
    *ret = p;
    return GW_OK;
}

gw_status cost_reply_of(gw_arena *a, usage_report *r, const time_points *points,
                        Apirelay__Usage__V1__GetCostsResponse **ret, gw_error *err)
{
    usage_group *groups = NULL;
    size_t n = 0;
    gw_status rc = usage_report_groups(r, &groups, &n, err);
    if (rc != GW_OK)
        return rc;
    Apirelay__Usage__V1__GetCostsResponse *m =
        reply_new(a, &apirelay__usage__v1__get_costs_response__descriptor);
    if (!m)
        return no_memory(err);
    m->totals = costs_of(a, usage_report_totals(r));
    m->currency = reply_text(a, GW_STR("USD"));
    m->groups = gw_arena_array(a, Apirelay__Usage__V1__CostGroup *, n + 1);
    m->series = gw_arena_array(a, Apirelay__Usage__V1__CostPoint *, points->count + 1);
    if (!m->totals || !m->groups || !m->series)
        return no_memory(err);
    for (; m->n_groups < n; m->n_groups++) {
        Apirelay__Usage__V1__CostGroup *g =
            reply_new(a, &apirelay__usage__v1__cost_group__descriptor);
        if (!g)
            return no_memory(err);
        g->group = reply_text(a, groups[m->n_groups].name);
        g->totals = costs_of(a, &groups[m->n_groups].figures);
        m->groups[m->n_groups] = g;
    }
    for (; m->n_series < points->count; m->n_series++) {
        Apirelay__Usage__V1__CostPoint *s =
            reply_new(a, &apirelay__usage__v1__cost_point__descriptor);
        if (!s)
            return no_memory(err);
        s->start = reply_time(a, points->starts[m->n_series]);
        s->totals = costs_of(a, &usage_report_points(r)[m->n_series]);
        m->series[m->n_series] = s;
    }
    *ret = m;
    return GW_OK;
}
