#include "metrics/process.h"
#include "metrics/shard.h"

#include <inttypes.h>
#include <stdlib.h>

/* One combination, all shards added up. */
typedef struct total {
    int64_t value;
    double sum;
    uint64_t buckets[];
} total;

static size_t total_size(const gw_metric_family *f)
{
    size_t buckets = f->info->kind == GW_METRIC_HISTOGRAM ? f->bound_count + 1 : 0;
    return sizeof(total) + buckets * sizeof(uint64_t);
}

static total *total_at(const gw_metric_family *f, char *totals, size_t index)
{
    return (total *)(void *)(totals + index * total_size(f));
}

static void add_cell(const gw_metric_family *f, gw_metric_cell *cell, total *t)
{
    t->value += atomic_load_explicit(&cell->value, memory_order_relaxed);
    if (f->info->kind != GW_METRIC_HISTOGRAM)
        return;
    t->sum += atomic_load_explicit(&cell->sum, memory_order_relaxed);
    for (size_t i = 0; i <= f->bound_count; i++)
        t->buckets[i] += atomic_load_explicit(&cell->buckets[i], memory_order_relaxed);
}

static void append_sample(gw_buf *out, const gw_metric_family *f, const char *suffix,
                          const gw_label_set *set)
{
    gw_buf_appendf(out, "%s%s", f->info->name, suffix);
    if (f->label_count > 0)
        gw_buf_appendf(out, "{" GW_STR_FMT "}", GW_STR_ARG(gw_buf_str(&set->text)));
}

static void append_histogram(gw_buf *out, const gw_metric_family *f, const gw_label_set *set,
                             const total *t)
{
    uint64_t count = 0;
    for (size_t i = 0; i <= f->bound_count; i++) {
        count += t->buckets[i];
        gw_buf_appendf(out, "%s_bucket{" GW_STR_FMT "%sle=\"", f->info->name,
                       GW_STR_ARG(gw_buf_str(&set->text)), f->label_count ? "," : "");
        if (i < f->bound_count)
            gw_buf_appendf(out, "%.15g", f->bounds[i]);
        else
            gw_buf_append_c(out, "+Inf");
        gw_buf_appendf(out, "\"} %" PRIu64 "\n", count);
    }
    append_sample(out, f, "_sum", set);
    gw_buf_appendf(out, " %.15g\n", t->sum);
    append_sample(out, f, "_count", set);
    gw_buf_appendf(out, " %" PRIu64 "\n",
                   count); /* of the buckets above, so that a running observe() cannot disagree */
}

static void append_head(gw_buf *out, const gw_metric_info *info)
{
    static const char *const types[] = {"counter", "gauge", "histogram"};
    gw_buf_appendf(out, "# HELP %s ", info->name);
    for (const char *c = info->help; *c;
         c++) { /* text format 0.0.4: help escapes backslash and newline only */
        if (*c == '\n')
            gw_buf_append_c(out, "\\n");
        else if (*c == '\\')
            gw_buf_append_c(out, "\\\\");
        else
            gw_buf_append_char(out, *c);
    }
    gw_buf_appendf(out, "\n# TYPE %s %s\n", info->name, types[info->kind]);
}

static void render_family(gw_metrics *m, size_t metric, gw_buf *out)
{
    gw_metric_family *f = &m->families[metric];
    append_head(out, f->info);
    size_t count = gw_metric_family_count(f);
    if (count == 0)
        return;
    gw_auto_free char *totals = calloc(count, total_size(f));
    if (!totals) {
        out->failed = true;
        return;
    }
    for (gw_metrics_shard *s = atomic_load(&m->shards); s; s = s->next) {
        gw_metric_cell *cell =
            atomic_load_explicit(&s->cells[metric].published, memory_order_acquire);
        for (; cell; cell = cell->next) {
            if (cell->index < count) /* a combination younger than this scrape waits for the next */
                add_cell(f, cell, total_at(f, totals, cell->index));
        }
    }
    for (size_t i = 0; i < count; i++) {
        const gw_label_set *set = gw_metric_family_set(f, i);
        const total *t = total_at(f, totals, i);
        if (f->info->kind == GW_METRIC_HISTOGRAM) {
            append_histogram(out, f, set, t);
        } else {
            append_sample(out, f, "", set);
            gw_buf_appendf(out, " %" PRId64 "\n", t->value);
        }
    }
}

void gw_metrics_render(gw_metrics *m, gw_buf *out)
{
    for (size_t i = 0; i < m->metric_count; i++)
        render_family(m, i, out);
    if (m->service)
        gw_buf_appendf(out,
                       "# HELP build_info what runs here\n# TYPE build_info gauge\n"
                       "build_info{service=\"%s\",version=\"%s\"} 1\n",
                       m->service, m->version);
    gw_process_metrics_render(out);
}
