#include "memory_document.h"

#include <stdio.h>
#include <stdlib.h>

/*
 * A document is a sorted list of dotted paths and values without maps in between: updates by path are then simple. Documents are not
 * changed: a write puts another one in place, so that the old one can come back.
 */
typedef struct field {
    char *path;
    bson_value_t value;
} field;

struct memory_document {
    int references;
    field *fields;
    size_t count, cap;
};

void *memory_grown(void *p, size_t *cap, size_t count, size_t size)
{
    if (count < *cap)
        return p;
    *cap = *cap ? 2 * *cap : 8;
    p = realloc(p, *cap * size);
    if (!p)
        abort();
    return p;
}

char *memory_text(const char *text)
{
    char *copy = strdup(text);
    if (!copy)
        abort();
    return copy;
}

/* ---- documents ---- */

memory_document *memory_document_hold(memory_document *d)
{
    if (d)
        d->references++;
    return d;
}

void memory_document_release(memory_document *d)
{
    if (!d || --d->references > 0)
        return;
    for (size_t i = 0; i < d->count; i++) {
        free(d->fields[i].path);
        bson_value_destroy(&d->fields[i].value);
    }
    free(d->fields);
    free(d);
}

static memory_document *document_new(void)
{
    memory_document *d = (memory_document *)calloc(1, sizeof(*d));
    if (!d)
        abort();
    d->references = 1;
    return d;
}

memory_document *memory_document_copy(const memory_document *from)
{
    memory_document *d = document_new();
    d->fields = (field *)calloc(from->count + 8, sizeof(*d->fields));
    if (!d->fields)
        abort();
    d->cap = from->count + 8;
    for (; d->count < from->count; d->count++) {
        d->fields[d->count].path = memory_text(from->fields[d->count].path);
        bson_value_copy(&from->fields[d->count].value, &d->fields[d->count].value);
    }
    return d;
}

