#include "price_book_index.h"

#include "core/clock.h"

int64_t price_time_ms(const Google__Protobuf__Timestamp *t)
{
    return t ? t->seconds * GW_MS_PER_S + t->nanos / 1000000 : INT64_MIN;
}

static int64_t from_of(const price_book_version *v)
{
    return price_time_ms(v->effective_from);
}

const price_book_version *price_book_index_at(const price_book_index *x, int64_t at_ms)
{
    const price_book_version *best = NULL;
    for (size_t i = 0; i < x->n_versions; i++) {
        const price_book_version *v = x->versions[i];
        if (from_of(v) <= at_ms && (!best || from_of(v) >= from_of(best)))
            best = v;
    }
    return best;
}

const price_book_version *price_book_index_find(const price_book_index *x, gw_str version)
{
    for (size_t i = 0; i < x->n_versions; i++) {
        if (gw_str_eq_c(version, x->versions[i]->version))
            return x->versions[i];
    }
    return NULL;
}

size_t price_book_index_later(const price_book_index *x, int64_t at_ms)
{
    size_t count = 0;
    for (size_t i = 0; i < x->n_versions; i++)
        count += from_of(x->versions[i]) > at_ms;
    return count;
}

/* Behind those of the same time: they were stored before. */
static void insert(price_book_span *s, const price_book_version *v)
{
    size_t at = s->count++;
    for (; at > 0 && from_of(s->items[at - 1]) > from_of(v); at--)
        s->items[at] = s->items[at - 1];
    s->items[at] = v;
}

void price_book_index_span(const price_book_index *x, int64_t from_ms, int64_t to_ms,
                           price_book_span *ret)
{
    const price_book_version *first = price_book_index_at(x, from_ms);
    ret->count = 0;
    ret->starts = first != NULL;
    if (first)
        insert(ret, first);
    for (size_t i = 0; i < x->n_versions; i++) {
        int64_t at_ms = from_of(x->versions[i]);
        if (at_ms > from_ms && at_ms < to_ms)
            insert(ret, x->versions[i]);
    }
}
