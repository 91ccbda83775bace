#include "sums.h"

#include "core/map.h"

#include <stdlib.h>

#define DEPTH_MAX 8 /* of documents that are added; ours have 4 */

typedef struct figure {
    gw_str path; /* the map's */
    int64_t value;
    double real;
    bool is_real;
    bool is_map; /* an empty document */
} figure;

struct sums {
    gw_map *figures;
    bool failed;
};

sums *sums_new(void)
{
    sums *s = (sums *)calloc(1, sizeof(*s));
    if (!s)
        return NULL;
    s->figures = gw_map_new(free);
    if (!s->figures) {
        free(s);
        return NULL;
    }
    return s;
}

void sums_free(sums *s)
{
    if (!s)
        return;
    gw_map_free(s->figures);
    free(s);
}

bool sums_failed(const sums *s)
{
    return s->failed;
}

static figure *figure_at(sums *s, gw_str path)
{
    figure *f = (figure *)gw_map_get(s->figures, path);
    if (f || s->failed)
        return f;
    f = (figure *)calloc(1, sizeof(*f));
    if (f && gw_map_put(s->figures, path, f))
        return f;
    free(f);
    s->failed = true;
    return NULL;
}

void sums_add(sums *s, gw_str path, int64_t value)
{
    figure *f = figure_at(s, path);
    if (f)
        sums_add_to(&f->value, value);
}

void sums_set_double(sums *s, gw_str path, double value)
{
    figure *f = figure_at(s, path);
    if (!f)
        return;
    f->is_real = true;
    f->real = value;
}

int64_t sums_get(const sums *s, gw_str path)
{
    const figure *f = (const figure *)gw_map_get(s->figures, path);
    return f ? f->value : 0;
}

size_t sums_count(const sums *s)
{
    return gw_map_count(s->figures);
}

static void add_document(sums *s, gw_buf *path, const bson_t *doc, int depth)
{
    bson_iter_t at;
    size_t parent = path->len;

    if (depth > DEPTH_MAX || !bson_iter_init(&at, doc))
        return;
    while (bson_iter_next(&at)) {
        gw_buf_append_char(path, '.');
        gw_buf_append(path, bson_iter_key(&at), bson_iter_key_len(&at));
        if (gw_buf_failed(path)) {
            s->failed = true;
            return;
        }
        if (BSON_ITER_HOLDS_DOCUMENT(&at)) {
            uint32_t len = 0;
            const uint8_t *bytes = NULL;
            bson_t inner;
            bson_iter_document(&at, &len, &bytes);
            if (bson_init_static(&inner, bytes, len))
                add_document(s, path, &inner, depth + 1);
        } else if (BSON_ITER_HOLDS_INT(&at)) {
            sums_add(s, gw_buf_str(path), bson_iter_as_int64(&at));
        }
        path->len = parent;
        path->data[parent] = '\0';
    }
}

void sums_add_document(sums *s, gw_str prefix, const bson_t *doc)
{
    gw_auto_buf path = {0};
    gw_buf_append_str(&path, prefix);
    if (gw_buf_failed(&path))
        s->failed = true;
    else
        add_document(s, &path, doc, 0);
}

void sums_each(const sums *s, gw_str prefix, void (*each)(void *arg, gw_str name, int64_t value),
               void *arg)
{
    size_t at = 0;
    gw_str path;
    void *value;
    while (gw_map_next(s->figures, &at, &path, &value)) {
        if (path.len <= prefix.len + 1 || !gw_str_starts_with(path, prefix) ||
            path.ptr[prefix.len] != '.')
            continue;
        gw_str name = gw_str_slice(path, prefix.len + 1, path.len);
        if (gw_str_find(name, '.') < 0)
            each(arg, name, ((const figure *)value)->value);
    }
}

/* ---- writing, in the order of the paths: what shares a prefix stands together ---- */

static int compare_paths(const void *a, const void *b)
{
    return gw_str_cmp((*(figure *const *)a)->path, (*(figure *const *)b)->path);
}

static figure **sorted_figures(sums *s)
{
    size_t n = gw_map_count(s->figures);
    figure **all = (figure **)calloc(n + 1, sizeof(figure *));
    size_t at = 0;
    gw_str path;
    void *value;

    if (!all) {
        s->failed = true;
        return NULL;
    }
    for (size_t i = 0; gw_map_next(s->figures, &at, &path, &value); i++) {
        all[i] = (figure *)value;
        all[i]->path = path;
    }
    qsort((void *)all, n, sizeof(figure *), compare_paths);
    return all;
}

void sums_ensure_map(sums *s, gw_str path)
{
    gw_str key;
    void *value;
    size_t at = 0;
    while (gw_map_next(s->figures, &at, &key, &value)) {
        if (key.len > path.len && key.ptr[path.len] == '.' && gw_str_starts_with(key, path))
            return;
    }
    figure *f = figure_at(s, path);
    if (f)
        f->is_map = true;
}

static void append_figure(bson_t *d, gw_str key, const figure *f)
{
    bson_t empty = BSON_INITIALIZER;
    if (f->is_map)
        (void)bson_append_document(d, key.ptr, (int)key.len, &empty);
    else if (f->is_real)
        (void)bson_append_double(d, key.ptr, (int)key.len, f->real);
    else
        (void)bson_append_int64(d, key.ptr, (int)key.len, f->value);
}

void sums_append_flat(sums *s, bson_t *d)
{
    figure **all = sorted_figures(s);
    for (size_t i = 0; all && all[i]; i++)
        append_figure(d, all[i]->path, all[i]);
    free((void *)all);
}

/* The component of `path` that starts at `from`. */
static gw_str component(gw_str path, size_t from)
{
    gw_str rest = gw_str_slice(path, from, path.len);
    ptrdiff_t dot = gw_str_find(rest, '.');
    return dot < 0 ? rest : gw_str_slice(rest, 0, (size_t)dot);
}

static void append_level(bson_t *d, figure *const *all, size_t n, size_t from)
{
    for (size_t i = 0; i < n;) {
        gw_str name = component(all[i]->path, from);
        if (from + name.len == all[i]->path.len) {
            append_figure(d, name, all[i++]);
            continue;
        }
        size_t end = i + 1;
        while (end < n && gw_str_eq(component(all[end]->path, from), name))
            end++;
        bson_t inner;
        (void)bson_append_document_begin(d, name.ptr, (int)name.len, &inner);
        append_level(&inner, all + i, end - i, from + name.len + 1);
        (void)bson_append_document_end(d, &inner);
        i = end;
    }
}

void sums_append_nested(sums *s, bson_t *d)
{
    figure **all = sorted_figures(s);
    if (all)
        append_level(d, all, gw_map_count(s->figures), 0);
    free((void *)all);
}