/* Where `path` is or belongs. */
static size_t place_of(const memory_document *d, const char *path)
{
    size_t low = 0;
    for (size_t high = d->count; low < high;) {
        size_t middle = (low + high) / 2;
        if (strcmp(d->fields[middle].path, path) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const bson_value_t *memory_document_value(const memory_document *d, const char *path)
{
    size_t at = place_of(d, path);
    return at < d->count && strcmp(d->fields[at].path, path) == 0 ? &d->fields[at].value : NULL;
}

static bool is_under(const char *path, const char *parent)
{
    size_t len = strlen(parent);
    return strncmp(path, parent, len) == 0 && (path[len] == '.' || path[len] == '\0');
}

static bool exists(const memory_document *d, const char *path)
{
    for (size_t i = place_of(d, path); i < d->count; i++)
        if (is_under(d->fields[i].path, path))
            return true;
        else if (strncmp(d->fields[i].path, path, strlen(path)) != 0)
            break;
    return false;
}

static bool remove_under(memory_document *d, const char *path)
{
    size_t kept = 0;
    for (size_t i = 0; i < d->count; i++) {
        if (!is_under(d->fields[i].path, path)) {
            d->fields[kept++] = d->fields[i];
            continue;
        }
        free(d->fields[i].path);
        bson_value_destroy(&d->fields[i].value);
    }
    bool any = kept < d->count;
    d->count = kept;
    return any;
}

static bool same_value(const bson_value_t *a, const bson_value_t *b);

/* True when that changed something. */
static bool put_value(memory_document *d, const char *path, const bson_value_t *value)
{
    size_t at = place_of(d, path);
    if (at < d->count && strcmp(d->fields[at].path, path) == 0) {
        bool same = same_value(&d->fields[at].value, value);
        bson_value_destroy(&d->fields[at].value);
        bson_value_copy(value, &d->fields[at].value);
        return !same;
    }
    d->fields = (field *)memory_grown(d->fields, &d->cap, d->count, sizeof(*d->fields));
    memmove(&d->fields[at + 1], &d->fields[at], (d->count - at) * sizeof(*d->fields));
    d->count++;
    d->fields[at].path = memory_text(path);
    bson_value_copy(value, &d->fields[at].value);
    return true;
}

/* Also what stands in the maps that `value` may be. */
static bool set_value(memory_document *d, const char *path, const bson_value_t *value)
{
    bson_t map;
    bson_iter_t at;
    if (value->value_type != BSON_TYPE_DOCUMENT)
        return put_value(d, path, value);
    bool changed = remove_under(d, path);
    if (!bson_init_static(&map, value->value.v_doc.data, value->value.v_doc.data_len) ||
        !bson_iter_init(&at, &map))
        abort();
    while (bson_iter_next(&at)) {
        char inner[512];
        (void)snprintf(inner, sizeof(inner), "%s.%s", path, bson_iter_key(&at));
        changed |= set_value(d, inner, bson_iter_value(&at));
    }
    return changed;
}

/* From field `at` on those that start with `prefix`, as one map. */
static size_t append_fields(const memory_document *d, size_t at, const char *prefix, bson_t *out)
{
    size_t len = strlen(prefix);
    while (at < d->count && strncmp(d->fields[at].path, prefix, len) == 0) {
        const char *name = d->fields[at].path + len;
        const char *dot = strchr(name, '.');
        if (!dot) {
            (void)bson_append_value(out, name, -1, &d->fields[at++].value);
            continue;
        }
        char inner[512];
        bson_t map;
        (void)snprintf(inner, sizeof(inner), "%.*s.", (int)(dot - d->fields[at].path),
                       d->fields[at].path);
        (void)bson_append_document_begin(out, name, (int)(dot - name), &map);
        at = append_fields(d, at, inner, &map);
        (void)bson_append_document_end(out, &map);
    }
    return at;
}

/* ---- values ---- */

static bool is_number(const bson_value_t *v)
{
    return v->value_type == BSON_TYPE_INT32 || v->value_type == BSON_TYPE_INT64;
}

static int64_t number_of(const bson_value_t *v)
{
    switch (v->value_type) {
    case BSON_TYPE_INT32:
        return v->value.v_int32;
    case BSON_TYPE_DATE_TIME:
        return v->value.v_datetime;
    case BSON_TYPE_BOOL:
        return v->value.v_bool;
    default:
        return v->value.v_int64;
    }
}

/* Of another type: false, as MongoDB compares within types only. */
static bool compare(const bson_value_t *a, const bson_value_t *b, int *ret)
{
    if (!(is_number(a) && is_number(b)) && a->value_type != b->value_type)
        return false;
    switch (a->value_type) {
    case BSON_TYPE_UTF8:
        *ret = strcmp(a->value.v_utf8.str, b->value.v_utf8.str);
        return true;
    case BSON_TYPE_OID:
        *ret = bson_oid_compare(&a->value.v_oid, &b->value.v_oid);
        return true;
    case BSON_TYPE_DOUBLE:
        *ret = (a->value.v_double > b->value.v_double) - (a->value.v_double < b->value.v_double);
        return true;
    case BSON_TYPE_INT32:
    case BSON_TYPE_INT64:
    case BSON_TYPE_DATE_TIME:
    case BSON_TYPE_BOOL:
        *ret = (number_of(a) > number_of(b)) - (number_of(a) < number_of(b));
        return true;
    default:
        return false;
    }
}

/* What cannot be compared counts as different. */
static bool same_value(const bson_value_t *a, const bson_value_t *b)
{
    int order = 1;
    return a->value_type == b->value_type && compare(a, b, &order) && order == 0;
}

/* ---- filters ---- */

static bool holds(const memory_document *d, const char *path, const char *operator,
                  const bson_value_t * wanted)
{
    int order = 0;
    if (strcmp(operator, "$exists") == 0)
        return exists(d, path) == wanted->value.v_bool;
    const bson_value_t *v = memory_document_value(d, path);
    if (strcmp(operator, "$not") == 0) {
        bson_t inner;
        bson_iter_t at;
        if (!bson_init_static(&inner, wanted->value.v_doc.data, wanted->value.v_doc.data_len) ||
            !bson_iter_init(&at, &inner) || !bson_iter_next(&at))
            abort();
        return !holds(d, path, bson_iter_key(&at), bson_iter_value(&at));
    }
    if (!v || !compare(v, wanted, &order))
        return false;
    if (strcmp(operator, "$gte") == 0)
        return order >= 0;
    if (strcmp(operator, "$gt") == 0)
        return order > 0;
    if (strcmp(operator, "$lte") == 0)
        return order <= 0;
    if (strcmp(operator, "$lt") == 0)
        return order < 0;
    if (strcmp(operator, "$eq") == 0)
        return order == 0;
    (void)fprintf(stderr, "the store in memory does not know %s\n", operator);
    abort();
}

bool memory_filter_is_operators(const bson_iter_t *at, bson_iter_t *ret_first)
{
    return BSON_ITER_HOLDS_DOCUMENT(at) && bson_iter_recurse(at, ret_first) &&
           bson_iter_next(ret_first) && bson_iter_key(ret_first)[0] == '$';
}

static bool matches_any(const memory_document *d, const bson_iter_t *filters)
{
    bson_iter_t at;
    if (!bson_iter_recurse(filters, &at))
        abort();
    while (bson_iter_next(&at)) {
        bson_t filter;
        const bson_value_t *v = bson_iter_value(&at);
        if (!bson_init_static(&filter, v->value.v_doc.data, v->value.v_doc.data_len))
            abort();
        if (memory_document_matches(d, &filter))
            return true;
    }
    return false;
}

bool memory_document_matches(const memory_document *d, const bson_t *filter)
{
    bson_iter_t at;
    bson_iter_t operator;
    if (!bson_iter_init(&at, filter))
        abort();
    while (bson_iter_next(&at)) {
        const char *path = bson_iter_key(&at);
        if (strcmp(path, "$or") == 0) {
            if (!matches_any(d, &at))
                return false;
            continue;
        }
        if (!memory_filter_is_operators(&at, &operator)) {
            if (!holds(d, path, "$eq", bson_iter_value(&at)))
                return false;
            continue;
        }
        do {
            if (!holds(d, path, bson_iter_key(&operator), bson_iter_value(&operator)))
                return false;
        } while (bson_iter_next(&operator));
    }
    return true;
}

/* ---- updates ---- */

static bool apply_one(memory_document *d, const char *operator, const char * path,
                      const bson_value_t *v, bool inserting)
{
    const bson_value_t *before = memory_document_value(d, path);
    if (strcmp(operator, "$set") == 0)
        return set_value(d, path, v);
    if (strcmp(operator, "$setOnInsert") == 0)
        return inserting && set_value(d, path, v);
    if (strcmp(operator, "$unset") == 0)
        return remove_under(d, path);
    if (strcmp(operator, "$max") == 0) {
        int order = 0;
        return (!before || !compare(before, v, &order) || order < 0) && set_value(d, path, v);
    }
    if (strcmp(operator, "$inc") != 0) {
        (void)fprintf(stderr, "the store in memory does not know %s\n", operator);
        abort();
    }
    bson_value_t sum = {.value_type = BSON_TYPE_INT64};
    sum.value.v_int64 = number_of(v) + (before ? number_of(before) : 0);
    return put_value(d, path, &sum);
}

bool memory_document_update(memory_document *d, const bson_t *update, bool inserting)
{
    bson_iter_t operator;
    bson_iter_t at;
    bool changed = false;
    if (!bson_iter_init(&operator, update))
        abort();
    while (bson_iter_next(&operator)) {
        if (!bson_iter_recurse(&operator, & at))
            abort();
        while (bson_iter_next(&at))
            changed |= apply_one(d, bson_iter_key(&operator), bson_iter_key(&at),
                                 bson_iter_value(&at), inserting);
    }
    return changed;
}

memory_document *memory_document_of(const bson_t *b)
{
    memory_document *d = document_new();
    bson_iter_t at;
    if (!bson_iter_init(&at, b))
        abort();
    while (bson_iter_next(&at))
        (void)set_value(d, bson_iter_key(&at), bson_iter_value(&at));
    return d;
}

/* What an upsert starts from: the equalities of its filter. */
memory_document *memory_document_of_filter(const bson_t *filter)
{
    memory_document *d = document_new();
    bson_iter_t at;
    bson_iter_t ignored;
    if (!bson_iter_init(&at, filter))
        abort();
    while (bson_iter_next(&at))
        if (!memory_filter_is_operators(&at, &ignored))
            (void)set_value(d, bson_iter_key(&at), bson_iter_value(&at));
    return d;
}

void memory_document_append(const memory_document *d, bson_t *out)
{
    (void)append_fields(d, 0, "", out);
}
