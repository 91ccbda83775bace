#include "metrics/family.h"

#include <assert.h>
#include <stdlib.h>

/* From a cache hit to the longest model answer. */
static const double seconds_bounds[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
                                        0.5,   1,      2.5,   5,    10,    30,   60,  120};
static const double bytes_bounds[] = {256,    1024,    4096,    16384,   65536,
                                      262144, 1048576, 4194304, 16777216};
static const double count_bounds[] = {1,   2,   5,    10,   25,   50,    100,
                                      250, 500, 1000, 2500, 5000, 10000, 100000};

static void choose_bounds(gw_metric_family *f, gw_str name)
{
    if (gw_str_ends_with(name, GW_STR("_bytes"))) {
        f->bounds = bytes_bounds;
        f->bound_count = GW_ARRAY_LEN(bytes_bounds);
    } else if (gw_str_ends_with(name, GW_STR("_seconds"))) {
        f->bounds = seconds_bounds;
        f->bound_count = GW_ARRAY_LEN(seconds_bounds);
    } else {
        f->bounds = count_bounds;
        f->bound_count = GW_ARRAY_LEN(count_bounds);
    }
}

bool gw_metric_family_init(gw_metric_family *f, const gw_metric_info *info)
{
    *f = (gw_metric_family){.info = info};
    gw_str rest = gw_str_of(info->labels);
    gw_str name;
    while (rest.len > 0 && gw_str_split(&rest, ',', &name)) {
        assert(f->label_count < GW_METRIC_LABELS_MAX);
        f->label_names[f->label_count++] = gw_str_trim(name);
    }
    if (info->kind == GW_METRIC_HISTOGRAM)
        choose_bounds(f, gw_str_of(info->name));
    return pthread_mutex_init(&f->lock, NULL) == 0;
}

static void gw_label_set_free(gw_label_set *set)
{
    free(set->bytes);
    gw_buf_fini(&set->text);
    free(set);
}
GW_DEFINE_FREEP(gw_label_set)

void gw_metric_family_fini(gw_metric_family *f)
{
    for (size_t i = 0; i < f->set_count; i++)
        gw_label_set_free(f->sets[i]);
    pthread_mutex_destroy(&f->lock);
}

/* Text format 0.0.4: backslash, quote and newline are escaped in label values. */
static void append_label_value(gw_buf *out, gw_str value)
{
    for (size_t i = 0; i < value.len; i++) {
        char c = value.ptr[i];
        if (c == '\\' || c == '"')
            gw_buf_append_char(out, '\\');
        if (c == '\n')
            gw_buf_append_c(out, "\\n");
        else
            gw_buf_append_char(out, c);
    }
}

static gw_label_set *label_set_new(const gw_metric_family *f, const gw_str *values)
{
    size_t total = 1;
    for (size_t i = 0; i < f->label_count; i++)
        total += values[i].len;
    gw_auto(gw_label_set) set = calloc(1, sizeof(*set));
    if (!set || !(set->bytes = malloc(total)))
        return NULL;
    size_t at = 0;
    for (size_t i = 0; i < f->label_count; i++) {
        if (values[i].len)
            memcpy(set->bytes + at, values[i].ptr, values[i].len);
        set->values[i] = gw_str_n(set->bytes + at, values[i].len);
        at += values[i].len;
        gw_buf_appendf(&set->text, "%s" GW_STR_FMT "=\"", i ? "," : "",
                       GW_STR_ARG(f->label_names[i]));
        append_label_value(&set->text, values[i]);
        gw_buf_append_char(&set->text, '"');
    }
    return gw_buf_failed(&set->text) ? NULL : gw_steal(&set);
}

bool gw_metric_values_eq(const gw_metric_family *f, const gw_str *a, const gw_str *b)
{
    for (size_t i = 0; i < f->label_count; i++) {
        if (!gw_str_eq(a[i], b[i]))
            return false;
    }
    return true;
}

static int find_or_add(gw_metric_family *f, const gw_str *values, size_t max)
{
    for (size_t i = 0; i < f->set_count; i++) {
        if (gw_metric_values_eq(f, f->sets[i]->values, values))
            return (int)i;
    }
    if (f->set_count >= max)
        return -1;
    gw_label_set *set = label_set_new(f, values);
    if (!set)
        return -1;
    f->sets[f->set_count] = set;
    return (int)f->set_count++;
}

int gw_metric_family_index(gw_metric_family *f, const gw_str *values)
{
    static const gw_str other[GW_METRIC_LABELS_MAX] = {
        {"other", 5}, {"other", 5}, {"other", 5}, {"other", 5}};
    pthread_mutex_lock(&f->lock);
    int index = find_or_add(f, values, GW_METRIC_SERIES_MAX);
    if (index < 0)
        index = find_or_add(f, other, GW_METRIC_SERIES_MAX + 1);
    pthread_mutex_unlock(&f->lock);
    return index;
}

size_t gw_metric_family_count(gw_metric_family *f)
{
    pthread_mutex_lock(&f->lock);
    size_t count = f->set_count;
    pthread_mutex_unlock(&f->lock);
    return count;
}

const gw_label_set *gw_metric_family_set(gw_metric_family *f, size_t index)
{
    pthread_mutex_lock(&f->lock);
    const gw_label_set *set = f->sets[index];
    pthread_mutex_unlock(&f->lock);
    return set;
}
