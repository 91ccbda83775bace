#include "counted_names.h"

#include "event_name.h"
#include "usage_collections.h"

#include "core/clock.h"
#include "core/map.h"
#include "mongo/bson_read.h"

#include <pthread.h>
#include <stdlib.h>

#define FIGURES_BYTES 150 /* of one model in a document, its name not counted */
#define DAYS_KEPT     8
#define READ_AGAIN_MS 60000

typedef struct day_names {
    int64_t day_ms;
    int64_t read_ms, used_ms; /* 0: never */
    gw_map *names; /* the value says nothing; NULL: no day is here */
    size_t bytes; /* what they take in a document */
} day_names;

struct counted_names {
    pthread_mutex_t lock;
    day_names days[DAYS_KEPT];
};

counted_names *counted_names_new(void)
{
    counted_names *n = (counted_names *)calloc(1, sizeof(*n));
    if (n)
        (void)pthread_mutex_init(&n->lock, NULL);
    return n;
}

void counted_names_free(counted_names *n)
{
    if (!n)
        return;
    for (size_t i = 0; i < DAYS_KEPT; i++)
        gw_map_free(n->days[i].names);
    (void)pthread_mutex_destroy(&n->lock);
    free(n);
}

/* ---- under the lock ---- */

/* In the place of the day that was asked for the longest ago. NULL when out of memory. */
static day_names *day_of(counted_names *n, int64_t day_ms, int64_t now_ms)
{
    day_names *oldest = &n->days[0];
    for (size_t i = 0; i < DAYS_KEPT; i++) {
        day_names *d = &n->days[i];
        if (d->names && d->day_ms == day_ms) {
            d->used_ms = now_ms;
            return d;
        }
        if (d->used_ms < oldest->used_ms)
            oldest = d;
    }
    gw_map_free(oldest->names);
    *oldest = (day_names){.day_ms = day_ms, .used_ms = now_ms, .names = gw_map_new(NULL)};
    return oldest->names ? oldest : NULL;
}

static size_t bytes_of(gw_str model)
{
    return FIGURES_BYTES + gw_bson_key_bytes(model);
}

static bool add_name(day_names *d, gw_str model)
{
    if (!gw_map_put(d->names, model, d))
        return false;
    d->bytes += bytes_of(model);
    return true;
}

static bool take_name(day_names *d, gw_str model)
{
    if (gw_map_get(d->names, model))
        return true;
    return d->bytes + bytes_of(model) <= COUNTED_NAMES_BYTES && add_name(d, model);
}

/* ---- events ---- */

/* Whether a sum would be kept by a name that its caller may have made up. */
static bool next_named(const claim *c, claim_cursor *at, event_name *ret)
{
    while (claim_next(c, at))
        if (!at->reason && event_name_read(at->packed, ret) && ret->accepted_len > 0 &&
            !gw_str_eq(ret->model, ret->route))
            return true;
    return false;
}

typedef struct looks {
    int64_t days_ms[DAYS_KEPT];
    size_t count;
} looks;

static void note_look(looks *l, int64_t day_ms)
{
    for (size_t i = 0; i < l->count; i++)
        if (l->days_ms[i] == day_ms)
            return;
    if (l->count < DAYS_KEPT)
        l->days_ms[l->count++] = day_ms;
}

/* Days with a name that is new here, and that others may have counted since they were read. */
static void find_days(counted_names *n, const spool_db *s, const claim *c, looks *ret)
{
    claim_cursor at = {0};
    event_name name;
    (void)pthread_mutex_lock(&n->lock);
    while (next_named(c, &at, &name)) {
        int64_t day_ms = gw_day_start_ms(name.timestamp_ms);
        const day_names *d = day_of(n, day_ms, s->now_ms);
        if (d && (d->read_ms == 0 || s->now_ms - d->read_ms >= READ_AGAIN_MS) &&
            !gw_map_get(d->names, name.model))
            note_look(ret, day_ms);
    }
    (void)pthread_mutex_unlock(&n->lock);
}

/* ---- what stands in the sums of a day ---- */

static gw_status add_counted(void *arg, const bson_t *total, gw_error *err)
{
    day_names *d = (day_names *)arg;
    bson_t models;
    bson_iter_t at;
    (void)err;
    if (!gw_bson_doc(total, "metrics.models", &models) || !bson_iter_init(&at, &models))
        return GW_OK;
    while (bson_iter_next(&at)) {
        gw_auto_buf name = {0};
        gw_bson_key_unescape(&name, gw_str_n(bson_iter_key(&at), bson_iter_key_len(&at)));
        if (!gw_buf_failed(&name) && !gw_map_get(d->names, gw_buf_str(&name)))
            (void)add_name(d, gw_buf_str(&name));
    }
    return GW_OK;
}

static void merge(counted_names *n, const spool_db *s, const day_names *counted)
{
    size_t at = 0;
    gw_str name;
    void *value;
    (void)pthread_mutex_lock(&n->lock);
    day_names *d = day_of(n, counted->day_ms, s->now_ms);
    while (d && gw_map_next(counted->names, &at, &name, &value))
        if (!gw_map_get(d->names, name))
            (void)add_name(d, name);
    if (d)
        d->read_ms = s->now_ms;
    (void)pthread_mutex_unlock(&n->lock);
}

/* When it cannot be read, what this process knows has to do. */
static void look(counted_names *n, const spool_db *s, int64_t day_ms)
{
    day_names counted = {.day_ms = day_ms, .names = gw_map_new(NULL)};
    char id[ROLLUP_ID_SIZE];
    gw_error ignored;
    rollup_day_id(GW_STR(ALL_KEYS), day_ms, id);
    bson_t *filter = BCON_NEW("_id", BCON_UTF8(id));
    bson_t *opts = BCON_NEW("projection", "{", "metrics.models", BCON_INT32(1), "}");
    if (counted.names && doc_store_find(s->store, COLLECTION_TOTALS, filter, opts, add_counted,
                                        &counted, "read names of models", &ignored) == GW_OK)
        merge(n, s, &counted);
    bson_destroy(opts);
    bson_destroy(filter);
    gw_map_free(counted.names);
}

size_t counted_names_bound(counted_names *n, const spool_db *s, claim *c)
{
    looks days = {0};
    claim_cursor at = {0};
    event_name name;
    size_t dropped = 0;
    find_days(n, s, c, &days);
    for (size_t i = 0; i < days.count; i++)
        look(n, s, days.days_ms[i]);
    (void)pthread_mutex_lock(&n->lock);
    while (next_named(c, &at, &name)) {
        day_names *d = day_of(n, gw_day_start_ms(name.timestamp_ms), s->now_ms);
        if (d && take_name(d, name.model))
            continue;
        event_name_drop(c->events.data + (at.packed.ptr - c->events.data), &name);
        dropped++;
    }
    (void)pthread_mutex_unlock(&n->lock);
    return dropped;
}
